"""Faithfulness of explanations: python benchmarks/explanations.py --work FOLDER [--rules NAME ...] [--speed].

t-VGG GAP on the simulated cohort of `eeg demo` (seed 0), trained on 48 of its 80 subjects.  Unseen are its
other subjects with discharges and, of the same simulation, those among 120 more; a second network learns
from 72 of these as well.  The cohort and the networks are made once, in FOLDER;
benchmarks/results/explanations.jsonl keeps one line a rule, measure, method and subject for
docs/explanations.md, and a second call goes on where the first one stopped.  With --speed the time is taken
that half an hour needs instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
from discharges import Discharges, locate, read_discharges
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eeg.datasets import Entry, open_corpus, splits
from eeg.detector.calibration import Calibration
from eeg.detector.detector import Detector, network_logits
from eeg.explanation.attribution import DEFAULT_METHOD, METHODS, Contrast, Montage, ablation, attribute
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.faithfulness import Explain, cascade_randomization, measure, rank_agreement
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.segments import MAX_SEGMENT_SECONDS, evidence_over_time, find_peaks
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from eeg.preprocessing.loading import read_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.simulation.write_bids import write_cohort
from eeg.training import fit
from eeg.training.plan import Plan

FILE = Path(__file__).parent / "results" / "explanations.jsonl"
SPEED = FILE.with_name("explanations_speed.json")
RULES = ("backprop", "predsim", "dfa")
PRODUCT = "eeg explain"
WINDOWS = "highest windows"
MORE = ", 120 training subjects"
SEED = 0
_SUBJECTS = 200
_DEMO = 80  # of them, those of `eeg demo`
_HOLD_OUT = 0.4
_FURTHER = 72  # of the others, on which a second network is trained as well
_LOCATED = 48  # unseen subjects whose every window is explained by every method
_LOOKED_AT = 16  # unseen subjects for the measures of faithfulness
_HIGHEST = 8  # windows of a subject for the same
_PEAKS = 10
_BATCH = 64
_CHANCE = torch.Generator().manual_seed(SEED)

PLAN = Plan(Preprocessing(TEN_TWENTY), "events", 2.0, "top", "tvgg-gap", seed=SEED)
MONTAGE = Montage(TEN_TWENTY, PLAN.preprocessing.sfreq)

Evidence = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, windows, baseline -> evidence."""


def amplitude(network: nn.Module, x: Tensor, baseline: Tensor) -> Tensor:
    """Explain by the size of the signal: a baseline that needs no network."""
    return x.abs()


def noise(network: nn.Module, x: Tensor, baseline: Tensor) -> Tensor:
    """Explain by chance, drawn each time."""
    return torch.rand(len(x), 1, x.shape[2], generator=_CHANCE)


def by(method: str) -> Evidence:
    return lambda network, x, baseline: attribute(network, x, baseline, MONTAGE, method=method)


EVIDENCE: dict[str, Evidence] = {
    **{name: by(name) for name in METHODS},
    "amplitude": amplitude,
    "random": noise,
}


@dataclass(frozen=True)
class Networks:
    """Networks trained by a rule on the recordings ``train``, and controls; trained on first use."""

    rule: str
    work: Path
    train: Sequence[Entry]
    further: Sequence[Entry]

    @cached_property
    def trained(self) -> nn.Module:
        """What is explained."""
        return _network(self.rule, self.work / f"{self.rule}.safetensors", partial(_windows, self.train))

    @cached_property
    def more(self) -> nn.Module:
        """The same, trained on the ``further`` recordings as well."""
        recordings = (*self.train, *self.further)
        path = self.work / f"{self.rule}-{len(recordings)}.safetensors"
        return _network(self.rule, path, partial(_windows, recordings))

    @cached_property
    def labels(self) -> nn.Module:
        """Trained on labels that are permuted over recordings."""

        def shuffled() -> list[Windows]:
            data = _windows(self.train)
            order = np.random.default_rng(SEED).permutation(len(data))
            return [replace(w, events=data[i].events) for w, i in zip(data, order, strict=True)]

        return _network(self.rule, self.work / f"{self.rule}-labels.safetensors", shuffled)

    @cached_property
    def cascade(self) -> Sequence[nn.Module]:
        """More and more layers shuffled."""
        return cascade_randomization(self.trained, np.random.default_rng(SEED))


