"""Are explanations true?  python benchmarks/explanations.py --work FOLDER [--rules NAME ...] [--speed].

t-VGG GAP on the simulated cohort of `eeg demo` (seed 0: 48 subjects to train, 32 unseen), every method of
eeg/attribution.py on all windows of the 16 unseen subjects with discharges.  The cohort and the networks
are made once, in FOLDER; benchmarks/results/explanations.jsonl keeps one line a rule, method and subject for
docs/explanations.md, and a second call goes on where the first one stopped.  With --speed the time is taken
that half an hour needs instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eeg import runs, splits, training
from eeg.attribution import DEFAULT, METHODS, Contrast, Montage, ablation, attribute
from eeg.calibrate import Calibration
from eeg.datasets import Entry, open_corpus
from eeg.datasets.simulated import write_cohort
from eeg.detector import Detector, network_logits
from eeg.explanation import explain
from eeg.faithfulness import Explain, agreement, measure, randomised
from eeg.groundtruth import Discharges, locate, read_discharges
from eeg.models import build
from eeg.preprocess import Preprocessing
from eeg.recording import TEN_TWENTY
from eeg.segments import LONGEST, Span, over_time, peaks
from eeg.training import AGGREGATION, WINDOW, Loaded, Plan
from eeg.windows import Windows, windows_of

FILE = Path(__file__).parent / "results" / "explanations.jsonl"
SPEED = FILE.with_name("explanations_speed.json")
RULES = ("backprop", "dfa", "predsim")
SHUFFLED = "labels shuffled"
PRODUCT = "eeg explain"
SEED = 0
_HOLD_OUT = 0.4
_HIGHEST = 8  # windows of a subject that the measures of faithfulness look at
_PEAKS = 10

PLAN = Plan(
    Preprocessing(TEN_TWENTY), "events", WINDOW["events"], AGGREGATION["events"], "tvgg-gap", seed=SEED
)
MONTAGE = Montage(TEN_TWENTY, PLAN.preprocessing.sfreq)

Evidence = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, windows, baseline -> evidence."""


def amplitude(network: nn.Module, x: Tensor, baseline: Tensor) -> Tensor:
    """Explain by the size of the signal: what needs no network and must be beaten."""
    return x.abs()


def noise(network: nn.Module, x: Tensor, baseline: Tensor) -> Tensor:
    """Explain by chance."""
    return torch.rand(len(x), 1, x.shape[2], generator=torch.Generator().manual_seed(SEED))


def by(method: str) -> Evidence:
    return lambda network, x, baseline: attribute(network, x, baseline, MONTAGE, method=method)


EVIDENCE: dict[str, Evidence] = {
    **{name: by(name) for name in METHODS},
    "amplitude": amplitude,
    "random": noise,
}


@dataclass(frozen=True)
class Networks:
    """What a rule has taught, and the controls: the same with shuffled labels, or with shuffled weights."""

    trained: nn.Module
    labels: nn.Module | None
    weights: nn.Module


def networks(rule: str, work: Path, loaded: Loaded, train: list[Entry]) -> Networks:
    """Train what is not there yet; labels are shuffled for backprop only."""
    data = [loaded[entry] for entry in train]
    order = np.random.default_rng(SEED).permutation(len(data))
    elsewhere = [replace(w, events=data[i].events) for w, i in zip(data, order, strict=True)]
    trained = _network(rule, work / f"{rule}.safetensors", data)
    return Networks(
        trained,
        _network(rule, work / f"{rule}-labels.safetensors", elsewhere) if rule == "backprop" else None,
        randomised(trained, np.random.default_rng(SEED)),
    )


def _network(rule: str, path: Path, data: list[Windows]) -> nn.Module:
    network: nn.Module = build(PLAN.model, len(TEN_TWENTY), round(PLAN.window * MONTAGE.sfreq))
    if path.exists():
        network.load_state_dict(load_file(path))
        return network.eval()
    network = training.fit_network(replace(PLAN, rule=rule), data)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return network


