"""What TensorBoard shows of EEG: recordings as the report has them, and how well a training did.

Every picture has a tag of its own: TensorBoard keeps ten pictures a tag and drops the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import expit
from torch import Tensor, nn

from eeg.detector.calibration import Calibration
from eeg.disclaimers import RESEARCH_USE
from eeg.evaluation.metrics import risk_coverage as risks
from eeg.models.embedding import embed, readout
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.figures import pictures
from eeg.training.cross_validation import Scored, subject_scores
from visualizers.curves import ranking, reliability, risk_coverage

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_POINTS = 2000  # windows in the projector, which draws more only slowly
_DPI = 90  # TensorBoard shrinks pictures roughly: the larger, the worse
_HEADER = ["group", "discharge", "subject", "site"]
_GROUPS = {1: "epilepsy", 0: "control", None: "unknown"}


def write_case(case: RecordingAnalysis, folder: Path) -> None:
    """Write a recording's pictures as the run ``folder``, one tag each, and the model card."""
    with _writer(folder) as writer:
        writer.add_text("card", f"{RESEARCH_USE}\n\n{case.card}")
        for picture in pictures(case):
            picture.figure.set_dpi(_DPI)
            writer.add_figure(f"recording/{picture.tag}", picture.figure)


def write_training(
    network: nn.Module,
    judged: Mapping[str, tuple[Sequence[Scored], Mapping[str, Calibration]]],
    shown: Mapping[str, Sequence[Scored]],
    folder: Path,
) -> None:
    """Write how well unseen subjects were judged, and how the network sees their windows.

    Parameters
    ----------
    network
        The final one.
    judged
        Name -> recordings as judged by networks that had not seen their subjects, and what each part of
        these is calibrated by.
    shown
        Name -> recordings whose windows are embedded.
    folder
        The run that they are.
    """
    with _writer(folder) as writer:
        for name, (scored, calibrations) in judged.items():
            for tag, figure in figures(scored, calibrations).items():
                writer.add_figure(f"{name}/{tag}", figure)
        for name, scored in shown.items() if readout(network) else ():
            points, told = embedding(network, scored)
            writer.add_embedding(points, told, metadata_header=_HEADER, tag=name)


def figures(scored: Sequence[Scored], calibrations: Mapping[str, Calibration]) -> dict[str, Figure]:
    """Return the curves of subjects, each calibrated by what belongs to his part."""
    scores, labels, names = subject_scores(scored)
    part = {s.entry.subject: s.part for s in scored}
    pairs = [(calibrations[part[name]], float(z)) for name, z in zip(names, scores, strict=True)]
    even = np.array([float(c.logit(z, 0.5)) for c, z in pairs])
    share = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    return {
        "ranking": ranking(labels, even),
        "reliability": reliability(labels, expit([float(c.logit(z)) for c, z in pairs])),
        "risk and coverage": risk_coverage(*risks(labels, even, share)),
    }


def embedding(network: nn.Module, scored: Sequence[Scored]) -> tuple[Tensor, list[list[str]]]:
    """Return what the network's readout sees of windows, and what colours them.

    Parameters
    ----------
    network
        One with a `readout`.
    scored
        Whose windows; 2000 at most, evenly spaced.

    Returns
    -------
    points
        (N, D).
    told
        Group, whether a discharge was annotated, the subject's number and the site of each.
    """
    data = [s.windows.data for s in scored]
    numbers = {name: str(i) for i, name in enumerate(sorted({s.entry.subject for s in scored}), 1)}
    rows = [
        [_GROUPS[s.entry.label], discharge, numbers[s.entry.subject], s.entry.site or "unknown"]
        for s in scored
        for discharge in _discharges(s)
    ]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).round().astype(int))
    where = np.repeat(np.arange(len(data)), [len(d) for d in data])
    within = np.concatenate([np.arange(len(d)) for d in data])
    x = torch.from_numpy(np.stack([data[where[i]][within[i]] for i in chosen]))
    return embed(network, x), [rows[i] for i in chosen]


def _discharges(scored: Scored) -> list[str]:
    positive = scored.windows.positive
    if positive is None:
        return ["unknown"] * len(scored.windows.data)
    return ["yes" if held else "no" for held in positive]


@contextmanager
def _writer(folder: Path) -> Iterator[SummaryWriter]:
    from torch.utils.tensorboard import SummaryWriter  # takes seconds

    with SummaryWriter(str(folder)) as writer:
        yield writer
