"""Recordings with gaps: each stretch is processed like a separate file, at its own time."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from hypothesis import given, strategies as st

from eeg.datasets import Entry
from eeg.datasets.seizures import find_seizures
from eeg.detector.detector import Detector
from eeg.explanation.segments import Segment
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.gaps import GAP, sample_starts, stretches
from eeg.io.reader import amplitude, read_recording
from eeg.preprocessing.loading import read_windows
from eeg.preprocessing.pipeline import Preprocessing, scale
from eeg.preprocessing.quality import examine
from eeg.preprocessing.recording import Recording
from eeg.reporting.export.edf import write_annotated_edf
from eeg.workflows.corpus import describe_exclusions
from eeg.workflows.detect import detect
from eeg.workflows.inspect import inspect_corpus
from tests.test_eeg.helpers import clean_raw, windows_from
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

RATE = 256
FOUR = ("Fp1", "T7", "Cz", "O2")
SETTINGS = Preprocessing(FOUR, scale=1e5)
PIECES = ((0.0, 21), (30.25, 14), (50.0, 3), (3600.0, 33))  # start and length, s; the third is too short
LONG = [0, 1, 3]


def microvolts(seconds: int, names: Sequence[str] = FOUR, seed: int = 0) -> np.ndarray:
    return 25 * np.random.default_rng(seed).standard_normal((len(names), seconds * RATE))


def write(path: Path, data: np.ndarray, names: Sequence[str] = FOUR) -> Path:
    """Write a continuous EDF+ or BDF+ in records of a second, with room for annotations in each."""
    room = [edfio.EdfAnnotation(0, None, "x" * 80)]
    return write_edf(path, data, names, RATE, limits=(-400, 400), annotations=room)


def write_with_gaps(
    path: Path,
    pieces: Sequence[tuple[float, np.ndarray]],
    notes: str = "",
    names: Sequence[str] = FOUR,
    clock: float = 0.0,
) -> Path:
    """Write a discontinuous EDF+ or BDF+ by hand: the time of each record, then the first one's notes."""
    write(path, np.hstack([data for _, data in pieces]), names)
    times = [clock + start + second for start, data in pieces for second in range(data.shape[1] // RATE)]
    content = bytearray(path.read_bytes())
    content[192:197] = path.suffix[1:4].upper().encode() + b"+D"
    header = 256 * (2 + len(names))
    size = (len(content) - header) // len(times)
    for number, time in enumerate(times):
        tals = f"+{time:.4f}\x14\x14\0" + (notes if number == 0 else "")
        begin = header + number * size + len(names) * RATE * (3 if path.suffix == ".bdf" else 2)
        width = header + (number + 1) * size - begin
        content[begin : begin + width] = tals.encode("latin-1").ljust(width, b"\0")
    path.write_bytes(content)
    return path


def four_pieces() -> list[tuple[float, np.ndarray]]:
    return [(start, microvolts(length, seed=seed)) for seed, (start, length) in enumerate(PIECES)]


# --- against the same pieces as files of their own


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
def test_windows_are_those_of_each_piece_as_a_file(suffix: str, tmp_path: Path) -> None:
    pieces = four_pieces()
    raw = read_recording(write_with_gaps(tmp_path / f"gaps.{suffix}", pieces), preload=False)
    got = windows_from(raw, SETTINGS, 2.0)
    apart = [
        windows_from(
            read_recording(write(tmp_path / f"{i}.{suffix}", pieces[i][1]), preload=False), SETTINGS, 2.0
        )
        for i in LONG
    ]
    # Samples of an EDF without gaps are read in single precision.
    np.testing.assert_allclose(got.data, np.concatenate([one.data for one in apart]), atol=1e-5)
    at = [PIECES[i][0] + one.onset for i, one in zip(LONG, apart, strict=True)]
    np.testing.assert_allclose(got.onset, np.concatenate(at), atol=0.5 / 128)  # a half sample of the new rate
    assert got.short == got.account()["short"] == 1
    message = describe_exclusions({Entry(tmp_path / name, name, 0): got for name in "ab"})
    windows = 2 * len(got.data)
    assert message == f"Excluded of {windows} windows: 2 stretch(es) between gaps that are too short."


def test_one_scale_for_all_stretches(tmp_path: Path) -> None:
    pieces = [(start, (3 if start else 1) * data) for start, data in four_pieces()]
    own = replace(SETTINGS, scale=None)
    raw = read_recording(write_with_gaps(tmp_path / "gaps.edf", pieces))
    cleaned = clean_raw(raw, own)
    volts = np.hstack([cleaned.get_data(start=start, stop=stop) for start, stop in stretches(cleaned)])
    middle = np.median(volts, axis=1, keepdims=True)
    unit = 1.4826 * np.median(np.median(np.abs(volts - middle), axis=1))
    together = np.hstack(
        [scale(cleaned, stretches(cleaned), own)[:, start:stop] for start, stop in stretches(cleaned)]
    )
    np.testing.assert_allclose(together, np.clip(volts / unit, -20, 20), rtol=1e-6)


def test_adjacent_records_are_one_stretch(tmp_path: Path) -> None:
    data = microvolts(20)
    halves = [(0.0, data[:, : 10 * RATE]), (10.001, data[:, 10 * RATE :])]  # a time that was rounded
    raw = read_recording(write_with_gaps(tmp_path / "gaps.edf", halves))
    np.testing.assert_array_equal(
        raw.get_data(), read_recording(write(tmp_path / "whole.edf", data)).get_data()
    )
    assert stretches(raw) == [(0, 20 * RATE)]


@given(a=st.integers(0, 30 * RATE), length=st.integers(1, 20 * RATE))
def test_any_part_is_read_at_its_time(a: int, length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.edf"
    pieces = [(0.0, microvolts(4, seed=1)), (9.5, microvolts(2, seed=2)), (30.0, microvolts(5, seed=3))]
    if not path.exists():
        write_with_gaps(path, pieces, clock=0.5)
    whole = np.zeros((4, 35 * RATE))
    for start, data in pieces:
        whole[:, round(start * RATE) : round(start * RATE) + data.shape[1]] = data
    raw = read_recording(path, preload=False)
    assert raw.n_times == whole.shape[1]
    step = 800 / 2**16  # µV
    np.testing.assert_allclose(raw[1:3, a : a + length][0] * 1e6, whole[1:3, a : a + length], atol=step)


# --- times


def test_annotations_and_seizures_keep_the_time_of_the_file(tmp_path: Path) -> None:
    notes = "+3605.5\x1514.5\x14Seizure\x14\0+32\x14Muskelkr\xe4mpf\x14blink\x14\0"
    path = write_with_gaps(tmp_path / "gaps.edf", four_pieces(), notes, clock=0.5)
    raw = read_recording(path, preload=False)
    annotations = [
        (a["onset"], a["duration"], a["description"]) for a in raw.annotations if a["description"] != GAP
    ]
    assert annotations == [(31.5, 0, "Muskelkr\u00e4mpf"), (31.5, 0, "blink"), (3605, 14.5, "Seizure")]
    assert [float(value) for (value,) in find_seizures(raw).spans] == [3605, 14.5]
    windows = read_windows(Entry(path, "a", None), SETTINGS, 2.0)
    assert windows.ictal == 8  # from the third window of the last piece, 3604 to 3606 s, to that of 3618 s
    assert not ((windows.onset > 3603) & (windows.onset < 3619.5)).any()


def test_flaws_are_reported_at_their_time(tmp_path: Path) -> None:
    pieces = [(0.0, microvolts(20)), (100.0, microvolts(20, seed=1))]
    pieces[1][1][2, 5 * RATE : 7 * RATE] = 10.0
    raw = read_recording(write_with_gaps(tmp_path / "gaps.edf", pieces))
    found = examine(Recording.scan(raw), FOUR)
    assert found.seconds == 40
    (flaw,) = [flaw for flaw in found.flaws if flaw.kind == "flat"]
    assert (flaw.onset, flaw.duration) == pytest.approx((105, 2), abs=2 / RATE)


def test_the_zeros_of_a_gap_are_not_flat_signal(tmp_path: Path) -> None:
    pieces = [(0.0, microvolts(20)), (10_000.0, microvolts(20, seed=1))]
    raw = read_recording(write_with_gaps(tmp_path / "gaps.edf", pieces), preload=False)
    np.testing.assert_allclose(amplitude(raw) * 1e6, 25, rtol=0.05)
    assert examine(Recording.scan(raw), FOUR).flat == ()


def test_the_annotated_copy_keeps_the_time_of_the_file(tmp_path: Path) -> None:
    raw = read_recording(
        write_with_gaps(tmp_path / "gaps.edf", [(0.0, microvolts(5)), (60.0, microvolts(5))])
    )
    write_annotated_edf(Recording.scan(raw), [Segment(62.5, 0.5, ("Cz",), 1.0, 0.1)], tmp_path / "copy.edf")
    copy = read_recording(tmp_path / "copy.edf")
    assert stretches(copy) == stretches(raw) == [(0, 5 * RATE), (60 * RATE, 65 * RATE)]
    assert [a["onset"] for a in copy.annotations if a["description"] != GAP] == [62.5]
    np.testing.assert_allclose(copy.get_data() * 1e6, raw.get_data() * 1e6, atol=0.02)


@pytest.mark.slow
def test_a_detection_keeps_the_time_of_the_file(detector: Detector, tmp_path: Path) -> None:
    pieces = [(0.0, microvolts(20, TEN_TWENTY)), (100.0, microvolts(20, TEN_TWENTY, seed=1))]
    path = write_with_gaps(tmp_path / "gaps.edf", pieces, names=TEN_TWENTY)
    found = detect(detector, path, tmp_path / "out")
    onsets = found.analysis.decision.window_onset
    np.testing.assert_array_equal(onsets, [*np.arange(0, 20, 2), *np.arange(100, 120, 2)])
    copy = read_recording(found.folder / "annotated.edf")
    assert stretches(copy) == [(0, 20 * RATE), (100 * RATE, 120 * RATE)]


def test_inspect_reports_gaps(tmp_path: Path) -> None:
    path = write_with_gaps(tmp_path / "gaps.edf", four_pieces())
    (found,) = inspect_corpus(path, progress=False).recordings
    assert found.problems == ("4 pieces between gaps, the longest of 33 s",)
    assert found.minutes == pytest.approx((21 + 14 + 3 + 33) / 60)


# --- where a recording is continuous


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 40)), max_size=6))
def test_stretches_are_outside_all_gaps(gaps: list[tuple[int, int]]) -> None:
    raw = mne.io.RawArray(np.zeros((1, 100)), mne.create_info(1, 10.0), first_samp=70, verbose="error")
    spans = mne.Annotations(*np.reshape(gaps, (-1, 2)).T / 10, [GAP] * len(gaps))
    raw.set_annotations(spans, emit_warning=False)  # some reach beyond the end
    covered = np.zeros(100, bool)
    for start, length in gaps:
        covered[start : start + length] = True
    cuts = [start for start, length in gaps if length == 0]
    outside = np.ones(100, bool)
    for start, stop in stretches(raw):
        assert stop > start
        assert not any(start < cut < stop for cut in cuts)
        outside[start:stop] = False
    np.testing.assert_array_equal(outside, covered)


