"""EEG in TensorBoard: the figures of the report, and how well a trained model performs.

Every figure has its own tag: TensorBoard keeps ten images per tag and drops the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import expit
from torch import Tensor, nn

from eeg.datasets.participants import GROUP_NAMES
from eeg.detector.calibration import Calibration
from eeg.disclaimers import RESEARCH_USE
from eeg.evaluation.metrics import risk_coverage
from eeg.models.embedding import embed, find_readout
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.figures import draw_all
from eeg.training.cross_validation import Scored, subject_scores
from visualizers.curves import plot_risk_coverage, ranking, reliability
from visualizers.events import open_writer

_POINTS = 2000  # windows in the projector, which is slow with more
_DPI = 90  # TensorBoard scales images down coarsely: the larger, the worse
_HEADER = ["group", "discharge", "subject", "site"]


def write_recording(analysis: RecordingAnalysis, folder: Path) -> None:
    """Write a recording's figures, one tag each, and the model card to the run ``folder``.

    They replace those that the folder holds: TensorBoard would show both.
    """
    for former in folder.glob("events.out.tfevents.*"):
        former.unlink()
    with open_writer(folder) as writer:
        writer.add_text("model card", f"{RESEARCH_USE}\n\n{analysis.card}")
        for picture in draw_all(analysis):
            writer.add_figure(f"recording/{picture.tag}", picture.drawing.figure(_DPI))


def write_training(
    network: nn.Module,
    evaluated: Mapping[str, tuple[Sequence[Scored], Mapping[str, Calibration]]],
    embedded: Mapping[str, Sequence[Scored]],
    folder: Path,
) -> None:
    """Write performance curves over subjects, and the network's embeddings of their windows.

    Parameters
    ----------
    network
        The final network.
    evaluated
        Name -> recordings with out-of-fold or held-out scores, and the calibration of each part of them.
    embedded
        Name -> recordings whose windows are embedded.
    folder
        The TensorBoard run to write.
    """
    with open_writer(folder) as writer:
        for name, (scored, calibrations) in evaluated.items():
            for tag, figure in draw_performance(scored, calibrations).items():
                writer.add_figure(f"{name}/{tag}", figure)
        for name, scored in embedded.items() if find_readout(network) else ():
            points, rows = embed_windows(network, scored)
            writer.add_embedding(points, rows, metadata_header=_HEADER, tag=name)


def draw_performance(scored: Sequence[Scored], calibrations: Mapping[str, Calibration]) -> dict[str, Figure]:
    """Draw the curves over subjects, each calibrated by the calibration of its part."""
    scores, labels, names = subject_scores(scored)
    part = {s.entry.subject: s.part for s in scored}
    pairs = [(calibrations[part[name]], float(z)) for name, z in zip(names, scores, strict=True)]
    even = np.array([float(c.logit(z, 0.5)) for c, z in pairs])
    weights = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    return {
        "ROC and precision-recall": ranking(labels, even),
        "reliability diagram": reliability(labels, expit([float(c.logit(z)) for c, z in pairs])),
        "risk-coverage": plot_risk_coverage(*risk_coverage(labels, even, weights)),
    }


def embed_windows(network: nn.Module, scored: Sequence[Scored]) -> tuple[Tensor, list[list[str]]]:
    """Return the network's embeddings of windows, at most 2000 evenly spaced ones, and their metadata.

    Returns
    -------
    points
        (N, D), the input of the network's `readout`.
    rows
        Group, whether a discharge is annotated, and the numbers of subject and site of each.
    """
    data = [s.windows.data for s in scored]
    numbers = {name: str(i) for i, name in enumerate(sorted({s.entry.subject for s in scored}), 1)}
    sites = {name: str(i) for i, name in enumerate(sorted({s.entry.site for s in scored if s.entry.site}), 1)}
    rows = [
        [
            GROUP_NAMES[s.entry.label],
            discharge,
            numbers[s.entry.subject],
            sites.get(s.entry.site or "", "unknown"),
        ]
        for s in scored
        for discharge in _discharges(s)
    ]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).round().astype(int))
    recording = np.repeat(np.arange(len(data)), [len(d) for d in data])
    window = np.concatenate([np.arange(len(d)) for d in data])
    x = torch.from_numpy(np.stack([data[recording[i]][window[i]] for i in chosen]))
    return embed(network, x), [rows[i] for i in chosen]


def _discharges(scored: Scored) -> list[str]:
    positive = scored.windows.positive
    if positive is None:
        return ["unknown"] * len(scored.windows.data)
    return ["yes" if discharge else "no" for discharge in positive]
