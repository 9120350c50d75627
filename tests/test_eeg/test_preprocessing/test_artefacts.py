"""Artefacts are added to simulated signals, of which everything else must stay as it was."""

from itertools import groupby, pairwise

import mne
import numpy as np
import pytest
from hypothesis import given, strategies as st

from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.artefacts import (
    ARTEFACT_LIMIT,
    STILL,
    _deviation,
    bridge_spans,
    find_artefacts,
    find_still,
    runs,
    spans_to_bridge,
    uneven_channels,
)
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import examine
from eeg.preprocessing.recording import Recording
from eeg.simulation.cohort import simulate_subject
from tests.test_eeg.helpers import clean_raw, windows_from
from trainers.errors import DataError

RATE = 256
SETTINGS = Preprocessing(TEN_TWENTY)


@pytest.fixture(scope="module")
def volts() -> np.ndarray:
    """40 s with discharges, (19, T) V."""
    return simulate_subject(0, 1, seed=7, minutes=2 / 3, sfreq=RATE).data.astype(float)


def recording(volts: np.ndarray, rate: float = RATE) -> mne.io.BaseRaw:
    raw = mne.io.RawArray(volts, mne.create_info(list(TEN_TWENTY), rate, "eeg"), verbose="error")
    return raw.set_montage("colin27_1020", verbose="error")


def pop(seconds: float, peak: float, decay: float = 0.1, rate: int = RATE) -> np.ndarray:
    """A jump at 20 s of 40 that decays."""
    time = np.arange(40 * rate) / rate - 20
    return np.where(time >= 0, peak * np.exp(-np.clip(time, 0, None) / decay), 0.0) * (time < seconds)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_runs_of_a_mask_cover_what_is_true_in_it(mask: list[bool]) -> None:
    found = runs(np.array(mask))
    assert [i for start, stop in found for i in range(start, stop)] == [i for i, on in enumerate(mask) if on]
    assert all(stop < start for (_, stop), (start, _) in pairwise(found))


@given(st.lists(st.tuples(st.sampled_from([0.0, 5e-10, 1e-6, -2e-6]), st.integers(1, 9)), max_size=9))
def test_still_is_where_no_sample_differs_from_the_one_before(steps: list[tuple[float, int]]) -> None:
    volts = np.cumsum([0.0, *(value for value, times in steps for _ in range(times))])
    same = [bool(abs(b - a) <= STILL) for a, b in pairwise(volts)]
    expected, start = [], 0
    for equal, group in groupby(same):
        stop = start + len(list(group))
        expected += [(start, stop + 1)] if equal and stop - start >= 5 else []
        start = stop
    assert find_still(volts, 50) == expected


@pytest.mark.parametrize("where", [slice(0, 40), slice(-40, None)])
def test_an_artefact_at_an_end_reaches_it(where: slice, volts: np.ndarray) -> None:
    row = volts[3].copy()
    row[where] += 5e-3
    ((start, stop),) = find_artefacts(row, RATE)
    assert (start == 0) if where.start == 0 else (stop == len(row))


def test_each_of_several_pops_is_an_artefact(volts: np.ndarray) -> None:
    row, at = volts[4].copy(), [10 * RATE, 14 * RATE, 20 * RATE, 21 * RATE]
    row[at] += 3e-3
    assert find_artefacts(row, RATE) == [(i - 5, i + 1 + 5) for i in at]


