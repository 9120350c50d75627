"""How recordings were made: the facts that `eeg.evaluation.confounds` evaluates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import mne
import numpy as np
from joblib import Parallel, delayed
from scipy.signal import welch

from eeg.datasets import Entry
from eeg.detector.results import Audit
from eeg.evaluation.confounds import AuditSubject, RecordingFacts, Value, audit_confounds
from eeg.io.header import Header
from eeg.io.reader import read_header, read_recording
from trainers.errors import DataError, one_line

_SPECTRUM_SECONDS = 120.0  # of a recording, for the edges of its band
_SEGMENT_SECONDS = 8.0  # of each Fourier transform
_REFERENCE = (20.0, 40.0)  # Hz, which recorders do not filter


def recording_facts(entry: Entry) -> RecordingFacts:
    """Return the known facts of how a recording was made, None for unknown ones.

    Date, sex and age are personal: compare them, but do not print them.
    """
    try:
        return _facts(entry)
    except DataError:  # it is reported when the recording is loaded
        return _corpus_facts(entry)


def _corpus_facts(entry: Entry) -> RecordingFacts:
    return {**_personal(entry), "site": entry.site, "montage": entry.montage}


def _facts(entry: Entry) -> RecordingFacts:
    with one_line(entry.path):
        header = entry_header(entry)
        low, high = band_edges(read_recording(entry.path, preload=False))
    return {
        **_corpus_facts(entry),
        **_personal(header),
        "device": header.device,
        "sampling rate": f"{header.sfreq:g}",
        "duration": header.duration,
        "channel set": " ".join(sorted(header.channels)),
        "reference": header.reference or None,
        "header filters": header.filters or None,
        "lower band edge": low,
        "upper band edge": high,
    }


def _personal(source: Entry | Header) -> dict[str, Value]:
    return {
        "recording date": source.recorded.date().isoformat() if source.recorded else None,
        "recording year": source.recorded.toordinal() / 365.2425
        if source.recorded
        else None,  # with a fraction
        "hour of day": f"{source.recorded.hour:02d}" if source.recorded else None,
        "sex": source.sex,
        "age": source.age,
    }


def read_confounds(
    entries: Iterable[Entry], jobs: int = 1, on_error: Callable[[Entry, DataError], None] | None = None
) -> dict[Entry, RecordingFacts]:
    """Return the facts of every recording.

    Parameters
    ----------
    entries
        The recordings.
    jobs
        Number of processes.
    on_error
        Called with each recording that cannot be read, which is left out; with None, only the corpus's facts
        of it are known.
    """
    entries = list(entries)
    facts: dict[Entry, RecordingFacts] = {}
    for entry, known in zip(
        entries, Parallel(n_jobs=jobs)(delayed(_attempt)(e) for e in entries), strict=True
    ):
        if not isinstance(known, DataError):
            facts[entry] = known
        elif on_error is None:
            facts[entry] = _corpus_facts(entry)
        else:
            on_error(entry, known)
    return facts


def _attempt(entry: Entry) -> RecordingFacts | DataError:
    try:
        return _facts(entry)
    except DataError as error:
        return error


def audit_recordings(
    facts: Mapping[Entry, RecordingFacts],
    *,
    folds: int = 5,
    seed: int = 0,
    scores: Mapping[str, float] | None = None,
) -> Audit:
    """Evaluate the confounds of labelled recordings.

    Parameters
    ----------
    facts
        Of each recording.
    folds, seed
        Of the cross-validation.
    scores
        Of each subject by a model, for a comparison with the confounds.
    """
    subjects: dict[str, AuditSubject] = {}
    for entry, known in facts.items():
        score = None if scores is None else scores[entry.subject]
        subject = subjects.get(entry.subject, AuditSubject(entry.label or 0, (), score))
        subjects[entry.subject] = replace(subject, recordings=(*subject.recordings, known))
    return audit_confounds([subjects[name] for name in sorted(subjects)], folds=folds, seed=seed)


def band_edges(raw: mne.io.BaseRaw) -> tuple[float, float] | tuple[None, None]:
    """Return the edges of a recording's band, Hz, as measured in the first two minutes.

    They are the lowest frequency with a tenth of the largest power below 4 Hz, and the highest with a
    hundredth of the power at 20 to 40 Hz; None if the recording is too short or its sampling rate too low.
    """
    rate = raw.info["sfreq"]
    size = round(_SEGMENT_SECONDS * rate)
    signal = raw.get_data(stop=min(raw.n_times, round(_SPECTRUM_SECONDS * rate)))
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
    """Return the header of a recording, with date, sex and age of the corpus where it has them.

    Raises
    ------
    DataError
        If there is no such file, or it is not a recording.
    """
    header = read_header(entry.path)
    return replace(
        header,
        recorded=entry.recorded or header.recorded,
        sex=entry.sex or header.sex,
        age=header.age if entry.age is None else entry.age,
    )
