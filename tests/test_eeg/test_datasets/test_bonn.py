"""The five sets of Bonn."""

from collections import Counter
from pathlib import Path

import pytest

from eeg.datasets import open_corpus
from tests.test_eeg.recordings import DATA, needs_data
from trainers.errors import DataError


def test_bonn_keeps_each_set_together(tmp_path: Path) -> None:
    for letter, folder in zip("ZONFS", ("Z", "O", "N", "F", "S"), strict=True):
        (tmp_path / folder).mkdir()
        for number in range(1, 101):
            suffix = "TXT" if letter == "N" else "txt"  # as the archives have it
            (tmp_path / folder / f"{letter}{number:03d}.{suffix}").touch()
    corpus = open_corpus(tmp_path)
    counts = Counter((e.subject, e.label, e.montage) for e in corpus.entries)
    assert counts == {
        ("Z", 0, "scalp"): 100,
        ("O", 0, "scalp"): 100,
        ("N", 1, "intracranial"): 100,
        ("F", 1, "intracranial"): 100,
        ("S", 1, "intracranial"): 100,
    }
    (tmp_path / "S" / "S007.txt").unlink()
    with pytest.raises(DataError, match="499 segments"):
        open_corpus(tmp_path)
    (tmp_path / "S" / "S008.txt").rename(tmp_path / "S" / "Z008.txt")
    (tmp_path / "S" / "S101.txt").touch()
    with pytest.raises(DataError, match="500 segments, 499 of them different"):
        open_corpus(tmp_path)


@needs_data
def test_bonn_as_published() -> None:
    corpus = open_corpus(DATA / "bonn")
    assert Counter(e.label for e in corpus.entries) == {0: 200, 1: 300}
