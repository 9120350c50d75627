import json
import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from eeg.datasets import open_corpus, read_events
from trainers.errors import DataError

DATA = Path(os.environ.get("HEBBIAN_DATA", "")) / "eeg"
needs_data = pytest.mark.skipif("HEBBIAN_DATA" not in os.environ, reason="HEBBIAN_DATA is not set")

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


def test_events_of_a_task_are_not_taken_for_discharges(tmp_path: Path) -> None:
    corpus = open_corpus(
        bids(tmp_path / "c", COHORT, {"sub-001": TASK, "sub-002": TASK}, Name="Motor imagery")
    )
    assert [entry.events for entry in corpus.entries] == [None, None]
    assert not corpus.simulated


def test_simulated_may_also_stand_in_the_origin(tmp_path: Path) -> None:
    assert open_corpus(
        bids(tmp_path / "c", COHORT, Name="X", GeneratedBy=[{"Name": "Simulated by Y"}])
    ).simulated


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [("diagnosis", "Epilepsy", 1), ("Group", "healthy", 0), ("group", "n/a", None), ("group", "CONTROL", 0)],
)
def test_ways_to_say_a_diagnosis(column: str, value: str, label: int | None, tmp_path: Path) -> None:
    table = f"participant_id\t{column}\nsub-1\t{value}\nsub-2\tepilepsy\n"
    assert open_corpus(bids(tmp_path / "c", table)).entries[0].label == label


def test_sessions_belong_to_their_subject(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    later = root / "sub-001" / "ses-2" / "eeg"
    later.mkdir(parents=True)
    (later / "sub-001_ses-2_task-rest_eeg.vhdr").touch()
    assert Counter(entry.subject for entry in open_corpus(root).entries) == {"001": 2, "002": 1}


def test_a_corpus_without_a_description_is_called_as_its_folder(tmp_path: Path) -> None:
    root = bids(tmp_path / "clinic", COHORT)
    (root / "dataset_description.json").unlink()
    assert open_corpus(root).name == "clinic"


def test_read_events_keeps_the_discharges(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text(EVENTS + "1.5\t0.3\tdischarge\tT7\n2\tn/a\tblink\tFp1\n7.25\t0.1\tdischarge\tO2\n")
    onset, duration = read_events(path)
    assert onset.tolist() == [1.5, 7.25]
    assert duration.tolist() == [0.3, 0.1]
    path.write_text(EVENTS)
    assert [values.shape for values in read_events(path)] == [(0,), (0,)]


# --- bad input


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("onset\tduration\n1\t2\n", "no column trial_type"),
        (EVENTS + "soon\t0.3\tdischarge\tT7\n", "onset 'soon'"),
        (EVENTS + "1\tn/a\tdischarge\tT7\n", "duration 'n/a'"),
        (EVENTS + "1\t-1\tdischarge\tT7\n", "duration '-1'"),
        (EVENTS + "nan\t1\tdischarge\tT7\n", "onset 'nan'"),
        (EVENTS + "1\t1\tdischarge\n", "row 2 has not 4 cells"),
        (EVENTS + "1\t1\tdischarge\tT7\tO1\n", "row 2 has not 4 cells"),
        ("", "no column"),
    ],
)
def test_events_that_cannot_be_understood(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        read_events(path)
    assert str(path) in str(caught.value)


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not a readable table"):
        read_events(path)


@pytest.mark.parametrize(
    ("participants", "words"),
    [
        ("participant_id\tage\nsub-1\t3\n", "no column group or diagnosis"),
        ("participant_id\tgroup\nsub-1\tA\n", "nobody's group is known"),
        ("participant_id\tgroup\n", "no column group or diagnosis"),
        ("name\tgroup\nsub-1\tcontrol\n", "no column participant_id"),
    ],
)
def test_participants_without_a_diagnosis(participants: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        open_corpus(bids(tmp_path / "c", participants))


def test_a_participant_twice(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_text(COHORT + "sub-001\t30\tcontrol\n")
    with pytest.raises(DataError, match="stands twice"):
        open_corpus(root)


def test_a_recording_of_nobody(tmp_path: Path) -> None:
    root = bids(tmp_path / "c", COHORT)
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-002\tcontrol\n")
    with pytest.raises(DataError, match=r"sub-001 is not in participants\.tsv"):
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
    with pytest.raises(DataError, match=r"unknown layout; expected participants\.tsv \(BIDS\)"):
        open_corpus(tmp_path)


# --- Guinea-Bissau


METADATA = "subject.id,Group,Eyes.condition,Remarks,recordedPeriod,startTime\n"


def guinea_bissau(root: Path, rows: str, present: tuple[int, ...]) -> Path:
    (root / "metadata_guineabissau.csv").write_text(METADATA + rows)
    (root / "EEGs_Guinea-Bissau").mkdir()
    for number in present:
        (root / "EEGs_Guinea-Bissau" / f"signal-{number}.csv.gz").touch()
    return root


def test_guinea_bissau_lists_what_is_present(tmp_path: Path) -> None:
    rows = (
        '1,Epilepsy,x,"a, b",301,27-05-2020 14:33\n'
        "2,Epilepsy,x,NA,1,27-05-2020 15:00\n"
        "5,Control,x,NA,302,23-05-2020 19:09\n"
    )
    corpus = open_corpus(guinea_bissau(tmp_path, rows, present=(1, 5)))
    assert [(e.subject, e.label, e.events) for e in corpus.entries] == [("1", 1, None), ("5", 0, None)]
    assert corpus.entries[0].recorded == datetime(2020, 5, 27, 14, 33)
    assert not corpus.simulated


def test_guinea_bissau_with_another_date(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="startTime of subject 1"):
        open_corpus(guinea_bissau(tmp_path, "1,Epilepsy,x,NA,301,2020-05-27\n", present=(1,)))


def test_guinea_bissau_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recording"):
        open_corpus(guinea_bissau(tmp_path, "1,Epilepsy,x,NA,301,27-05-2020 14:33\n", present=()))


@needs_data
def test_guinea_bissau_as_published() -> None:
    corpus = open_corpus(DATA / "guinea_bissau")
    assert Counter(entry.label for entry in corpus.entries) == {1: 39, 0: 34}
    assert len({entry.subject for entry in corpus.entries}) == 73
    assert all(entry.recorded and entry.path.is_file() for entry in corpus.entries)


def test_listing_a_corpus_loads_no_heavy_library() -> None:
    script = "import sys, eeg.datasets; sys.exit(bool({'mne', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
