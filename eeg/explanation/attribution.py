"""What each moment of EEG windows adds to a network's decision: Captum's methods behind one call.

All methods answer in one unit, so that a sum over any part of a window is what this part adds to the
logit: exactly for those that are `complete`, one part at a time for those that take parts out.
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
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    Occlusion,
    ShapleyValueSampling,
)
from torch import Tensor, nn

from hebbian.rule import evaluating
from trainers.errors import DataError

Scores = Callable[[Tensor], Tensor]
"""Windows (N, C, T) -> scores (N, K): a network, or `Rule.predict` of a rule that reads out by itself."""

OCCLUDED, STEP = 0.25, 0.0625  # s: about a discharge, and how finely it is placed
SEGMENT_SECONDS = 0.25  # s: a part of a channel that is ablated
COALITION = 0.5  # s: a part of a region or of a channel that joins Shapley's coalitions
IG_STEPS = 50
SHAP_SAMPLES = 20
SHAPLEY_SAMPLES = 10
TOLERANCE = 0.01
"""Share of the logit's difference that DeepLift may miss before its answer is refused."""

DEFAULT_METHOD = "occlusion"


class Refused(DataError):
    """An explanation that cannot be given, or not be trusted, with the reason."""


class Contrast(nn.Module):
    """What is explained, one number a window: (N, C, T) -> (N, 1).

    The one logit, turned round for ``target`` 0; of several scores that of class ``target`` minus the mean
    of the others, which is linear in the scores and for two classes the log odds.
    """

    def __init__(self, scores: Scores, target: int = 1) -> None:
        super().__init__()
        self.scores = scores
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        """Return the number of each window."""
        scores = self.scores(x)
        classes = max(2, scores.shape[1])
        if not 0 <= self.target < classes:
            raise ValueError(f"target is {self.target}, expected a class from 0 to {classes - 1}")
        if scores.shape[1] == 1:
            return scores if self.target == 1 else -scores
        chosen = scores[:, self.target, None]
        return chosen - (scores.sum(1, keepdim=True) - chosen) / (classes - 1)


@dataclass(frozen=True)
class Montage:
    """What the rows and columns of windows are: the names of channels (C,), and Hz."""

    channels: Sequence[str]
    sfreq: float

    def samples(self, seconds: float) -> int:
        """Return how many samples ``seconds`` last, at least one."""
        return max(1, round(seconds * self.sfreq))


Attribute = Callable[[Contrast, Tensor, Tensor, Montage, int], Tensor]
"""Contrast, windows and their baseline (n, C, T), montage, windows at once -> (n, C, T) or (n, 1, T)."""
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
        Whether its evidence adds up to the logit minus that of the baseline.
    channels
        Whether it tells channels apart.
    """

    attribute: Attribute
    gradients: bool
    complete: bool
    channels: bool


METHODS: dict[str, Method] = {}
"""The attribution methods by name; `register` adds one."""


def register(
    name: str, *, gradients: bool = False, complete: bool = False, channels: bool = True
) -> Callable[[_A], _A]:
    """Return a decorator that adds a function to `METHODS`; see `Method` for the flags."""

    def add(attribute: _A) -> _A:
        METHODS[name] = Method(attribute, gradients, complete, channels)
        return attribute

    return add


@register("grad-cam", gradients=True, channels=False)
def grad_cam(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """LayerGradCam (Selvaraju et al. 2017) at the last convolution, between its cells linearly.

    It knows no baseline.  Captum's own default is the nearest cell, in steps as wide as the network pools.
    """
    found = LayerGradCam(contrast, last_convolution(contrast.scores)).attribute(x, target=0)
    seen = found.detach().mean(2) if found.ndim == 4 else found.detach()  # over what was not time
    return LayerAttribution.interpolate(seen, (x.shape[2],), "linear") * (seen.shape[2] / x.shape[2])


@register("integrated-gradients", gradients=True, complete=True)
def integrated_gradients(
    contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int
) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017) in 50 steps."""
    method = IntegratedGradients(contrast)
    return method.attribute(x, baseline, target=0, n_steps=IG_STEPS, internal_batch_size=batch)


