"""Learning rates by a stated budget of trials, judged on training data that are held out; needs Optuna."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from hebbian.registry import find
from trainers.comparison.experiment import Experiment, run_experiment
from trainers.data.batches import Split
from trainers.errors import DataError
from trainers.recipes import Phase

_RANGE = 30.0  # a rate is looked for from a thirtieth of the recipe's to thirty times it
_HELD = 0.2


@dataclass(frozen=True)
class SearchResult:
    """By what the rates of a recipe are to be multiplied, and what that gave on the held-out data.

    ``accuracy`` is None where no trial came to an end; the factors are then 1 and ``reason`` says why.
    """

    rule: str
    learn: float = 1.0
    readout: float = 1.0
    accuracy: float | None = None
    reason: str = ""


def require_optuna() -> None:
    """Raise `DataError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise DataError("a search needs Optuna, which is not installed: pip install 'hebbian-eeg[search]'")


def search_rates(experiment: Experiment, split: Split, trials: int) -> SearchResult:
    """Try rates for the phases of an experiment and return the best.

    The rates are drawn log-uniformly by Optuna's tree-structured Parzen estimator, seeded by the
    experiment, within 30-fold of the recipe's, which are the first trial.  They are judged by the accuracy on
    a fifth of the training data; the test data are never looked at.  The rule's own rate is not searched for
    where it is 0, and that of a readout only where there is one.

    Raises
    ------
    ValueError
        If no trial came to an end.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    inner = held_out(split)
    names = [
        *(["learn"] if _rate(experiment.recipe.learn) > 0 else []),
        *([] if find(experiment.rule).supervised else ["readout"]),
    ]

    def judge(trial: optuna.Trial) -> float:
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
    study.optimize(judge, n_trials=trials, catch=(FloatingPointError,))
    best = study.best_trial
    return SearchResult(experiment.rule, **best.params, accuracy=best.value)


def scale_rates(experiment: Experiment, found: SearchResult) -> Experiment:
    """Return ``experiment`` with its rates multiplied."""
    recipe = experiment.recipe
    recipe = replace(
        recipe, learn=_scaled(recipe.learn, found.learn), readout=_scaled(recipe.readout, found.readout)
    )
    return replace(experiment, recipe=recipe)


def describe_search(found: SearchResult) -> str:
    """Tell in one line what was found."""
    if found.accuracy is None:
        return f"{found.rule}, search: failed, so the recipe's rates stay: {found.reason}"
    return (
        f"{found.rule}, search: {found.accuracy:.2%} of the held-out training data with {found.learn:.3g} "
        f"times the recipe's rate, in the readout {found.readout:.3g} times"
    )


def held_out(split: Split) -> Split:
    """Return the training data alone, with a fifth of each class in place of the test data."""
    from sklearn.model_selection import train_test_split

    kept, held = train_test_split(
        torch.arange(len(split.y_train)).numpy(),
        test_size=_HELD,
        stratify=split.y_train.cpu(),
        random_state=0,
    )
    return Split(split.x_train[kept], split.y_train[kept], split.x_train[held], split.y_train[held])


def _scaled(phase: Phase, factor: float) -> Phase:
    if factor == 1:
        return phase
    change: dict[str, Any] = {"lr": factor * _rate(phase)}
    return replace(phase, optimizer=partial(phase.optimizer, **change))


def _rate(phase: Phase) -> float:
    given: dict[str, Any] = getattr(phase.optimizer, "keywords", {})
    if "lr" not in given:
        raise ValueError(
            "a search starts from the rate of the recipe; give its optimizer as partial(..., lr=...)"
        )
    return float(given["lr"])
