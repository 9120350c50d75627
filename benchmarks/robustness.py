"""How the answer for a recording changes under faults of the recording that leave the diagnosis as it is.

    eeg simulate cohort --subjects 72 --minutes 2 --seed 41
    eeg train cohort --hold-out 0.34 --folds 2 --out run
    python benchmarks/robustness.py run

simulates subjects that the detector has not seen, applies each of `CHANGES` to each recording, and compares
the calibrated score and the answer with those of the unchanged recording. Finished subjects are stored in
results/robustness.jsonl, and a second call continues there. About 20 s of one core a subject.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import mne
import numpy as np
import torch
from journal import RESULTS

from eeg.detector import novelty
from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.simulation.cohort import simulate_subject
from trainers.errors import DataError

JOURNAL = RESULTS / "robustness.jsonl"
SEED, MINUTES, RATE = 1041, 2.0, 256
FRONTAL = [TEN_TWENTY.index(name) for name in ("Fp1", "Fp2", "F7", "F8", "F3", "F4", "Fz")]
TEMPORAL = [TEN_TWENTY.index(name) for name in ("T7", "T8", "F7", "F8", "P7", "P8")]

Change: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Volts (19, T) at 256 Hz, which may be changed in place, and what is random -> volts (19, T')."""


def _place(volts: np.ndarray, rng: np.random.Generator, seconds: float) -> slice:
    """Draw a span of that length, at least 5 s from both ends."""
    size = round(seconds * RATE)
    start = int(rng.integers(5 * RATE, volts.shape[1] - 5 * RATE - size))
    return slice(start, start + size)


def _channel(rng: np.random.Generator) -> int:
    return int(rng.integers(len(TEN_TWENTY)))


