"""A table of recordings."""

from datetime import datetime
from pathlib import Path

import pytest

from eeg.datasets import Entry, open_corpus
from trainers.errors import DataError

TABLE = "path;subject;label;session;site;date;sex;age\n"


def listing(folder: Path, text: str) -> Path:
    for name in ("a.edf", "b.edf", "c.vhdr"):
        (folder / name).touch()
    (folder / "clinic.csv").write_text(text, encoding="utf-8-sig")
    return folder / "clinic.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_recordings(delimiter: str, tmp_path: Path) -> None:
    rows = (
        "a.edf;S1;Epilepsy;1;north;2020-05-23T14:33;F;34\nb.edf;S1;1;2;north;2020-05-24;f;34.5\n"
        "c.vhdr;S2;control;;;;;\n"
    )
    corpus = open_corpus(listing(tmp_path, (TABLE + rows).replace(";", delimiter)))
    assert corpus.name == "a table of recordings"
    first, second, third = corpus.entries
    assert first == Entry(
        *(tmp_path / "a.edf", "S1", 1, datetime(2020, 5, 23, 14, 33)),
        session="1",
        site="north",
        sex="F",
        age=34.0,
    )
    assert (second.label, second.recorded, second.age) == (1, datetime(2020, 5, 24), 34.5)
    assert third == Entry(tmp_path / "c.vhdr", "S2", 0)


@pytest.mark.parametrize(
    ("label", "number"), [("0", 0), ("healthy", 0), (" Epileptic ", 1), ("", None), ("n/a", None)]
)
def test_labels_of_a_table(label: str, number: int | None, tmp_path: Path) -> None:
    table = listing(tmp_path, f"path,subject,label\na.edf,S1,{label}\n")
    assert open_corpus(table).entries[0].label == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,subject\na.edf,S1\n", "no column label"),
        ("path,subject,label\n", "lists no recording"),
        ("path,subject,label\n,S1,1\n", "row 2: no path"),
        ("path,subject,label\na.edf,,1\n", "row 2: no subject"),
        ("path,subject,label\na.edf,S1,1\nb.edf,S2,epilpsy\n", "row 3: unknown label"),
        ("path,subject,label\na.edf,S1,1\na.edf,S1,1\n", "lists a recording twice"),
        ("path,subject,label\na.edf,S1,1\n./a.edf,S1,1\n", "lists a recording twice"),
        ("path,subject,label,label\na.edf,S1,1,0\n", "two columns label"),
        (
            "path,subject,label,date\na.edf,S1,1,23.5.2020\n",
            "row 2: the date is not one; expected YYYY-MM-DD",
        ),
        (
            "path,subject,label,sex\na.edf,S1,1,\nb.edf,S2,1,w\n",
            "row 3: unknown sex; expected F, M or nothing",
        ),
        ("path,subject,label,age\na.edf,S1,1,n/a\nb.edf,S2,1,x\n", "row 3: unknown age; expected years"),
        ("path,subject,label,age\na.edf,S1,1,-3\n", "row 2: unknown age; expected years"),
        ("path,subject,label\na\0.edf,S1,1\n", "row 2: a cell contains a NUL character"),
        ("", "no column"),
    ],
)
def test_malformed_tables(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_corpus(listing(tmp_path, text))
    assert "clinic.csv" in str(caught.value)


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "clinic.csv").write_bytes("path,subject,label\nM\u00fcller.edf,1,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8; save it as UTF-8"):
        open_corpus(tmp_path / "clinic.csv")


def test_paths_that_leave_the_folder_need_a_flag(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (tmp_path / "far.edf").touch()
    (folder / "link.edf").symlink_to(tmp_path / "far.edf")
    (folder / "inside.edf").symlink_to(folder / "a.edf")
    for path in ("../far.edf", str(tmp_path / "far.edf"), "link.edf", "../corpus/../far.edf"):
        table = listing(folder, f"path,subject,label\na.edf,S1,1\n{path},S2,0\n")
        with pytest.raises(DataError, match=r"1 of 2 recordings \(number 2\).*--outside"):
            open_corpus(table)
        assert len(open_corpus(table, outside=True).entries) == 2
    for path in ("b.edf", "../corpus/b.edf", str(folder / "b.edf"), "inside.edf", "gone.edf"):
        table = listing(folder, f"path,subject,label\na.edf,S1,1\n{path},S2,0\n")
        assert len(open_corpus(table).entries) == 2
