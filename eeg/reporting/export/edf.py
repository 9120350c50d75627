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
from eeg.io.reader import sample
from eeg.preprocessing.recording import Recording
from trainers.errors import DataError
from trainers.files import replacing

_NO_DATE = date(1985, 1, 1)  # the earliest date in EDF
_MAX_LABEL = 16
_LARGEST = 9_999_999.0  # µV: the negative number of 8 characters, EDF's field
_WIDEST = 2.0**16  # µV of a channel: the steps of 16 bits over a wider range would hide the EEG
_SAMPLES_OFFSET = 216  # bytes per signal in the header before its number of samples per record
_BLOCK = 600  # records of about a second, so that memory does not grow with the recording


def write_annotated_edf(recording: Recording, segments: Sequence[Segment], path: Path) -> list[str]:
    """Write a de-identified EDF+C copy of a recording with the segments as annotations.

    There is one annotation per segment and channel, as ``model attribution #1 (+0.12)@@T7``: the rank and the
    change of the recording's probability.  Gaps, and the padding of the last record, are annotated as in
    `eeg.io.gaps`.  The original header and annotations are not copied: both may identify people.

    Parameters
    ----------
    recording
        The recording; the file holds microvolts in 16 bits over each channel's range.  One that is not in
        memory is read in blocks.
    segments
        The strongest first; their channels are channels of the recording.
    path
        The file to write.

    Returns
    -------
    The channels with values that the copy does not hold, which are clipped: those over 65 mV apart, or beyond
    10 V.

    Raises
    ------
    DataError
        If EDF cannot store the recording (a channel name of more than 16 characters, a value that is not
        finite) or the folder cannot be written.
    ValueError
        If a segment is on a channel that the recording does not have.
    """
    return write_edf(recording, _marks(segments, recording.raw.ch_names), path)


def write_edf(recording: Recording, marks: Sequence[EdfAnnotation], path: Path) -> list[str]:
    """Write a de-identified EDF+C copy of a recording with annotations; see `write_annotated_edf`."""
    raw = recording.raw
    size = int(raw.info["sfreq"])  # samples in a record of about a second
    ranges, clipped = _ranges(recording)
    header, annotations = _frame(raw, ranges, [*marks, *_gap_marks(raw, size)], size)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(header)
        for first, last in pairwise([*range(0, len(annotations), _BLOCK), len(annotations)]):
            volts = raw.get_data(start=first * size, stop=min(last * size, raw.n_times))
            padded = np.pad(volts, ((0, 0), (0, (last - first) * size - volts.shape[1])), mode="edge")
            np.hstack([_records(padded, ranges, size), annotations[first:last]]).tofile(file)
    return clipped


def _frame(
    raw: mne.io.BaseRaw, ranges: Sequence[tuple[float, float]], marks: Sequence[EdfAnnotation], size: int
) -> tuple[bytes, np.ndarray]:
    """Return the header of the file, and the annotations of each record, (R, B) uint8.

    Both come from edfio, for a file with one sample per record: it would need all samples in memory.
    """
    records = -(-raw.n_times // size)
    seconds = float(f"{size / raw.info['sfreq']:.6f}")  # as many digits as EDF has room for
    signals = [
        _signal(np.full(records, low), (low, high), name, 1 / seconds)
        for name, (low, high) in zip(raw.ch_names, ranges, strict=True)
    ]
    buffer = io.BytesIO()
    anonymous = RecordingField(startdate=_NO_DATE)
    Edf(signals, recording=anonymous, data_record_duration=seconds, annotations=marks).write(buffer)
    content, count = bytearray(buffer.getvalue()), len(signals)
    samples, end = 256 + _SAMPLES_OFFSET * (count + 1), 256 * (count + 2)
    content[samples : samples + 8 * count] = f"{size:<8}".encode() * count
    body = np.frombuffer(content, np.uint8, offset=end).reshape(records, -1)
    return bytes(content[:end]), body[:, 2 * count :]


def _records(volts: np.ndarray, ranges: Sequence[tuple[float, float]], size: int) -> np.ndarray:
    """Return signals (C, R * size) as the bytes of records, (R, C * size * 2) uint8."""
    digital = [
        _signal(row, limits).digital.reshape(-1, size)
        for row, limits in zip(1e6 * volts, ranges, strict=True)
    ]
    return np.hstack(digital).view(np.uint8)


def _signal(
    microvolts: np.ndarray, limits: tuple[float, float], name: str = "", rate: float = 1.0
) -> EdfSignal:
    inside = np.clip(microvolts, *limits)  # also samples in a gap, which may exceed them
    return EdfSignal(inside, rate, label=name, physical_dimension="uV", physical_range=limits)


def _ranges(recording: Recording) -> tuple[list[tuple[float, float]], list[str]]:
    """Return the minimum and maximum of each channel in µV, and the channels that these clip.

    Limits are rounded outwards to the 8 characters of EDF.
    """
    raw = recording.raw
    long = [name for name in raw.ch_names if len(name) > _MAX_LABEL]
    if long:
        raise DataError(
            f"channel {long[0]}: a name of {len(long[0])} characters, expected at most {_MAX_LABEL} as in "
            "EDF; rename the channel"
        )
    low, high = recording.extremes(raw.ch_names)
    broken = np.array(raw.ch_names)[~(np.isfinite(low) & np.isfinite(high))]
    if broken.size:
        raise DataError(
            f"channel {broken[0]}: values that are not finite, which EDF cannot store; exclude the channel"
        )
    low, high = 1e6 * low, 1e6 * high
    wide = (high - low > _WIDEST) | (np.maximum(-low, high) > _LARGEST)
    if wide.any():
        middle = 1e6 * np.median(sample(raw), axis=(0, 2))
        middle = np.clip(middle, (_WIDEST - 2 * _LARGEST) / 2, (2 * _LARGEST - _WIDEST) / 2)
        limits = middle - _WIDEST / 2, middle + _WIDEST / 2
        low, high = (np.where(wide, np.clip(edge, *limits), edge) for edge in (low, high))
    digits = np.ceil(np.log10(1 + np.maximum(np.abs(low), np.abs(high))))
    scale = 10 ** np.clip(6 - digits, 0, 3)  # with a sign and a decimal point
    lower, upper = np.floor(low * scale) / scale, np.ceil(high * scale) / scale
    upper[upper == lower] += 1
    return list(zip(lower.tolist(), upper.tolist(), strict=True)), np.array(raw.ch_names)[wide].tolist()


def _marks(segments: Sequence[Segment], channels: Sequence[str]) -> list[EdfAnnotation]:
    unknown = sorted({name for segment in segments for name in segment.channels} - set(channels))
    if unknown:
        raise ValueError(f"segments are on channels {', '.join(unknown)} that the recording does not have")
    return [
        EdfAnnotation(
            segment.onset,
            segment.duration,
            f"model attribution #{rank} ({segment.change:+.2f}){place}",
        )
        for rank, segment in enumerate(segments, 1)
        for place in ([f"@@{name}" for name in segment.channels] or [""])
    ]


def _gap_marks(raw: mne.io.BaseRaw, size: int) -> list[EdfAnnotation]:
    """Mark the gaps, and the end of the last record, which repeats the last sample."""
    spans, rate = gaps(raw), raw.info["sfreq"]
    if missing := -raw.n_times % size:
        spans = [*spans, (raw.n_times, raw.n_times + missing)]
    return [EdfAnnotation(start / rate, (stop - start) / rate, GAP) for start, stop in spans]
