"""Faithfulness of explanations to their network: measures without ground truth, on batches of windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from eeg.explanation.attribution import OCCLUDED, Contrast, Montage, Scores, attribute
from eeg.explanation.baselines import BASELINES, Baseline
from eeg.explanation.options import ExplanationOptions
from hebbian.rule import probabilities

CELL = 0.125
"""Seconds that are removed or inserted at a time."""

_PERTURBED = 40
_RADIUS = 0.1  # of the median absolute deviation
_NOISES = 4


Explain = Callable[[Tensor, Tensor], Tensor]
"""Windows and their baseline, (N, C, T) each -> evidence (N, C or 1, T)."""


@dataclass(frozen=True)
class Faithfulness:
    """How faithful evidence is to the network, means over windows.

    ``deletion`` (the lower, the better) and ``insertion`` (the higher) are areas under the curves of removal;
    ``infidelity`` and ``sensitivity`` (the lower, the better) as the functions below; ``baselines`` is the
    mean rank correlation with the evidence from the other baselines.
    """

    deletion: float
    insertion: float
    infidelity: float
    sensitivity: float
    baselines: float


def measure(
    network: nn.Module,
    x: np.ndarray,
    montage: Montage,
    explain: Explain,
    *,
    baseline: str = "zero",
    baselines: Mapping[str, Baseline] = BASELINES,
    batch: int = 64,
    seed: int = 0,
) -> Faithfulness:
    """Return how faithful the evidence of ``explain`` is.

    Parameters
    ----------
    network
        (N, C, T) -> (N, K) raw scores.
    x
        The windows that are explained, (N, C, T).
    montage
        What the channels are and how fast they were sampled.
    explain
        Computes the evidence of windows, given their baseline.
    baseline, baselines
        The name of what replaces removed signal, and all that may, by name.
    batch
        Largest number of windows in one forward pass.
    seed
        Seed of all random draws.
    """
    rng = np.random.default_rng(seed)
    windows = torch.from_numpy(x)
    filled = {name: torch.from_numpy(fill(x, rng)) for name, fill in baselines.items()}
    chosen = filled[baseline]

    evidence = explain(windows, chosen)
    others = [explain(windows, fill) for name, fill in filled.items() if name != baseline]
    deletion, insertion = deletion_insertion_curves(network, windows, chosen, evidence, montage, batch=batch)
    unpredicted = infidelity(network, windows, chosen, evidence, montage, rng, batch=batch)
    sensitivity = max_sensitivity(lambda noisy: explain(noisy, chosen), windows, rng)
    return Faithfulness(
        deletion=float(area_under_curve(deletion).mean()),
        insertion=float(area_under_curve(insertion).mean()),
        infidelity=float(unpredicted.mean()),
        sensitivity=float(sensitivity.nanmean().nan_to_num(0.0)),
        baselines=float(np.mean([rank_agreement(evidence, found, montage) for found in others])),
    )


RANDOM = "random"
"""The name of random evidence beside that of a method."""

_HIGHEST = 10


def highest_windows(logits: np.ndarray) -> np.ndarray:
    """Return the indices of the ten windows with the highest logits (N,), in order of time."""
    return np.sort(np.argsort(-logits)[:_HIGHEST])


def measure_with_chance(
    network: nn.Module,
    x: np.ndarray,
    montage: Montage,
    options: ExplanationOptions,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> dict[str, Faithfulness]:
    """Return how faithful a method's evidence is, by its name, and random evidence, under `RANDOM`.

    Parameters
    ----------
    network
        (N, C, T) -> (N, K) raw scores.
    x
        The windows that are explained, (N, C, T).
    montage
        What the channels are and how fast they were sampled.
    options
        Method, baseline and batch.
    baselines
        What may replace removed signal, by name; ``options.baseline`` is one of them.
    """
    batch = options.batch

    def evidence(x: Tensor, filled: Tensor) -> Tensor:
        return attribute(network, x, filled, montage, method=options.method, batch=batch)

    generator = torch.Generator().manual_seed(0)

    def random(x: Tensor, filled: Tensor) -> Tensor:
        return torch.rand(len(x), 1, x.shape[2], generator=generator)

    return {
        name: measure(
            network, x, montage, explain, baseline=options.baseline, baselines=baselines, batch=batch
        )
        for name, explain in ((options.method, evidence), (RANDOM, random))
    }


@dataclass(frozen=True)
class RemovalCurves:
    """The mean probability of windows while cells of evidence are removed or inserted, (S + 1,) each.

    ``deletion`` and ``insertion`` begin with the strongest cell, the others go in random order.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_random: np.ndarray
    insertion_random: np.ndarray