def _network(rule: str, path: Path, data: Callable[[], list[Windows]]) -> nn.Module:
    network: nn.Module = build_model(PLAN.model, len(TEN_TWENTY), round(PLAN.window * MONTAGE.sfreq))
    if path.exists():
        network.load_state_dict(load_file(path))
        return network.eval()
    network = fit.fit_network(replace(PLAN, rule=rule), data())
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return network


def _windows(entries: Sequence[Entry]) -> list[Windows]:
    return [read_windows(entry, PLAN.preprocessing, PLAN.window) for entry in entries]


@cache
def _known(entry: Entry) -> tuple[np.ndarray, Discharges]:
    assert entry.events is not None
    return _windows([entry])[0].data, read_discharges(entry.events)


def found(method: str, nets: Networks, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return how well one kind of evidence finds the discharges of one subject."""
    network = nets.more if method.endswith(MORE) else nets.trained
    if method.startswith(PRODUCT):
        return product(network, windows, true)
    if method.startswith(WINDOWS):
        return highest(network, windows, true)
    x, nothing = torch.from_numpy(windows), torch.zeros(windows.shape)
    evidence = EVIDENCE[method](nets.trained, x, nothing).double().numpy()
    relevance = evidence_over_time(evidence, MONTAGE.sfreq)
    spans = find_peaks(relevance, MONTAGE.samples(MAX_SEGMENT_SECONDS), _PEAKS)
    return asdict(locate(spans, relevance, evidence, windows, true, MONTAGE))


def faithful(method: str, nets: Networks, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return the measures without ground truth, on the windows of the highest logits."""
    few = strongest(nets.trained, windows)
    x, nothing = torch.from_numpy(few), torch.zeros(few.shape)
    explained: Explain = partial(EVIDENCE[method], nets.trained)
    default = by(DEFAULT_METHOD)(nets.trained, x, nothing)
    alike = float(rank_agreement(explained(x, nothing), default, MONTAGE).mean())
    return {**asdict(measure(nets.trained, few, MONTAGE, explained)), "default": alike}


def randomised(method: str, nets: Networks, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return how much of the evidence, on the same windows, survives without what was learned.

    Under ``labels`` and ``weights`` it is compared with its sign, under each depth of the cascade without.
    """
    few = strongest(nets.trained, windows)
    x, nothing = torch.from_numpy(few), torch.zeros(few.shape)
    own, labels, *random = (
        EVIDENCE[method](network, x, nothing) for network in (nets.trained, nets.labels, *nets.cascade)
    )
    signed = {
        "labels": rank_agreement(own, labels, MONTAGE),
        "weights": rank_agreement(own, random[-1], MONTAGE),
    }
    depths = {
        f"depth {depth}": rank_agreement(own.abs(), other.abs(), MONTAGE)
        for depth, other in enumerate(random, 1)
    }
    return {key: float(alike.mean()) for key, alike in {**signed, **depths}.items()}


def strongest(network: nn.Module, windows: np.ndarray) -> np.ndarray:
    """Return the eight windows of the highest logits, in their order."""
    return windows[np.sort(np.argsort(-network_logits(network, windows))[:_HIGHEST])]


def highest(network: nn.Module, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return how many of the windows with the highest logits hold a discharge: what bounds an explanation."""
    logits, size = network_logits(network, windows), windows.shape[2]
    spans = [(int(i) * size, (int(i) + 1) * size) for i in np.argsort(-logits)[:_PEAKS]]
    located = asdict(locate(spans, np.repeat(logits, size), np.zeros(windows.shape), windows, true, MONTAGE))
    return {key: located[key] for key in ("pointing", "precision", "recall", "chance")}


def product(network: nn.Module, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return how well what `eeg explain` shows finds the discharges; 1 under ``refused`` if it shows none."""
    found = _explained(network, windows)
    spans = found.spans
    first = {span: s.channels[0] for span, s in zip(spans, found.segments, strict=True)}
    evidence = np.zeros((len(windows), len(TEN_TWENTY), windows.shape[2]))
    for (start, stop), channel in first.items():
        for sample in range(start, stop):
            evidence[sample // windows.shape[2], TEN_TWENTY.index(channel), sample % windows.shape[2]] = 1
    located = locate(spans, found.relevance, evidence, windows, true, MONTAGE)
    stable = float(np.mean([s.stability for s in found.segments])) if found.segments else float("nan")
    return {**asdict(located), "refused": float(found.refused), "stability": stable}


def speed(network: nn.Module, windows: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the processor time that explaining takes: s for all windows, ms a window for each method."""
    x, nothing = torch.from_numpy(windows), torch.zeros(windows.shape)
    contrast = Contrast(network)

    def seconds(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    def channel_seconds() -> None:
        for part, other in zip(x.split(_BATCH), nothing.split(_BATCH), strict=True):
            ablation(contrast, part, other, MONTAGE, _BATCH, length=1.0)

    ranked = {
        f"ranked segments by {name}": partial(_explained, network, windows, name)
        for name in ("grad-cam", DEFAULT_METHOD)
    }
    works = {"occlusion of each second of each channel": channel_seconds, **ranked}
    methods = {name: partial(by(name), network, x[:_BATCH], nothing[:_BATCH]) for name in METHODS}
    return {
        "half an hour, s": {name: round(seconds(work), 1) for name, work in works.items()},
        "a window, ms": {name: round(1e3 * seconds(work) / _BATCH, 2) for name, work in methods.items()},
    }


def _explained(network: nn.Module, windows: np.ndarray, method: str = DEFAULT_METHOD) -> Explanation:
    """Explain adjoining windows as `eeg explain` does."""
    plain = Calibration(slope=1.0, intercept=0.0, prevalence=0.5, n=0)
    detector = Detector(
        network=network,
        model=PLAN.model,
        preprocessing=PLAN.preprocessing,
        window=PLAN.window,
        labels=PLAN.labels,
        aggregation=PLAN.aggregation,
        calibration=plain,
    )
    onset = PLAN.window * np.arange(len(windows))
    return explain(
        detector,
        Windows(windows, onset, PLAN.window, None, None),
        network_logits(network, windows),
        ExplanationOptions(method),
    )


MEASURES = {"found": found, "faithful": faithful, "randomised": randomised}


def tasks(
    rules: Sequence[str], unseen: Sequence[Entry], further: Sequence[Entry]
) -> Iterator[tuple[str, str, str, Entry]]:
    """Yield what is to be measured, the fastest first: rule, measure, method and recording."""
    left = [entry for entry in unseen if entry not in further]
    for rule in rules:
        yield from ((rule, "found", method, entry) for entry in unseen for method in (PRODUCT, WINDOWS))
        yield from ((rule, "found", m + MORE, entry) for entry in left for m in (PRODUCT, WINDOWS))
    for measured, subjects in (("faithful", _LOOKED_AT), ("randomised", _LOOKED_AT), ("found", _LOCATED)):
        for rule in rules:
            yield from ((rule, measured, m, entry) for entry in unseen[:subjects] for m in EVIDENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the cohort and the networks")
    parser.add_argument("--speed", action="store_true", help="measure the time instead")
    parser.add_argument("--rules", nargs="+", default=RULES, metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cohort = options.work / f"cohort-{SEED}"
    if not cohort.exists():
        write_cohort(cohort, seed=SEED, subjects=_SUBJECTS)
    entries = sorted(open_corpus(cohort).entries, key=lambda entry: entry.subject)
    train, held = splits.hold_out(entries[:_DEMO], _HOLD_OUT, SEED)
    further = entries[_DEMO : _DEMO + _FURTHER]
    networks = cache(lambda rule: Networks(rule, options.work, train, further))
    if options.speed:
        windows = np.concatenate([w.data for w in _windows(held[:6])])
        SPEED.write_text(
            json.dumps(speed(networks("backprop").trained, windows), indent=1) + "\n", encoding="utf-8"
        )
        return
    unseen = [entry for entry in (*held, *entries[_DEMO:]) if entry.label == 1]
    lines = map(json.loads, FILE.read_text(encoding="utf-8").splitlines()) if FILE.exists() else ()
    done = {(line["rule"], line["measure"], line["method"], line["subject"]) for line in lines}
    for rule, measured, method, entry in tasks(options.rules, unseen, further):
        if (rule, measured, method, entry.subject) in done:
            continue
        values = MEASURES[measured](method, networks(rule), *_known(entry))
        line = {"rule": rule, "measure": measured, "method": method, "subject": entry.subject, **values}
        with FILE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