@register("gradient-shap", gradients=True, complete=True)
def gradient_shap(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """GradientShap (Lundberg & Lee 2017): gradients between a window and baselines drawn from all.

    Captum holds all samples of all windows at once; here one of each at a time.
    """
    method = GradientShap(contrast)
    drawn = [method.attribute(x, baseline, target=0, n_samples=1) for _ in range(SHAP_SAMPLES)]
    return torch.stack(drawn).mean(0)


@register("deeplift", gradients=True, complete=True)
def deeplift(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """DeepLift's rescale rule (Shrikumar et al. 2017), refused where it does not add up.

    Captum sees only activations that are modules of their own, each used once; where that does not hold
    the answer is wrong without a word, and the missing difference tells.
    """
    parts = []
    for one, other in zip(x.split(max(1, batch // 2)), baseline.split(max(1, batch // 2)), strict=True):
        try:
            found, missing = DeepLift(contrast).attribute(one, other, target=0, return_convergence_delta=True)
        except (RuntimeError, AssertionError) as error:
            raise Refused(f"deeplift cannot explain this network ({error}); {_INSTEAD}") from error
        with torch.no_grad():
            difference = contrast(one) - contrast(other)
        share = float(missing.abs().sum() / difference.abs().sum().clamp_min(1e-12))
        if share > TOLERANCE:
            raise Refused(
                f"deeplift misses {share:.0%} of this network's logit, at most {TOLERANCE:.0%} is trusted: "
                f"an activation is a function, or used twice; {_INSTEAD}"
            )
        parts.append(found.detach())
    return torch.cat(parts)


_INSTEAD = "use occlusion or integrated-gradients"


@register("occlusion", channels=False)
def occlusion(contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int) -> Tensor:
    """Occlusion (Zeiler & Fergus 2014): all channels are taken out for 0.25 s, every 62.5 ms.

    A sample gets the mean over the positions that cover it.
    """
    channels, times = x.shape[1:]
    size = min(montage.samples(OCCLUDED), times)
    lost = Occlusion(contrast).attribute(
        x,
        sliding_window_shapes=(channels, size),
        strides=(channels, min(montage.samples(STEP), size)),
        baselines=baseline,
        target=0,
        perturbations_per_eval=max(1, batch // len(x)),
    )
    return lost[:, :1] / size


@register("ablation")
def ablation(
    contrast: Contrast,
    x: Tensor,
    baseline: Tensor,
    montage: Montage,
    batch: int,
    *,
    length: float = SEGMENT_SECONDS,
) -> Tensor:
    """Remove one part at a time: ``length`` seconds of a channel."""
    mask = _mask(montage, x, regions=False, length=length)
    lost = FeatureAblation(contrast).attribute(
        x,
        baselines=baseline,
        feature_mask=mask,
        target=0,
        perturbations_per_eval=max(1, batch // len(x)),
    )
    return lost / mask.flatten().bincount()[mask]


@register("shapley", complete=True)
def shapley(
    contrast: Contrast, x: Tensor, baseline: Tensor, montage: Montage, batch: int, *, regions: bool = True
) -> Tensor:
    """Shapley values (Castro et al. 2009) of half seconds of a region or a channel, by 10 random orders."""
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


register("channel-shapley", complete=True)(partial(shapley, regions=False))


def _mask(montage: Montage, x: Tensor, regions: bool, length: float) -> Tensor:
    names = [region(name) for name in montage.channels] if regions else list(montage.channels)
    return cell_mask(group_numbers(names), x.shape[2], montage.samples(length))


NOT_ADDITIVE = (
    "Parts were taken out one at a time: two that stand in for each other each count for little, "
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
    """Return what each moment of windows adds to the decision for class ``target``.

    Parameters
    ----------
    scores
        A network (N, C, T) -> (N, K) raw scores, or any other such function, as `Rule.predict`, for the
        methods that need no gradients.  A network's modes and weights stay as they are.
    x, baseline
        (N, C, T) each: the windows, and what stands for nothing in each; see `eeg.explanation.baselines`.
    montage
        What the channels are and how fast they were sampled.
    method
        One of `METHODS`.
    target
        The class, 0 or 1 where there is one logit.
    batch
        How many windows the network sees at once at most: it bounds the memory.
    seed
        Of the methods that draw samples.

    Returns
    -------
    (N, C, T), or (N, 1, T) of a method that does not tell channels apart, in logits a sample.

    Raises
    ------
    Refused
        If the method needs gradients and ``scores`` is no network, or its own check failed.
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
    """Give what `attribute` returns chunk by chunk, for recordings whose evidence memory does not hold.

    ``chunks`` are windows and their baselines, (n, C, T) each, of at most ``batch``.  Until the last one is
    taken, the network is in eval mode, and Captum's global generators draw by ``seed``.
    """
    if method not in METHODS:
        raise ValueError(f"no method named {method!r}; known: {', '.join(METHODS)}")
    chosen = METHODS[method]
    if chosen.gradients and not isinstance(scores, nn.Module):
        others = ", ".join(name for name, other in METHODS.items() if not other.gradients)
        raise Refused(
            f"{method} needs a network that reads out by itself, got a function of scores; use {others}"
        )
    contrast = Contrast(scores, target)
    if chosen.gradients:
        contrast = _safe(contrast)
    with evaluating(contrast), _seeded(seed), catch_warnings():
        filterwarnings("ignore", category=UserWarning, module="captum")  # DeepLift tells of its hooks
        for one, other in chunks:
            yield chosen.attribute(contrast, one, other, montage, batch).detach()


def channel_effects(scores: Scores, x: Tensor, emptied: Tensor, montage: Montage) -> Tensor:
    """Return what the logits of windows (N, C, T) lose when each channel is taken from ``emptied``, (C,)."""
    contrast = Contrast(scores)
    with evaluating(contrast):
        whole = x.shape[2] / montage.sfreq
        return ablation(contrast, x, emptied, montage, len(montage.channels), length=whole).sum((0, 2))


def last_convolution(network: Scores) -> nn.Module:
    """Return the module that Grad-CAM looks at: what the network names so, or its last convolution.

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
    """Copy a network so that captum 0.9 explains it rightly.

    Activations in place overwrite what its hooks have seen; and DeepLift takes the output of a ReLU for
    that of the max-pooling behind it unless something that makes a new tensor stands between.
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
    """Seed the global generators that Captum draws from, and put them back as they were."""
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
    """Give equal names one number, from 0 in order of appearance."""
    return [list(dict.fromkeys(names)).index(name) for name in names]


def cell_mask(group: Sequence[int], n_times: int, length: int) -> Tensor:
    """Return a mask (1, C, T) that numbers the parts of a window: ``length`` samples of a group of channels.

    ``group`` numbers the group of each channel (C,), from 0; the last part of a group may be shorter.
    """
    stretch = torch.arange(n_times) // length
    count = int(stretch[-1]) + 1
    return (torch.tensor(list(group))[:, None] * count + stretch)[None]
