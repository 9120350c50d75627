"""
Your own network explained
==========================

A network that was trained elsewhere becomes a detector by one call and can then be explained like any
other. It is an ordinary ``torch.nn`` module from windows (N, channels, samples) to one logit per window (N,
1); networks of braindecode are used in the same way. Research use only: not for diagnosis.
"""

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import mne
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import eeg

mne.set_log_level("error")
torch.manual_seed(0)

# %%
# Windows of one second from a simulated cohort; ``positive`` is true for windows with an annotated discharge.

corpus = eeg.simulate(Path(mkdtemp()) / "cohort", subjects=40, minutes=3, seed=1, progress=False)
preprocessing = eeg.Preprocessing(
    ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz")
)
windows = eeg.load_windows(corpus, preprocessing, 1.0, progress=False)
train, test = corpus.entries[:32], corpus.entries[32:]
x = torch.from_numpy(np.concatenate([windows[entry].data for entry in train]))
y = torch.from_numpy(np.concatenate([windows[entry].positive for entry in train])).float()[:, None]

# %%
# A training loop of your own, in plain PyTorch.

network = nn.Sequential(
    nn.Unflatten(1, (1, x.shape[1])),
    nn.Conv2d(1, 12, (1, 25), padding=(0, 12)),  # the same filters on every channel
    nn.BatchNorm2d(12),
    nn.ReLU(),
    nn.MaxPool2d((1, 4)),
    nn.Conv2d(12, 12, (1, 9), padding=(0, 4)),
    nn.BatchNorm2d(12),
    nn.ReLU(),
    nn.AdaptiveMaxPool2d(1),  # the strongest response on any channel at any time
    nn.Flatten(),
    nn.Linear(12, 1),
)
optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.1)
loss = nn.BCEWithLogitsLoss(pos_weight=(1 - y.mean()) / y.mean())
for _ in range(5):
    for batch in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        loss(network(x[batch]), y[batch]).backward()
        optimizer.step()

# %%
# One call. Without a calibration the score is not a probability, and reports say so; `eeg.fit_calibration`
# fits one to the scores of subjects that the network was not trained on.

detector = eeg.Detector.from_network(
    network.eval(), name="my-cnn", preprocessing=preprocessing, window=1.0, labels="events", aggregation="top"
)

with torch.no_grad():
    logits = np.concatenate([network(torch.from_numpy(windows[entry].data))[:, 0] for entry in test])
positive = np.concatenate([windows[entry].positive for entry in test])
print(f"ROC-AUC of {len(logits)} windows of other subjects: {roc_auc_score(positive, logits):.2f}")

# %%
# Integrated gradients on a recording that the training did not contain.

patient = next(entry for entry in test if entry.label == 1)
analysis = eeg.analyse(detector, patient.path, eeg.ExplanationOptions(method="integrated-gradients"))
for rank, segment in enumerate(analysis.segments[:5], 1):
    print(f"{rank}  {segment.onset:6.2f} s  {', '.join(segment.channels)}  {segment.change:+.2f}")

# %%
# The logit of each window and the five strongest segments.

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(analysis.decision.window_onset, analysis.logits, drawstyle="steps-post", color="0.2")
for segment in analysis.segments[:5]:
    axes.axvspan(segment.onset, segment.onset + segment.duration, color="tab:orange", alpha=0.5)
axes.set(xlabel="time, s", ylabel="logit")
