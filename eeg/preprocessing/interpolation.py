"""The channels that a model expects: ordered, and a few missing ones interpolated."""

from collections.abc import Sequence

import mne

from eeg.io.electrodes import scalp_names, standard_montage
from eeg.io.reader import recording_file
from eeg.preprocessing.recording import with_facts_of
from trainers.errors import DataError

INTERPOLATED = 0.1
"""Largest fraction of a model's channels that is interpolated: 2 of 19, 1 of 14, none of 4."""


def missing_channels(raw: mne.io.BaseRaw, channels: Sequence[str]) -> list[str]:
    """Return the ``channels`` that a recording lacks or marks as bad."""
    return [name for name in channels if name not in raw.ch_names or name in raw.info["bads"]]


def complete_channels(raw: mne.io.BaseRaw, channels: Sequence[str]) -> mne.io.BaseRaw:
    """Return a recording with exactly the given channels, a few missing ones interpolated.

    Interpolation is by spherical splines (Perrin et al. 1989) from the others of these channels: further
    electrodes of the recording, whose signals are not examined, take no part.

    Parameters
    ----------
    raw
        The recording, which is not changed.
    channels
        Electrodes in the order of the result.

    Returns
    -------
    A new recording, in memory and without bad channels.

    Raises
    ------
    DataError
        More than `INTERPOLATED` of the channels are missing (rounded), or one of unknown position.
    """
    absent = missing_channels(raw, channels)
    limit = round(INTERPOLATED * len(channels))
    if len(absent) > limit or not set(absent) <= set(scalp_names().values()):
        raise DataError(
            f"{recording_file(raw)}: lacks the channels {', '.join(absent)}; it has "
            f"{', '.join(n for n in raw.ch_names if n not in raw.info['bads'])}; expected "
            f"{', '.join(channels)}, of which {limit} may be interpolated; train on channels that it has "
            "(eeg train --channels)"
        )
    if absent:
        good = [name for name in channels if name not in absent]
        whole = raw.copy().pick(good).load_data(verbose="error")
        _interpolate(whole, absent)
    else:
        whole = raw
    info = mne.pick_info(whole.info, [whole.ch_names.index(name) for name in channels])
    info["bads"] = []
    return with_facts_of(whole, whole.get_data(list(channels)), info)


def _interpolate(raw: mne.io.BaseRaw, absent: list[str]) -> None:
    """Add the channels in place."""
    with mne.use_log_level("error"):
        # MNE's only way to add channels of zeros; they are not used as references
        mne.add_reference_channels(raw, absent, copy=False)
        raw.set_montage(standard_montage())
        raw.info["bads"] = absent
        raw.interpolate_bads(reset_bads=True)