def _spikes(volts: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    for _ in range(count):
        volts[_channel(rng), _place(volts, rng, 1 / RATE)] += rng.choice((-3e-3, 3e-3))
    return volts


def _pop(volts: np.ndarray, rng: np.random.Generator, peak: float, decay: float) -> np.ndarray:
    at = _place(volts, rng, 8 * decay)
    volts[_channel(rng), at] += peak * np.exp(-np.arange(at.stop - at.start) / (decay * RATE))
    return volts


def _step(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    volts[_channel(rng), _place(volts, rng, 1).start :] += 3e-3
    return volts


def _zeros(volts: np.ndarray, rng: np.random.Generator, seconds: float, everywhere: bool) -> np.ndarray:
    volts += 1e-3 * rng.standard_normal((len(volts), 1))  # the offsets of electrodes
    volts[slice(None) if everywhere else _channel(rng), _place(volts, rng, seconds)] = 0
    return volts


def _gain(volts: np.ndarray, rng: np.random.Generator, factor: float, count: int = 1) -> np.ndarray:
    volts[rng.permutation(len(volts))[:count]] *= factor
    return volts


def _noisy(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    volts[_channel(rng)] += 1e-4 * rng.standard_normal(volts.shape[1])
    return volts


def _line(volts: np.ndarray, rng: np.random.Generator, frequency: float) -> np.ndarray:
    wave = np.sin(2 * np.pi * frequency * np.arange(volts.shape[1]) / RATE)
    return volts + 2e-5 * rng.uniform(0.5, 1.5, (len(volts), 1)) * wave


def _burst(
    volts: np.ndarray, rng: np.random.Generator, where: list[int], band: tuple[float, float], peak: float
) -> np.ndarray:
    at = _place(volts, rng, 2)
    noise = rng.standard_normal((len(where), at.stop - at.start))
    noise = mne.filter.filter_data(noise, RATE, *band, method="iir", verbose="error") * np.hanning(
        len(noise.T)
    )
    volts[where, at] += peak * noise / np.abs(noise).max()
    return volts


def _drift(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds = np.arange(volts.shape[1]) / RATE
    phase = rng.uniform(0, 1, (len(volts), 1))
    return volts + 2e-4 * np.sin(2 * np.pi * (0.05 * seconds + phase))


def _offsets(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return volts + 5e-3 * rng.uniform(-1, 1, (len(volts), 1))


def _quantised(volts: np.ndarray, rng: np.random.Generator, step: float) -> np.ndarray:
    return step * np.round(volts / step)


def _clipped(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(volts, -1e-4, 1e-4)


def _resampled(volts: np.ndarray, rng: np.random.Generator, rate: float) -> np.ndarray:
    return mne.filter.resample(volts, rate, RATE, verbose="error")


def _bridged(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    one = _channel(rng)
    pair = [one, (one + 1) % len(volts)]
    volts[pair] = volts[pair].mean(axis=0)
    return volts


def _common(volts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the activity at another reference: as large as the EEG, and a pulse each second."""
    beat = np.zeros(volts.shape[1])
    beat[:: RATE - 20] = 1
    pulse = np.convolve(beat, np.hanning(20), mode="same")
    return volts + volts[_channel(rng)] + 5e-5 * pulse


CHANGES: Mapping[str, Change] = {
    "one sample of 3 mV": partial(_spikes, count=1),
    "ten samples of 3 mV": partial(_spikes, count=10),
    "electrode pop of 1 mV, decay 0.1 s": partial(_pop, peak=1e-3, decay=0.1),
    "electrode pop of 3 mV, decay 0.5 s": partial(_pop, peak=3e-3, decay=0.5),
    "step of 3 mV in one channel": _step,
    "dropout of 0.1 s, all channels": partial(_zeros, seconds=0.1, everywhere=True),
    "zeros for 10 s, one channel": partial(_zeros, seconds=10, everywhere=False),
    "zeros for 10 s, all channels": partial(_zeros, seconds=10, everywhere=True),
    "one channel x 2": partial(_gain, factor=2),
    "one channel x 10": partial(_gain, factor=10),
    "one channel / 10": partial(_gain, factor=0.1),
    "two channels x 1000": partial(_gain, factor=1000, count=2),
    "one channel flat": partial(_gain, factor=0),
    "two channels flat": partial(_gain, factor=0, count=2),
    "noise of 100 µV in one channel": _noisy,
    "one channel inverted": partial(_gain, factor=-1),
    "two electrodes bridged": _bridged,
    "power line, 20 µV at 50 Hz": partial(_line, frequency=50),
    "power line, 20 µV at 60 Hz": partial(_line, frequency=60),
    "muscle burst of 200 µV, temporal": partial(_burst, where=TEMPORAL, band=(20, 100), peak=2e-4),
    "movement of 2 mV, frontal": partial(_burst, where=FRONTAL, band=(0.5, 4), peak=2e-3),
    "drift of 200 µV at 0.05 Hz": _drift,
    "offsets of up to 5 mV": _offsets,
    "another reference, with a pulse": _common,
    "steps of 0.5 µV (12 bits)": partial(_quantised, step=5e-7),
    "steps of 4 µV (8 bits)": partial(_quantised, step=4e-6),
    "clipped at 100 µV": _clipped,
    "sampled at 200 Hz": partial(_resampled, rate=200),
    "sampled at 512 Hz": partial(_resampled, rate=512),
    "amplitude x 1.2": lambda volts, rng: 1.2 * volts,
    "start shifted by half a window": lambda volts, rng: volts[:, RATE:],
    "first half only": lambda volts, rng: volts[:, : volts.shape[1] // 2],
}
_RATES = {"sampled at 200 Hz": 200, "sampled at 512 Hz": 512}


def scored(detector: Detector, volts: np.ndarray, rate: int) -> tuple[float | None, str]:
    """Return the calibrated score of a recording and its answer; None and ``refused`` where there is none."""
    raw = mne.io.RawArray(volts, mne.create_info(list(TEN_TWENTY), rate, "eeg"), verbose="error")
    try:
        windows = detector.prepare(detector.open(raw)).windows
    except DataError:
        return None, "refused"
    logits = detector.logits(windows.data)
    score, prevalence = float(detector.score(logits)), detector.calibration.prevalence
    facts = novelty.statistics(windows.data, detector.preprocessing.sfreq)
    answer = detector.calibration.conformal.answer(score, prevalence, ALPHA).group or "none"
    novel = detector.gate is not None and detector.gate.describe_novelty(facts)
    return float(detector.probability(logits)), "none" if novel else answer


def measure(detector: Detector, index: int) -> dict[str, tuple[float | None, str]]:
    """Return score and answer of one subject, unchanged under "" and under each change."""
    clean = simulate_subject(index, index % 2, seed=SEED, minutes=MINUTES, sfreq=RATE).data.astype(float)
    found = {"": scored(detector, clean, RATE)}
    for number, (name, change) in enumerate(CHANGES.items()):
        rng = np.random.default_rng([SEED, index, number])
        found[name] = scored(detector, change(clean.copy(), rng), _RATES.get(name, RATE))
    return found


def read(path: Path, run: str) -> dict[int, dict[str, Any]]:
    """Return the finished subjects of a run by their index."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line["subject"]: line["found"] for line in map(json.loads, lines) if line["run"] == run}


def main() -> None:
    """Measure the subjects that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the training")
    parser.add_argument("--run", default="now", help="name of this version in the table")
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--journal", type=Path, default=JOURNAL)
    args = parser.parse_args()
    torch.set_num_threads(1)
    detector, done = load_detector(args.model), read(args.journal, args.run)
    for index in range(args.subjects):
        if index in done:
            continue
        line = {"run": args.run, "subject": index, "found": measure(detector, index)}
        args.journal.parent.mkdir(parents=True, exist_ok=True)
        with args.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"subject {index}", flush=True)


if __name__ == "__main__":
    main()
