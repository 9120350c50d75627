"""Recordings, diagnoses and events of a folder in BIDS layout, and what is reported of a faulty one."""

import json
import math
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import mne
import numpy as np
import pytest
from mne_bids import BIDSPath, get_bids_path_from_fname, read_raw_bids, write_raw_bids

from eeg.datasets import open_corpus, read_events, read_seizures
from eeg.datasets.splits import diagnosed
from eeg.io.reader import read_recording
from eeg.workflows.inspect import inspect_corpus
from trainers.errors import DataError

EVENTS = "onset\tduration\ttrial_type\tchannel\n"
TASK = "onset\tduration\ttrial_type\n0\t4.1\tT0\n4.1\t4\tT1\n"


def bids(root: Path, participants: str, events: dict[str, str] | None = None, **description: object) -> Path:
    """Lay out empty recordings, one of everybody in ``participants``, with their events."""
    root.mkdir(exist_ok=True)
    (root / "participants.tsv").write_text(participants)
    (root / "dataset_description.json").write_text(json.dumps(description))
    for line in participants.splitlines()[1:]:
        participant = line.split("\t")[0]
        folder = root / participant / "eeg"
        folder.mkdir(parents=True)
        (folder / f"{participant}_task-rest_eeg.edf").touch()
        (folder / f"{participant}_task-rest_eeg.json").write_text("{}")
        if participant in (events or {}):
            (folder / f"{participant}_task-rest_events.tsv").write_text((events or {})[participant])
    return root


COHORT = "participant_id\tage\tgroup\nsub-001\t30\tepilepsy\nsub-002\t31\tcontrol\n"


def test_a_simulated_cohort_in_bids(tmp_path: Path) -> None:
    events = {"sub-001": EVENTS + "1.5\t0.3\tdischarge\tT7\n", "sub-002": EVENTS + "2\t0.3\twicket\tT7\n"}
    root = bids(
        tmp_path / "c", COHORT, events, Name="A simulated cohort", GeneratedBy=[{"Name": "eeg simulate"}]
    )
    corpus = open_corpus(root)
    assert corpus.name == "A simulated cohort"
    assert corpus.simulated
    assert [(e.subject, e.label) for e in corpus.entries] == [("001", 1), ("002", 0)]
    first, second = corpus.entries
    assert first.path == root / "sub-001" / "eeg" / "sub-001_task-rest_eeg.edf"
    assert first.events == root / "sub-001" / "eeg" / "sub-001_task-rest_events.tsv"
    assert second.events is not None  # annotated, and nothing found


@pytest.mark.parametrize("description", [{}, {"Name": ""}, {"Name": "[Unspecified]"}])
def test_a_description_without_a_name(description: dict[str, str], tmp_path: Path) -> None:
    assert open_corpus(bids(tmp_path / "Mueller", COHORT, **description)).name == "unnamed"


def test_events_of_a_task_are_not_taken_for_discharges(tmp_path: Path) -> None:
    corpus = open_corpus(
        bids(tmp_path / "c", COHORT, {"sub-001": TASK, "sub-002": TASK}, Name="Motor imagery")
    )
    assert [entry.events for entry in corpus.entries] == [None, None]
    assert not corpus.simulated


def test_simulated_may_also_be_in_the_origin(tmp_path: Path) -> None:
    assert open_corpus(
        bids(tmp_path / "c", COHORT, Name="X", GeneratedBy=[{"Name": "Simulated by Y"}])
    ).simulated


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [("diagnosis", "Epilepsy", 1), ("Group", "healthy", 0), ("group", "n/a", None), ("group", "CONTROL", 0)],
)
def test_spellings_of_a_diagnosis(column: str, value: str, label: int | None, tmp_path: Path) -> None:
    table = f"participant_id\t{column}\nsub-1\t{value}\nsub-2\tepilepsy\n"
    assert open_corpus(bids(tmp_path / "c", table)).entries[0].label == label


