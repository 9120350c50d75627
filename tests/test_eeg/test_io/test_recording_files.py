"""The files that a recording consists of, by which it is recognised and cached."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import scipy.io

from eeg.datasets import Corpus, Entry
from eeg.datasets.fingerprint import file_hash, files_of
from eeg.io.reader import read_recording
from eeg.io.recording_files import files_with_sidecars, recording_files
from eeg.io.suffixes import is_recording
from eeg.preprocessing.loading import load_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.workflows.inspect import inspect_corpus
from tests.test_eeg.test_io.small_files import (
    FOUR,
    noise,
    write_brainvision,
    write_eeglab,
    write_persyst,
)
from trainers.errors import DataError


def brainvision(folder: Path, signals: str) -> Path:
    path = write_brainvision(folder, data=signals)
    (folder / "a.eeg").rename(folder / signals)
    return path


def persyst(folder: Path, signals: str) -> Path:
    path = write_persyst(folder)
    path.write_bytes(path.read_bytes().replace(b"a.dat", signals.encode()))
    (folder / "a.dat").rename(folder / signals)
    return path


def eeglab(folder: Path, signals: str, *, compressed: bool = False) -> Path:
    """Write a ``.set`` with its signals in an ``.fdt``, beside those of another recording."""
    path = write_eeglab(folder)
    structure = scipy.io.loadmat(path, simplify_cells=True)["EEG"] | {"data": signals}
    structure["chanlocs"] = np.array([(name,) for name in FOUR], [("labels", "O")])
    scipy.io.savemat(path, {"EEG": structure}, do_compression=compressed)
    noise().astype("<f4").T.tofile(folder / signals)
    (folder / signals[1:]).write_bytes(b"of another recording, whose name is the end of the other one")
    return path


def compressed_eeglab(folder: Path, signals: str) -> Path:
    return eeglab(folder, signals, compressed=True)


@pytest.mark.parametrize(
    ("write", "signals"),
    [
        (brainvision, "a.eeg"),
        (brainvision, "a.EEG"),
        (brainvision, "raw 1.dat"),
        (brainvision, "Müller"),
        (persyst, "a.dat"),
        (persyst, "b.DAT"),
        (eeglab, "a.fdt"),
        (eeglab, "11.fdt"),
        (compressed_eeglab, "11.fdt"),
    ],
)
def test_recordings_with_the_same_header_differ_by_their_signals(
    write: Callable[[Path, str], Path], signals: str, tmp_path: Path
) -> None:
    path = write(tmp_path, signals)
    read_recording(path)
    files = {file for file in recording_files(path) if file.exists()}
    assert files == {path, tmp_path / signals, *tmp_path.glob("*.vmrk")}
    before, content = file_hash(path), (tmp_path / signals).read_bytes()
    (tmp_path / signals).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert file_hash(path) != before
    (tmp_path / signals).write_bytes(content)
    assert file_hash(path) == before


@pytest.mark.parametrize("header", ["a.vhdr", "a.VHDR", "a.Vhdr"])
def test_signals_of_brainvision_are_no_recording_of_their_own(header: str, tmp_path: Path) -> None:
    """Also not under another name than their header has; those of Nihon Kohden are one."""
    path = brainvision(tmp_path, "raw.EEG").rename(tmp_path / header)
    (tmp_path / "nihon.eeg").write_bytes(b"1")
    assert [file.name for file in sorted(tmp_path.iterdir()) if is_recording(file)] == [header, "nihon.eeg"]
    assert not inspect_corpus(tmp_path, progress=False).passed_over
    path.unlink()
    assert is_recording(tmp_path / "raw.EEG")


def test_recordings_with_the_same_signals_differ_by_their_markers(tmp_path: Path) -> None:
    hashes = {
        file_hash(write_brainvision(tmp_path, [f"Comment,{mark},9,1,0"])) for mark in ("eyes", "seizure")
    }
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["a.edf", "a.bdf", "a_raw.fif", "a.fif.gz"])
def test_the_hash_of_a_single_file_is_that_of_its_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    stem, suffix = name.split(".", 1)
    for other in (
        "a.eeg",
        "a.dat",
        "a.vmrk",
        "a.fdt",
        "a_channels.tsv",
        f"{stem}.json",
        f"{stem}-1.{suffix}",
    ):
        (tmp_path / other).write_bytes(b"of something else")
    assert file_hash(path) == hashlib.sha256(b"content").hexdigest()[:16]


def test_a_recording_that_is_a_folder_differs_by_any_file_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a.mff"
    (folder / "inner").mkdir(parents=True)
    for name in ("signal1.bin", "inner/info.xml"):
        (folder / name).write_bytes(b"1")
    (folder / "inner" / "up").symlink_to(folder)  # not followed: it has no end
    hashes = [file_hash(folder)]
    for name in ("signal1.bin", "inner/info.xml"):
        (folder / name).write_bytes(b"2")
        hashes.append(file_hash(folder))
    assert len({*hashes}) == 3
    assert file_hash(copytree(folder, tmp_path / "b.mff", symlinks=True)) == hashes[-1]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret", "..", ".", "", "..\\secret", "C:\\secret", "n" * 300, "a\0b", "pipe"]
)
@pytest.mark.parametrize("write", [write_brainvision, write_persyst])
def test_a_header_cannot_have_other_files_read(
    name: str, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"1")
    os.mkfifo(folder / "pipe")
    path = write(folder)
    (folder / "a.vmrk").unlink(missing_ok=True)
    text = path.read_bytes().replace(b"a.eeg", name.encode()).replace(b"C:\\eeg\\a.dat", name.encode())
    path.write_bytes(text)
    assert {file.parent for file in recording_files(path)} == {folder}
    assert file_hash(path) == hashlib.sha256(text).hexdigest()[:16]


@pytest.mark.parametrize("name", ["../b.fdt", "{tmp_path}/b.fdt"])
def test_eeglab_names_no_file_elsewhere(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = eeglab(folder, "bb.fdt")
    (folder / "bb.fdt").rename(tmp_path / "b.fdt")
    structure = scipy.io.loadmat(path, simplify_cells=True)["EEG"]
    structure |= {"data": name.format(tmp_path=tmp_path)}
    structure["chanlocs"] = np.array([(name,) for name in FOUR], [("labels", "O")])
    scipy.io.savemat(path, {"EEG": structure})
    with pytest.raises(DataError, match="names a file in another folder"):
        read_recording(path)


def test_links_to_files_elsewhere_are_files_of_a_recording(tmp_path: Path) -> None:
    """As in data sets of DataLad, whose files are links to a store."""
    store, folder = tmp_path / "store", tmp_path / "inner"
    store.mkdir()
    folder.mkdir()
    original = write_brainvision(store)
    for number, name in enumerate(("a.vhdr", "a.vmrk", "a.eeg")):
        (folder / name).symlink_to((store / name).rename(store / str(number)))
    del original
    read_recording(folder / "a.vhdr")
    assert sorted(recording_files(folder / "a.vhdr")) == sorted(folder.iterdir())


def test_sidecars_and_later_parts_belong_to_what_is_read(tmp_path: Path) -> None:
    names = (
        "sub-1_task-rest_raw.fif",
        "sub-1_task-rest_raw-1.fif",
        "sub-1_task-rest_channels.tsv",
        "events.tsv",
    )
    for name in (*names, "sub-1_task-rest_raw.json", "sub-1_task-other_channels.tsv"):
        (tmp_path / name).touch()
    files = [tmp_path / name for name in names]
    assert files_with_sidecars(files[0]) == files
    entry = Entry(files[0], "1", 1, events=files[3], seizures=tmp_path / "a.tse")
    assert files_of(entry) == sorted([*files, tmp_path / "a.tse"])


def test_the_cache_gives_each_subject_its_own_windows(tmp_path: Path) -> None:
    """Of two recordings with the same header, and when one of them changes."""
    paths = []
    for number, name in enumerate("AB"):
        (tmp_path / name).mkdir()
        paths.append(brainvision(tmp_path / name, "raw.eeg"))
        (10 * np.roll(noise(), number, axis=0)).astype("<i2").T.tofile(tmp_path / name / "raw.eeg")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    corpus = Corpus("two", tuple(Entry(path, path.parent.name, 0) for path in paths))

    def windows(folder: Path | None) -> list[np.ndarray]:
        found = load_windows(corpus, Preprocessing(tuple(FOUR)), 2.0, folder=folder, progress=False)
        return [np.array(one.data) for one in found.values()]

    for _ in range(2):
        fresh = windows(None)
        assert not np.array_equal(fresh[0], fresh[1])
        np.testing.assert_array_equal(windows(tmp_path / "cache"), fresh)
        (5 * noise()).astype("<i2").T.tofile(tmp_path / "B" / "raw.eeg")
