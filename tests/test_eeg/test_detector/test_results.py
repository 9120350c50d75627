"""Which figures of a model are enough to be interpreted, and which are refused."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from eeg.detector.conformal import Answers, Rates
from eeg.detector.provenance import Provenance
from eeg.detector.results import LEVELS, STRONG, Audit, Estimate, Finding, Matched, Results


def estimate(value: float) -> Estimate:
    return Estimate(value, value, value)


@pytest.mark.parametrize(("epilepsy", "control", "enough"), [(5, 5, True), (4, 9, False), (9, 4, False)])
def test_five_subjects_of_each_group_are_enough(epilepsy: int, control: int, enough: bool) -> None:
    assert Matched(estimate(0.6), epilepsy, control).enough is enough


@pytest.mark.parametrize(
    ("auc", "p", "strong"),
    [(STRONG + 0.01, 0.049, True), (STRONG, 0.01, False), (0.9, 0.05, False), (0.6, 0.01, False)],
)
def test_a_confound_is_strong_above_its_limit_and_beyond_chance(auc: float, p: float, strong: bool) -> None:
    assert Finding("age", estimate(auc), p).strong is strong


RATES = Rates(0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Answers(1.0, 5, RATES, RATES), "alpha: expected a number between 0 and 1"),
        (lambda: Answers(0.0, 5, RATES, RATES), "alpha: expected a number between 0 and 1"),
        (lambda: Answers(0.1, -1, RATES, RATES), "n: expected a number of subjects"),
        (lambda: Rates(1.25, 0.0, 0.0), "right, wrong and unsaid"),
        (lambda: Provenance("c", simulated=False, results={"rows": {}}), "results: unknown field 'rows'"),
        (lambda: Provenance("c", simulated=False, subjects=3, epilepsy=4), "epilepsy: expected a number of"),
        (lambda: Finding("age", estimate(0.5), 1.5), "p: expected a number from 0 to 1"),
        (lambda: Finding("age", estimate(0.5), 0.5, within=0.1), "within and within_p: expected both or"),
    ],
)
def test_figures_that_cannot_be_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def results(permutation_p: float, epilepsy: int = 2) -> Results:
    levels = {level: {"roc_auc": estimate(0.5)} for level in LEVELS}
    audit = Audit((), (), ())
    return Results(
        4, epilepsy, levels, permutation_p, {}, Answers(0.1, 4, RATES, RATES), (1.0,), (0.5,), audit
    )


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_probability_reaches_from_0_to_1(p: float) -> None:
    assert results(p).permutation_p == p
    assert Finding("age", estimate(0.5), p).p == p
    for beyond in (p - 1.5, p + 1.5):
        with pytest.raises(ValueError, match="permutation_p: expected a number from 0 to 1"):
            results(beyond)


@pytest.mark.parametrize(
    "wrong", [{"risk": (math.nan,)}, {"coverage": (math.inf,)}, {"risk": ()}, {"coverage": (), "risk": ()}]
)
def test_risk_is_a_finite_number_at_each_coverage(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="coverage and risk: expected"):
        replace(results(0.5), **wrong)  # type: ignore[arg-type]


def test_all_levels_have_figures() -> None:
    whole = results(0.5)
    for levels in ({"windows": {}, "subjects": whole.levels["subjects"]}, {**whole.levels, "subjects": {}}):
        with pytest.raises(ValueError, match="levels: expected windows, recordings, subjects"):
            replace(whole, levels=levels)


@pytest.mark.parametrize("epilepsy", [0, 4])
def test_all_subjects_may_be_of_one_group(epilepsy: int) -> None:
    assert results(0.5, epilepsy).epilepsy == epilepsy
    for beyond in (-1, 5):
        with pytest.raises(ValueError, match="epilepsy: expected a number of the subjects"):
            results(0.5, beyond)