def removal_curves(
    network: nn.Module,
    x: np.ndarray,
    evidence: np.ndarray,
    montage: Montage,
    baseline: Baseline,
    seed: int = 0,
) -> RemovalCurves:
    """Return the mean deletion and insertion curves of windows by their evidence and in random order.

    Parameters
    ----------
    network
        (N, C, T) -> (N, K) raw scores.
    x, evidence
        Windows (N, C, T) and their evidence (N, 1, T).
    montage
        What the channels are and how fast they were sampled.
    baseline
        Makes what replaces the cells that are removed.
    seed
        Seed of the baseline and of the random order.
    """
    rng = np.random.default_rng(seed)
    filled = torch.from_numpy(baseline(x, rng))
    orders = torch.from_numpy(evidence), torch.from_numpy(rng.random(evidence.shape))
    return RemovalCurves(
        *(
            curve.double().mean(0).numpy()
            for order in orders
            for curve in deletion_insertion_curves(network, torch.from_numpy(x), filled, order, montage)
        )
    )


def deletion_insertion_curves(
    scores: Scores,
    x: Tensor,
    baseline: Tensor,
    evidence: Tensor,
    montage: Montage,
    *,
    target: int = 1,
    batch: int = 64,
) -> tuple[Tensor, Tensor]:
    """Return the probability of ``target`` while the strongest evidence is removed, and inserted.

    Deletion and insertion (Petsiuk et al. 2018): cells of 125 ms on all channels, from the strongest to
    the weakest, change from the window to the baseline, or vice versa.

    Parameters
    ----------
    scores
        (N, C, T) -> (N, K) raw scores.
    x, baseline
        The windows and what replaces removed signal, (N, C, T) each.
    evidence
        (N, C, T) or (N, 1, T).
    montage
        What the channels are and how fast they were sampled.
    target
        The class, 0 or 1 if there is one logit.
    batch
        Largest number of windows in one forward pass.

    Returns
    -------
    (N, S + 1) each, for S cells.
    """
    size = montage.samples(CELL)
    rank = _cells(evidence, size).argsort(1, descending=True).argsort(1)
    steps = torch.arange(rank.shape[1] + 1)
    chosen = (rank < steps[:, None, None]).repeat_interleave(size, 2)[:, :, None, : x.shape[2]]
    some = max(1, batch // len(x))  # steps at once
    deleted, inserted = (
        torch.cat(
            [
                _probability(scores, torch.where(part, after, before).flatten(0, 1), target, batch)
                for part in chosen.split(some)
            ]
        ).unflatten(0, (-1, len(x)))
        for before, after in ((x, baseline), (baseline, x))
    )
    return deleted.T, inserted.T


def area_under_curve(curve: Tensor) -> Tensor:
    """Return the area under curves (N, S + 1) over a unit length, (N,)."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def infidelity(
    scores: Scores,
    x: Tensor,
    baseline: Tensor,
    evidence: Tensor,
    montage: Montage,
    rng: np.random.Generator,
    *,
    target: int = 1,
    batch: int = 64,
) -> Tensor:
    """Return the error of evidence as a prediction of what the logit loses without random 0.25 s, (N,).

    Infidelity (Yeh et al. 2019) of optimally scaled evidence, as a fraction of the squared loss: 0 for exact
    evidence, 1 for evidence of 0.  Without the scaling it measures the unit of the evidence (captum's
    ``normalize``).

    Parameters
    ----------
    scores, x, baseline, evidence, montage, target, batch
        As in `deletion_insertion_curves`.
    rng
        Draws where the signal is removed.
    """
    contrast, size = Contrast(scores, target), montage.samples(OCCLUDED)
    times = torch.arange(x.shape[2])
    predicted, lost = [], []
    with torch.no_grad():
        before = _batched(contrast, x, batch)[:, 0]
        starts = [torch.from_numpy(rng.integers(1 - size, x.shape[2], len(x))) for _ in range(_PERTURBED)]
        for some in torch.stack(starts)[:, :, None].split(max(1, batch // len(x))):
            removed = ((times >= some) & (times < some + size))[:, :, None]
            predicted.append((evidence * removed).sum((2, 3)))
            after = _batched(contrast, torch.where(removed, baseline, x).flatten(0, 1), batch)
            lost.append(before - after.unflatten(0, (-1, len(x)))[..., 0])
    p, d = torch.cat(predicted).T, torch.cat(lost).T
    scale = (p * d).sum(1) / p.square().sum(1).clamp_min(1e-30)
    return (scale[:, None] * p - d).square().mean(1) / d.square().mean(1).clamp_min(1e-30)


def max_sensitivity(explain: Callable[[Tensor], Tensor], x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the largest relative change of the evidence with slight noise, (N,).

    Yeh et al. 2019: uniform noise, here of a tenth of the median amplitude, drawn four times.  NaN for a
    window without evidence.
    """
    radius = _RADIUS * float(x.abs().median())
    own = explain(x)
    noises = (torch.from_numpy(rng.uniform(-radius, radius, x.shape)).to(x) for _ in range(_NOISES))
    norms = torch.stack([(explain(x + noise) - own).flatten(1).norm(dim=1) for noise in noises])
    size = own.flatten(1).norm(dim=1)
    return norms.amax(0) / size.where(size > 0, torch.nan)


def rank_agreement(one: Tensor, other: Tensor, montage: Montage) -> np.ndarray:
    """Return Spearman's rank correlation over cells of 125 ms of two kinds of evidence, (N,).

    It is 0 if one of them is constant.
    """
    size = montage.samples(CELL)
    a, b = (rankdata(_cells(evidence, size).numpy(), axis=1) for evidence in (one, other))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(scale > 0, (a * b).sum(1) / np.maximum(scale, 1e-30), 0.0)


def cascade_randomization(network: nn.Module, rng: np.random.Generator) -> list[nn.Module]:
    """Return copies in which the parameters of more and more layers are shuffled, the readout's first.

    Cascading randomisation (Adebayo et al. 2018): evidence that is the same for the copies does not depend on
    what was learned.  Each tensor is shuffled within itself; layers are the network's children with
    parameters or buffers, and in the last copy all are shuffled.
    """
    copy, found = deepcopy(network), []
    for layer in reversed([child for child in copy.children() if child.state_dict()]):
        for tensor in layer.state_dict().values():
            order = torch.from_numpy(rng.permutation(tensor.numel()))
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
        found.append(deepcopy(copy))
    return found


def _cells(evidence: Tensor, size: int) -> Tensor:
    """Sum evidence over channels and cells, (N, C or 1, T) -> (N, S); the last cell may be shorter."""
    total = evidence.sum(1)
    padded = nn.functional.pad(total, (0, -total.shape[1] % size))
    return padded.unflatten(1, (-1, size)).sum(2)


@torch.no_grad()
def _probability(scores: Scores, x: Tensor, target: int, batch: int) -> Tensor:
    return probabilities(_batched(scores, x, batch))[:, target]


def _batched(scores: Scores, x: Tensor, batch: int) -> Tensor:
    return torch.cat([scores(part) for part in x.split(batch)])
