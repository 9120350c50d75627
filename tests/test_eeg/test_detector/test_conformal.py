"""Conformal answers against the theory of exchangeable scores, and the training range."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from eeg.detector import novelty
from eeg.detector.conformal import Answer, Answers, Conformal, Rates, answers, calibrate, required_subjects
from trainers.errors import DataError

whole = st.lists(st.integers(-5, 5), min_size=2, max_size=20)


@given(st.integers(2, 40), st.booleans())
def test_each_of_exchangeable_scores_in_turn_takes_every_p_value_once(n: int, epilepsy: bool) -> None:
    scores = np.random.default_rng(n).permutation(n).astype(float)
    found = []
    for i in range(n):
        rest = tuple(np.delete(scores, i))
        c = Conformal(rest, ()) if epilepsy else Conformal((), rest)
        found.append(float(c.p_values(scores[i])[0 if epilepsy else 1]))
    assert sorted(found) == pytest.approx([k / n for k in range(1, n + 1)])


@given(whole, st.floats(0.01, 0.99))
def test_with_ties_no_more_than_alpha_of_a_group_are_missed(values: list[int], alpha: float) -> None:
    scores = np.array(values, float)
    rests = [tuple(np.delete(scores, i)) for i in range(len(scores))]
    for missed in (
        sum(Conformal(r, ()).p_values(s)[0] <= alpha for r, s in zip(rests, scores, strict=True)),
        sum(Conformal((), r).p_values(s)[1] <= alpha for r, s in zip(rests, scores, strict=True)),
    ):
        assert missed <= alpha * len(scores) + 1e-9


def test_the_miss_rate_of_a_calibration_is_beta_distributed() -> None:
    """Given n calibration scores, the fraction missed is Beta(l, n + 1 - l), l = floor(alpha (n + 1))."""
    n, alpha = 19, 0.2
    rng = np.random.default_rng(0)
    grid = (np.arange(2000) + 0.5) / 2000  # of scores that are uniform
    missed = [
        np.mean(Conformal(tuple(rng.uniform(size=n)), ()).p_values(grid)[0] <= alpha) for _ in range(400)
    ]
    assert stats.kstest(missed, stats.beta(4, n + 1 - 4).cdf).pvalue > 0.01
    assert np.mean(missed) == pytest.approx(alpha, abs=0.02)


def test_the_answer_is_the_group_that_the_score_is_usual_in() -> None:
    far = Conformal(tuple(np.arange(10.0, 20.0)), tuple(np.arange(-20.0, -10.0)))
    assert far.group(15.0) == "epilepsy"
    assert far.group(-15.0) == "control"
    assert far.group(0.0) is None  # usual in neither
    assert Conformal((1.0,) * 9, (1.0,) * 9).group(1.0) is None  # typical of both
    assert "typical of both groups, or of neither" in str(far.answer(0.0, 0.5))


def far_apart(n: int) -> Conformal:
    return Conformal((1.0,) * n, (-1.0,) * n)


@given(st.floats(0.005, 0.99) | st.integers(2, 200).map(lambda n: 1 / n))
def test_the_required_number_of_subjects_is_the_smallest_that_excludes_a_group(alpha: float) -> None:
    """By counting p-values: no calibration score is as extreme as the new one."""
    n = required_subjects(alpha)
    assert far_apart(n).p_values(np.array(-2.0))[0] <= alpha
    assert far_apart(n).answer(2.0, 0.5, alpha).group == "epilepsy"
    if n > 1:
        assert far_apart(n - 1).p_values(np.array(-2.0))[0] > alpha
        assert far_apart(n - 1).answer(2.0, 0.5, alpha).group is None


def test_the_grounds_of_an_answer_are_what_is_known() -> None:
    assert Answer("epilepsy", 0.1, 8).grounds == ""
    known, unknown = Answer("epilepsy", 0.1, 9, 0.75).grounds, Answer("epilepsy", 0.1, 9).grounds
    assert "estimated on n = 9 calibration subjects" in known
    assert "At the stated prevalence 75% of those assigned to this group belong to it." in known
    assert "estimated on n = 9 calibration subjects" in unknown
    assert "belong to it" not in unknown


def test_an_alpha_that_so_few_subjects_cannot_bear_is_refused_with_their_number() -> None:
    few = Conformal(tuple(range(8)), tuple(range(30)))
    with pytest.raises(DataError, match=r"n = 8 .* at least 1/\(n\+1\) = 0.111"):
        few.group(3.0, 0.1)
    few.check(1 / 9)
    answer = few.answer(3.0, 0.5, 0.1)
    assert (answer.group, answer.n) == (None, 8)
    assert str(answer).startswith("Cannot say: n = 8")
    assert "at least 9 per group are needed" in str(answer)
    assert answer.grounds == "", "no error rate holds"
    assert far_apart(9).answer(0.5, 0.5, 0.1).grounds.startswith("At most 10% of each group")
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(DataError, match="alpha"):
            few.check(alpha)


def test_uninformative_scores_are_not_assigned() -> None:
    c = Conformal((0.0,) * 20, (0.0,) * 20)
    assert c.rates() == Answers(0.1, 19, Rates(0, 0, 1), Rates(0, 0, 1))
    assert all(math.isnan(v) for v in c.rates().predictive(0.3))


@given(st.integers(0, 99))
@settings(max_examples=20)
def test_rates_are_those_of_leaving_each_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [15, 12])
    scores = 2 * labels + rng.normal(size=27)
    found = calibrate(scores, labels).rates(0.15)
    groups: dict[int, list[str | None]] = {0: [], 1: []}
    for i, (s, y) in enumerate(zip(scores, labels, strict=True)):
        others = [(t, z) for j, (t, z) in enumerate(zip(scores, labels, strict=True)) if j != i]
        patients, controls = [t for t, z in others if z == 1], [t for t, z in others if z == 0]
        like_patient = (1 + sum(t <= s for t in patients)) / (1 + len(patients)) > 0.15
        like_control = (1 + sum(t >= s for t in controls)) / (1 + len(controls)) > 0.15
        group = None if like_patient == like_control else "epilepsy" if like_patient else "control"
        groups[int(y)].append(group)
    for rates, label, right in ((found.epilepsy, 1, "epilepsy"), (found.control, 0, "control")):
        n = len(groups[label])
        assert rates.right == pytest.approx(groups[label].count(right) / n)
        assert rates.unsaid == pytest.approx(groups[label].count(None) / n)
        assert rates.right + rates.wrong + rates.unsaid == pytest.approx(1)
    assert found.n == 11


def test_predictive_values_follow_bayes() -> None:
    """Of 1000 people 100 have epilepsy: 80 of them and 90 of the others are assigned to epilepsy."""
    found = Answers(0.1, 30, Rates(0.8, 0.05, 0.15), Rates(0.6, 0.1, 0.3))
    epilepsy, control = found.predictive(0.1)
    assert epilepsy == pytest.approx(80 / (80 + 90))
    assert control == pytest.approx(540 / (540 + 5))


def test_each_subject_is_assigned_by_the_calibration_of_the_subject() -> None:
    high = Conformal(tuple(np.arange(100.0, 120.0)), tuple(np.arange(20.0)))
    low = Conformal(tuple(np.arange(-20.0, 0.0)), tuple(np.arange(-120.0, -100.0)))
    found = answers(np.array([1, 1, 0, 0]), np.array([110.0, -10, 10, -110]), [high, low, high, low])
    assert (found.epilepsy.right, found.control.right, found.n) == (1, 1, 20)
    few = answers(np.array([1, 0]), np.zeros(2), [high, Conformal((1.0,), (0.0,))])
    assert (few.alpha, few.n, few.epilepsy.unsaid) == (None, 1, 1)


# --- the training range


def rows(rng: np.random.Generator, n: int) -> list[dict[str, float]]:
    return [dict(zip("abcde", rng.normal(size=5).tolist(), strict=True)) for _ in range(n)]


def test_about_one_in_n_plus_one_recordings_of_the_distribution_is_out_of_range() -> None:
    rng = np.random.default_rng(0)
    n = 24
    alarms = [
        novelty.fit_novelty(rows(rng, n)).describe_novelty(rows(rng, 1)[0]) is not None for _ in range(1500)
    ]
    # A little more often: the centre is fitted to the same recordings.
    assert 0.8 / (n + 1) < np.mean(alarms) < 2 / (n + 1)


def test_training_recordings_are_in_range_and_the_outlying_feature_is_named() -> None:
    fitted = rows(np.random.default_rng(1), 20)
    gate = novelty.fit_novelty(fitted)
    assert all(gate.describe_novelty(row) is None for row in fitted)
    assert "its c is" in str(gate.describe_novelty({**fitted[0], "c": 100.0}))
    assert "of the 20 training recordings" in str(gate.describe_novelty({**fitted[0], "c": -100.0}))
    with pytest.raises(ValueError, match="needs at least one"):
        novelty.fit_novelty([])


def test_statistics_follow_gain_and_rhythm() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(6, 4, 512))
    found, louder = novelty.statistics(x, 128.0), novelty.statistics(3 * x, 128.0)
    for name in found:
        more = 2 * math.log(3) if name.endswith("power") else 0.0
        assert louder[name] - found[name] == pytest.approx(more, abs=1e-6)
    assert abs(found["kurtosis"]) < 0.3
    assert found["likeness of channels"] < 0.1
    t = np.arange(512) / 128
    for rhythm, frequency in (
        ("delta", 2.0),
        ("theta", 6.0),
        ("alpha", 10.0),
        ("beta", 20.0),
        ("gamma", 40.0),
    ):
        moved = novelty.statistics(x + 3 * np.sin(2 * np.pi * frequency * t), 128.0)
        rise = {name: moved[name] - found[name] for name in found if name.endswith("power")}
        assert max(rise, key=rise.__getitem__) == f"{rhythm} power"
    common = novelty.statistics(0.1 * x + x[:, :1], 128.0)
    assert common["likeness of channels"] > 0.9


def test_statistics_do_not_depend_on_the_order_of_windows() -> None:
    x = np.random.default_rng(4).normal(size=(150, 3, 128)) * np.linspace(0.1, 3, 150)[:, None, None]
    assert novelty.statistics(x[::-1], 64.0) == pytest.approx(novelty.statistics(x, 64.0), rel=1e-9)


def test_the_statistics_of_a_day_are_those_of_windows_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "_LOOKS", 50)
    x = np.random.default_rng(5).normal(size=(120, 3, 128))
    assert novelty.statistics(x, 64.0) == novelty.statistics(x[::3], 64.0)


def test_a_flat_channel_is_finite_and_far_out() -> None:
    rng = np.random.default_rng(3)
    gate = novelty.fit_novelty([novelty.statistics(rng.normal(size=(4, 3, 256)), 128.0) for _ in range(12)])
    flat = rng.normal(size=(4, 3, 256))
    flat[:, 1] = 0
    assert "spread of channels" in str(gate.describe_novelty(novelty.statistics(flat, 128.0)))
