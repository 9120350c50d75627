"""Attribution: what each sample of EEG windows adds to a network's decision, by Captum's methods.

All methods return one unit: the sum over a part of a window is what this part adds to the logit.  It is
exact for methods that are `complete`; the others remove one part at a time.  Captum, which takes a second to
import, is loaded when a method needs it; occlusion is in `eeg.explanation.occlusion`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from warnings import catch_warnings, filterwarnings

import numpy as np
import torch
from torch import Tensor, nn

from eeg.explanation.occlusion import Scores as Scores, occluded_scores
from hebbian.rule import evaluating
from trainers.errors import DataError

OCCLUDED, STEP = 0.25, 0.0625  # s: about a discharge, and the step between positions
SEGMENT_SECONDS = 0.25  # s: the part of a channel that ablation removes
COALITION = 0.5  # s: the part of a region or channel that is one player of Shapley values
IG_STEPS = 50
SHAP_SAMPLES = 20
SHAPLEY_SAMPLES = 10
TOLERANCE = 0.01
"""Largest fraction of the logit's difference that DeepLift may miss."""

DEFAULT_METHOD = "occlusion"


class Refused(DataError):
    """An explanation that is impossible or not trustworthy, with the reason."""


class Contrast(nn.Module):
    """The number per window that is explained: (N, C, T) -> (N, 1).

    The one logit, negated for ``target`` 0; of several scores that of class ``target`` minus the mean of the
    others, which is linear in the scores and for two classes the log odds.
    """

    def __init__(self, scores: Scores, target: int = 1) -> None:
        super().__init__()
        self.scores = scores
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        """Return the number of each window."""
        return self.of(self.scores(x))

    def of(self, scores: Tensor) -> Tensor:
        """Return the number of scores (N, K), (N, 1)."""
        classes = max(2, scores.shape[1])
        if not 0 <= self.target < classes:
            raise ValueError(f"target is {self.target}, expected a class from 0 to {classes - 1}")
        if scores.shape[1] == 1:
            return scores if self.target == 1 else -scores
        chosen = scores[:, self.target, None]
        return chosen - (scores.sum(1, keepdim=True) - chosen) / (classes - 1)


@dataclass(frozen=True)
class Montage:
    """The names of the channels of windows (C,), and their sampling rate, Hz."""

    channels: Sequence[str]
    sfreq: float

    def samples(self, seconds: float) -> int:
        """Return the number of samples in ``seconds``, at least one."""
        return max(1, round(seconds * self.sfreq))


Attribute = Callable[[Contrast, Tensor, Tensor, Montage, int], Tensor]
"""Contrast, windows and their baseline (n, C, T), montage, batch size -> (n, C, T) or (n, 1, T)."""
_A = TypeVar("_A", bound=Attribute)


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Parameters
    ----------
    attribute
        Computes the evidence of windows.
    gradients
        Whether it needs the network itself and not only its outputs.
    complete
        Whether the evidence adds up to the logit minus that of the baseline.
    channels
        Whether channels have separate evidence.
    """

    attribute: Attribute
    gradients: bool
    complete: bool
    channels: bool


METHODS: dict[str, Method] = {}
"""The attribution methods by name; `register_method` adds one."""


def register_method(
    name: str, *, gradients: bool = False, complete: bool = False, channels: bool = True
) -> Callable[[_A], _A]:
    """Return a decorator that adds a function to `METHODS`.

    Parameters
    ----------
    name
        Of the method.
    gradients, complete, channels
        As in `Method`.

    Returns
    -------
    A decorator that raises `ValueError` if the name is taken.
    """

    def add(attribute: _A) -> _A:
        if name in METHODS:
            raise ValueError(f"two attribution methods are named {name!r}; rename one")
        METHODS[name] = Method(attribute, gradients, complete, channels)
        return attribute

    return add


@register_method("grad-cam", gradients=True, channels=False)
def _grad_cam(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """LayerGradCam (Selvaraju et al. 2017) at the last convolution, interpolated linearly.

    It uses no baseline.  Captum's default is the nearest cell, in steps as wide as the network pools.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    found = LayerGradCam(contrast, last_convolution(contrast.scores)).attribute(x, target=0)
    cells = found.detach().mean(2) if found.ndim == 4 else found.detach()  # over all axes but time
    return LayerAttribution.interpolate(cells, (x.shape[2],), "linear") * (cells.shape[2] / x.shape[2])


@register_method("integrated-gradients", gradients=True, complete=True)
def _integrated_gradients(
    contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int
) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017) in 50 steps."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(contrast)
    return method.attribute(x, baseline, target=0, n_steps=IG_STEPS, internal_batch_size=batch)


