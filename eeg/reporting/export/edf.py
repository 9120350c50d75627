"""A de-identified EDF+ copy of a recording with the segments as annotations on their channels."""

import io
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, Recording as RecordingField

from eeg.explanation.segments import Segment
from eeg.io.gaps import GAP, gaps
from eeg.preprocessing.recording import Recording
from trainers.errors import DataError
from trainers.files import replacing

_NO_DATE = date(1985, 1, 1)  # the earliest that EDF can hold
_LONGEST_EDF_LABEL = 16
_BEFORE_SAMPLES = 216  # bytes a signal in the header before how many samples of it are in a record
_AT_ONCE = 600  # records of about a second: what is in memory does not grow with the recording


def write_annotated_edf(recording: Recording, segments: Sequence[Segment], path: Path) -> None:
    """Write a de-identified EDF+C copy of a recording with the segments as annotations.

    One annotation a segment and channel, as ``model attribution #1 (+0.12)@@T7``: the rank and the change
    of the recording's probability.  Gaps are annotated as `eeg.io.gaps` has them, and so is what fills the
    last record.  Nothing of the original header or annotations goes along: both may name people.

    Parameters
    ----------
    recording
        The recording; the file holds microvolts in 16 bits over each channel's range.  One that is not in
        memory is read in blocks.
    segments
        The strongest first; their channels are channels of the recording.
    path
        The file to write.

    Raises
    ------
    DataError
        When EDF cannot hold the recording (a channel name of more than 16 characters, a value that is not
        finite) or the folder cannot be written.
    ValueError
        When a segment names a channel that the recording does not have.
    """
    raw = recording.raw
    size = int(raw.info["sfreq"])  # samples in a record of about a second
    marks = [*_marks(segments, raw.ch_names), *_silences(raw, size)]
    ranges = _ranges(recording)
    header, notes = _frame(raw, ranges, marks, size)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(header)
        for first, last in pairwise([*range(0, len(notes), _AT_ONCE), len(notes)]):
            volts = raw.get_data(start=first * size, stop=min(last * size, raw.n_times))
            held = np.pad(volts, ((0, 0), (0, (last - first) * size - volts.shape[1])), mode="edge")
            np.hstack([_records(held, ranges, size), notes[first:last]]).tofile(file)


def _frame(
    raw: mne.io.BaseRaw, ranges: Sequence[tuple[float, float]], marks: Sequence[EdfAnnotation], size: int
) -> tuple[bytes, np.ndarray]:
    """Return the file's header, and what of each record are annotations, (R, B) uint8.

    Both are edfio's, of a file with one sample a record, for it would want all samples in memory.
    """
    records = -(-raw.n_times // size)
    seconds = float(f"{size / raw.info['sfreq']:.6f}")  # EDF has room for as many digits
    signals = [
        _signal(np.full(records, low), (low, high), name, 1 / seconds)
        for name, (low, high) in zip(raw.ch_names, ranges, strict=True)
    ]
    buffer = io.BytesIO()
    anonymous = RecordingField(startdate=_NO_DATE)
    Edf(signals, recording=anonymous, data_record_duration=seconds, annotations=marks).write(buffer)
    content, count = bytearray(buffer.getvalue()), len(signals)
    samples, end = 256 + _BEFORE_SAMPLES * (count + 1), 256 * (count + 2)
    content[samples : samples + 8 * count] = f"{size:<8}".encode() * count
    body = np.frombuffer(content, np.uint8, offset=end).reshape(records, -1)
    return bytes(content[:end]), body[:, 2 * count :]


def _records(volts: np.ndarray, ranges: Sequence[tuple[float, float]], size: int) -> np.ndarray:
    """Turn signals (C, R * size) into bytes of records, (R, C * size * 2) uint8."""
    digital = [
        _signal(row, limits).digital.reshape(-1, size)
        for row, limits in zip(1e6 * volts, ranges, strict=True)
    ]
    return np.hstack(digital).view(np.uint8)


def _signal(
    microvolts: np.ndarray, limits: tuple[float, float], name: str = "", rate: float = 1.0
) -> EdfSignal:
    inside = np.clip(microvolts, *limits)  # what lies in a gap need not be
    return EdfSignal(inside, rate, label=name, physical_dimension="uV", physical_range=limits)


def _ranges(recording: Recording) -> list[tuple[float, float]]:
    """Return the least and the greatest value of each channel, µV, rounded outwards to EDF's 8 characters."""
    raw = recording.raw
    long = [name for name in raw.ch_names if len(name) > _LONGEST_EDF_LABEL]
    if long:
        raise DataError(
            f"channel {long[0]} has a name of {len(long[0])} characters, EDF holds {_LONGEST_EDF_LABEL}; "
            "rename it"
        )
    low, high = recording.extremes(raw.ch_names)
    broken = np.array(raw.ch_names)[~(np.isfinite(low) & np.isfinite(high))]
    if broken.size:
        raise DataError(
            f"channel {broken[0]} holds values that are not finite, which EDF cannot; leave the channel out"
        )
    digits = np.ceil(np.log10(1 + 1e6 * np.maximum(np.abs(low), np.abs(high))))
    fine = 10 ** np.clip(6 - digits, 0, 3)  # beside a sign and a point
    least, most = np.floor(1e6 * low * fine) / fine, np.ceil(1e6 * high * fine) / fine
    most[most == least] += 1
    return list(zip(least.tolist(), most.tolist(), strict=True))


def _marks(segments: Sequence[Segment], channels: Sequence[str]) -> list[EdfAnnotation]:
    strangers = sorted({name for segment in segments for name in segment.channels} - set(channels))
    if strangers:
        raise ValueError(f"segments are on channels {', '.join(strangers)} that the recording does not have")
    return [
        EdfAnnotation(
            segment.onset,
            segment.duration,
            f"model attribution #{rank} ({segment.change:+.2f}){place}",
        )
        for rank, segment in enumerate(segments, 1)
        for place in ([f"@@{name}" for name in segment.channels] or [""])
    ]


def _silences(raw: mne.io.BaseRaw, size: int) -> list[EdfAnnotation]:
    """Mark the gaps, and the end of the last record, in which the last sample is held."""
    spans, rate = gaps(raw), raw.info["sfreq"]
    if missing := -raw.n_times % size:
        spans = [*spans, (raw.n_times, raw.n_times + missing)]
    return [EdfAnnotation(start / rate, (stop - start) / rate, GAP) for start, stop in spans]
