import json
import re
import shutil
from datetime import date
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from click.testing import CliRunner, Result

from eeg.cli.main import main
from eeg.io.electrodes import TEN_TWENTY
from eeg.workflows.inspect import format_inspection, inspect_corpus
from tests.test_eeg.recordings import DATA, needs_data, write_edf, write_fif
from trainers.errors import DataError

RATE = 128
SECRETS = ("Mueller", "Zebulon", "1999", "2012", "S-77")


def eeg(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def noise(channels: int, seconds: int = 30) -> np.ndarray:
    return 20 * np.random.default_rng(0).standard_normal((channels, seconds * RATE))


def write(
    path: Path,
    names: tuple[str, ...] = TEN_TWENTY,
    microvolts: np.ndarray | None = None,
    unit: str = "uV",
    rates: tuple[int, ...] | None = None,
) -> Path:
    data = noise(len(names)) if microvolts is None else microvolts
    rates = rates or (RATE,) * len(names)
    return write_edf(
        path,
        [row[: row.size * rate // RATE] for row, rate in zip(data, rates, strict=True)],
        names,
        rates,
        unit=unit,
        limits=(-6000, 6000.2),
        filters="HP:0.5Hz",
        patient=edfio.Patient(code="S-77", name="Mueller_Zebulon"),
        recording=edfio.Recording(startdate=date(2012, 5, 3)),
    )


def problems(path: Path) -> tuple[str, ...]:
    (found,) = inspect_corpus(path, progress=False).recordings
    return found.problems


# --- facts


def test_a_simulated_cohort(cohort: Path) -> None:
    found = inspect_corpus(cohort, progress=False)
    assert found.simulated
    assert found.subjects == {"epilepsy": 4, "control": 4, "unknown": 0}
    assert len(found.recordings) == 8
    for one in found.recordings:
        assert (one.sfreq, one.minutes, one.missing, one.problems) == (256, 0.5, (), ())
        assert set(one.electrodes) == set(TEN_TWENTY)
    assert "(SIMULATED): 8 recording(s), 8 subject(s): 4 epilepsy, 4 control" in format_inspection(found)


def test_a_file_and_its_used_channels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf", ("EEG Fp1-A1", "EEG T3-A1", "ECG", "EEG A1-A2"))
    (found,) = inspect_corpus(path, progress=False).recordings
    assert (found.channels, found.electrodes, found.others) == (4, ("Fp1", "T7"), ("ECG", "EEG A1-A2"))
    assert set(found.missing) == set(TEN_TWENTY) - {"Fp1", "T7"}
    assert (found.sfreq, found.minutes, found.reference, found.filters) == (128, 0.5, "A1", "HP:0.5Hz")
    assert found.amplitude == pytest.approx(20, rel=0.05)  # the sd of the noise


def test_files_in_folders(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "b.EDF")
    write_fif(tmp_path / "deep" / "er" / "a_raw.fif", 1e-6 * noise(19), TEN_TWENTY)
    (tmp_path / ".hidden.edf").touch()
    (tmp_path / "letter.txt").touch()
    found = inspect_corpus(tmp_path, progress=False)
    assert found.subjects is None
    assert [one.missing for one in found.recordings] == [(), ()]
    assert "subjects unknown" in format_inspection(found)


def test_a_table(tmp_path: Path) -> None:
    write(tmp_path / "a.edf")
    (tmp_path / "t.csv").write_text("path,subject,label\na.edf,S-77,control\n")
    found = inspect_corpus(tmp_path / "t.csv", progress=False)
    assert found.subjects == {"epilepsy": 0, "control": 1, "unknown": 0}


# --- problems


def test_single_channels(tmp_path: Path) -> None:
    data = noise(19)
    data[2] = 0
    data[3] *= 50
    data[4] *= 0.01
    path = write(tmp_path / "sub-1_eeg.edf", microvolts=data)
    table = "name\tstatus\nO1\tgood\nF7\tbad\n"
    (tmp_path / "sub-1_channels.tsv").write_text(table)
    assert problems(path) == (
        "marked bad: F7",
        f"flat: {TEN_TWENTY[2]}",
        f"hardly any signal: {TEN_TWENTY[4]}",
        f"more than 500 µV within a second: {TEN_TWENTY[3]}",
    )


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    data = noise(2)
    data[1] = np.nan
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * data, ("Fp1", "Cz"))
    assert problems(path) == ("not finite: Cz",)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"unit": ""}, "electrodes without a unit, taken as uV"),
        (
            {"names": ("Fp1-A1", "Fp2-A2")},
            "electrodes have different references (A1/A2), which an average does not remove",
        ),
        (
            {"names": ("Fp1", "Fp2"), "rates": (64, 128)},
            "electrodes of different sampling rates (64, 128 Hz), resampled to the highest",
        ),
        (
            {"names": ("Fp1", "Fp2"), "rates": (64, 64)},
            "sampled at 64 Hz; the default band needs 92 Hz",
        ),
    ],
)
def test_headers(settings: dict[str, object], problem: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path / "a.edf", **settings)) == (problem,)  # type: ignore[arg-type]


