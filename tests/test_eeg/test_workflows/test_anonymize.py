"""De-identified copies: the signal of the source, its coded marks, and nothing that identifies anyone."""

import json
import os
import stat
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import edfio
import mne
import numpy as np
import pytest
from click.testing import CliRunner, Result

from eeg.cli.main import main
from eeg.datasets import open_corpus
from eeg.datasets.seizures import find_seizures
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.gaps import gaps
from eeg.io.reader import read_recording
from eeg.io.vocabulary import known_mark
from eeg.reporting.export.anonymous import Copied
from eeg.workflows import anonymize as workflow
from tests.test_eeg.recordings import write_edf

SECRET = "Zebulon"
NAMES = [*(f"EEG {name}-REF" for name in TEN_TWENTY), "ECG", "Zebulon 1"]
CODES = ("Sleep stage N2", "seizure", "eyes closed", "T1", "Artefact")
FREE = ("Zebulon moves", "Dr House enters", "room 12, 02-AUG-1951")


def noise(channels: int = len(NAMES), seconds: int = 12) -> np.ndarray:
    """Return (C, T) µV at 128 Hz."""
    return 20 * np.random.default_rng(0).normal(size=(channels, seconds * 128))


def identified(path: Path, names: Sequence[str] = NAMES, **fields: Any) -> Path:
    """Write an EDF+ or BDF+ with an identity in every field that has room for one."""
    notes = [edfio.EdfAnnotation(i, 0.5 if i % 2 else None, text) for i, text in enumerate((*CODES, *FREE))]
    settings: dict[str, Any] = {
        "patient": edfio.Patient(
            code="PAT4711", sex="F", birthdate=date(1951, 8, 2), name="Zebulon_Doe", additional=("Boston",)
        ),
        "recording": edfio.Recording(
            startdate=date(2019, 3, 4),
            hospital_administration_code="ADM99",
            investigator_technician_code="House",
            equipment_code="SerialNo99",
        ),
        "starttime": time(11, 12, 13),
        "annotations": notes,
        "filters": "set by Zebulon",
        **fields,
    }
    write_edf(path, noise(len(names)), names, **settings)
    return path