@register_method("gradient-shap", gradients=True, complete=True)
def _gradient_shap(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """GradientShap (Lundberg & Lee 2017): gradients between a window and baselines drawn from all.

    Captum holds all samples of all windows at once; here one of each at a time.
    """
    from captum.attr import GradientShap

    method = GradientShap(contrast)
    drawn = [method.attribute(x, baseline, target=0, n_samples=1) for _ in range(SHAP_SAMPLES)]
    return torch.stack(drawn).mean(0)


@register_method("deeplift", gradients=True, complete=True)
def _deeplift(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """DeepLift's rescale rule (Shrikumar et al. 2017), refused if it does not add up.

    Captum handles only activations that are separate modules, each used once; for others its result is wrong
    without an error, but misses a part of the logit's difference.
    """
    from captum.attr import DeepLift

    parts = []
    for one, other in zip(x.split(max(1, batch // 2)), baseline.split(max(1, batch // 2)), strict=True):
        try:
            found, missing = DeepLift(contrast).attribute(one, other, target=0, return_convergence_delta=True)
        except (RuntimeError, AssertionError) as error:
            raise Refused(f"deeplift cannot explain this network ({error}); {_INSTEAD}") from error
        with torch.no_grad():
            difference = contrast(one) - contrast(other)
        fraction = float(missing.abs().sum() / difference.abs().sum().clamp_min(1e-12))
        if fraction > TOLERANCE:
            raise Refused(
                f"deeplift misses {fraction:.0%} of this network's logit, expected at most {TOLERANCE:.0%}: "
                f"an activation is a function, or used twice; {_INSTEAD}"
            )
        parts.append(found.detach())
    return torch.cat(parts)


_INSTEAD = "use occlusion or integrated-gradients"


@register_method("occlusion", channels=False)
def _occlusion(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """Occlusion (Zeiler & Fergus 2014): all channels are removed for 0.25 s, every 62.5 ms.

    The evidence of a sample is the mean over the positions that cover it.
    """
    times = x.shape[2]
    size = min(montage.samples(OCCLUDED), times)
    stride = min(montage.samples(STEP), size)
    starts = range(0, times - size + stride, stride)
    lost, covered = x.new_zeros(len(x), 1, times), x.new_zeros(times)
    with torch.no_grad():
        whole = contrast(x)[:, :, None]
        removed = occluded_scores(contrast.scores, x, baseline, starts, size, batch)
        for start, scores in zip(starts, removed, strict=True):
            lost[..., start : start + size] += whole - contrast.of(scores)[:, :, None]
            covered[start : start + size] += 1
    return lost / covered / size


@register_method("ablation")
def ablation(
    contrast: Contrast,
    x: Tensor,
    baseline: Tensor,
    montage: Montage,
    batch: int,
    *,
    length: float = SEGMENT_SECONDS,
) -> Tensor:
    """Return the evidence when one part is removed at a time: ``length`` seconds of a channel.

    Parameters
    ----------
    contrast
        The number that is explained.
    x, baseline
        Windows and what replaces the removed part, (n, C, T) each.
    montage
        Names and sampling rate of the channels.
    batch
        Largest number of windows in one forward pass.
    length
        Of a part, s.
    """
    from captum.attr import FeatureAblation

    mask = _mask(montage, x, regions=False, length=length)
    lost = FeatureAblation(contrast).attribute(
        x,
        baselines=baseline,
        feature_mask=mask,
        target=0,
        perturbations_per_eval=max(1, batch // len(x)),
    )
    return lost / mask.flatten().bincount()[mask]


@register_method("shapley", complete=True)
def _shapley(
    contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int, *, regions: bool = True
) -> Tensor:
    """Shapley values (Castro et al. 2009) of half seconds of a region or a channel, from 10 random orders."""
    from captum.attr import ShapleyValueSampling

    mask = _mask(montage, x, regions, COALITION)
    found = ShapleyValueSampling(contrast).attribute(
        x,
        baselines=baseline,
        feature_mask=mask,
        target=0,
        n_samples=SHAPLEY_SAMPLES,
        perturbations_per_eval=max(1, batch // len(x)),
    )
    return found / mask.flatten().bincount()[mask]


register_method("channel-shapley", complete=True)(partial(_shapley, regions=False))


def _mask(montage: Montage, x: Tensor, regions: bool, length: float) -> Tensor:
    names = [region(name) for name in montage.channels] if regions else list(montage.channels)
    return cell_mask(group_numbers(names), x.shape[2], montage.samples(length))


NOT_ADDITIVE = (
    "Parts were removed one at a time: two that can replace each other both count for little, "
    "and the values do not add up to the logit."
)


def attribute(
    scores: Scores,
    x: Tensor,
    baseline: Tensor,
    montage: Montage,
    *,
    method: str = DEFAULT_METHOD,
    target: int = 1,
    batch: int = 64,
    seed: int = 0,
) -> Tensor:
    """Return what each sample of windows adds to the decision for class ``target``.

    Parameters
    ----------
    scores
        A network (N, C, T) -> (N, K) raw scores; for methods without gradients any such function, as
        `Rule.predict`.  A network's modes and weights are not changed.
    x, baseline
        (N, C, T) each: the windows, and what replaces removed signal; see `eeg.explanation.baselines`.
    montage
        Names and sampling rate of the channels.
    method
        One of `METHODS`.
    target
        The class; 0 or 1 if there is one logit.
    batch
        Largest number of windows in one forward pass: bounds the memory.
    seed
        Seed of the methods that draw samples.

    Returns
    -------
    (N, C, T), or (N, 1, T) of a method without separate channels, in logits per sample.

    Raises
    ------
    Refused
        If the method needs gradients and ``scores`` is not a network, or its own check fails.
    ValueError
        If there is no such method or class.
    """
    chunks = zip(x.split(batch), baseline.split(batch), strict=True)
    found = attribute_each(scores, chunks, montage, method=method, target=target, batch=batch, seed=seed)
    return torch.cat(list(found))


def attribute_each(
    scores: Scores,
    chunks: Iterable[tuple[Tensor, Tensor]],
    montage: Montage,
    *,
    method: str = DEFAULT_METHOD,
    target: int = 1,
    batch: int = 64,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Yield what `attribute` returns chunk by chunk, for recordings whose evidence exceeds the memory.

    Until the last chunk, the network is in eval mode, and Captum's global generators are seeded.

    Parameters
    ----------
    scores, montage, method, target, batch, seed
        As in `attribute`.
    chunks
        Windows and their baselines, (n, C, T) each, of at most ``batch`` windows.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    chosen = METHODS[method]
    if chosen.gradients and not isinstance(scores, nn.Module):
        others = ", ".join(name for name, other in METHODS.items() if not other.gradients)
        raise Refused(f"{method} needs a network, got a function of scores; use {others}")
    contrast = Contrast(scores, target)
    if chosen.gradients:
        contrast = _safe(contrast)
    with evaluating(contrast), _seeded(seed), catch_warnings():
        filterwarnings("ignore", category=UserWarning, module="captum")  # DeepLift warns of its hooks
        for one, other in chunks:
            yield chosen.attribute(contrast, one, other, montage, batch).detach()


def channel_effects(scores: Scores, x: Tensor, emptied: Tensor, montage: Montage) -> Tensor:
    """Return the decrease of the logits of windows when each channel is replaced, (C,).

    Parameters
    ----------
    scores
        As in `attribute`.
    x, emptied
        Windows and what replaces them, (N, C, T) each.
    montage
        Names and sampling rate of the channels.
    """
    contrast = Contrast(scores)
    alone = torch.eye(x.shape[1], dtype=torch.bool)[:, None, :, None]  # the channel that is replaced
    with evaluating(contrast), torch.no_grad():
        removed = contrast(torch.where(alone, emptied, x).flatten(0, 1)).unflatten(0, (-1, len(x)))
        return (contrast(x) - removed).sum((1, 2))


def last_convolution(network: Scores) -> nn.Module:
    """Return the module that Grad-CAM uses: `network.last_convolution`, or the last convolution.

    Raises
    ------
    Refused
        If there is none.
    """
    assert isinstance(network, nn.Module)
    named = getattr(network, "last_convolution", None)
    if isinstance(named, nn.Module):
        return named
    found = [m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    if not found:
        raise Refused("grad-cam needs a convolution, this network has none; use occlusion")
    return found[-1]


def _safe(contrast: Contrast) -> Contrast:
    """Copy a network so that captum 0.9 explains it correctly.

    In-place activations overwrite what its hooks recorded; and DeepLift takes the output of a ReLU for that
    of the max-pooling behind it unless a new tensor is made between them.
    """
    copy = deepcopy(contrast)
    for module in list(copy.modules()):
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 (mypy takes it for a tensor)
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
                setattr(module, name, nn.Sequential(_NewTensor(), child))
    return copy


class _NewTensor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that Captum draws from, and restore them."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


_REGION = {
    **dict.fromkeys(("FP", "AF", "F"), "frontal"),
    **dict.fromkeys(("FT", "T", "TP"), "temporal"),
    **dict.fromkeys(("FC", "C"), "central"),
    **dict.fromkeys(("CP", "P"), "parietal"),
    **dict.fromkeys(("PO", "O", "I"), "occipital"),
}
_POSTERIOR_TEMPORAL = {"P7", "P8", "P9", "P10"}  # T5 and T6 of the older names, and their neighbours


def region(channel: str) -> str:
    """Return the region of a 10-10 electrode; ``other`` for any other name.

    One of frontal, temporal left, temporal right, central, parietal, occipital.
    """
    name = channel.upper()
    match = re.fullmatch(r"([A-Z]+)(Z|\d+)", name)
    if match is None or match[1] not in _REGION:
        return "other"
    found = "temporal" if name in _POSTERIOR_TEMPORAL else _REGION[match[1]]
    if found == "temporal" and match[2] != "Z":
        return f"temporal {'left' if int(match[2]) % 2 else 'right'}"
    return found


def group_numbers(names: Sequence[str]) -> list[int]:
    """Return a number for each name, from 0 in order of appearance; equal names share one."""
    return [list(dict.fromkeys(names)).index(name) for name in names]


def cell_mask(group: Sequence[int], n_times: int, length: int) -> Tensor:
    """Return a mask (1, C, T) that numbers the parts of a window: ``length`` samples of a group of channels.

    ``group`` numbers the group of each channel (C,), from 0; the last part of a group may be shorter.
    """
    stretch = torch.arange(n_times) // length
    count = int(stretch[-1]) + 1
    return (torch.tensor(list(group))[:, None] * count + stretch)[None]