def test_a_length_need_not_be_whole_seconds(volts: np.ndarray) -> None:
    row = volts[3, : -RATE // 3].copy()
    row[1000] += 5e-3
    ((start, stop),) = find_artefacts(row, RATE)
    assert start <= 1000 < stop


def test_the_level_of_a_drift_is_the_drift() -> None:
    drift = 1e-4 * np.arange(60 * RATE) / RATE
    away, _ = _deviation(drift, RATE)
    np.testing.assert_allclose(away[3 * RATE : -3 * RATE], 0, atol=2e-6)


@pytest.mark.parametrize(("peak", "found"), [(1.85e-3, 0), (2.15e-3, 1)])
def test_a_noisy_channel_has_a_limit_of_20_standard_deviations(peak: float, found: int) -> None:
    row = 1e-4 * np.random.default_rng(0).standard_normal(60 * RATE)
    row[30 * RATE] = peak
    assert len(find_artefacts(row, RATE)) == found


def remove_artefacts(volts: np.ndarray, rate: float) -> np.ndarray:
    return bridge_spans(volts, rate, spans_to_bridge(volts, rate))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_steps_of_a_recorder_that_add_up_to_the_limit_are_beyond_it(
    dtype: type, volts: np.ndarray
) -> None:
    row = np.tile([0.0, 1e-6], 20 * RATE)
    row[20 * RATE] = 1e-3 + 5e-7  # from a level of half a step
    assert len(find_artefacts(row.astype(dtype), RATE)) == 1
    row[20 * RATE] -= 2e-6
    assert find_artefacts(row.astype(dtype), RATE) == []
    alone = np.zeros(40 * RATE)
    alone[20 * RATE] = 1e-3
    assert len(find_artefacts(alone.astype(dtype), RATE)) == 1


def test_a_recording_without_artefacts_is_not_changed(volts: np.ndarray) -> None:
    for row in volts:
        assert remove_artefacts(row, RATE) is row
    largest = volts * (0.9 * ARTEFACT_LIMIT / np.abs(volts).max())  # discharges of 0.9 mV
    for row in largest:
        assert remove_artefacts(row, RATE) is row
    drift = 20e-3 * np.sin(2 * np.pi * 0.01 * np.arange(volts.shape[1]) / RATE)  # of a DC amplifier
    assert find_artefacts(volts[3] + drift, RATE) == []
    assert find_artefacts(1e3 * volts[3], RATE) == []  # a channel in a wrong unit


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sample_becomes_a_straight_line(sign: int, volts: np.ndarray) -> None:
    row = volts[4].copy()
    row[20 * RATE] += sign * 3e-3
    spans = find_artefacts(row, RATE)
    assert len(spans) == 1
    start, stop = spans[0]
    assert (start, stop) == (20 * RATE - 5, 20 * RATE + 1 + 5)  # and .02 s on both sides
    cleaned = remove_artefacts(row, RATE)
    np.testing.assert_array_equal(
        np.delete(cleaned, slice(start, stop)), np.delete(volts[4], slice(start, stop))
    )
    assert np.abs(np.diff(cleaned[start - 1 : stop + 1], 2)).max() < 1e-12
    np.testing.assert_allclose(remove_artefacts(row + 5e-3, RATE), cleaned + 5e-3, atol=1e-12)
    row[10] = np.nan
    assert spans_to_bridge(row, RATE) == []


@pytest.mark.parametrize(("apart", "count"), [(RATE // 2, 1), (RATE // 2 + 1, 2)])
def test_what_is_at_most_half_a_second_apart_is_one_artefact(
    apart: int, count: int, volts: np.ndarray
) -> None:
    row = volts[4].copy()
    row[[20 * RATE, 20 * RATE + apart]] += 3e-3
    assert len(find_artefacts(row, RATE)) == count


@pytest.mark.parametrize(
    "artefact",
    [
        pop(20, 3e-3),
        pop(20, 3e-3, 0.5),
        pop(1, 2e-3, 1e6),
        pop(20, 3e-3, 1e6),
        pop(2, 4e-3, 1) * np.sin(np.arange(40 * RATE) / 20),
    ],
    ids=["pop", "slow pop", "rectangle", "step", "movement"],
)
def test_nothing_of_an_artefact_leaves_its_channel_and_its_time(
    artefact: np.ndarray, volts: np.ndarray
) -> None:
    """Before the 0.5 Hz filter and the average reference would carry it everywhere."""
    struck = volts.copy()
    struck[4] += artefact
    plain, found = (clean_raw(recording(v), SETTINGS).get_data() for v in (volts, struck))
    apart, others = np.abs(found - plain), [i for i in range(19) if i != 4]
    assert apart[others].max() < 1e-5  # 1/19 of what a straight line leaves out of one channel
    outside = np.r_[0 : 18 * 128, 26 * 128 : 40 * 128]
    assert apart[:, outside].max() < 5e-6


def test_windows_with_an_artefact_are_excluded(volts: np.ndarray) -> None:
    struck = volts.copy()
    struck[4] += pop(20, 3e-3)
    windows = windows_from(recording(struck), SETTINGS, 2.0)
    assert windows.flawed == 2
    assert not {18.0, 20.0} & {*windows.onset}  # the jump is where one ends and the other begins
    assert windows_from(recording(struck), SETTINGS, 2.0, policy="keep").flawed == 0
    assert windows.quality is not None
    assert {flaw.kind for flaw in windows.quality.flaws} >= {"artefact"}


def test_the_scale_is_that_of_the_time_without_zeros(volts: np.ndarray) -> None:
    zeros = volts + 1e-3
    zeros[:, 10 * RATE : 26 * RATE] = 0  # with the offset of the electrodes
    plain = windows_from(recording(volts), SETTINGS, 2.0)
    found = windows_from(recording(zeros), SETTINGS, 2.0)
    late = found.onset >= 30
    ratio = found.data[late].std() / plain.data[plain.onset >= 30].std()
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("factor", [1e3, 10])
def test_channels_of_an_impossible_unit_do_not_enter_the_average(factor: float, volts: np.ndarray) -> None:
    struck, dead = volts.copy(), volts.copy()
    struck[[3, 8]] *= factor
    dead[[3, 8]] = 0
    names = [TEN_TWENTY[3], TEN_TWENTY[8]]
    raw = recording(struck)
    assert uneven_channels(raw, list(TEN_TWENTY)) == names
    found, expected = (windows_from(recording(v), SETTINGS, 2.0) for v in (struck, dead))
    np.testing.assert_allclose(found.data, expected.data, rtol=1e-5)
    assert found.quality is not None
    assert found.quality.uneven == tuple(names)
    assert f"amplitude unlike that of the others: {', '.join(names)}" in found.quality.flagged
    struck[12] *= factor
    with pytest.raises(
        DataError, match=f"the amplitude of {', '.join([*names, TEN_TWENTY[12]])} is more than"
    ):
        windows_from(recording(struck), SETTINGS, 2.0)


@pytest.mark.parametrize(("factor", "uneven"), [(4.8, []), (5.2, [TEN_TWENTY[7]])])
def test_five_times_the_amplitude_is_the_limit(factor: float, uneven: list[str]) -> None:
    volts = 2e-5 * np.random.default_rng(0).standard_normal((19, 60 * RATE))
    volts[7] *= factor
    assert uneven_channels(recording(volts), list(TEN_TWENTY)) == uneven


def test_natural_differences_between_channels_are_not_uneven(volts: np.ndarray) -> None:
    raw = recording(np.geomspace(1 / 3, 3, 19)[:, None] * volts / volts.std(axis=1, keepdims=True) * 2e-5)
    assert uneven_channels(raw, list(TEN_TWENTY)) == []


def test_a_fast_recording_gives_what_it_gives_at_a_usual_rate(volts: np.ndarray) -> None:
    """The 19 channels are interpolated to 4096 Hz; the examination and the result are those of 256 Hz."""
    blink = 2e-4 * np.hanning(round(0.3 * RATE))
    slow = volts.copy()
    slow[[TEN_TWENTY.index("Fp1"), TEN_TWENTY.index("Fp2")], 20 * RATE : 20 * RATE + len(blink)] += blink
    fast = mne.filter.resample(slow, 16, 1, verbose="error")
    one, other = recording(slow), recording(fast, 16 * RATE)
    a, b = windows_from(one, SETTINGS, 2.0), windows_from(other, SETTINGS, 2.0)
    np.testing.assert_allclose(a.data[1:-1], b.data[1:-1], atol=0.1)
    np.testing.assert_array_equal(a.onset, b.onset)
    assert other.info["sfreq"] == 16 * RATE
    found = [[f.onset for f in w.quality.flaws if f.kind == "blink"] for w in (a, b) if w.quality]
    assert found[0] == pytest.approx(found[1], abs=0.02)
    assert pytest.approx(min(found[0], key=lambda onset: abs(onset - 19.9)), abs=0.05) == 19.9


def test_decimation_keeps_time_gaps_and_values() -> None:
    rate, seconds = 8192, 12
    time = np.arange(rate * seconds) / rate
    wave = 1e-4 * np.sin(2 * np.pi * 10 * time)
    volts = np.tile(wave, (19, 1))
    raw = recording(volts, rate)
    raw.set_annotations(mne.Annotations([5.0, 9.0], [1.0, 0.5], ["BAD_ACQ_SKIP", "seizure"]))
    odd = raw.copy().set_annotations(mne.Annotations(5.0, 1.0 + 3 / rate, "BAD_ACQ_SKIP"))
    late = Recording.scan(odd).slowed(1000.0).raw.get_data()[:, 6 * 1024 + 1 + 50 : -50]
    np.testing.assert_allclose(late, volts[:, ::8][:, 6 * 1024 + 1 + 50 : -50], atol=1e-7)
    slow = Recording.scan(raw).slowed(1000.0)
    assert slow.raw.info["sfreq"] == 1024
    assert slow.stretches == ((0, 5 * 1024), (6 * 1024, 12 * 1024))
    assert slow.raw.annotations.onset.tolist() == [5.0, 9.0]
    for start, stop in slow.stretches:
        inner = slice(start + 50, stop - 50)
        np.testing.assert_allclose(slow.raw.get_data()[:, inner], volts[:, ::8][:, inner], atol=1e-7)
    assert Recording.scan(raw).slowed(5000.0).raw is raw


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_signals_are_above_their_first_value_and_above_0_where_that_is_not_finite(value: float) -> None:
    volts = 0.3 + 1e-5 * np.random.default_rng(0).standard_normal((3, 20 * RATE))
    volts[1] -= 0.3
    volts[1, 5 * RATE] = value
    scanned = Recording.scan(mne.io.RawArray(volts, mne.create_info(["a", "b", "c"], RATE, "eeg")))
    found, level = scanned.signals(["c", "b"], 5 * RATE, 7 * RATE)
    part = volts[[2, 1], 5 * RATE : 7 * RATE]
    np.testing.assert_array_equal(level, [part[0, 0], 0])
    np.testing.assert_array_equal(found, (part - level[:, None]).astype(np.float32))


def test_decimation_in_blocks_is_seamless(monkeypatch: pytest.MonkeyPatch) -> None:
    volts = 1e-5 * np.cumsum(np.random.default_rng(0).standard_normal((19, 4 * 4096)), axis=1)
    raw = recording(volts, 4096)
    whole = Recording.scan(raw).slowed(1024.0).raw.get_data()
    monkeypatch.setattr("eeg.preprocessing.recording.BLOCK", 0.7)
    parts = Recording.scan(raw).slowed(1024.0).raw.get_data()
    inner = slice(30, -30)  # at the ends of the recording the signal is extended by a line
    np.testing.assert_allclose(parts[:, inner], whole[:, inner], rtol=0, atol=1e-12)


def test_quality_counts_artefacts_of_used_channels_only(volts: np.ndarray) -> None:
    struck = volts.copy()
    struck[4] *= 30
    struck[4] += pop(20, 0.1)
    quality = examine(Recording.scan(recording(struck)), TEN_TWENTY)
    assert quality.uneven == (TEN_TWENTY[4],)
    assert not any(flaw.kind == "artefact" for flaw in quality.flaws)
