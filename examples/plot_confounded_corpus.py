"""
A confounded corpus and its audit
=================================

Patients and controls often differ in more than their disease. ``eeg audit``, here in Python, measures how
well the diagnosis is predicted *without any EEG*. A confound with a high ROC-AUC can explain a high result
of a network.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt

import eeg

corpus = eeg.simulate(Path(mkdtemp()) / "cohort", subjects=40, minutes=0.5, seed=2, progress=False)

# %%
# In the simulated cohort nothing but the discharges differs between the groups:

simulated = eeg.audit(corpus)
for finding in simulated.findings[:3]:
    print(f"{finding.confound:16s} {finding.auc}  p = {finding.p:.3f}")

# %%
# Now a common accident: controls were recorded over two months, most patients later in a campaign of one
# week. The signals are the same as before.

first_day = datetime(2024, 3, 1, 10, tzinfo=UTC)


def date(label: int, i: int) -> datetime:
    """Return the recording date of subject number ``i``."""
    campaign = label == 1 and i % 5
    return first_day + timedelta(days=60 + i % 7 if campaign else i % 60)


entries = [replace(entry, recorded=date(entry.label, i)) for i, entry in enumerate(corpus.entries)]
confounded = replace(corpus, entries=tuple(entries))
audit = eeg.audit(confounded)
for finding in audit.findings[:3]:
    print(f"{finding.confound:16s} {finding.auc}  p = {finding.p:.3f}")

# %%
# `eeg.train` makes this audit beside every result, states the verdict, and evaluates the network among
# subjects that are alike in a strong confound. No choice of network can repair such a corpus; record both
# groups alike.

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for findings, label, marker in ((simulated.findings, "as simulated", "o"), (audit.findings, "campaign", "s")):
    shown = [finding for finding in findings if finding.confound in {f.confound for f in audit.findings[:5]}]
    axes.plot([f.auc.value for f in shown], [f.confound for f in shown], marker, label=label)
axes.axvline(0.5, color="0.7", lw=1)
axes.set(xlabel="ROC-AUC without any EEG", xlim=(0, 1.05))
axes.legend()
