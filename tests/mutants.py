"""Mutation testing: change one operator, number or statement of the code, and see whether a test notices.

``python -m tests.mutants hebbian eeg/detector --sample 200``.  Each mutant is run by the tests that reach its
line, the fastest first, in a forked process that has imported PyTorch and MNE but nothing of this project.
Slow tests, and those that start other processes, take no part.  Annotations, docstrings and texts are not
changed, nor the ``strict=True`` of `zip`, which asserts: no test of behaviour could notice.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import json
import multiprocessing
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import RLock

import click
import numpy as np
import pytest
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
PACKAGES = ("hebbian", "trainers", "visualizers", "eeg")
_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
_HEAVY = ("captum.attr", "cattrs", "edfio", "mne", "mne_bids", "pyriemann", "scipy.signal", "scipy.stats")
_HEAVY += ("sklearn.linear_model", "tensorboard", "torch", "torch._dynamo", "torch.utils.tensorboard")
_HEAVY += ("hypothesis", "matplotlib.pyplot", "click.testing")
_MOST_SECONDS = 20.0
"""Of the tests of one mutant, as measured without it."""


@dataclass(frozen=True)
class Mutant:
    """A change of a file: ``new`` in place of the text from ``start`` to ``stop``."""

    path: str
    line: int
    start: int
    stop: int
    new: str


class _Source:
    """The text of a file, and where its nodes are."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text("utf-8")
        self.name = str(path.relative_to(ROOT))
        lines = self.text.splitlines(keepends=True)
        self._starts = np.cumsum([0, *map(len, lines)])
        self._lines = lines

    def _offset(self, line: int, column: int) -> int:
        characters = len(self._lines[line - 1].encode()[:column].decode())
        return int(self._starts[line - 1]) + characters

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno or 0, node.end_col_offset or 0),
        )

    def replace(self, node: ast.expr | ast.stmt, new: str) -> Mutant:
        return Mutant(self.name, node.lineno, *self.span(node), new)

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Mutant:
        start, stop = self.span(left)[1], self.span(right)[0]
        at = start + self.text[start:stop].index(old)
        return Mutant(self.name, left.end_lineno or 0, at, at + len(old), new)


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a file."""
    source = _Source(path)
    for node in _behaviour(ast.parse(source.text)):
        yield from _of(node, source)


def _behaviour(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, without annotations, texts, ``strict=`` and what only type checkers read."""
    match node:
        case ast.JoinedStr() | ast.keyword(arg="strict") | ast.If(test=ast.Name("TYPE_CHECKING")):
            return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _behaviour(child)


def _of(node: ast.AST, source: _Source) -> Iterator[Mutant]:
    match node:
        case ast.Compare():
            sides = [node.left, *node.comparators]
            for i, operator in enumerate(node.ops):
                yield source.between(sides[i], sides[i + 1], *_COMPARISONS[type(operator)])
        case ast.BinOp() if type(node.op) in _OPERATORS and not _is_text(node):
            yield source.between(node.left, node.right, *_OPERATORS[type(node.op)])
        case ast.AugAssign() if type(node.op) in _OPERATORS and not _is_text(node):
            yield source.between(node.target, node.value, *_OPERATORS[type(node.op)])
        case ast.BoolOp():
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values[:-1], node.values[1:], strict=True):
                yield source.between(left, right, *words)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            start, stop = source.span(node.operand)
            yield source.replace(node, f"({source.text[start:stop]})")
        case ast.Constant(value=bool()):
            yield source.replace(node, str(not node.value))
        case ast.Constant(value=int() | float()):
            yield source.replace(node, repr(node.value + 1))
        case ast.Name() if node.id in _NAMES:
            yield source.replace(node, _NAMES[node.id])
        case ast.Attribute() if node.attr in _NAMES:
            start, stop = source.span(node)
            yield Mutant(source.name, node.end_lineno or 0, stop - len(node.attr), stop, _NAMES[node.attr])
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield source.replace(node, "pass")


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in ast.walk(node)
    )


