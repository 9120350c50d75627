"""The channels a model expects: order them, and interpolate the few that a recording lacks."""

from collections.abc import Sequence

import mne

from eeg.io.electrodes import scalp_names, standard_montage
from eeg.io.reader import recording_file
from trainers.errors import DataError

INTERPOLATED = 0.1
"""Share of a model's channels that `complete_channels` makes up at most: 2 of 19, 1 of 14, none of 4."""


def missing_channels(raw: mne.io.BaseRaw, channels: Sequence[str]) -> list[str]:
    """Name the ``channels`` that a recording has not got, or has marked as bad."""
    return [name for name in channels if name not in raw.ch_names or name in raw.info["bads"]]


def complete_channels(raw: mne.io.BaseRaw, channels: Sequence[str]) -> mne.io.BaseRaw:
    """Give a recording exactly the channels that are asked for, and make up the few it lacks.

    Those are interpolated by spherical splines (Perrin et al. 1989) from all its good electrodes.

    Parameters
    ----------
    raw
        As `read` gives it; it stays as it is.
    channels
        Electrodes in the order wanted.

    Returns
    -------
    A new recording, in memory and without bad channels.

    Raises
    ------
    DataError
        It lacks more than a tenth of the channels (rounded; `INTERPOLATED`), or one of unknown place.
    """
    absent = missing_channels(raw, channels)
    limit = round(INTERPOLATED * len(channels))
    if len(absent) > limit or not set(absent) <= set(scalp_names().values()):
        raise DataError(
            f"{recording_file(raw)}: lacks the channels {', '.join(absent)}; it has "
            f"{', '.join(n for n in raw.ch_names if n not in raw.info['bads'])}, and {', '.join(channels)} "
            f"are expected, of which {limit} may be interpolated; train on channels that it has "
            "(eeg train --channels)"
        )
    whole = raw.copy().load_data(verbose="error")
    if absent:
        _interpolate(whole, absent)
    whole.info["bads"] = []
    return whole.pick(list(channels), verbose="error")


def _interpolate(raw: mne.io.BaseRaw, absent: list[str]) -> None:
    """Add or replace the channels in place."""
    new = [name for name in absent if name not in raw.ch_names]
    if new:  # MNE's only way to add channels of zeros; they are no references here
        with mne.use_log_level("error"):
            mne.add_reference_channels(raw, new, copy=False)
        raw.set_montage(standard_montage(), verbose="error")
    raw.info["bads"] = sorted({*raw.info["bads"], *absent})
    raw.interpolate_bads(reset_bads=True, verbose="error")
