"""RFLO on a sequence, beside backprop through time and a frozen reservoir: python benchmarks/recurrent.py.

Digits (scikit-learn) are read row after row, 8 steps of 8 values, by a `LeakyRNN` of 100 units whose last
state is read out; 1,437 images for training and 360 for the test.  All three rules start from the same
weights and run with what `trainers.recommended` names.  Finished runs are lines of
benchmarks/results/recurrent.jsonl; a second call computes those that are missing.  Nothing was tuned.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from journal import RECURRENT, Run, append, cell, read, summarise
from torch import nn

from hebbian.recurrent import LeakyRNN
from trainers.data.batches import TrainingData
from trainers.data.images import load_images
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.recipes import recommended

RULES = ("backprop", "rflo", "frozen")
NET = "rows of digits"
UNITS, TAU = 100, 4.0
SETTINGS = f"LeakyRNN of {UNITS} units, tau {TAU:g}"


def run(rule: str, seed: int) -> Run:
    """Train and test."""
    digits = load_images("digits")
    torch.manual_seed(seed)
    model = nn.Sequential(LeakyRNN(8, UNITS, TAU), nn.Linear(UNITS, 10))
    start = time.process_time()
    data = TrainingData(digits.x_train, digits.y_train, classes=10)
    recipe = recommended(rule)
    if rule == "frozen":  # no layer learns; a plasticity refuses one that is called at every step
        recipe = replace(recipe, greedy=True, settings={"layers": []})
    trained = train_rule(rule, model, data, recipe, RunOptions(seed))
    seconds = time.process_time() - start
    fraction = accuracy(predict(trained, digits.x_test), digits.y_test)
    return Run(rule, NET, seed, SETTINGS, fraction, round(seconds, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = {(*done.key, done.settings) for done in read(RECURRENT)}
    for seed in range(options.seeds):
        for rule in RULES:
            if (rule, NET, seed, SETTINGS) not in known:
                done = run(rule, seed)
                append(RECURRENT, done)
                print(rule, seed, f"{done.accuracy:.2%}", f"{done.seconds:.1f} s", flush=True)
    for (rule, _), summary in summarise(read(RECURRENT)).items():
        print(f"{rule}: {cell(summary)} %")


if __name__ == "__main__":
    main()