def test_what_a_model_of_10_20_would_refuse(tmp_path: Path) -> None:
    short = write(tmp_path / "short.edf", microvolts=noise(19, 3))
    assert problems(short) == ("3.0 s long; the default filter needs 6.6 s",)
    for lost, shown in (
        (2, ()),
        (3, ("3 electrodes of 10-20 are missing or bad; at most 2 can be interpolated",)),
    ):
        assert problems(write(tmp_path / "few.edf", TEN_TWENTY[lost:])) == shown
    held = 2000 * np.sin(np.arange(30 * RATE) * 2 * np.pi * 4 / RATE)
    amount = np.where(np.arange(30 * RATE) < 20 * RATE, 1, 0.01)  # of the time, two thirds at the rails
    clipped = write(tmp_path / "clipped.edf", microvolts=np.clip(noise(19) + held * amount, -300, 300))
    (problem,) = problems(clipped)
    assert problem == "clipped in 20 of 30 s sampled"


def test_seizures_of_the_recordings_own_annotations_are_counted_once(tmp_path: Path) -> None:
    folder = tmp_path / "00_epilepsy" / "aaaaaanr" / "s001_2003" / "01_tcp_ar"
    folder.mkdir(parents=True)
    notes = [edfio.EdfAnnotation(4, 5, "seizure"), edfio.EdfAnnotation(20, 5, "seizure")]
    path = folder / "aaaaaanr_s001_t001.edf"
    write_edf(path, noise(19), TEN_TWENTY, annotations=notes)
    assert inspect_corpus(path, progress=False).recordings[0].seizures == 2
    path.with_suffix(".csv_bi").write_text(
        "channel,start_time,stop_time,label\nTERM,5,8,seiz\nTERM,12,13,seiz\n"
    )
    assert inspect_corpus(tmp_path, progress=False).recordings[0].seizures == 3
    assert inspect_corpus(write(tmp_path / "none.edf"), progress=False).recordings[0].seizures is None


def test_unreadable_files_are_reported_without_names(tmp_path: Path) -> None:
    path = write(tmp_path / "Mueller_Zebulon_1999.edf")
    whole = path.read_bytes()
    (tmp_path / "Mueller_2012.edf").write_bytes(whole[:-10])
    write(tmp_path / "S-77.edf", unit="mV")
    for flag in ((), ("--json",)):
        result = eeg(tmp_path, *flag)
        assert result.exit_code == 1
        assert "truncated, holds 29 of the 30 announced data records" in result.output
        assert re.search(r"varies by (19|20)\d{3} µV within a second", result.output)
        for secret in (*SECRETS, str(tmp_path)):
            assert secret not in result.output
    shown = eeg(tmp_path, "--show-ids")
    assert f"path {path}" in shown.output
    assert "recorded 2012-05-03T00:00:00" in shown.output


