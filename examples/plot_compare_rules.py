"""
Compare rules
=============

A fair comparison has the same data, model and seeds for every rule, the published settings of each rule,
and two controls: backprop and frozen random features. On the command line ``hebbian compare`` does this for
any rules in parallel processes and continues an interrupted comparison; here is the same in Python.
"""

import matplotlib.pyplot as plt

from hebbian.registry import find_rule
from trainers import load_images, recommended
from trainers.comparison.experiment import Experiment, run_experiment
from trainers.comparison.table import summarise

digits = load_images("digits")
rules = ("backprop", "frozen", "dfa", "softhebb")

# %%
# `trainers.recommended` has the optimizer, learning rates, activation and initial weights of each rule. An
# `Experiment` holds everything else that determines a result.

results = [
    run_experiment(Experiment(rule, seed, recommended(rule)), digits) for rule in rules for seed in (0, 1, 2)
]

# %%
# The interval is the 95 % t-interval of the mean over the seeds.

summaries = summarise(results)
for summary in summaries:
    labels = "labels" if find_rule(summary.rule).supervised else "labels for the readout only"
    print(f"{summary.rule:10s} {summary.accuracy:.1%} ± {summary.half_width:.1%}  {labels}")

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.errorbar(
    [100 * summary.accuracy for summary in summaries],
    [summary.rule for summary in summaries],
    xerr=[100 * summary.half_width for summary in summaries],
    fmt="o",
    color="0.2",
    capsize=3,
)
axes.set(xlabel="accuracy, %")
axes.invert_yaxis()
axes.spines[["top", "right"]].set_visible(False)
