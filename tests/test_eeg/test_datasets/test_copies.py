"""The same recording under two subjects."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from eeg.cli.main import main
from eeg.datasets import open_corpus
from eeg.datasets.copies import find_copies, signal_hash
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.workflows.inspect import inspect_corpus
from tests.test_eeg.recordings import write_edf, write_fif


def eeg(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def with_copy(cohort: Path, root: Path, subject: str, group: str, patient: bytes = b"") -> Path:
    """Copy a cohort, and in it the recording of subject 001 to another, with another header."""
    shutil.copytree(cohort, root)
    (original,) = (root / "sub-001").rglob("*_eeg.edf")
    copy = root / f"sub-{subject}" / "eeg" / f"sub-{subject}_task-{patient.decode() or 'again'}_eeg.edf"
    copy.parent.mkdir(parents=True, exist_ok=True)
    content = bytearray(original.read_bytes())
    if patient:
        content[8:88] = patient.ljust(80)
    copy.write_bytes(content)
    if subject != "001":
        table = root / "participants.tsv"
        rows = table.read_text(encoding="utf-8").splitlines()
        cells = dict.fromkeys(rows[0].split("\t"), "n/a") | {
            "participant_id": f"sub-{subject}",
            "group": group,
        }
        table.write_text("\n".join([*rows, "\t".join(cells.values())]) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("patient", [b"", b"X"])
def test_a_training_refuses_two_subjects_with_one_recording(
    cohort: Path, patient: bytes, tmp_path: Path
) -> None:
    root = with_copy(cohort, tmp_path / "c", "901", "control", patient)
    result = eeg("train", root, "--out", tmp_path / "run", "--epochs", 1, "--folds", 2)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if "the same recording" in line]
    assert line.startswith("Error: ")
    assert "sub-001_" in line
    assert "sub-901_" in line
    assert "of two subjects; remove one of them" in line


def test_an_audit_and_an_inspection_report_it(cohort: Path, tmp_path: Path) -> None:
    root = with_copy(cohort, tmp_path / "c", "901", "control", b"X")
    assert "are the same recording, of two subjects" in eeg("audit", root, "--folds", 2).output
    problems = inspect_corpus(root, progress=False).recordings[-1].problems
    assert problems == ("the same signal as recording 1, which is of another subject",)


def test_one_subject_may_have_a_recording_twice_and_that_is_reported(cohort: Path, tmp_path: Path) -> None:
    root = with_copy(cohort, tmp_path / "c", "001", "epilepsy")
    corpus = open_corpus(root)
    ((first, other),) = find_copies(corpus.entries)
    assert first.subject == other.subject == "001"
    found = inspect_corpus(root, progress=False).recordings
    assert [one.problems for one in found if one.problems] == [("the same signal as recording 1",)]


def test_other_signals_formats_and_flat_ones(tmp_path: Path) -> None:
    """A signal is the same in any format that holds its values; flat ones are no copies of one another."""
    steps = np.random.default_rng(0).integers(-300, 300, (2, 1280)) * 0.1
    names, flat = ("T7", "Cz"), np.zeros((2, 1280))
    limits = (-3276.8, 3276.7)
    for name, signal in (("a", steps), ("b", steps[::-1]), ("c", flat), ("d", flat)):
        write_edf(tmp_path / f"{name}.edf", signal, names, limits=limits)
    write_fif(tmp_path / "e_raw.fif", steps * 1e-6, names)
    found = inspect_corpus(tmp_path, progress=False).recordings
    assert [bool(any("the same signal" in text for text in one.problems)) for one in found] == [
        *[False] * 4,
        True,
    ]


def test_electrodes_at_the_ears_have_no_part_in_a_hash(tmp_path: Path) -> None:
    """Only some detectors read them."""
    signals = 20 * np.random.default_rng(0).standard_normal((4, 1280))
    path = write_edf(tmp_path / "a.edf", signals, ("Fz", "A1", "Cz", "A2"))
    with_ears, without = (read_recording(path, preload=False, ears=ears) for ears in (True, False))
    assert len(with_ears.ch_names) == len(without.ch_names) + 2
    assert signal_hash(with_ears) == signal_hash(without) is not None


@pytest.mark.filterwarnings("error")
def test_a_signal_that_no_integer_holds_has_a_hash(tmp_path: Path) -> None:
    volts = 20e-6 * np.random.default_rng(0).standard_normal((19, 2560))
    volts[3, 7], volts[4, 9] = 1e300, np.inf
    assert signal_hash(read_recording(write_fif(tmp_path / "a_raw.fif", volts, TEN_TWENTY), preload=False))