def test_short_stretches_become_gaps() -> None:
    raw = mne.io.RawArray(np.zeros((1, 100)), mne.create_info(1, 10.0), first_samp=70, verbose="error")
    raw.set_annotations(mne.Annotations([2.0, 5.0], [1.0, 0.5], GAP))
    assert Recording.scan(raw).without_short(2.5).stretches == ((55, 100),)
    assert [Recording.scan(raw).without_short(least).longest for least in (2.5, 9.0)] == [4.5, 0.0]
    assert stretches(raw) == [(0, 20), (30, 50), (55, 100)]  # which stays as it was


@given(st.integers(1, 30), st.integers(1, 8))
def test_sample_starts_are_in_stretches(size: int, most: int) -> None:
    raw = mne.io.RawArray(np.zeros((1, 100)), mne.create_info(1, 10.0), verbose="error")
    raw.set_annotations(mne.Annotations([2.0, 5.0], [1.0, 0.5], GAP))
    starts = sample_starts(stretches(raw), size, most)
    assert 1 <= len(starts) <= most
    assert all(any(a <= start and start + size <= b for a, b in stretches(raw)) for start in starts)


# --- what cannot be read


def expect(path: Path, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_recording(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert re.search(words, message.removeprefix(str(path)))  # the folder is named after the test


def test_records_without_a_time(tmp_path: Path) -> None:
    path = write_with_gaps(tmp_path / "gaps.edf", four_pieces())
    path.write_bytes(path.read_bytes().replace(b"+30.2500\x14", b"soonishly"))
    expect(path, "its data record 22 has no time")


def test_records_that_overlap(tmp_path: Path) -> None:
    expect(write_with_gaps(tmp_path / "gaps.edf", [(0.0, microvolts(4)), (3.0, microvolts(4))]), "overlap")


def test_records_that_overlap_increasingly(tmp_path: Path) -> None:
    """Each begins a sample early, which rounding might do; in the end there is no room for a gap."""
    early = 1 / RATE
    pieces = [(i * (1 - early), microvolts(1)) for i in range(20)] + [(20 - 15 * early, microvolts(1))]
    expect(write_with_gaps(tmp_path / "gaps.edf", pieces), "overlap")


def test_a_clock_that_was_set(tmp_path: Path) -> None:
    pieces = [(0.0, microvolts(4)), (30 * 86400.0, microvolts(4))]
    expect(write_with_gaps(tmp_path / "gaps.edf", pieces), r"spans 30\.0 days with its gaps")


def test_nothing_but_short_stretches(tmp_path: Path) -> None:
    raw = read_recording(write_with_gaps(tmp_path / "gaps.edf", [(0.0, microvolts(4)), (9.0, microvolts(5))]))
    with pytest.raises(DataError, match=r"gaps\.edf: 5\.0 s long; expected at least 6\.6 s"):
        windows_from(raw, SETTINGS, 2.0)
