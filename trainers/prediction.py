"""Predictions of a rule, and their accuracy."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hebbian import diagnostics
from hebbian.rule import Rule, evaluating, has_classes, probabilities


def predict(rule: Rule, x: Tensor, batch: int = 512) -> Tensor:
    """Return the raw scores (N, K) of inputs ``x`` (N, ...), in eval mode, ``batch`` at a time."""
    return _predict(rule, x.split(batch))


def _predict(rule: Rule, parts: Iterable[Tensor]) -> Tensor:
    with torch.no_grad(), evaluating(rule):
        return torch.cat([rule.predict(part) for part in parts])


def accuracy(scores: Tensor, y: Tensor) -> float:
    """Return the fraction of raw scores (N, K) that predict the class in ``y``, (N,) or (N, 1).

    Raises
    ------
    ValueError
        If the targets are not classes.
    """
    if not has_classes(scores, y):
        raise ValueError(
            f"scores {tuple(scores.shape)} and targets {y.dtype} {tuple(y.shape)} have no accuracy; expected "
            "scores (N, K) and classes 0 to K - 1, or for one logit 0 and 1"
        )
    hits = probabilities(scores).argmax(1) == y.flatten()
    return hits.double().mean().item()


class HeldOutScores:
    """The raw scores of held-out inputs; each input is scored once, when its score is asked for.

    Parameters
    ----------
    rule
        Must not change while the scores are in use.
    x
        Inputs (N, ...).
    """

    def __init__(self, rule: Rule, x: Tensor) -> None:
        self._rule, self._x = rule, x
        self._is_scored = torch.zeros(len(x), dtype=torch.bool)
        self._scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the scores (n, K) of the inputs with the indices ``rows`` (n,)."""
        missing = rows[~self._is_scored[rows]]
        if self._scores is None or len(missing):
            self._store(missing, _predict(self._rule, map(self._inputs, missing.split(512))))
        assert self._scores is not None
        return self._scores[rows]

    def activities(self, rows: Tensor) -> dict[str, Tensor]:
        """Return `hebbian.diagnostics.activities` for the inputs with the indices ``rows`` (n,)."""
        outputs, activities = diagnostics.observe(self._rule.model, self._inputs(rows))
        if type(self._rule).predict is Rule.predict:  # the scores are the outputs of the model
            self._store(rows, outputs)
        return activities

    def _inputs(self, rows: Tensor) -> Tensor:
        return self._x.index_select(0, rows.to(self._x.device))  # faster than x[rows]

    def _store(self, rows: Tensor, scores: Tensor) -> None:
        if self._scores is None:
            self._scores = scores.new_empty(len(self._x), *scores.shape[1:])
        self._scores[rows] = scores
        self._is_scored[rows] = True
