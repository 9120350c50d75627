"""The performance of a classifier, as figures."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizers.style import FAINT, INK, MARK, despine

_BINS = 10  # of a reliability diagram


def ranking(labels: np.ndarray, scores: np.ndarray) -> Figure:
    """Draw the ROC and the precision-recall curve, with their chance levels: diagonal and prevalence.

    Parameters
    ----------
    labels, scores
        (n,) each: 0 or 1, both present, and any score that increases with class 1.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve  # takes a second

    figure = Figure(figsize=(7.6, 3.6), dpi=120, layout="constrained")
    roc, recall = figure.subplots(1, 2)
    false_positives, true_positives, _ = roc_curve(labels, scores)
    roc.plot(false_positives, true_positives, color=MARK, drawstyle="steps-post")
    roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    _frame(roc, "1 - specificity", "sensitivity", "ROC")
    precision, sensitivity, _ = precision_recall_curve(labels, scores)
    recall.plot(sensitivity, precision, color=MARK, drawstyle="steps-post")
    recall.axhline(labels.mean(), color=FAINT, linewidth=0.8, linestyle=":")
    _frame(recall, "sensitivity", "precision", "precision and recall")
    return figure


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Draw a reliability diagram: the fraction of class 1 by predicted probability, in ten equal bins.

    Parameters
    ----------
    labels, probabilities
        (n,) each: 0 or 1, and 0 to 1.

    Returns
    -------
    matplotlib.figure.Figure
        One point for each non-empty bin, at its mean probability; below, the number of subjects in it.
    """
    bins = np.minimum((_BINS * probabilities).astype(int), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    filled = count > 0
    predicted, observed = (
        np.bincount(bins, v, minlength=_BINS)[filled] / count[filled] for v in (probabilities, labels)
    )
    figure = Figure(figsize=(3.8, 4.4), dpi=120, layout="constrained")
    diagram, number = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    diagram.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    diagram.plot(predicted, observed, "o-", color=MARK, markersize=4)
    _frame(diagram, "", "fraction with epilepsy", "reliability")
    number.bar((np.arange(_BINS) + 0.5) / _BINS, count, 0.9 / _BINS, color=FAINT)
    number.set_xlabel("predicted probability")
    number.set_ylabel("subjects")
    despine(number)
    return figure


def plot_risk_coverage(coverage: np.ndarray, risk: np.ndarray) -> Figure:
    """Draw the fraction of errors (k,) over the fraction of subjects (k,) decided, most certain first."""
    figure = Figure(figsize=(3.8, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(coverage, risk, color=MARK, drawstyle="steps-post")
    _frame(
        axes, "fraction of subjects decided, most certain first", "fraction of errors", "risk and coverage"
    )
    return figure


def _frame(axes: Axes, across: str, up: str, title: str) -> None:
    """Set limits and labels of axes of fractions, 0 to 1."""
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    despine(axes)