def figures(name: str, nets: Networks, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return all that is measured of one kind of evidence on one subject."""
    evidence = EVIDENCE[name]
    x, nothing = torch.from_numpy(windows), torch.zeros(windows.shape)
    began = time.perf_counter()
    found = evidence(nets.trained, x, nothing).double().numpy()
    seconds = time.perf_counter() - began
    relevance = over_time(found, MONTAGE.sfreq)
    spans = peaks(relevance, MONTAGE.samples(LONGEST), _PEAKS)
    located = locate(spans, relevance, found, windows, true, MONTAGE)
    return {**asdict(located), **faithful(evidence, nets, windows), "ms": 1e3 * seconds / len(windows)}


def faithful(evidence: Evidence, nets: Networks, windows: np.ndarray) -> dict[str, float]:
    """Return the measures without ground truth, on the windows of the highest logits."""
    top = np.sort(np.argsort(-network_logits(nets.trained, windows))[:_HIGHEST])
    few = windows[top]
    x, nothing = torch.from_numpy(few), torch.zeros(few.shape)
    explained: Explain = partial(evidence, nets.trained)
    own = explained(x, nothing)
    others = {"default": by(DEFAULT)(nets.trained, x, nothing), "weights": evidence(nets.weights, x, nothing)}
    if nets.labels is not None:
        others["labels"] = evidence(nets.labels, x, nothing)
    alike = {key: float(agreement(own, other, MONTAGE).mean()) for key, other in others.items()}
    return {**asdict(measure(nets.trained, few, MONTAGE, explained)), **alike}


def product(network: nn.Module, windows: np.ndarray, true: Discharges) -> dict[str, float]:
    """Return how well what `eeg explain` shows finds the discharges; 1 under ``refused`` if it shows none."""
    found = explain(_detector(network), windows)
    spans = [_span(s.onset, s.duration) for s in found.segments]
    first = {span: s.channels[0] for span, s in zip(spans, found.segments, strict=True)}
    evidence = np.zeros((len(windows), len(TEN_TWENTY), windows.shape[2]))
    for (start, stop), channel in first.items():
        for sample in range(start, stop):
            evidence[sample // windows.shape[2], TEN_TWENTY.index(channel), sample % windows.shape[2]] = 1
    located = locate(spans, found.relevance, evidence, windows, true, MONTAGE)
    stable = float(np.mean([s.stability for s in found.segments])) if found.segments else float("nan")
    return {**asdict(located), "refused": float(found.refused), "stability": stable}


def speed(network: nn.Module, windows: np.ndarray) -> dict[str, float]:
    """Return the seconds that explaining half an hour takes, on one thread."""
    x, nothing = torch.from_numpy(windows), torch.zeros(windows.shape)
    contrast = Contrast(network)

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def channel_seconds() -> None:
        for part, other in zip(x.split(64), nothing.split(64), strict=True):
            ablation(contrast, part, other, MONTAGE, 64, length=1.0)

    found = {"ablation of each second of each channel": seconds(channel_seconds)}
    for name in ("grad-cam", DEFAULT):
        found[f"eeg explain --method {name}"] = seconds(
            partial(explain, _detector(network), windows, method=name)
        )
    return {name: round(value, 1) for name, value in found.items()}


def _detector(network: nn.Module) -> Detector:
    plain = Calibration(slope=1.0, intercept=0.0, prevalence=0.5, n=0)
    return Detector(network, PLAN.model, PLAN.preprocessing, PLAN.window, "events", PLAN.aggregation, plain)


def _span(onset: float, duration: float) -> Span:
    return round(onset * MONTAGE.sfreq), round((onset + duration) * MONTAGE.sfreq)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="where the cohort and the networks are kept")
    parser.add_argument("--speed", action="store_true", help="take the time instead, of the trained network")
    parser.add_argument("--rules", nargs="+", default=RULES, metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cohort = options.work / f"cohort-{SEED}"
    if not cohort.exists():
        write_cohort(cohort, seed=SEED)
    corpus = open_corpus(cohort)
    train, held = splits.hold_out(corpus.entries, _HOLD_OUT, SEED)
    if options.speed:
        network = _network("backprop", options.work / "backprop.safetensors", [])
        six = [windows_of(entry, PLAN.preprocessing, PLAN.window).data for entry in held[:6]]
        SPEED.write_text(json.dumps(speed(network, np.concatenate(six)), indent=1) + "\n", encoding="utf-8")
        return
    loaded = runs.load_corpus(corpus, PLAN.preprocessing, PLAN.window)
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    done = {(line["rule"], line["method"], line["subject"]) for line in map(json.loads, lines)}
    for rule in options.rules:
        nets = networks(rule, options.work, loaded, list(train))
        for entry in (entry for entry in held if entry.label == 1 and entry.events is not None):
            windows, true = loaded[entry].data, read_discharges(entry.events)
            for method in (PRODUCT, *EVIDENCE):
                if (rule, method, entry.subject) in done:
                    continue
                told = (
                    product(nets.trained, windows, true)
                    if method == PRODUCT
                    else figures(method, nets, windows, true)
                )
                line = {"rule": rule, "method": method, "subject": entry.subject, **told}
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            print(rule, entry.subject, flush=True)


if __name__ == "__main__":
    main()
