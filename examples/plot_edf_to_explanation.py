"""
From EDF to explanation
=======================

The EEG pipeline in Python: a corpus, a detector, a score with its segments, and a report. The corpus is
simulated, so that every discharge is known. Research use only: not for diagnosis.
"""

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import mne

import eeg

mne.set_log_level("error")
folder = Path(mkdtemp())

# %%
# Sixteen subjects of one minute, half of them with discharges, as EDF files in BIDS layout.
# ``eeg.open_corpus`` opens a folder of your own: BIDS, the TUH Epilepsy Corpus, Guinea-Bissau, or a table.

corpus = eeg.simulate(folder / "cohort", subjects=16, minutes=1, seed=1, progress=False)
patient, control = (next(e for e in corpus.entries if e.label == label) for label in (1, 0))

# %%
# Train on all subjects but two. The metrics are out of fold: each subject is scored by a network that was
# trained on other subjects. So few subjects of one minute show how the software works, not what it can
# reach.

run = eeg.train(corpus, folds=2, epochs=10, hold_out=[patient.subject, control.subject])
print("out-of-fold ROC-AUC:", run.results.levels["subjects"]["roc_auc"])

# %%
# Analyse the held-out patient's recording. A path works as well as an `mne.io.Raw`.

raw = mne.io.read_raw(patient.path, preload=True)
analysis = eeg.analyse(run.detector, raw)
decision = analysis.decision
print(f"score {decision.score:.2f} at a prevalence of {decision.prevalence:.2f}")
for segment in analysis.segments[:3]:
    print(f"{segment.onset:6.2f} s, {segment.duration:.2f} s, {', '.join(segment.channels)}")

# %%
# The segments are annotations of the recording, to be browsed with ``raw.plot()``. The simulated
# discharges, which no training on this subject has used, are in the corpus.

raw.set_annotations(raw.annotations + analysis.to_annotations())
first = analysis.segments[0]
start, stop = max(first.onset - 1, 0), first.onset + first.duration + 1
shown = dict.fromkeys((first.channels[0], "O1", "O2"))
part = raw.copy().pick(list(shown)).crop(start, min(stop, raw.times[-1]))
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for i, (name, signal) in enumerate(zip(part.ch_names, part.get_data(), strict=True)):
    axes.plot(part.times + start, 1e6 * signal - 150 * i, color="0.2", lw=0.8)
    axes.text(start, -150 * i + 30, name)
axes.axvspan(first.onset, first.onset + first.duration, color="tab:orange", alpha=0.3)
axes.set(xlabel="time, s", ylabel="µV", title=f"first segment, {', '.join(first.channels)}")

# %%
# The report is one HTML file that opens offline.

analysis.report(folder / "report.html")
