"""Search for learning rates with a number of trials, evaluated on held-out training data; needs Optuna."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from hebbian.registry import find_rule
from trainers.comparison.experiment import Experiment, run_experiment
from trainers.data.batches import Split
from trainers.errors import DataError, DivergenceError
from trainers.recipes import Phase

_RANGE = 30.0  # rates from 1/30 of the recipe's to 30 times it
_HELD_OUT = 0.2


@dataclass(frozen=True)
class SearchResult:
    """Factors for the learning rates of a recipe, and the accuracy with them on the held-out data.

    If no trial finished, ``accuracy`` is None, the factors are 1, and ``reason`` states why.
    """

    rule: str
    learn: float = 1.0
    readout: float = 1.0
    accuracy: float | None = None
    reason: str = ""


def require_optuna() -> None:
    """Raise `DataError` if Optuna is not installed."""
    if find_spec("optuna") is None:
        raise DataError("a search needs Optuna, which is not installed: pip install 'hebbian-eeg[search]'")


def search_rates(experiment: Experiment, split: Split, trials: int) -> SearchResult:
    """Try learning rates for the phases of an experiment and return the best.

    The rates are drawn log-uniformly by Optuna's tree-structured Parzen estimator, seeded by the
    experiment, within 30-fold of those of the recipe, which are the first trial.  They are evaluated by the
    accuracy on a fifth of the training data; the test data are not used.  The rate of the rule is searched
    for unless it is 0, that of the readout for unsupervised rules only.

    Raises
    ------
    ValueError
        If no trial finished.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    inner = split_training(split)
    names = [
        *(["learn"] if _rate(experiment.recipe.learn) > 0 else []),
        *([] if find_rule(experiment.rule).supervised else ["readout"]),
    ]

    def evaluate(trial: optuna.Trial) -> float:
        factors: dict[str, Any] = {
            name: trial.suggest_float(name, 1 / _RANGE, _RANGE, log=True) for name in names
        }
        accuracy = run_experiment(
            scale_rates(experiment, SearchResult(experiment.rule, **factors)), inner
        ).accuracy
        return accuracy or 0.0

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=experiment.seed)
    )
    study.enqueue_trial(dict.fromkeys(names, 1.0))
    study.optimize(evaluate, n_trials=trials, catch=(DivergenceError,))
    best = study.best_trial
    return SearchResult(experiment.rule, **best.params, accuracy=best.value)


def scale_rates(experiment: Experiment, result: SearchResult) -> Experiment:
    """Return ``experiment`` with its learning rates multiplied by the factors of ``result``."""
    recipe = experiment.recipe
    recipe = replace(
        recipe, learn=_scale(recipe.learn, result.learn), readout=_scale(recipe.readout, result.readout)
    )
    return replace(experiment, recipe=recipe)


def describe_search(result: SearchResult) -> str:
    """Return the result in one line."""
    if result.accuracy is None:
        return f"{result.rule}, search: failed, the rates of the recipe are used: {result.reason}"
    return (
        f"{result.rule}, search: {result.accuracy:.2%} of the held-out training data with {result.learn:.3g} "
        f"times the recipe's rate, in the readout {result.readout:.3g} times"
    )


def split_training(split: Split) -> Split:
    """Return the training data with a fifth of each class as test data."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        torch.arange(len(split.y_train)).numpy(),
        test_size=_HELD_OUT,
        stratify=split.y_train.cpu(),
        random_state=0,
    )
    return Split(split.x_train[train], split.y_train[train], split.x_train[test], split.y_train[test])


def _scale(phase: Phase, factor: float) -> Phase:
    if factor == 1:
        return phase
    change: dict[str, Any] = {"lr": factor * _rate(phase)}
    return replace(phase, optimizer=partial(phase.optimizer, **change))


def _rate(phase: Phase) -> float:
    arguments: dict[str, Any] = getattr(phase.optimizer, "keywords", {})
    if "lr" not in arguments:
        raise ValueError(
            "the recipe has no learning rate to start from; define its optimizer as partial(..., lr=...)"
        )
    return float(arguments["lr"])
