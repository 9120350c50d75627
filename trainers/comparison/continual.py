"""Continual learning: tasks that a rule learns one after the other, and what it forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch

from trainers.data.batches import Split
from trainers.errors import SettingsError

Protocol = Literal["joint", "split", "permuted"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


def make_tasks(split: Split, protocol: Protocol, count: int) -> list[Split]:
    """Return the tasks of a protocol; van de Ven & Tolias 2019 name the scenarios.

    Parameters
    ----------
    split
        All data.
    protocol
        ``joint``: one task.  ``split``: consecutive classes are divided among the tasks, and one readout has
        the scores of all classes (class-incremental).  ``permuted``: all classes in each task, with the
        values of a sample permuted, in another order for each task but the first (domain-incremental).
    count
        Number of tasks of the last two.

    Raises
    ------
    SettingsError
        See `check_tasks`.
    """
    check_tasks(split, protocol, count)
    if protocol == "joint":
        return [split]
    if protocol == "permuted":
        return [_permuted(split, task) for task in range(count)]
    return [_with_classes(split, classes) for classes in torch.arange(split.classes).tensor_split(count)]


def check_tasks(split: Split, protocol: Protocol, count: int) -> None:
    """Raise `SettingsError` if there are more tasks than classes to divide, or one without test samples."""
    if protocol != "split":
        return
    if count > split.classes:
        raise SettingsError(f"{count} tasks need as many classes, and the data have {split.classes}")
    for classes in torch.arange(split.classes).tensor_split(count):
        if not torch.isin(split.y_test.cpu(), classes).any():
            raise SettingsError(f"no test sample has a class of the task {classes.tolist()}; use fewer tasks")


def forgetting(accuracies: Sequence[Sequence[float]]) -> float | None:
    """Return by how much the accuracy of earlier tasks has fallen from its maximum (Chaudhry et al. 2018).

    The mean over all tasks but the last one; None for one task.

    Parameters
    ----------
    accuracies
        Row i has the accuracy on each task after task i was learned.
    """
    *earlier, last = accuracies
    falls = [max(row[task] for row in earlier) - last[task] for task in range(len(earlier))]
    return sum(falls) / len(falls) if falls else None


def _permuted(split: Split, task: int) -> Split:
    values = split.x_train[0].numel()
    order = torch.randperm(values, generator=torch.Generator().manual_seed(task)) if task else slice(None)
    x_train, x_test = (x.flatten(1)[:, order].view_as(x) for x in (split.x_train, split.x_test))
    return replace(split, x_train=x_train, x_test=x_test)


def _with_classes(split: Split, classes: torch.Tensor) -> Split:
    train, test = (torch.isin(y, classes.to(y.device)) for y in (split.y_train, split.y_test))
    return Split(split.x_train[train], split.y_train[train], split.x_test[test], split.y_test[test])
