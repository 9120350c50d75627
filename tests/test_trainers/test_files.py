"""Files are replaced as a whole, and what killed programs leave is removed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT
from trainers.errors import DataError, one_line
from trainers.files import partial_folder, replacing, sweep

needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

WRITER = """
import sys, time
from pathlib import Path
from trainers.files import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A program that is writing ``result.txt``."""
    words = [sys.executable, "-c", WRITER, str(tmp_path / "result.txt")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout.readline() == "writing\n"
        yield program
        program.kill()


@needs_locks
@pytest.mark.parametrize("name", ["", "result.txt"])
def test_only_what_a_killed_program_left_is_removed(writer, tmp_path, name):
    (left,) = tmp_path.glob(".partial-*")
    sweep(tmp_path, name)
    assert (left / "result.txt").read_text() == "half", "the program is running"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    sweep(tmp_path, name)
    assert not list(tmp_path.iterdir())


@needs_locks
def test_writing_a_file_again_removes_what_was_left_of_it(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / f".partial-{name}-x").mkdir()
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", ".partial-b.txt-x"}


def test_without_locks_only_old_folders_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.files._lock", lambda *args, **named: None)
    for name, age in (("new", 60), ("old", 2 * 86400)):
        (tmp_path / f".partial-{name}").mkdir()
        os.utime(tmp_path / f".partial-{name}", 2 * (time.time() - age,))
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".partial-new"]


def test_a_name_of_any_length_is_written(tmp_path):
    path = tmp_path / ("é" * 100 + ".txt")
    with replacing(path) as part:
        part.write_text("x")
    assert path.read_text() == "x"


def test_two_programs_write_one_file_at_the_same_time(tmp_path):
    with partial_folder(tmp_path / "a") as first, partial_folder(tmp_path / "a") as second:
        assert first != second
        assert first.exists()
    assert not list(tmp_path.iterdir())


def test_an_error_about_a_file_names_it(tmp_path):
    path = tmp_path / "a.edf"
    for text in ("flat", f"{path}: flat", f"{path.parent / 'b.tsv'}: flat"):
        with pytest.raises(DataError) as caught, one_line(path):
            raise DataError(text)
        assert str(caught.value) == (f"{path}: flat" if text == "flat" else text)
