"""A recorded run, repeated and compared with its results: `hebbian run`."""

from __future__ import annotations

from pathlib import Path

from trainers.comparison.compare import Comparison, compare_rules
from trainers.comparison.results import find_differences, read_run_results
from trainers.comparison.train import train_rules
from trainers.data import load_data
from trainers.errors import DataError
from trainers.provenance import differences, read_record


def repeat_run(record: Path, out: Path, *, folder: Path | None = None, jobs: int = 1) -> int:
    """Repeat the run that ``record`` describes, and return how many results are the same, bit for bit.

    Parameters
    ----------
    record
        A ``run.json``, with its results beside it.
    out
        New folder for the record and the results of the repetition.
    folder
        Folder of the data; see `trainers.load_data`.
    jobs
        Processes at a time; for comparisons.

    Raises
    ------
    DataError
        If the record cannot be read or is from another version, or the results differ: one line each,
        followed by the differences between the two records.
    """
    before = read_record(record)
    try:
        comparison = Comparison.from_record(before)
    except DataError as error:
        raise DataError(f"{record}: {error}") from None
    expected = read_run_results(record.parent)
    split = load_data(comparison.data, folder)
    if before["command"] == "train":
        train_rules(comparison, split, out)
    else:
        compare_rules(comparison, split, out, jobs=jobs)
    if not expected:
        raise DataError(f"{record.parent} contains no results to compare with; see those in {out}")
    lines = find_differences(expected, read_run_results(out))
    if lines:
        notes = differences(before, read_record(out / "run.json"))
        raise ResultsDiffer(len(lines), len(expected), [*lines, *(f"({note})" for note in notes)])
    return len(expected)


class ResultsDiffer(DataError):
    """A repetition came out differently; ``lines`` states where and what may be the cause."""

    def __init__(self, differing: int, total: int, lines: list[str]) -> None:
        super().__init__(f"{differing} of {total} results differ")
        self.lines = lines