def test_a_folder_that_names_a_person_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Mueller_Zebulon"
    folder.mkdir()
    (folder / "b.fif").write_bytes(b"abc" * 500)  # MNE's message has the whole path
    monkeypatch.chdir(folder)
    for place in (Path("b.fif"), Path(), folder):
        result = eeg(place)
        assert result.exit_code == 1
        assert "problem: cannot be read as EEG: " in result.output  # with every b
        assert "Mueller" not in result.output


def test_a_subject_of_both_groups_is_reported(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.edf")
    table = tmp_path / "t.csv"
    table.write_text("path,subject,label\na.edf,1,epilepsy\nb.edf,1,control\nc.edf,2,control\n")
    both = "its subject is labelled both epilepsy and control"
    assert [both in one.problems for one in inspect_corpus(table, progress=False).recordings] == [
        True,
        True,
        False,
    ]


def test_unreadable_seizures_are_an_error(tmp_path: Path) -> None:
    for group, name in (("00_epilepsy", "aaaaaanr"), ("01_no_epilepsy", "aaaaaaoo")):
        folder = tmp_path / group / name / "s001_2003" / "01_tcp_ar"
        folder.mkdir(parents=True)
        path = write(folder / f"{name}_s001_t001.edf", microvolts=noise(19, 30 + len(group)))
    path.with_suffix(".csv_bi").write_text("channel,start_time,label\n")
    result = eeg(tmp_path, "--json")
    assert result.exit_code == 1
    recordings = json.loads(result.stdout)["recordings"]
    assert [one["readable"] for one in recordings] == [True, False]
    (problem,) = recordings[1]["problems"]
    assert problem == "the seizure annotations: no column stop_time; found channel, start_time, label"
    assert recordings[1]["amplitude"] is not None


@pytest.mark.parametrize("name", ["gone", "empty"])
def test_nothing_to_inspect(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no such file or folder|no recording; expected .*\.edf"):
        inspect_corpus(tmp_path / name, progress=False)
    result = eeg(tmp_path / name)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")


# --- the command


def test_for_people_and_for_machines(cohort: Path) -> None:
    text, machine = eeg(cohort), eeg(cohort, "--json")
    assert (text.exit_code, machine.exit_code) == (0, 0)
    lines = text.stdout.splitlines()
    assert len(lines) == 10
    assert re.match(
        r" +1  (epilepsy|control)  19 electrodes of 19 channel\(s\), 10-20 complete  256 Hz  0\.5 min",
        lines[1],
    )
    assert lines[-1] == "0 of 8 recording(s) with problems"
    shown = json.loads(machine.stdout)
    assert [one["number"] for one in shown["recordings"]] == list(range(1, 9))
    assert all(one["identity"] is None for one in shown["recordings"])


# --- real recordings


@needs_data
@pytest.mark.parametrize(
    ("folder", "electrodes", "sfreq", "minutes"),
    [("eegmat", 19, 500.0, [3.03] * 6), ("eegmmidb", 64, 160.0, [125 / 60] * 2)],
)
def test_real_edf(folder: str, electrodes: int, sfreq: float, minutes: list[float]) -> None:
    found = inspect_corpus(DATA / folder, progress=False).recordings
    assert [len(one.electrodes) for one in found] == [electrodes] * len(minutes)
    assert [one.sfreq for one in found] == [sfreq] * len(minutes)
    assert [one.minutes for one in found] == pytest.approx(minutes, abs=0.02)
    assert [(one.missing, one.problems) for one in found] == [((), ())] * len(minutes)
    assert all(one.amplitude and 2 < one.amplitude < 100 for one in found)


@needs_data
@pytest.mark.slow
def test_bonn() -> None:
    found = inspect_corpus(DATA / "bonn", progress=False)
    assert found.subjects == {"epilepsy": 3, "control": 2, "unknown": 0}
    assert {one.sfreq for one in found.recordings} == {173.61}


@needs_data
@pytest.mark.slow
def test_guinea_bissau() -> None:
    found = inspect_corpus(DATA / "guinea_bissau", progress=False)
    assert found.subjects == {"epilepsy": 39, "control": 34, "unknown": 0}
    assert {(one.sfreq, len(one.electrodes)) for one in found.recordings} == {(128.0, 14)}
    problems = [problem for one in found.recordings for problem in one.problems]
    assert all("samples are lost" in problem for problem in problems)  # as the recorder's own counter tells


# --- what is listed


def test_a_split_fif_is_one_recording(tmp_path: Path) -> None:
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * noise(19), TEN_TWENTY)
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    long = mne.concatenate_raws([raw.copy() for _ in range(9)], verbose="error")
    long.set_annotations(None)
    for name, naming in (("b_raw.fif", "neuromag"), ("sub-1_task-x_eeg.fif", "bids")):
        long.save(tmp_path / name, split_size="2MB", split_naming=naming, verbose="error")
    path.rename(tmp_path / "b_raw-9.fif")  # named as a part of the other, and is none
    assert len(list(tmp_path.glob("*.fif"))) > 5
    found = inspect_corpus(tmp_path, progress=False).recordings
    assert [one.minutes for one in found] == pytest.approx([0.5, 4.5, 4.5])


def test_files_are_recognised_by_content_or_passed_over_aloud(tmp_path: Path) -> None:
    for name in ("a.rec", "b.rec", "a.edf"):
        write(tmp_path / "x.edf").rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "Dr.Mueller").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index.pack").touch()
    found = inspect_corpus(tmp_path, progress=False)
    assert len(found.recordings) == 1
    assert found.passed_over == {".rec": 2, ".txt": 1, "other": 1}
    assert "passed over, not recordings by their names: 2 .rec, 1 .txt, 1 other" in format_inspection(found)
    assert problems(tmp_path / "b.rec") == (
        "EDF by its content, but not by its name; rename it to end in .edf",
    )
    with pytest.raises(DataError, match="no column label, path, subject"):
        inspect_corpus(tmp_path / "notes.txt", progress=False)


