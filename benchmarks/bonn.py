"""Buettner's random forest on the Bonn set, and why its accuracy is not evidence about epilepsy in scalp EEG.

    python benchmarks/bonn.py --data FOLDER

Buettner et al. 2019 separate segments of healthy subjects from seizure-free ones of patients by the power in
four narrow bands, in folds of segments.  Here the same forest predicts differences that are not epilepsy.
Takes seconds; writes results/bonn.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from journal import RESULTS
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from eeg.datasets.bonn import segments
from eeg.models.features import BUETTNER, band_power

PATH = RESULTS / "bonn.json"
SEEDS, FOLDS = 3, 10
RATE = 173.61  # Hz

WITHIN = {
    "healthy scalp (A, B) or seizure-free intracranial (C, D), as published": ("ZO", "NF"),
    "eyes open (A) or closed (B): both healthy": ("Z", "O"),
    "the other hemisphere (C) or the epileptic zone (D): both the same patients": ("N", "F"),
}
ACROSS = {
    "trained on A and C, tested on B and D": ("ZN", "OF"),
    "trained on B and D, tested on A and C": ("OF", "ZN"),
    "trained on A and D, tested on B and C": ("ZF", "ON"),
    "trained on B and C, tested on A and D": ("ON", "ZF"),
}
HEALTHY = "ZO"


def main() -> None:
    """Run all comparisons, write and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the set")
    files = segments(parser.parse_args().data)
    letters = np.array([file.name[0].upper() for file in files])
    signals = np.stack([np.loadtxt(file) for file in files])
    rows = band_power(signals[:, None], RATE, BUETTNER)
    found = {name: within(rows, letters, *sets) for name, sets in WITHIN.items()}
    fine = band_power(signals[:, None], RATE, [(f / 2, f / 2 + 0.5) for f in range(1, 86)])
    found["as the first, with all bands of 0.5 Hz up to 43 Hz"] = within(fine, letters, "ZO", "NF")
    found["the standard deviation of the signal alone, as published"] = within(
        np.log(signals.std(1, keepdims=True)), letters, "ZO", "NF"
    )
    found |= {name: across(rows, letters, *sets) for name, sets in ACROSS.items()}
    PATH.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, accuracies in found.items():
        print(f"{name}: {np.mean(accuracies):.3f}")


def forest(seed: int) -> RandomForestClassifier:
    """Return the forest of Buettner et al."""
    return RandomForestClassifier(300, class_weight="balanced", random_state=seed)


def within(rows: np.ndarray, letters: np.ndarray, first: str, second: str) -> list[float]:
    """Return the balanced accuracy in folds of segments, one a seed."""
    chosen = np.isin(letters, list(first + second))
    x, y = rows[chosen], np.isin(letters[chosen], list(second))
    folds = [StratifiedKFold(FOLDS, shuffle=True, random_state=seed) for seed in range(SEEDS)]
    predicted = [cross_val_predict(forest(seed), x, y, cv=fold) for seed, fold in enumerate(folds)]
    return [float(balanced_accuracy_score(y, guess)) for guess in predicted]


def across(rows: np.ndarray, letters: np.ndarray, train_sets: str, test_sets: str) -> list[float]:
    """Return the balanced accuracy on sets that the forest was not trained on."""
    train, test = (np.isin(letters, list(sets)) for sets in (train_sets, test_sets))
    y = ~np.isin(letters, list(HEALTHY))
    fitted = [forest(seed).fit(rows[train], y[train]) for seed in range(SEEDS)]
    return [float(balanced_accuracy_score(y[test], model.predict(rows[test]))) for model in fitted]


if __name__ == "__main__":
    main()
