"""How a recording was made, as cues that may betray its label: what `eeg.evaluation.confounds` looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import mne
import numpy as np
from joblib import Parallel, delayed
from scipy.signal import welch

from eeg.datasets import Entry
from eeg.evaluation.confounds import Audit, AuditSubject, RecordingFacts, audit_confounds
from eeg.io.header import Header
from eeg.io.reader import read_header, read_recording
from trainers.errors import DataError

_LOOKED_AT = 120.0  # s of a recording, for the edges of its band
_RESOLUTION = 8.0  # s of a spectrum
_REFERENCE = (20.0, 40.0)  # Hz: what recorders leave alone


def recording_facts(entry: Entry) -> RecordingFacts:
    """Return what is known about how a recording was made; None stands for what is not.

    Date, sex and age belong to a person: they are for comparisons, not for printing.
    """
    told: RecordingFacts = {
        "recording date": entry.recorded.date().isoformat() if entry.recorded else None,
        "hour of day": f"{entry.recorded.hour:02d}" if entry.recorded else None,
        "site": entry.site,
        "montage": entry.montage,
        "sex": entry.sex,
        "age": entry.age,
    }
    try:
        return {**told, **_from_file(entry)}
    except DataError:  # who loads the recording is told; here it is one of which less is known
        return told


def _from_file(entry: Entry) -> RecordingFacts:
    facts = entry_header(entry)
    low, high = band_edges(read_recording(entry.path, preload=False))
    return {
        "recording date": facts.recorded.date().isoformat() if facts.recorded else None,
        "hour of day": f"{facts.recorded.hour:02d}" if facts.recorded else None,
        "sex": facts.sex,
        "age": facts.age,
        "device": facts.device,
        "sampling rate": f"{facts.sfreq:g}",
        "duration": facts.duration,
        "channel set": " ".join(sorted(facts.channels)),
        "reference": facts.reference or None,
        "header filters": facts.filters or None,
        "lower band edge": low,
        "upper band edge": high,
    }


def read_confounds(entries: Iterable[Entry], jobs: int = 1) -> dict[Entry, RecordingFacts]:
    """Return the cues of every recording, read by ``jobs`` processes."""
    entries = list(entries)
    return dict(
        zip(entries, Parallel(n_jobs=jobs)(delayed(recording_facts)(e) for e in entries), strict=True)
    )


def audit_recordings(
    cues: Mapping[Entry, RecordingFacts],
    *,
    folds: int = 5,
    seed: int = 0,
    scores: Mapping[str, float] | None = None,
) -> Audit:
    """Judge the cues of labelled recordings, beside a model's ``scores`` of the subjects if there are any."""
    people: dict[str, AuditSubject] = {}
    for entry, known in cues.items():
        score = None if scores is None else scores[entry.subject]
        person = people.get(entry.subject, AuditSubject(entry.label or 0, (), score))
        people[entry.subject] = replace(person, recordings=(*person.recordings, known))
    return audit_confounds([people[name] for name in sorted(people)], folds=folds, seed=seed)


def band_edges(raw: mne.io.BaseRaw) -> tuple[float, float] | tuple[None, None]:
    """Measure where a recorder's band begins and ends, Hz, whatever its header says.

    From the first two minutes: the lowest frequency with a tenth of the largest power below 4 Hz, and the
    highest with a hundredth of the power at 20 to 40 Hz.  None where the recording is too short or too
    slow for that.
    """
    rate = raw.info["sfreq"]
    size = round(_RESOLUTION * rate)
    signal = raw.get_data(stop=min(raw.n_times, round(_LOOKED_AT * rate)))
    if signal.shape[1] < size or rate / 2 <= _REFERENCE[1]:
        return None, None
    frequency, power = welch(signal, rate, nperseg=size)
    typical = np.median(power, axis=0)[1:]
    frequency = frequency[1:]
    slow = typical[frequency < 4.0]
    middle = np.median(typical[(frequency >= _REFERENCE[0]) & (frequency <= _REFERENCE[1])])
    low = frequency[np.flatnonzero(slow >= 0.1 * slow.max())[0]]
    high = frequency[np.flatnonzero(typical >= 0.01 * middle)[-1]]
    return float(low), float(high)


def entry_header(entry: Entry) -> Header:
    """Read the header of a recording; what the corpus says of date, sex and age goes before it.

    Raises
    ------
    DataError
        There is no such file, or it is no recording.
    """
    found = read_header(entry.path)
    return replace(
        found,
        recorded=entry.recorded or found.recorded,
        sex=entry.sex or found.sex,
        age=found.age if entry.age is None else entry.age,
    )
