"""Comparison of rules and controls on the same data, network and seeds, each run in its own process.

An interrupted comparison is resumed by the same call: results that its folder contains are not run again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hebbian.registry import find_rule
from trainers.comparison.continual import PROTOCOLS, Protocol, check_tasks
from trainers.comparison.experiment import Experiment, Net, Result, run_experiment
from trainers.comparison.process import JobError, peak_memory, refuse_import, run_in_process, run_jobs
from trainers.comparison.recipe_overrides import FINETUNE, Overrides, override
from trainers.comparison.results import (
    describe_result,
    lock_folder,
    open_folder,
    read_rows,
    read_run_results,
    write_results,
)
from trainers.comparison.search import (
    SearchResult,
    describe_search,
    require_optuna,
    scale_rates,
    search_rates,
)
from trainers.data.batches import Split
from trainers.errors import DataError, SettingsError
from trainers.provenance import from_plain, make_record, write_record
from trainers.recipes import Phase, recommended

CONTROLS = ("backprop", "frozen")


@dataclass(frozen=True)
class Comparison:
    """The settings of a comparison.

    Parameters
    ----------
    rules
        Names in the registry; `with_controls` adds backprop and frozen random features.
    seeds
        Seeds; each rule is run once with each.
    data
        Name of the data, which are passed to `compare_rules`.
    net, widths, device
        As in `trainers.comparison.experiment.Experiment`.
    epochs
        Epochs of a rule's own phase and of the readout alike, so that a rule and its controls see the
        labels equally often; those of each recipe by default.
    greedy
        Train the blocks of unsupervised rules one after the other; without effect on supervised rules.
    finetune
        Epochs of backprop through the whole network at the end, for every rule.
    overrides
        Changes of the recipes.
    trials
        Learning rates tried for each rule on held-out training data first; 0 for no search.
    threads
        CPU threads of each run.
    protocol, tasks
        Continual learning; see `trainers.comparison.continual.make_tasks`.

    Raises
    ------
    SettingsError
        If there is no such rule or protocol, or rules, seeds or widths are no tuples.
    """

    rules: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    data: str = "digits"
    net: Net = "mlp"
    widths: tuple[int, ...] = ()
    device: str = "cpu"
    epochs: int | None = None
    greedy: bool = False
    finetune: int = 0
    overrides: Overrides = field(default_factory=dict)
    trials: int = 0
    threads: int = 1
    protocol: Protocol = "joint"
    tasks: int = 5

    def __post_init__(self) -> None:
        for name, example in (("rules", "oja"), ("seeds", 0), ("widths", 100)):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise SettingsError(f"{name} = {value!r}; expected a tuple such as ({example!r},)")
            object.__setattr__(self, name, tuple(value))
        try:
            for name in (*self.rules, *self.overrides):
                find_rule(name)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        if self.protocol not in PROTOCOLS:
            raise SettingsError(
                f"unknown protocol {self.protocol!r:.50}; expected one of {', '.join(PROTOCOLS)}"
            )
        if self.tasks < 2:
            raise SettingsError(f"tasks = {self.tasks:.0f}; expected at least 2")
        if self.protocol != "joint" and (self.greedy or self.finetune):
            raise SettingsError(
                f"protocol {self.protocol!r} with greedy training or fine-tuning; expected neither"
            )
        if self.greedy and all(rule in CONTROLS or find_rule(rule).supervised for rule in self.rules):
            raise SettingsError(
                f"greedy training needs a rule that learns without labels, got {', '.join(self.rules)}"
            )

    @classmethod
    def from_record(cls, run: Any) -> Comparison:
        """Return the comparison that a ``run.json`` records.

        Raises
        ------
        DataError
            If the record is of another kind, or of a version with other settings.
        """
        if not isinstance(run, dict) or run.get("command") not in ("train", "compare"):
            raise DataError("the record is not of `hebbian train` or `hebbian compare`")
        try:
            return from_plain(cls, run.get("settings"))
        except ValueError as error:
            raise DataError(
                f"settings: {error}; the record is damaged or of another version, use the one that it names"
            ) from error

    def as_record(self, command: str, split: Split) -> dict[str, Any]:
        """Return the record for ``run.json``; see `trainers.provenance`."""
        recipes = {e.rule: {"recipe": e.recipe} for e in self.experiments()}
        return make_record(command, asdict(self), recipes, split)

    def experiments(self) -> list[Experiment]:
        """Return all runs, seed by seed, so that an interrupted comparison contains all rules."""
        return [self._experiment(rule, seed) for seed in self.seeds for rule in self.rules]

    def _experiment(self, rule: str, seed: int) -> Experiment:
        recipe = recommended(rule)
        if self.greedy and not find_rule(rule).supervised:
            recipe = replace(recipe, greedy=True)
        if self.finetune:
            recipe = replace(recipe, finetune=replace(FINETUNE, epochs=self.finetune))
        if self.epochs is not None:
            recipe = replace(
                recipe,
                learn=_with_epochs(recipe.learn, self.epochs),
                readout=_with_epochs(recipe.readout, self.epochs),
            )
        try:
            recipe = override(recipe, self.overrides.get(rule, {}), find_rule(rule))
        except SettingsError as error:
            raise SettingsError(f"{rule}: {error}") from None
        return Experiment(rule, seed, recipe, self.net, self.widths, self.device, self.protocol, self.tasks)


def _with_epochs(phase: Phase, epochs: int) -> Phase:
    return replace(phase, epochs=epochs, least_steps=0)


def with_controls(rules: Sequence[str]) -> tuple[str, ...]:
    """Return ``rules``, each once, followed by the controls that are missing."""
    return tuple(dict.fromkeys((*rules, *CONTROLS)))


def compare_rules(
    comparison: Comparison,
    split: Split,
    out: str | Path,
    *,
    jobs: int = 1,
    minutes: float = math.inf,
    report: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """Run what is missing in the folder ``out`` and return the results that are there now.

    A run that fails is a result with a ``reason``, and is not repeated.

    Parameters
    ----------
    comparison
        Rules, seeds and settings.
    split
        The data.
    out
        New folder, or one of the same comparison, possibly with other rules or seeds.
    jobs
        Processes at a time.
    minutes
        Time after which no run begins.
    report
        Called with one line for each search and each run that ends.

    Raises
    ------
    DataError
        If ``out`` contains another comparison, cannot be written or another run is writing to it, a search
        lacks Optuna, or a script calls this without ``if __name__ == "__main__":``.
    SettingsError
        If there are more tasks than classes to divide.
    ValueError
        If the network does not fit the data.
    """
    refuse_import()
    experiments, out = comparison.experiments(), Path(out)
    experiments[0].model(split)
    check_tasks(split, comparison.protocol, comparison.tasks)
    if comparison.trials:
        require_optuna()
    with lock_folder(out):
        open_folder(out, comparison.as_record("compare", split))
        return _run_missing(comparison, experiments, split, out, jobs, minutes, report)


def _run_missing(
    comparison: Comparison,
    experiments: list[Experiment],
    split: Split,
    out: Path,
    jobs: int,
    minutes: float,
    report: Callable[[str], None],
) -> list[Result]:
    run = partial(run_jobs, jobs=jobs, deadline=time.monotonic() + 60 * minutes)
    threads = comparison.threads
    if comparison.trials:
        path = out / "search.json"
        rates = {r.rule: r for r in read_rows(SearchResult, path)} if path.exists() else {}
        todo = [e for e in experiments if e.seed == comparison.seeds[0] and e.rule not in rates]
        for best in run(partial(_search, split=split, trials=comparison.trials, threads=threads), todo):
            rates[best.rule] = best
            write_record(path, list(rates.values()))
            report(describe_search(best))
        experiments = [scale_rates(e, rates[e.rule]) for e in experiments if e.rule in rates]
    results = {(r.rule, r.seed): r for r in read_run_results(out)}
    todo = [e for e in experiments if e.key not in results]
    for result in run(partial(_run, split=split, threads=threads), todo):
        results[result.rule, result.seed] = result
        write_results(out, list(results.values()))
        report(describe_result(result))
    return [results[e.key] for e in experiments if e.key in results]


def _run(experiment: Experiment, split: Split, threads: int) -> Result:
    try:
        return run_in_process(_measure, experiment, split, threads)
    except JobError as error:
        return Result(experiment.rule, experiment.seed, reason=str(error))


def _measure(experiment: Experiment, split: Split, threads: int) -> Result:
    torch.set_num_threads(threads)
    result = run_experiment(experiment, split)
    on_gpu = torch.device(experiment.device).type == "cuda"
    return replace(result, memory=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory())


def _search(experiment: Experiment, split: Split, trials: int, threads: int) -> SearchResult:
    try:
        return run_in_process(_search_rates, experiment, split, trials, threads)
    except JobError as error:
        return SearchResult(experiment.rule, reason=str(error))


def _search_rates(experiment: Experiment, split: Split, trials: int, threads: int) -> SearchResult:
    torch.set_num_threads(threads)
    return search_rates(experiment, split, trials)
