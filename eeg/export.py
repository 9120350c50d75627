"""A detection as files that other programs read: EDF+ annotations, BIDS events, JSON.  Research use only."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np

from eeg.detector import Decision
from eeg.explanation import Explanation
from eeg.segments import Segment
from trainers.errors import DataError
from trainers.files import replacing

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment."
NORMAL_EEG = "A normal routine EEG does not exclude epilepsy."
NOT_A_FINDING = (
    "A marked segment is a model attribution, a place that moved the model's score, "
    "and never a clinical finding."
)

SCHEMA = {"name": "hebbian-eeg-detection", "version": 1}

_NO_DATE = datetime(1985, 1, 1, tzinfo=UTC)  # the earliest date that EDF can hold
_LONGEST_EDF_LABEL = 16

_EVENT_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Start of the segment, from the start of the recording", "Units": "s"},
    "duration": {"Description": "Length of the segment", "Units": "s"},
    "trial_type": {
        "Description": "Kind of mark. " + NOT_A_FINDING,
        "Levels": {"model_attribution": "A segment that moved the score of a model. " + RESEARCH_USE},
    },
    "channel": {"Description": "Channels that carry the attribution", "Delimiter": ","},
    "attribution": {
        "Description": "Attribution of the segment; positive raises the score",
        "Units": "logit of the network",
    },
    "change": {
        "Description": "The recording's probability minus its probability without the segment, -1 to 1"
    },
    "rank": {"Description": "1 for the segment with the strongest attribution"},
}


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write ``content`` as indented UTF-8 JSON.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
    ValueError
        When a number is not finite: JSON has none such.
    """
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_annotated_edf(raw: mne.io.BaseRaw, segments: Sequence[Segment], path: Path) -> None:
    """Write a de-identified EDF+C copy of a recording with the segments as annotations.

    One annotation a segment and channel, as ``model attribution #1 (+0.12)@@T7``: the rank and the change
    of the recording's probability.  Nothing of the original header or annotations goes along: both may
    name people.

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


def write_events(segments: Sequence[Segment], path: Path) -> None:
    """Write the segments as BIDS ``events.tsv``, in order of time, with a JSON sidecar of the same name.

    Parameters
    ----------
    segments
        The strongest first; the column ``rank`` keeps this order.
    path
        The table to write, ``..._events.tsv``; the sidecar beside it ends in ``.json``.

    Raises
    ------
    DataError
        When the folder cannot be written.
    """
    rows = sorted(enumerate(segments, 1), key=lambda row: row[1].onset)
    lines = ["\t".join(_EVENT_COLUMNS), *("\t".join(_event(rank, segment)) for rank, segment in rows)]
    write_json(_EVENT_COLUMNS, path.with_suffix(".json"))
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _event(rank: int, segment: Segment) -> list[str]:
    """One row, in the order of ``_EVENT_COLUMNS``."""
    return [
        _number(segment.onset),
        _number(segment.duration),
        "model_attribution",
        ",".join(segment.channels) or "n/a",
        _number(segment.attribution),
        _number(segment.change),
        str(rank),
    ]


def _number(value: float) -> str:
    """Write a number as BIDS wants it: six decimals at most, ``n/a`` for what is missing."""
    return np.format_float_positional(value, precision=6, trim="-") if np.isfinite(value) else "n/a"


def result(decision: Decision, explanation: Explanation, model: Mapping[str, Any]) -> dict[str, Any]:
    """Gather a detection as one mapping that JSON can hold.

    Parameters
    ----------
    decision
        The recording's score and the windows' evidence.
    explanation
        The ranked segments.
    model
        What is known about the model: ``name``, ``rule``, ``montage``, ``channels``, ``training``,
        ``simulated``, ``n_subjects``, ``calibration``, ``labels``, ``warnings``.

    Returns
    -------
    dict
        ``schema``, ``statements``, ``score``, ``prevalence``, ``logit``, ``answer``, ``windows``,
        ``explanation`` and ``model``; times in seconds from the start of the recording.
    """
    return {
        "schema": dict(SCHEMA),
        "statements": [RESEARCH_USE, NORMAL_EEG, NOT_A_FINDING],
        "score": float(decision.probability),
        "prevalence": float(decision.prevalence),
        "logit": float(decision.logit),
        "answer": {
            "group": decision.answer.group,
            "text": str(decision.answer),
            "alpha": decision.answer.alpha,
            "n": decision.answer.n,
            "grounds": decision.answer.grounds,
        },
        "windows": {
            "length": float(decision.window_length),
            "onset": decision.window_onset.tolist(),
            "logit": decision.window_logit.tolist(),
        },
        "explanation": {
            "method": explanation.method,
            "segments": [_segment(rank, segment) for rank, segment in enumerate(explanation.segments, 1)],
        },
        "model": dict(model),
    }


def _segment(rank: int, segment: Segment) -> dict[str, Any]:
    return {
        "rank": rank,
        "onset": float(segment.onset),
        "duration": float(segment.duration),
        "channels": list(segment.channels),
        "attribution": float(segment.attribution),
        "change": float(segment.change),
    }
