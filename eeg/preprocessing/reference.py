"""References and derivations of clinical EEG, all by MNE.

The electrodes are those of a `Preprocessing`; the derived channels are the network's input.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import mne
import numpy as np

from eeg.io.electrodes import MONTAGE, electrode

Reference = Literal["average", "mastoids", "bipolar", "laplacian"]

REFERENCES: tuple[Reference, ...] = get_args(Reference)

REFERENCE_TITLES: dict[Reference, str] = {
    "average": "average reference",
    "mastoids": "linked ears or mastoids",
    "bipolar": "bipolar, longitudinal and central",
    "laplacian": "Laplacian, against the four nearest electrodes",
}

_CHAINS = (
    *("Fp1-F7", "F7-T7", "T7-P7", "P7-O1", "Fp2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("T7-C3", "C3-Cz", "Cz-C4", "C4-T8"),
    *("Fp1-F3", "F3-C3", "C3-P3", "P3-O1", "Fp2-F4", "F4-C4", "C4-P4", "P4-O2"),
)
"""The temporal central parasagittal montage of the Temple corpora (Ferrell et al. 2020), without the ears."""

_NEIGHBOURS = 4  # Hjorth 1975


def input_channels(reference: Reference, channels: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of a network's input.

    Returns
    -------
    The electrodes; if bipolar, the pairs of the chains whose electrodes are both among them.

    Raises
    ------
    ValueError
        The reference is unknown, or no pair is among the electrodes.
    """
    if reference not in REFERENCES:
        raise ValueError(f"reference = {reference!r}; expected one of {', '.join(REFERENCES)}")
    if reference != "bipolar":
        return tuple(channels)
    pairs = tuple(pair for pair in _CHAINS if set(pair.split("-")) <= set(channels))
    if not pairs:
        raise ValueError(f"channels = {tuple(channels)}: expected both electrodes of a bipolar pair")
    return pairs


def rereference(
    raw: mne.io.BaseRaw, reference: Reference, ears: mne.io.BaseRaw | None = None
) -> mne.io.BaseRaw:
    """Change the reference of a recording, in place where possible.

    Parameters
    ----------
    raw
        The electrodes only, in memory.
    reference
        ``"average"`` of the electrodes; ``"mastoids"``; ``"bipolar"``, neighbours in the longitudinal and
        central chains; or ``"laplacian"``, each minus the mean of its four nearest electrodes (Hjorth 1975).
    ears
        The electrodes at the ears or mastoids, the mean of which ``"mastoids"`` subtracts.
    """
    with mne.use_log_level("error"):
        if ears is not None:
            names = raw.ch_names
            return raw.add_channels([ears]).set_eeg_reference(ears.ch_names, ch_type="eeg").pick(names)
        if reference == "average":
            return raw.set_eeg_reference("average")
        if reference == "laplacian":
            return mne.set_eeg_reference(raw, nearest_electrodes(raw.ch_names), copy=False)[0]
        pairs = list(input_channels("bipolar", raw.ch_names))
        anodes, cathodes = zip(*(pair.split("-") for pair in pairs), strict=True)
        return mne.set_bipolar_reference(raw, list(anodes), list(cathodes), pairs, copy=False).pick(pairs)


def nearest_electrodes(channels: Sequence[str]) -> dict[str, list[str]]:
    """Return the four electrodes nearest to each, or all others if there are fewer."""
    places = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    at = {electrode(name) or name: place for name, place in places.items()}
    xyz = np.stack([at[name] for name in channels])
    distance = np.linalg.norm(xyz[:, None] - xyz, axis=2)
    order = np.argsort(distance, axis=1, kind="stable")[:, 1 : _NEIGHBOURS + 1]
    return {name: [channels[i] for i in row] for name, row in zip(channels, order, strict=True)}
