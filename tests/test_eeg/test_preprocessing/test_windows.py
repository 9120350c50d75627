from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from eeg.datasets import Corpus, Entry
from eeg.io.reader import read_recording
from eeg.preprocessing.loading import load_windows, prepare, read_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.recording import open_recording
from eeg.preprocessing.windows import Windows, cut_windows, training_examples
from tests.test_eeg.helpers import prepare_raw
from tests.test_eeg.recordings import write_fif
from trainers.errors import DataError

CHANNELS = ("Fp1", "T7", "Cz", "O2")
SETTINGS = Preprocessing(CHANNELS)


# --- cutting


@given(
    channels=st.integers(1, 4),
    total=st.integers(1, 300),
    sfreq=st.sampled_from([16.0, 100.0, 128.0]),
    length=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_windows_are_the_signal_in_order(channels: int, total: int, sfreq: float, length: float) -> None:
    data = np.arange(channels * total, dtype=np.float32).reshape(channels, total)
    size = int(length * sfreq)
    if total < size:
        with pytest.raises(DataError, match="at least one window"):
            cut_windows(data, sfreq, length)
        return
    windows, onsets = cut_windows(data, sfreq, length)
    assert windows.dtype == np.float32
    assert len(windows) == len(onsets) == total // size
    for window, onset in zip(windows, onsets, strict=True):
        first = round(onset * sfreq)
        np.testing.assert_array_equal(window, data[:, first : first + size])


def test_too_short_recordings_report_their_length_and_the_minimum() -> None:
    with pytest.raises(DataError, match=r"1\.5 s long; expected at least one window of 2 s"):
        cut_windows(np.zeros((2, 192)), 128, 2.0)
    with pytest.raises(DataError, match=r"^1\.5 s long"):
        cut_windows(np.zeros((2, 512)), 128, 2.0, continuous=[(0, 64), (320, 512)])
    with pytest.raises(DataError, match=r"^0 s long; expected at least one window of 2 s"):
        cut_windows(np.zeros((2, 512)), 128, 2.0, continuous=[])


@pytest.mark.parametrize("reference", ["average", "mastoids"])
def test_recordings_of_a_corpus_are_read_with_the_ears_where_they_are_the_reference(
    reference: str, tmp_path: Path
) -> None:
    names = ("Fp1", "T7", "Cz", "O2", "A1", "A2")
    path = write_fif(
        tmp_path / "a_raw.fif", 2e-5 * np.random.default_rng(0).normal(size=(6, 20 * 128)), names
    )
    settings = Preprocessing(names[:4], reference=reference)  # type: ignore[arg-type]
    found = read_windows(Entry(path, "s", 0), settings, 2.0)
    expected = prepare(open_recording(path, ears=reference == "mastoids"), settings, 2.0).windows
    np.testing.assert_array_equal(found.data, expected.data)


def test_a_window_without_samples_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        cut_windows(np.zeros((2, 192)), 128, 0.001)


# --- a small corpus on disk


def write(path: Path, *, seconds: float = 20.0, flat: bool = False) -> Path:
    volts = 2e-5 * np.random.default_rng(0).standard_normal((4, round(seconds * 128)))
    if flat:
        volts[1] = 0
    return write_fif(path, volts, CHANNELS)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    events = tmp_path / "events.tsv"
    events.write_text(
        "onset\tduration\ttrial_type\n4.1\t0.2\tdischarge\n9.0\t0.2\twicket\n15.9\t0.2\tdischarge\n"
    )
    paths = [write(tmp_path / f"{name}_raw.fif", flat=name == "c") for name in "abcd"]
    return Corpus(
        "four",
        (
            Entry(paths[0], "a", 1, events=events),
            Entry(paths[1], "b", 0),
            Entry(paths[2], "c", 1),
            Entry(paths[3], "d", None),
        ),
    )


def test_windows_of_an_annotated_recording(corpus: Corpus) -> None:
    entry = corpus.entries[0]
    windows = read_windows(entry, SETTINGS, 2.0)
    assert windows.data.shape == (10, 4, 256)
    assert (windows.length, windows.label) == (2.0, 1)
    assert windows.positive is not None
    # 4.1 s is in the third; 15.9 + 0.2 is cut in halves at 16 s; the wicket does not count
    assert np.flatnonzero(windows.positive).tolist() == [2, 7, 8]
    np.testing.assert_array_equal(
        np.hstack(list(windows.data)), prepare_raw(read_recording(entry.path), SETTINGS)
    )


def test_unannotated_recordings_have_no_negatives(corpus: Corpus) -> None:
    assert read_windows(corpus.entries[1], SETTINGS, 2.0).positive is None


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])  # processes take seconds
def test_load_reports_bad_recordings_and_continues(
    corpus: Corpus, jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    errors: list[tuple[str, str]] = []
    loaded = load_windows(
        corpus,
        SETTINGS,
        10.0,
        jobs=jobs,
        progress=False,
        on_error=lambda e, x: errors.append((e.subject, str(x))),
    )
    assert [entry.subject for entry in loaded] == ["a", "b", "d"]
    assert [subject for subject, _ in errors] == ["c"]
    assert "flat signal in T7" in errors[0][1]
    for entry, windows in loaded.items():
        assert isinstance(windows, Windows)
        np.testing.assert_array_equal(windows.data, read_windows(entry, SETTINGS, 10.0).data)
    assert capsys.readouterr() == ("", "")


def test_load_stops_at_the_first_bad_recording_without_a_callback(corpus: Corpus) -> None:
    with pytest.raises(DataError, match=r"c_raw\.fif: flat signal in T7"):
        load_windows(corpus, SETTINGS, 10.0, progress=False)


def test_a_recording_shorter_than_one_window_is_named(corpus: Corpus) -> None:
    with pytest.raises(DataError, match=r"a_raw\.fif: 20 s long; expected at least one window of 30 s"):
        read_windows(corpus.entries[0], SETTINGS, 30.0)


def test_nothing_usable_is_an_error(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="four: none of its 4 recordings"):
        load_windows(corpus, SETTINGS, 30.0, progress=False, on_error=lambda entry, error: None)


# --- what is left out


def test_no_window_spans_an_excluded_one() -> None:
    signal = np.arange(12 * 4, dtype=np.float32).reshape(1, -1)
    data, onset = cut_windows(signal, 4, 2.0)
    left = np.array([True, True, False, True, True, True])
    nowhere = (np.empty(0), np.empty(0))
    examples, positive = training_examples(Windows(data[left], onset[left], 2.0, 1, nowhere))
    got = examples[:]
    assert not positive.any()
    # five windows and the three between neighbours; each is a piece of the signal
    assert got[:, 0, 0].tolist() == [0, 8, 24, 32, 40, 4, 28, 36]
    assert (np.diff(got[:, 0]) == 1).all()


@given(st.sets(st.integers(0, 9), min_size=1), st.floats(0, 0.999))
def test_times_on_windows_are_times_in_the_recording(kept: set[int], within: float) -> None:
    onset = 2.0 * np.array(sorted(kept))
    windows = Windows(np.zeros((len(onset), 1, 4), np.float32), onset, 2.0, None, None)
    laid = 2.0 * np.arange(len(onset)) + 2 * within
    np.testing.assert_allclose(windows.in_recording(laid), onset + 2 * within)
    assert windows.in_recording(np.array([2.0 * len(onset)])) == onset[-1] + 2  # the end of the last one


@pytest.mark.parametrize(("gap", "shifted"), [(0.0, 1), (0.1, 1), (0.2, 0), (0.25, 0)])
def test_windows_adjoin_within_a_small_part_of_a_sample(gap: float, shifted: int) -> None:
    """4 Hz: a sample is .25 s long.  What adjoins has a training example between the two."""
    nowhere = (np.empty(0), np.empty(0))
    windows = Windows(np.zeros((2, 1, 8), np.float32), np.array([0, 2 + gap]), 2.0, 1, nowhere)
    assert len(training_examples(windows)[0]) == 2 + shifted


def test_windows_of_which_none_was_left_out_say_so() -> None:
    account = Windows(np.zeros((3, 1, 8), np.float32), 2.0 * np.arange(3), 2.0).account()
    assert account == {"windows": 3, "flawed": 0, "ictal": 0, "short": 0, "quality": None}