def test_brainvision_under_its_other_suffix_is_one_recording(tmp_path: Path) -> None:
    write_brainvision(tmp_path, "ahdr", "amrk")
    found = inspect_corpus(tmp_path / "a.ahdr", progress=False)
    assert found.recordings == inspect_corpus(tmp_path, progress=False).recordings
    assert [one.problems for one in found.recordings] == [()]


def write_brainvision(folder: Path, header: str, markers: str) -> None:
    (10 * noise(2)).astype("<i2").T.tofile(folder / "a.eeg")
    (folder / f"a.{header}").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile=a.eeg\nMarkerFile=a.{markers}\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\n"
        "SamplingInterval=7812.5\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n[Channel Infos]\n"
        "Ch1=Fp1,,0.1,µV\nCh2=Cz,,0.1,µV\n",
        encoding="utf-8",
    )
    (folder / f"a.{markers}").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=a.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101100000000000\n"
    )


# --- one recording never costs another


@pytest.mark.parametrize("word", ["EDF", "header", "unit", "empty", "file", "a", "µV", "recording", "copy"])
def test_words_of_a_message_stay_although_a_file_or_folder_is_called_so(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, name in ((b"", "x1"), (b"0" * 300, "x2")):
        (tmp_path / "p").mkdir(exist_ok=True)
        plain, named = tmp_path / "p" / f"{name}.edf", tmp_path / f"{word}.edf"
        plain.write_bytes(content)
        named.write_bytes(content)
        (expected,) = problems(plain)
        assert problems(named) == (expected,)
    (tmp_path / word).mkdir()
    monkeypatch.chdir(tmp_path)
    assert problems(write(Path(word, "x.edf"), unit="mV"))[0].endswith("fix the unit in the file")
    unit = write(tmp_path / f"{word}.edf", unit="mV")
    assert problems(unit)[0].endswith("expected 0.5 to 500 µV: fix the unit in the file")


@pytest.mark.parametrize("folder", ["in", "signal", "a"])
def test_words_of_a_message_stay_although_the_folder_is_called_so(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path(folder), Path("elsewhere", "x1")):
        place.mkdir(parents=True)
        write(place / "f.edf", unit="mV")
    assert problems(Path(folder, "f.edf")) == problems(Path("elsewhere", "x1", "f.edf"))


def test_two_empty_files_are_each_reported(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.edf").touch()
    write(tmp_path / "c.edf")
    found = inspect_corpus(tmp_path, progress=False).recordings
    assert [one.problems for one in found] == [*[("empty, 0 bytes; copy or export it again",)] * 2, ()]


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), KeyError("Mueller"), ZeroDivisionError()])
def test_any_error_is_one_line_for_that_recording(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate("ab"):
        write(tmp_path / f"{name}.edf", microvolts=noise(19, 30 + i))

    def failing(raw: mne.io.BaseRaw) -> str:
        if Path(raw.filenames[0]).name == "a.edf":
            raise error
        return "hash"

    monkeypatch.setattr("eeg.workflows.inspect.signal_hash", failing)
    first, second = inspect_corpus(tmp_path, progress=False).recordings
    assert len(first.problems) == 1
    assert "Mueller" not in first.problems[0]
    assert (second.readable, second.problems) == (True, ())


def test_a_corpus_without_diagnoses_or_files_is_inspected(tmp_path: Path) -> None:
    for i in (1, 2):
        folder = tmp_path / f"sub-0{i}" / "eeg"
        folder.mkdir(parents=True)
        write(folder / f"sub-0{i}_task-rest_eeg.EDF", microvolts=noise(19, 30 + i))
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t3\nsub-03\t4\n")
    result = eeg(tmp_path)
    assert result.exit_code == 0
    assert "2 recording(s), 2 subject(s): 2 unknown" in result.output
    assert "problem: participants.tsv: no EEG recording of the participant(s) in row(s) 3" in result.output
    assert (
        "problem: participants.tsv: no column group or diagnosis; found participant_id, age" in result.output
    )
    assert "problem: its subject has no row in participants.tsv; add one" in result.output
    assert result.output.endswith("recording(s) with problems, and 2 problem(s) of the corpus\n")
    assert "sub-0" not in result.output


def test_a_broken_table_that_recordings_share_is_reported_without_its_place(tmp_path: Path) -> None:
    root = tmp_path / "Mueller"
    (root / "sub-01" / "eeg").mkdir(parents=True)
    write(root / "sub-01" / "eeg" / "sub-01_task-rest_eeg.edf")
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tcontrol\n")
    (root / "task-rest_channels.tsv").write_text("names\tstatus\nCz\tbad\n")
    (found,) = inspect_corpus(root, progress=False).recordings
    assert found.problems == ("no column name; found names, status",)
    assert not found.readable


def test_an_audit_reports_what_it_cannot_read(cohort: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cohort, tmp_path / "c")
    first = sorted(root.rglob("*_eeg.edf"))[0]
    first.write_bytes(b"")
    (root / "sub-901" / "eeg").mkdir(parents=True)
    write(root / "sub-901" / "eeg" / "sub-901_task-x_eeg.edf")
    result = CliRunner().invoke(main, ["audit", str(root), "--folds", "2"])
    assert result.exit_code == 1
    left_out = [line for line in result.stderr.splitlines() if line.endswith("the recording is left out")]
    assert len(left_out) == 2
    assert "sub-901_task-x_eeg.edf: its subject has no row in participants.tsv" in left_out[0]
    assert f"{first.name}: empty, 0 bytes" in left_out[1]
    assert "device" in result.stdout or "confound" in result.stdout


def test_doubts_that_arise_while_the_signal_is_read_are_shown(tmp_path: Path) -> None:
    path = write_edf(
        tmp_path / "a.edf", noise(19), TEN_TWENTY, annotations=[edfio.EdfAnnotation(300, 5, "Seizure")]
    )
    assert inspect_corpus(path).recordings[0].problems == ("annotations outside its signal are cut off",)
