"""Online rules on a sequence, beside backprop through time and a frozen reservoir: benchmarks/recurrent.py.

Digits (scikit-learn) are read row after row, by a `LeakyRNN` of 100 units whose last state is read out (8
steps of 8 values) or by 100 neurons of a `LIF` layer, to which each row is presented for 4 steps; 1,437
images for training and 360 for the test.  All rules of a net start from the same weights.  They run with what
`trainers.recommended` names, and on the spiking net backprop with the rate of `eprop`, which was chosen on
held-out training images.  On the `LeakyRNN` nothing was tuned, and `eprop` would be `rflo`.  Finished runs
are lines of benchmarks/results/recurrent.jsonl; a second call computes those that are missing.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from journal import RECURRENT, Run, append, cell, read, summarise
from torch import nn

from hebbian.recurrent import LIF, LeakyRNN
from trainers.data.batches import TrainingData
from trainers.data.images import load_images
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.recipes import recommended

NET, SPIKING = "rows of digits", "rows of digits, spiking"
RULES = {NET: ("backprop", "rflo", "frozen"), SPIKING: ("backprop", "eprop", "frozen")}
UNITS, TAU, REPEATS = 100, 4.0, 4
SETTINGS = {
    NET: f"LeakyRNN of {UNITS} units, tau {TAU:g}",
    SPIKING: f"LIF of {UNITS} units, each row for {REPEATS} steps",
}


def run(rule: str, net: str, seed: int) -> Run:
    """Train and test."""
    digits = load_images("digits")
    x_train, x_test = (
        x if net == NET else x.repeat_interleave(REPEATS, 1) for x in (digits.x_train, digits.x_test)
    )
    torch.manual_seed(seed)
    cell = LeakyRNN(8, UNITS, TAU) if net == NET else LIF(8, UNITS)
    model = nn.Sequential(cell, nn.Linear(UNITS, 10))
    start = time.process_time()
    data = TrainingData(x_train, digits.y_train, classes=10)
    recipe = recommended(rule)
    if rule == "frozen":  # no layer learns; a plasticity refuses one that is called at every step
        recipe = replace(recipe, greedy=True, settings={"layers": []})
    elif net == SPIKING:
        recipe = replace(recipe, learn=recommended("eprop").learn)
    trained = train_rule(rule, model, data, recipe, RunOptions(seed))
    seconds = time.process_time() - start
    fraction = accuracy(predict(trained, x_test), digits.y_test)
    return Run(rule, net, seed, SETTINGS[net], fraction, round(seconds, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = {(*done.key, done.settings) for done in read(RECURRENT)}
    for seed in range(options.seeds):
        for net, rule in ((net, rule) for net, rules in RULES.items() for rule in rules):
            if (rule, net, seed, SETTINGS[net]) not in known:
                done = run(rule, net, seed)
                append(RECURRENT, done)
                print(rule, net, seed, f"{done.accuracy:.2%}", f"{done.seconds:.1f} s", flush=True)
    for (rule, net), summary in summarise(read(RECURRENT)).items():
        print(f"{rule}, {net}: {cell(summary)} %")


if __name__ == "__main__":
    main()