def test_sessions_belong_to_their_subject(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    later = root / "sub-001" / "ses-2" / "eeg"
    later.mkdir(parents=True)
    (later / "sub-001_ses-2_task-rest_eeg.vhdr").touch()
    assert Counter(entry.subject for entry in open_corpus(root).entries) == {"001": 2, "002": 1}


def test_sessions_sites_dates_and_persons(tmp_path: Path) -> None:
    table = (
        "participant_id\tsex\tAge\tgroup\tsite\nsub-001\tF\t30.5\tepilepsy\tBissau\n"
        "sub-002\tmale\t89+\tcontrol\tn/a\n"
    )
    root = bids(tmp_path / "c", table)
    later = root / "sub-001" / "ses-2" / "eeg"
    later.mkdir(parents=True)
    (later / "sub-001_ses-2_task-rest_eeg.vhdr").touch()
    (root / "sub-001" / "ses-2" / "sub-001_ses-2_scans.tsv").write_text(
        "filename\tacq_time\neeg/another_eeg.vhdr\t1999-01-01T00:00:00\n"
        "eeg/sub-001_ses-2_task-rest_eeg.vhdr\t2020-05-23T14:33:01.5Z\n"
    )
    (root / "sub-002" / "sub-002_scans.tsv").write_text(
        "filename\tacq_time\neeg/sub-002_task-rest_eeg.edf\tn/a\n"
    )
    found = {(e.subject, e.session): e for e in open_corpus(root).entries}
    assert set(found) == {("001", None), ("001", "2"), ("002", None)}
    second, other = found["001", "2"], found["002", None]
    assert second.recorded == datetime(2020, 5, 23, 14, 33, 1, 500_000)
    assert (second.sex, second.age, second.site) == ("F", 30.5, "Bissau")
    assert (other.sex, other.age, other.site, other.recorded) == ("M", None, None, None)
    assert found["001", None].recorded is None


def test_an_acquisition_time_that_is_not_a_time_costs_one_recording(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "sub-001" / "sub-001_scans.tsv").write_text(
        "filename\tacq_time\neeg/sub-001_task-rest_eeg.edf\tin May\n"
    )
    first, second = open_corpus(root).entries
    assert first.problem is not None
    assert "an acq_time of scans.tsv is not a time; expected YYYY" in first.problem
    assert (first.label, second.label, second.problem) == (None, 0, None)
    shown = inspect_corpus(root).recordings[0].problems[0]
    assert shown.startswith("an acq_time of scans.tsv is not a time")


def test_events_are_inherited_but_not_from_another_recording(tmp_path: Path) -> None:
    """The inheritance principle of BIDS."""
    root = bids(tmp_path / "c", COHORT)
    (root / "sub-001" / "eeg" / "sub-001_task-sleep_events.tsv").write_text(EVENTS)
    assert [entry.events for entry in open_corpus(root).entries] == [None, None]
    (root / "task-rest_events.tsv").write_text(EVENTS + "1\t0.3\tdischarge\tT7\n")
    assert [entry.events for entry in open_corpus(root).entries] == [root / "task-rest_events.tsv"] * 2


def test_derivatives_are_not_recordings(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "derivatives").mkdir()
    bids(root / "derivatives" / "filtered", COHORT)
    assert len(open_corpus(root).entries) == 2


def test_a_name_that_breaks_the_rules_of_bids_costs_one_recording(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    names = "sub-001_task-eyes-open_eeg.edf", "sub-002_task-x_eeg.edf"
    for name in names:
        (root / "sub-001" / "eeg" / name).touch()
        with pytest.raises((ValueError, OSError)):  # MNE-BIDS refuses both
            read_raw_bids(get_bids_path_from_fname(root / "sub-001" / "eeg" / name), verbose="error")
    found = {entry.path.name: entry for entry in open_corpus(root).entries}
    assert all("its file name is not as BIDS requires" in str(found[name].problem) for name in names)
    assert [found[name].label for name in names] == [None, None]
    assert sum(entry.problem is None for entry in found.values()) == 2


def test_what_mne_bids_writes(tmp_path: Path) -> None:
    """The writer of another package writes the corpus, and its reader returns the same signals."""
    volts = 30e-6 * np.random.default_rng(0).standard_normal((3, 1280))
    for number in ("01", "02"):
        raw = mne.io.RawArray(volts, mne.create_info(["T3", "Cz", "EOG"], 128, "eeg"), verbose="error")
        raw.set_channel_types({"EOG": "eog"}, verbose="error").set_meas_date(1_600_000_000 + int(number))
        raw.info["line_freq"] = 50
        raw.info["bads"] = ["T3"]
        place = BIDSPath(subject=number, session="a", task="rest", root=tmp_path / "c", datatype="eeg")
        write_raw_bids(raw, place, format="EDF", allow_preload=True, verbose="error")
    table = tmp_path / "c" / "participants.tsv"
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8-sig").splitlines()]
    groups = ["group", "epilepsy", "control"]
    table.write_text("".join("\t".join([*r, g]) + "\n" for r, g in zip(rows, groups, strict=True)))
    corpus = open_corpus(tmp_path / "c")
    assert [(e.subject, e.session, e.label) for e in corpus.entries] == [("01", "a", 1), ("02", "a", 0)]
    assert [e.recorded and e.recorded.timestamp() for e in corpus.entries] == [
        datetime(2020, 9, 13, 12, 26, 40 + i).timestamp() for i in (1, 2)
    ]
    peer = read_raw_bids(
        BIDSPath(subject="01", session="a", task="rest", root=tmp_path / "c", datatype="eeg"), verbose="error"
    )
    mine = read_recording(corpus.entries[0].path)
    assert (mine.ch_names, mine.info["bads"]) == (["T7", "Cz"], ["T7"])
    assert peer.info["bads"] == ["T3"]
    np.testing.assert_allclose(mine.get_data(), peer.get_data(["T3", "Cz"]), atol=1e-12)


def test_a_corpus_without_a_description_is_not_named_after_its_folder(tmp_path: Path) -> None:
    root = bids(tmp_path / "Mueller", COHORT)
    (root / "dataset_description.json").unlink()
    assert open_corpus(root).name == "unnamed"


def test_read_events_keeps_the_discharges(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text(EVENTS + "1.5\t0.3\tdischarge\tT7\n2\tn/a\tblink\tFp1\n7.25\t0.1\tdischarge\tO2\n")
    onset, duration = read_events(path)
    assert onset.tolist() == [1.5, 7.25]
    assert duration.tolist() == [0.3, 0.1]
    path.write_text(EVENTS)
    assert [values.shape for values in read_events(path)] == [(0,), (0,)]


def test_read_seizures_of_szcore(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    for column in ("eventType", "trial_type"):
        path.write_text(
            f"onset\tduration\t{column}\n100\t20\tsz_foc_ia\n0\t10\tbckg\n7.5\t2\tsz\n9\tn/a\tblink\n"
        )
        onset, duration = read_seizures(path)
        assert (onset.tolist(), duration.tolist()) == ([7.5, 100], [2, 20])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("5\t3\tseizure\n-1\tn/a\tstart\n", [(5, 3)]),  # as MNE-BIDS writes an annotation
        ("5\t3\tSeizure\n9\t1\tinterictal spike\n20\t1\tno seizure\n", [(5, 3)]),
        ("5\t0\tseizure onset\n8\tn/a\tseizure end\n30\tn/a\tsz\n", [(5, 3), (30, math.inf)]),
    ],
)
def test_events_with_a_seizure_in_their_text(
    tmp_path: Path, rows: str, expected: list[tuple[float, float]]
) -> None:
    path = tmp_path / "e.tsv"
    path.write_text(f"onset\tduration\ttrial_type\n{rows}")
    onset, duration = read_seizures(path)
    assert list(zip(onset.tolist(), duration.tolist(), strict=True)) == expected


def test_the_text_of_an_event_is_where_mne_bids_looks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text("onset\tduration\ttrial_type\tvalue\n5\t3\tn/a\tseizure\n20\t3\tstart\tseizure\n")
    assert [values.tolist() for values in read_seizures(path)] == [[5], [3]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("onset\tduration\n1\t2\n", "no column trial_type"),
        (EVENTS + "soon\t0.3\tdischarge\tT7\n", "the onset of an event is not a number"),
        (EVENTS + "1\tn/a\tdischarge\tT7\n", "the duration of an event is not a number"),
        (EVENTS + "1\t-1\tdischarge\tT7\n", "duration -1 of an event"),
        (EVENTS + "nan\t1\tdischarge\tT7\n", "onset nan of an event"),
        (EVENTS + "1\t1\tdischarge\n", "row 2: 3 cells, expected 4"),
        (EVENTS + "1\t1\tdischarge\tT7\tO1\n", "row 2: 5 cells, expected 4"),
        ("", "no column"),
        ("Muster\tAnna\t1951\n", r"found 3 column\(s\) of other names; is it a table"),
    ],
)
def test_malformed_events(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        read_events(path)
    assert str(path) in str(caught.value)


def test_a_table_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not UTF-8; save it as UTF-8"):
        read_events(path)


@pytest.mark.parametrize(
    ("participants", "words"),
    [
        (
            "participant_id\tage\tsex\nsub-1\t3\tF\n",
            r"participants\.tsv: no column group or diagnosis; found participant_id, age, sex; expected",
        ),
        ("participant_id\tgroup\nsub-1\tA\n", r"participants\.tsv: the group of no participant is known"),
    ],
)
def test_only_a_training_needs_diagnoses(participants: str, words: str, tmp_path: Path) -> None:
    corpus = open_corpus(bids(tmp_path / "c", participants))
    assert [(entry.subject, entry.label, entry.problem) for entry in corpus.entries] == [("1", None, None)]
    with pytest.raises(DataError, match=words):
        diagnosed(corpus)


def test_the_column_with_diagnoses_counts(tmp_path: Path) -> None:
    table = "participant_id\tgroup\tdiagnosis\nsub-1\tA\tepilepsy\nsub-2\tB\tcontrol\n"
    assert [entry.label for entry in open_corpus(bids(tmp_path / "c", table)).entries] == [1, 0]


def test_columns_that_disagree_about_a_diagnosis_give_none(tmp_path: Path) -> None:
    table = "participant_id\tgroup\tdiagnosis\nsub-1\tcontrol\tepilepsy\nsub-2\tcontrol\tHealthy\n"
    first, second = open_corpus(bids(tmp_path / "c", table)).entries
    assert (first.label, second.label, second.problem) == (None, 0, None)
    assert first.problem == "its subject has two diagnoses in participants.tsv that disagree; remove one"


def test_a_table_without_the_participants(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column participant_id; found name, group"):
        open_corpus(bids(tmp_path / "c", "name\tgroup\nsub-1\tcontrol\n"))


@pytest.mark.parametrize(("again", "label"), [("control", None), ("epilepsy", 1)])
def test_a_participant_twice(again: str, label: int | None, tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_text(f"{COHORT}sub-001\t30\t{again}\n")
    corpus = open_corpus(root)
    assert corpus.problems == ("participants.tsv, row 4: the participant_id of row 2 again; remove one",)
    assert [entry.label for entry in corpus.entries] == [label, 0]
    assert ("disagree" in str(corpus.entries[0].problem)) == (label is None)


@pytest.mark.parametrize(
    "table",
    [
        "participant_id\tgroup\nsub-001\t epilepsy\nsub-002\tcontrol \n",  # blanks
        "participant_id \tgroup\t\t\nsub-001 \tepilepsy\t\t\nsub-002\tcontrol\t\t\n\t\t\t\n\n",
        "participant_id\tgroup\n001\tepilepsy\n002\tcontrol\n",  # as MNE-BIDS accepts them
        '\ufeffparticipant_id\tGROUP\r\n"sub-001"\tEpilepsy\r\n"sub-002"\tControl\r\n',
    ],
)
def test_how_tables_of_participants_are_written(table: str, tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_bytes(table.encode())
    corpus = open_corpus(root)
    assert [(entry.subject, entry.label) for entry in corpus.entries] == [("001", 1), ("002", 0)]
    assert corpus.problems == ()


@pytest.mark.parametrize("columns", ["participant_id\tparticipant_id", "group\tparticipant_id", "Group\tage"])
def test_a_column_twice(columns: str, tmp_path: Path) -> None:
    """Which of them counts is unknown: MNE-BIDS takes the last, the standard the first."""
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_text(f"{columns}\tgroup\nsub-001\tsub-001\tepilepsy\n")
    if "participant_id" not in columns:
        (root / "participants.tsv").write_text(f"participant_id\t{columns}\tgroup\nsub-001\ta\tb\tcontrol\n")
    with pytest.raises(DataError, match=r"participants\.tsv: two columns .*remove"):
        open_corpus(root)


def test_an_unknown_group_is_reported_and_a_missing_one_is_not(tmp_path: Path) -> None:
    table = COHORT + "sub-003\t3\tepilpsy\nsub-004\t3\tn/a\n"
    corpus = open_corpus(bids(tmp_path / "c", table))
    assert [entry.label for entry in corpus.entries] == [1, 0, None, None]
    (problem,) = corpus.problems
    assert problem.startswith("participants.tsv, row 4: unknown group; expected control, epilepsy")


def test_a_recording_without_a_participant_is_reported(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-002\tcontrol\n")
    first, second = open_corpus(root).entries
    assert (first.label, first.problem) == (None, "its subject has no row in participants.tsv; add one")
    assert (second.label, second.problem) == (0, None)


def test_every_announced_recording_is_listed(tmp_path: Path) -> None:
    """By a link that leads nowhere, a suffix in capitals, a scans.tsv, a sidecar, a row of the table."""
    table = COHORT + "".join(f"sub-00{i}\t3\tcontrol\n" for i in range(3, 8))
    root = bids(tmp_path / "c", table)
    where = {i: root / f"sub-00{i}" / "eeg" / f"sub-00{i}_task-rest_eeg.edf" for i in range(1, 8)}
    for i in (2, 3, 4, 5, 6, 7):
        where[i].unlink()
    where[2].symlink_to("../../.git/annex/objects/aa/MD5E-s1.edf")
    where[3].with_suffix(".EDF").touch()
    (root / "sub-004" / "sub-004_scans.tsv").write_text("filename\neeg/sub-004_task-rest_eeg.edf\n")
    where[6].with_suffix(".json").unlink()
    where[7].with_suffix(".json").rename(where[7].parent / "sub-007_eeg.json")
    where[7].with_suffix(".VHDR").touch()
    where[7].with_suffix(".eeg").touch()
    corpus = open_corpus(root)
    assert [entry.path.name for entry in corpus.entries] == [
        "sub-001_task-rest_eeg.edf",
        "sub-002_task-rest_eeg.edf",
        "sub-003_task-rest_eeg.EDF",
        "sub-004_task-rest_eeg.edf",
        "sub-005_task-rest_eeg",  # only its sidecar is there
        "sub-007_task-rest_eeg.VHDR",
    ]
    assert corpus.problems == ("participants.tsv: no EEG recording of the participant(s) in row(s) 7",)
    for entry, words in zip(
        corpus.entries, ("empty", "git annex get", "empty", "no such", "no such"), strict=False
    ):
        with pytest.raises(DataError, match=words):
            read_recording(entry.path)


def test_a_broken_table_of_one_recording_does_not_cost_the_others(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT, {"sub-001": "\x00\xff", "sub-002": EVENTS + "1\t1\tdischarge\tT7\n"})
    (root / "sub-001" / "sub-001_scans.tsv").write_text("name\na\n")
    first, second = open_corpus(root).entries
    assert "no column filename" in str(first.problem)
    assert (second.problem, second.label) == (None, 0)
    assert second.events is not None


def test_annotations_that_are_not_fetched_are_not_taken_for_none(tmp_path: Path) -> None:
    """Else a seizure would be scored as interictal EEG."""
    root = bids(tmp_path / "c", COHORT)
    for name in ("events", "channels"):
        link = root / "sub-001" / "eeg" / f"sub-001_task-rest_{name}.tsv"
        link.symlink_to("../../.git/annex/objects/aa/MD5E-s1.tsv")
    first, second = open_corpus(root).entries
    assert (first.events is None, second.events) == (True, None)  # no discharges are known
    assert first.seizures is not None
    with pytest.raises(DataError, match="a link to a file that is not here; fetch it"):
        read_seizures(first.seizures)
    (root / "participants.tsv").unlink()
    (root / "participants.tsv").symlink_to(".git/annex/objects/aa/MD5E-s2.tsv")
    with pytest.raises(DataError, match=r"participants\.tsv: a link to a file that is not here"):
        open_corpus(root)


@pytest.mark.parametrize("store", ["c/.git/annex/objects", ".git/modules/c/annex/objects"])
def test_the_store_of_git_annex_is_not_outside(store: str, tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    recording = root / "sub-001" / "eeg" / "sub-001_task-rest_eeg.edf"
    (tmp_path / store).mkdir(parents=True)
    recording.rename(tmp_path / store / "key.edf")
    recording.symlink_to(tmp_path / store / "key.edf")
    assert len(open_corpus(root).entries) == 2
    recording.unlink()
    (tmp_path / "key.edf").touch()
    recording.symlink_to(tmp_path / "key.edf")
    with pytest.raises(DataError, match="--outside"):
        open_corpus(root)


def test_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text(COHORT)
    with pytest.raises(DataError, match="no recording"):
        open_corpus(tmp_path)


def test_a_broken_description(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    for content in ("{", "[]"):
        (root / "dataset_description.json").write_text(content)
        with pytest.raises(DataError, match="not a JSON object"):
            open_corpus(root)


def test_no_folder_and_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_corpus(tmp_path / "gone")
    with pytest.raises(DataError, match=r"unknown layout; expected .*participants\.tsv \(BIDS\)"):
        open_corpus(tmp_path)


def test_listing_a_corpus_loads_no_heavy_library() -> None:
    script = "import sys, eeg.datasets; sys.exit(bool({'mne', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
