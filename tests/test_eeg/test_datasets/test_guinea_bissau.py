"""The recordings of Guinea-Bissau (van Hees et al.)."""

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from eeg.datasets import open_corpus
from tests.test_eeg.recordings import DATA, needs_data
from trainers.errors import DataError

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


def test_guinea_bissau_reports_what_is_not_there(tmp_path: Path) -> None:
    rows = "".join(f"{i},Control,x,NA,1,27-05-2020 15:00\n" for i in (1, 2, 5))
    (problem,) = open_corpus(guinea_bissau(tmp_path, rows, present=(2,))).problems
    assert "row(s) 2, 4 are not in EEGs_Guinea-Bissau" in problem


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
