"""The stored cases of the fuzzer, and that the fuzzer notices what it is there for."""

import json
import os
import signal
import time

import pytest

from tests.fuzz import models
from tests.fuzz.__main__ import mutation, try_files
from tests.fuzz.oracle import Outcome, attempt, fault
from tests.fuzz.seeds import KINDS, SECRET, files
from tests.helpers import ROOT
from trainers.errors import DataError

CASES = sorted((ROOT / "tests/fuzz/cases").glob("*/finding.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_a_file_that_once_did_harm_is_read_or_refused(case):
    about = json.loads(case.read_text("utf-8"))
    found = [path for path in sorted(case.parent.rglob("*")) if path.is_file() and path != case]
    content = {str(path.relative_to(case.parent)): path.read_bytes() for path in found}
    first = about["first"]
    assert try_files(about["kind"], {first: content.pop(first), **content})[1] is None


@pytest.mark.parametrize("kind", KINDS)
def test_valid_files_and_a_few_mutations_pass(kind):
    outcome, wrong = try_files(kind, files(kind))
    assert (outcome.kind, wrong) == ("value", None)
    for seed in range(2):
        content, same = mutation(kind, seed)
        assert try_files(kind, content, outcome.value if same else None)[1] is None


def test_a_few_mutations_of_a_model_pass():
    assert {wrong and wrong.message for _, wrong in map(models.attempt, range(6))} == {None}


def _memory(path):
    return len(bytearray(8 * 2**30))


def _value_error(path):
    raise ValueError("from the depths")


def _crash(path):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (_memory, "error", "MemoryError"),
        (_value_error, "error", "from the depths"),
        (_crash, "died", "SIGKILL"),
        (lambda path: time.sleep(60), "hung", "0.2 s"),
    ],
)
def test_memory_exceptions_crashes_and_hangs_are_found(tmp_path, function, kind, message):
    outcome = attempt(function, tmp_path / "a.edf", seconds=20 if kind != "hung" else 0.2)
    assert outcome.kind == kind
    assert message in outcome.message
    assert fault(outcome, tmp_path / "a.edf")


@pytest.mark.parametrize("text", ["two\nlines", f"of {SECRET}", "x" * 600, "names no file", "\x1b[31m"])
def test_an_error_that_is_not_one_clear_line_is_found(tmp_path, text):
    path = tmp_path / "a.edf"
    named = text if text == "names no file" else f"{path}: {text}"
    assert fault(Outcome("refused", message=named), path)


def test_one_clear_line_is_no_finding(tmp_path):
    def refuse(path):
        raise DataError(f"{path}: empty, 0 bytes; copy or export it again")

    path = tmp_path / "a.edf"
    assert fault(attempt(refuse, path), path) is None


def test_any_number_is_the_seed_of_a_mutation() -> None:
    """Two changes may meet: a number beyond every float is multiplied, an integer of eight bits filled."""
    for seed in range(2000):
        kind, content, _ = models.mutate(seed)
        assert kind in ("bytes", "settings", "weights")
        assert content
