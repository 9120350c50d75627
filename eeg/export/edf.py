"""A de-identified EDF+ copy of a recording with the segments as annotations on their channels."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np

from eeg.gaps import gaps, mark
from eeg.segments import Segment
from trainers.errors import DataError
from trainers.files import replacing

_NO_DATE = datetime(1985, 1, 1, tzinfo=UTC)  # the earliest date that EDF can hold
_LONGEST_EDF_LABEL = 16


def write_annotated_edf(raw: mne.io.BaseRaw, segments: Sequence[Segment], path: Path) -> None:
    """Write a de-identified EDF+C copy of a recording with the segments as annotations.

    One annotation a segment and channel, as ``model attribution #1 (+0.12)@@T7``: the rank and the change
    of the recording's probability.  Gaps are annotated as `eeg.gaps` has them.  Nothing of the original
    header or annotations goes along: both may name people.

    Parameters
    ----------
    raw
        The recording as read, in volts; the file holds microvolts in 16 bits over each channel's range.
    segments
        The strongest first; their channels are channels of ``raw``.
    path
        The file to write.

    Raises
    ------
    DataError
        When EDF cannot hold the recording (a channel name of more than 16 characters, a value that is not
        finite) or the folder cannot be written.
    ValueError
        When a segment names a channel that ``raw`` does not have.
    """
    marks = _annotations(segments, raw.ch_names)
    copy = _fill_last_record(_anonymous(raw))
    mark(copy, gaps(raw))
    copy.set_annotations(copy.annotations + marks, verbose="ERROR")
    with replacing(path) as partial:
        # mne warns about fractional sampling rates: EDF holds them to six digits.
        mne.export.export_raw(partial, copy, fmt="edf", physical_range="channelwise", verbose="ERROR")


def _anonymous(raw: mne.io.BaseRaw) -> mne.io.RawArray:
    """Copy names, kinds, sampling rate and signals only: what is not copied cannot leak."""
    long = [name for name in raw.ch_names if len(name) > _LONGEST_EDF_LABEL]
    if long:
        raise DataError(
            f"channel {long[0]} has a name of {len(long[0])} characters, EDF holds {_LONGEST_EDF_LABEL}; "
            "rename it"
        )
    data = raw.get_data()
    broken = [name for name, values in zip(raw.ch_names, data, strict=True) if not np.isfinite(values).all()]
    if broken:
        raise DataError(
            f"channel {broken[0]} holds values that are not finite, which EDF cannot; leave the channel out"
        )
    info = mne.create_info(raw.ch_names, raw.info["sfreq"], raw.get_channel_types())
    return mne.io.RawArray(data, info, verbose="ERROR").set_meas_date(_NO_DATE)


def _fill_last_record(raw: mne.io.RawArray) -> mne.io.RawArray:
    """Hold the last sample until EDF's record of about a second is full, and annotate what was made up.

    mne does so for whole sampling rates only.
    """
    missing = -raw.n_times % int(raw.info["sfreq"])
    if missing == 0:
        return raw
    data = np.pad(raw.get_data(), ((0, 0), (0, missing)), mode="edge")
    sfreq = raw.info["sfreq"]
    made_up = mne.Annotations(raw.n_times / sfreq, missing / sfreq, "BAD_ACQ_SKIP", orig_time=_NO_DATE)
    return mne.io.RawArray(data, raw.info, verbose="ERROR").set_annotations(made_up)


def _annotations(segments: Sequence[Segment], channels: Sequence[str]) -> mne.Annotations:
    strangers = sorted({name for segment in segments for name in segment.channels} - set(channels))
    if strangers:
        raise ValueError(f"segments are on channels {', '.join(strangers)} that the recording does not have")
    return mne.Annotations(
        onset=[segment.onset for segment in segments],
        duration=[segment.duration for segment in segments],
        description=[
            f"model attribution #{rank} ({segment.change:+.2f})" for rank, segment in enumerate(segments, 1)
        ],
        orig_time=_NO_DATE,
        ch_names=[segment.channels for segment in segments],
    )
