"""Helpers of the `eeg` commands: report to the terminal, exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from eeg.datasets import Entry
    from eeg.detector.results import Results
    from eeg.training.plan import Plan
    from trainers.errors import DataError


_RESULTS, _DEBUG = "eeg.cli.results", "eeg.cli.debug"  # keys of what a command stores in its context


@contextmanager
def only_results_to_stdout() -> Iterator[None]:
    """Let only `echo` write to stdout: what libraries and their processes print goes to stderr."""
    meta, stdout, stderr = click.get_current_context().meta, sys.stdout, sys.stderr
    if stdout is not sys.__stdout__ or stdout is None or stderr is None:  # closed, or already replaced
        meta[_RESULTS] = stdout
        with redirect_stdout(stderr):
            yield
        return
    stdout.flush()
    number, saved = stdout.fileno(), os.dup(stdout.fileno())
    with os.fdopen(os.dup(number), "w", encoding=stdout.encoding, errors=stdout.errors) as results:
        meta[_RESULTS] = results
        os.dup2(stderr.fileno(), number)
        try:
            with redirect_stdout(stderr):
                yield
        finally:
            os.dup2(saved, number)
            os.close(saved)
            with suppress(OSError):  # the reader of a pipe is gone, as the command knows by now
                results.close()


def echo(text: str, *, err: bool = False) -> None:
    """Print a result, or with ``err`` a message, as text."""
    context = click.get_current_context(silent=True)
    click.echo(text, file=None if err or context is None else context.meta.get(_RESULTS), err=err)


def echo_error(error: Exception, more: str = "") -> None:
    """Print an error as one line, and with --debug where it comes from."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_DEBUG):
        echo("".join(traceback.format_exception(error)), err=True)
    echo(f"Error: {error}{more}", err=True)


def store_debug(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    """Store the option --debug of a command for `echo_error`."""
    ctx.meta[_DEBUG] = value


class Reporter:
    """Print messages and errors of a workflow; with ``machine``, messages go to stderr."""

    def __init__(self, machine: bool) -> None:
        self.machine, self.failed = machine, False

    def on_message(self, message: str) -> None:
        """Print a line."""
        echo(message, err=self.machine)

    def on_error(self, entry: Entry, error: DataError) -> None:
        """Print a recording's error."""
        self.failed = True
        echo_error(error, "; the recording is left out")

    @property
    def callbacks(self) -> dict[str, Any]:
        """The keyword arguments of a workflow."""
        return {"on_message": self.on_message, "on_error": self.on_error}


def echo_results(results: Mapping[str, Results], plan: Plan) -> None:
    """Print the results of a training as text."""
    from eeg.evaluation.results_text import describe_results, describe_results_audit
    from eeg.reporting.model_card import RESULT_TITLES

    printed: set[str] = set()
    for key, value in results.items():
        audit = describe_results_audit(value)
        echo(f"\n{RESULT_TITLES[key]}:\n{describe_results(value, plan)}\n")
        echo("Confounds: as above.\n" if audit in printed else f"{audit}\n")
        printed.add(audit)


def echo_json(facts: Mapping[str, Any]) -> None:
    """Print results as JSON, with the statement on their use."""
    import json

    from eeg.disclaimers import RESEARCH_USE
    from trainers.provenance import to_plain

    text = json.dumps({"statement": RESEARCH_USE, **to_plain(facts)})
    echo(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=2))  # JSON has no NaN


def create_out(out: Path) -> Path:
    """Make a folder that can be written."""
    from eeg.workflows.run_folder import make_folder

    return make_folder(out)


@contextmanager
def resumable() -> Iterator[None]:
    """Report how to continue if the command is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        echo("Interrupted; the same command with --resume continues.", err=True)
        raise


def end(failed: object) -> None:
    """Exit with code 1 if something failed."""
    if failed:
        raise SystemExit(1)