def anonymize(*words: object) -> Result:
    result = CliRunner().invoke(main, ["anonymize", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def contents(folder: Path) -> bytes:
    """Return the names and the bytes of everything below a folder, in lower case."""
    files = sorted(folder.rglob("*"))
    names = "\n".join(path.relative_to(folder).as_posix() for path in files).encode()
    return (names + b"".join(path.read_bytes() for path in files if path.is_file())).lower()


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_a_copy_has_the_samples_of_the_source_and_no_identity(suffix: str, tmp_path: Path) -> None:
    source = identified(tmp_path / f"Zebulon{suffix}")
    copy = tmp_path / f"copy{suffix}"
    result = anonymize(source, copy, "--json")
    assert result.exit_code == 0, result.output
    read = edfio.read_bdf if suffix == ".bdf" else edfio.read_edf
    before, after = read(source), read(copy)
    assert [s.label for s in after.signals] == [*NAMES[:-1], "channel 21"]
    for old, new in zip(before.signals, after.signals, strict=True):
        np.testing.assert_array_equal(new.digital, old.digital)
        assert new.physical_range == old.physical_range
        assert new.physical_dimension == old.physical_dimension
        assert new.transducer_type == new.prefiltering == new.reserved == ""
    assert after.local_patient_identification == "X X X X"
    assert after.local_recording_identification == "Startdate 01-JAN-1985 X X X"
    assert (after.startdate, after.starttime) == (date(1985, 1, 1), time(0))
    assert [(a.onset, a.duration, a.text) for a in after.annotations] == [
        (a.onset, a.duration, a.text) for a in before.annotations if a.text in CODES
    ]
    header = copy.read_bytes()[: 256 * (len(NAMES) + 2)].lower()
    for word in (b"zebulon", b"doe", b"4711", b"house", b"serialno", b"adm99", b"boston", b"1951", b"2019"):
        assert word not in header
    found = json.loads(result.stdout)
    (entry,) = found["copies"]
    assert (entry["annotations_kept"], entry["annotations_dropped"]) == (len(CODES), len(FREE))
    assert (entry["channels_renamed"], found["failed"]) == (1, 0)
    assert SECRET not in result.output


def test_mne_reads_the_same_volts_and_the_anonymous_date(tmp_path: Path) -> None:
    source = identified(tmp_path / "a.edf")
    assert anonymize(source, tmp_path / "b.edf").exit_code == 0
    before, after = (mne.io.read_raw_edf(tmp_path / f"{name}.edf", verbose="error") for name in "ab")
    np.testing.assert_array_equal(after.get_data(), before.get_data())
    assert after.info["meas_date"] == datetime(1985, 1, 1, tzinfo=UTC)
    assert dict(after.info["subject_info"]) == {"his_id": "X", "sex": 0, "last_name": "X"}


def test_options_keep_the_time_of_day_and_filters_of_the_usual_form(tmp_path: Path) -> None:
    source = identified(tmp_path / "a.edf", filters="HP:0.5Hz LP:70Hz N:50Hz")
    assert anonymize(source, tmp_path / "b.edf", "--keep-time").exit_code == 0
    copy = edfio.read_edf(tmp_path / "b.edf")
    assert (copy.startdate, copy.starttime) == (date(1985, 1, 1), time(11, 12, 13))
    assert {s.prefiltering for s in copy.signals} == {"HP:0.5Hz LP:70Hz N:50Hz"}


def test_plain_edf_becomes_edf_plus(tmp_path: Path) -> None:
    source = identified(tmp_path / "a.edf")
    edf = edfio.read_edf(source)
    plain = edfio.Edf(edf.signals, data_record_duration=1)
    plain._local_patient_identification = b"Zebulon Doe".ljust(80)
    plain.write(tmp_path / "plain.edf")
    content = bytearray((tmp_path / "plain.edf").read_bytes())
    content[192:236] = b"".ljust(44)
    (tmp_path / "plain.edf").write_bytes(content)
    assert anonymize(tmp_path / "plain.edf", tmp_path / "b.edf").exit_code == 0
    copy = edfio.read_edf(tmp_path / "b.edf")
    assert copy.reserved == "EDF+C"
    np.testing.assert_array_equal(copy.signals[3].digital, edf.signals[3].digital)


def test_gaps_are_kept(tmp_path: Path) -> None:
    """The second half is a minute later: the times of the records, which a plain script rewrites."""
    source = identified(tmp_path / "a.edf", TEN_TWENTY, annotations=[edfio.EdfAnnotation(1, None, "T1")])
    content = bytearray(source.read_bytes())
    content[192:197] = b"EDF+D"
    for second in range(6, 12):
        old, new = f"+{second}\x14\x14\0".encode(), f"+{second + 60}\x14\x14\0".encode()
        at = content.index(old + b"\0\0")
        content[at : at + len(new)] = new
    source.write_bytes(content)
    expected = read_recording(source)
    assert gaps(expected) == [(6 * 128, 66 * 128)]
    assert anonymize(source, tmp_path / "b.edf").exit_code == 0
    copy = read_recording(tmp_path / "b.edf")
    assert gaps(copy) == gaps(expected)
    np.testing.assert_array_equal(copy.get_data(), expected.get_data())


def test_free_annotations_are_kept_on_request_unless_they_name_someone(tmp_path: Path) -> None:
    notes = [edfio.EdfAnnotation(1, None, "the left hand moves")]
    source = identified(tmp_path / "a.edf", annotations=notes)
    assert anonymize(source, tmp_path / "b.edf", "--keep-annotations").exit_code == 0
    assert [a.text for a in edfio.read_edf(tmp_path / "b.edf").annotations] == ["the left hand moves"]
    named = identified(tmp_path / "named.edf", annotations=[edfio.EdfAnnotation(1, None, "zebulon asleep")])
    result = anonymize(named, tmp_path / "c.edf", "--keep-annotations")
    assert result.exit_code == 1
    assert "would contain words that identify its source" in result.stderr
    assert SECRET.lower() not in result.output.lower().replace(str(tmp_path), "")
    assert not list(tmp_path.glob("c*"))


def test_remarks_on_seizures_stay_seizures(tmp_path: Path) -> None:
    """They exclude a part of the recording, with whatever words."""
    notes = [edfio.EdfAnnotation(2, 3, "Seizure seen by Dr House")]
    source = identified(tmp_path / "a.edf", annotations=notes)
    assert anonymize(source, tmp_path / "b.edf").exit_code == 0
    assert [tuple(a) for a in edfio.read_edf(tmp_path / "b.edf").annotations] == [(2, 3, "seizure")]


def test_a_folder_is_mirrored_under_pseudonyms_with_a_secret_key(tmp_path: Path) -> None:
    source, out, key = tmp_path / "in", tmp_path / "out", tmp_path / "key.csv"
    for name in ("Doe/Zebulon.edf", "Doe/later/Zebulon_2.edf", "House/x.edf"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        identified(source / name)
    (source / "Doe" / "letter of Zebulon.txt").write_text("Dear Dr House")
    result = anonymize(source, out, "--key", key)
    assert result.exit_code == 0, result.output
    copies = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert len(copies) == 3
    assert all(set(Path(copy).parts[:-1]) <= {"folder-1", "folder-2"} for copy in copies)
    for word in (b"zebulon", b"doe", b"house", b"later", b"letter"):
        assert word not in contents(out)
    rows = [line.split(",") for line in key.read_text().splitlines()]
    assert {Path(copy) for copy, _ in rows[1:]} == {out / copy for copy in copies}
    assert {Path(original) for _, original in rows[1:]} == set(source.rglob("*.edf"))
    if sys.platform != "win32":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_bids_dataset_stays_one(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert anonymize(cohort, out).exit_code == 0
    before, after = open_corpus(cohort), open_corpus(out)
    assert after.simulated
    facts = [[(e.path.name, e.subject, e.label) for e in corpus.entries] for corpus in (before, after)]
    assert facts[0] == facts[1]
    for old, new in zip(before.entries[:2], after.entries, strict=False):
        assert new.events is not None
        np.testing.assert_array_equal(
            read_recording(new.path).get_data(), read_recording(old.path).get_data()
        )
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        "dataset_description.json",
        "participants.tsv",
    ]


def test_columns_and_words_outside_the_list_are_not_copied(cohort: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    first = sorted(cohort.glob("sub-*/eeg/*_eeg.edf"))[0]
    copy = source / first.relative_to(cohort)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(first.read_bytes())
    (source / "participants.tsv").write_text("participant_id\tgroup\tname\nsub-001\tcontrol\tZebulon\n")
    events = copy.with_name(copy.name.replace("_eeg.edf", "_events.tsv"))
    events.write_text(
        "onset\tduration\ttrial_type\tauthor\n1.0\t0.5\tdischarge\tZebulon\n2.0\tn/a\tZebulon\tX\n"
    )
    (source / "dataset_description.json").write_text('{"Name": "Zebulon", "BIDSVersion": "1.10.0"}')
    assert anonymize(source, tmp_path / "out").exit_code == 0
    assert b"zebulon" not in contents(tmp_path / "out")
    written = (tmp_path / "out" / events.relative_to(source)).read_text()
    assert written == "onset\tduration\ttrial_type\n1.0\t0.5\tdischarge\n2.0\tn/a\tn/a\n"


def test_labels_of_bids_that_name_a_person_are_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for label, name in (("Zebulon", "Zebulon_Doe"), ("001", "Doe_Jane"), ("Ann", "Zebulon_Doe")):
        folder = source / f"sub-{label}" / "eeg"
        folder.mkdir(parents=True)
        patient = edfio.Patient(code=f"sub-{label}" if label == "001" else "X", name=name)
        identified(folder / f"sub-{label}_task-rest_eeg.edf", patient=patient)
    rows = "".join(f"sub-{label}\tcontrol\n" for label in ("Zebulon", "001", "Ann"))
    (source / "participants.tsv").write_text("participant_id\tgroup\n" + rows)
    (source / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    result = anonymize(source, out)
    assert result.exit_code == 1
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert message.endswith(
        "a BIDS label has a word of the identifying fields; rename the subject or session"
    )
    assert b"zebulon" not in contents(out)
    written = (out / "participants.tsv").read_text().splitlines()
    assert written == ["participant_id\tgroup", "sub-001\tcontrol", "sub-Ann\tcontrol"]


def test_seizures_in_tables_stay_seizures_also_in_inherited_ones(cohort: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    first = sorted(cohort.glob("sub-*/eeg/*_eeg.edf"))[0]
    copy = source / first.relative_to(cohort)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(first.read_bytes())
    (source / "participants.tsv").write_text("participant_id\tgroup\nsub-001\tcontrol\n")
    (source / "events.tsv").write_text(
        "onset\tduration\teventType\n5\t3\tsz_foc_ia\n10\t2\tZebulon: seizure\n15\t1\tZebulon\n"
    )
    assert anonymize(source, tmp_path / "out").exit_code == 0
    assert b"zebulon" not in contents(tmp_path / "out")
    before, after = (
        find_seizures(read_recording(f / first.relative_to(cohort))) for f in (source, tmp_path / "out")
    )
    assert [values.tolist() for values in after.spans] == [values.tolist() for values in before.spans]
    assert before.spans[0].tolist() == [5, 10]
    (source / "events.tsv").write_text("onset\tduration\n5\n")
    damaged = anonymize(source, tmp_path / "again")
    assert damaged.exit_code == 1
    assert "events.tsv, row 2: 1 cells, expected 2" in damaged.stderr
    assert (tmp_path / "again" / "participants.tsv").is_file()


def test_other_formats_become_edf_plus(tmp_path: Path) -> None:
    volts = 1e-6 * noise(20)
    info = mne.create_info([*TEN_TWENTY, "Zebulon"], 128.0, "eeg")
    info["subject_info"] = {"his_id": "PAT4711", "last_name": "Zebulon", "birthday": date(1951, 8, 2)}
    info["description"], info["experimenter"] = "ward of Zebulon", "House"
    raw = mne.io.RawArray(volts, info, verbose="error").set_meas_date(datetime(2019, 3, 4, tzinfo=UTC))
    raw.set_annotations(
        mne.Annotations([1.0, 2.0], [0.5, 0.0], ["eyes open", "House enters"], raw.info["meas_date"])
    )
    raw.save(tmp_path / "Zebulon_raw.fif", verbose="error")
    result = anonymize(tmp_path / "Zebulon_raw.fif", tmp_path / "out")
    assert result.exit_code == 0, result.output
    (copy,) = (tmp_path / "out").iterdir()
    assert copy.name == "recording-1.edf"
    for word in (b"zebulon", b"4711", b"house", b"1951", b"2019"):
        assert word not in copy.read_bytes()[: 256 * 22].lower()
    read = read_recording(copy)
    np.testing.assert_allclose(read.get_data(), volts[:19], atol=1e-8)
    assert [(a["onset"], a["description"]) for a in read.annotations] == [(1.0, "eyes open")]


def test_one_damaged_recording_does_not_cost_the_others(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    identified(source / "a.edf")
    (source / "Zebulon.edf").write_bytes((source / "a.edf").read_bytes()[:5000])
    result = anonymize(source, tmp_path / "out", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (len(found["copies"]), found["failed"]) == (1, 1)
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert result.stderr.count("Error: ") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes")
def test_a_pipe_is_refused_and_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    identified(tmp_path / "in" / "a.edf")
    os.mkfifo(tmp_path / "in" / "b.edf")
    result = anonymize(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1
    assert "b.edf: neither a file nor a folder but a device, a pipe or a socket" in result.stderr
    assert len([*(tmp_path / "out").iterdir()]) == 1


def test_an_interrupted_call_leaves_nothing_and_the_next_one_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in "ab":
        identified(source / f"{name}.edf")
    killed = tmp_path / ".partial-out-killed"
    killed.mkdir()
    (killed / "recording-1.edf").touch()
    written: list[Path] = []

    def interrupt(file: Path, target: Path, *rest: Any) -> Copied:
        if written:
            raise KeyboardInterrupt
        written.append(target)
        return write(file, target, *rest)

    write = workflow._write
    monkeypatch.setattr(workflow, "_write", interrupt)
    words = source, tmp_path / "out", "--key", tmp_path / "key.csv"
    assert anonymize(*words).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    monkeypatch.setattr(workflow, "_write", write)
    assert anonymize(*words).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"recording-1.edf", "recording-2.edf"}
    copies = {row.split(",")[0] for row in (tmp_path / "key.csv").read_text().splitlines()[1:]}
    assert copies == {str(path) for path in (tmp_path / "out").iterdir()}


def test_nothing_is_overwritten_or_written_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    one = identified(source / "a.edf")
    taken = tmp_path / "taken.edf"
    taken.write_text("here")
    for words, message in (
        ((one, taken), "exists; name a new file"),
        ((source, tmp_path), "not empty"),
        ((source, source / "below"), "inside the folder"),
        ((source, tmp_path / "out", "--key", taken), "exists, or is among the copies"),
        ((source, tmp_path / "out", "--key", tmp_path / "out" / "key.csv"), "exists, or is among the copies"),
        ((one, tmp_path / "out.bdf"), "expected a file .edf"),
    ):
        result = anonymize(*words)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in", "taken.edf"}
    assert anonymize(tmp_path / "none", tmp_path / "out").exit_code == 1


def test_a_copy_that_names_someone_gets_no_name_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit does not trust the writer."""
    monkeypatch.setattr("eeg.reporting.export.anonymous._PATIENT", "X X X Zebulon")
    source = identified(tmp_path / "a.edf")
    assert anonymize(source, tmp_path / "b.edf").exit_code == 1
    assert not (tmp_path / "b.edf").exists()


@pytest.mark.parametrize(
    "text",
    [
        "seizure",
        "Sz start",
        "fnsz",
        "Sleep stage R",
        "W",
        "blink",
        "EO",
        "Photic 10 Hz",
        "HV end",
        "Stimulus/S  1",
    ],
)
def test_codes_stay(text: str) -> None:
    assert known_mark(text) == text


@pytest.mark.parametrize(
    "text", ["Doe", "seizure, Zebulon", "1951-08-02", "PAT4711", "room 12", "by JD", "S 4711"]
)
def test_free_texts_are_not_codes(text: str) -> None:
    assert known_mark(text) is None