class _Recorder:
    """Notes how long each test takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def _reach(folder: Path, tests: Sequence[str]) -> None:
    """Run the tests once; write which lines each reaches, and how long it takes."""
    recorder = _Recorder()
    words = [f"--cov={package}" for package in PACKAGES] + ["--cov-context=test", "--cov-report="]
    os.environ["COVERAGE_FILE"] = str(folder / "coverage")
    if pytest.main(["-q", "-p", "no:cacheprovider", *words, *tests], plugins=[recorder]):
        raise SystemExit("the tests fail without any mutation")
    (folder / "seconds.json").write_text(json.dumps(recorder.seconds))


def _tests_by_line(folder: Path) -> dict[str, dict[int, list[str]]]:
    """Return the tests that reach each line of each file, the fastest first.

    What runs when a module is imported, such as defaults and tables, is reached by all tests of its file.
    """
    import coverage

    seconds = json.loads((folder / "seconds.json").read_text())
    data = coverage.CoverageData(str(folder / "coverage"))
    data.read()
    result = {}
    for file in data.measured_files():
        contexts = data.contexts_by_lineno(file)
        reached = {
            line: {c.split("|")[0] for c in found} & seconds.keys() for line, found in contexts.items()
        }
        every = set().union(*reached.values())
        result[str(Path(file).relative_to(ROOT))] = {
            line: sorted(every if "" in contexts[line] else tests, key=lambda test: seconds[test])
            for line, tests in reached.items()
        }
    return result


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module from another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_source(self, name: str) -> str:
        return self.source

    def is_package(self, name: str) -> bool:
        return self.path.name == "__init__.py"

    def get_filename(self, name: str) -> str:
        return str(self.path)


def _run(mutant: Mutant, tests: Sequence[str], seconds: float) -> None:
    """Exit with 0 if all tests pass with a mutant: it survives."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    tqdm.set_lock(RLock())  # the parent may have held its own when this process was forked
    resource.setrlimit(resource.RLIMIT_CPU, (limit := int(20 + 4 * seconds), limit))
    path = ROOT / mutant.path
    text = path.read_text("utf-8")
    source = text[: mutant.start] + mutant.new + text[mutant.stop :]
    name = ".".join(Path(mutant.path).with_suffix("").parts).removesuffix(".__init__")
    sys.meta_path.insert(0, _Finder(name, path, source))
    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported already
    os._exit(int(pytest.main([*words, *tests])))


def survives(mutant: Mutant, tests: Sequence[str], seconds: dict[str, float]) -> bool:
    """Return whether no test notices a mutant."""
    chosen, total = [], 0.0
    for test in tests:
        if chosen and total + seconds[test] > _MOST_SECONDS:
            break
        chosen.append(test)
        total += seconds[test]
    child = multiprocessing.get_context("fork").Process(target=_run, args=(mutant, chosen, total))
    child.start()
    child.join(30 * (20 + total))
    if child.is_alive():  # it waits for something that never comes
        child.kill()
        child.join()
    return child.exitcode == 0


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--tests", multiple=True, default=("tests",), show_default=True, help="The tests to run.")
@click.option("--sample", type=int, help="So many mutants, drawn at random; all by default, in random order.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=int, default=2, show_default=True, help="Processes.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".mutants"), show_default=True)
def main(
    paths: tuple[str, ...], tests: tuple[str, ...], sample: int | None, seed: int, jobs: int, folder: Path
):
    """Change the code in PATHS, and report which changes no test notices.  An interrupted run goes on."""
    if importlib.util.find_spec("pytest_cov") is None:
        raise click.ClickException("pytest-cov is missing; install it by: pip install -e '.[test,mutation]'")
    folder.mkdir(exist_ok=True)
    os.chdir(ROOT)
    context = multiprocessing.get_context("fork")
    if not (folder / "seconds.json").is_file():
        first = context.Process(target=_reach, args=(folder, tests))
        first.start()
        first.join()
        if first.exitcode:
            raise SystemExit(first.exitcode)
    for name in _HEAVY:
        importlib.import_module(name)
    reach, seconds = _tests_by_line(folder), json.loads((folder / "seconds.json").read_text())
    files = [
        file for path in paths for file in ([ROOT / path] if path.endswith(".py") else _files(ROOT / path))
    ]
    found = [mutant for file in files for mutant in mutants(file)]
    found = [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:sample]]
    journal = folder / "results.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()] if journal.is_file() else []
    done = {Mutant(**row["mutant"]): row["survives"] for row in rows}
    todo = [mutant for mutant in found if mutant not in done]

    def reached(mutant: Mutant) -> list[str]:
        return reach.get(mutant.path, {}).get(mutant.line, [])

    def attempt(mutant: Mutant) -> tuple[Mutant, bool]:
        tests = reached(mutant)
        return mutant, not tests or survives(mutant, tests, seconds)

    for mutant in todo[:: max(len(todo) // 5, 1)]:  # the control
        text = (ROOT / mutant.path).read_text("utf-8")
        same, tests = replace(mutant, new=text[mutant.start : mutant.stop]), reached(mutant)
        if tests and not survives(same, tests, seconds):
            raise SystemExit(f"the tests of {mutant.path}:{mutant.line} fail without any mutation")
    with ThreadPoolExecutor(jobs) as pool, journal.open("a") as file:
        attempts = [pool.submit(attempt, mutant) for mutant in todo]
        for finished in tqdm(as_completed(attempts), total=len(todo), disable=None):
            mutant, alive = finished.result()
            done[mutant] = alive
            file.write(json.dumps({"mutant": asdict(mutant), "survives": alive}) + "\n")
            file.flush()
    alive = sorted((mutant for mutant in found if done[mutant]), key=lambda m: (m.path, m.start))
    for mutant in alive:
        text = (ROOT / mutant.path).read_text("utf-8")
        line = text.splitlines()[mutant.line - 1].strip()
        print(
            f"{mutant.path}:{mutant.line}: {text[mutant.start : mutant.stop]!r} -> {mutant.new!r} in {line}"
        )
    print(f"{len(found) - len(alive)} of {len(found)} mutants noticed")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")


if __name__ == "__main__":
    main()
