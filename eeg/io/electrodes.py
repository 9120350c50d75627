"""Names of electrodes: what recorders write, and what the 10-20 and 10-10 systems call them."""

import re
from collections.abc import Sequence
from functools import cache

import mne

TEN_TWENTY = (
    *("Fp1", "F3", "C3", "P3", "O1", "F7", "T7", "P7", "Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "O2", "F8", "T8", "P8"),
)
"""The 19 electrodes of the 10-20 system."""

MONTAGE = "colin27_1020"

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
EARS = ("A1", "A2", "M1", "M2")
"""Electrodes at the ears and mastoids: known to the montage, but references rather than scalp."""


# "EEG Fp1-REF", "POL T3", "Fp1-A2", "[Fp1]", "Fc5.": what recorders write around the electrode's name.  A
# second scalp electrode ("Fp1-F7") is not decoration unless it is the same in all channels: see
# `strip_common_reference`.
_REFERENCE = (
    r"V?REF\d?|L[EM]|LINKED\s?(?:EARS|MASTOIDS)|AR|AVG?|AVE|CAR|[AM][12]|A1\+?A2|M1\+?M2|\(A1\+A2\)/2"
    r"|NZ|GND|COM|ORG|G\d+|0"
)
_BEFORE = r"(?:(?:EEG|POL)[\s_:.-]*)*"
_DECORATED = re.compile(
    rf"{_BEFORE}\[?(?P<electrode>[A-Z]+\d*)\]?(?:\s*[-_/\s]\s*(?P<reference>{_REFERENCE}))?\.*",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"(?P<first>{_BEFORE}\w+)\s*[-/]\s*(?P<second>[A-Z]+\d*)\.*", re.IGNORECASE)
_ZERO = re.compile(rf"({_BEFORE}\[?)0(?=[12](?!\d))", re.IGNORECASE)  # "01" for "O1"


@cache
def standard_montage() -> mne.channels.DigMontage:
    """Return the positions of all electrodes that are known."""
    return mne.channels.make_standard_montage(MONTAGE)


@cache
def scalp_names() -> dict[str, str]:
    """Modern name of every scalp electrode of the montage, by its name in capitals."""
    scalp = [name for name in standard_montage().ch_names if name not in EARS]
    return {name.upper(): _OLD_NAMES.get(name, name) for name in scalp}


def electrode(name: str) -> str | None:
    """Name the scalp electrode of a channel.

    Parameters
    ----------
    name
        A channel's name as a recorder writes it: ``EEG FP1-REF``, ``Fp1.``, ``T3-A1``.

    Returns
    -------
    The electrode's modern name as the montage spells it (``Fp1``, ``Fp1``, ``T7``); None where the
    channel is of no scalp electrode (``ECG``, ``A2-A1``) or the difference of two (``Fp1-F7``).
    """
    match = _DECORATED.fullmatch(name.strip())
    return scalp_names().get(match["electrode"].upper()) if match else None


def ear(name: str) -> str | None:
    """Name the electrode at an ear or mastoid, against the recorder's reference, that a channel is of."""
    match = _DECORATED.fullmatch(name.strip())
    found = match["electrode"].upper() if match else ""
    opposite = match is not None and (match["reference"] or "").upper() in EARS
    return found if found in EARS and not opposite else None


def strip_common_reference(names: Sequence[str]) -> dict[str, str]:
    """Rid the names of a recording's channels of what only all of them together explain.

    That is one electrode of the scalp that all are measured against (``Fp1-Cz``, ``F3-Cz``), and a zero in
    ``O1`` and ``O2`` where there are other electrodes, so that it is no number of a channel.

    Returns
    -------
    What to look for an `electrode` or an `ear` in, by each name.
    """
    pairs = _against_one(names)
    found = {name: pairs[name]["first"] if name in pairs else name for name in names}
    if not any(map(electrode, found.values())):
        return found
    return {name: _ZERO.sub(r"\1O", short.strip(), count=1) for name, short in found.items()}


def _against_one(names: Sequence[str]) -> dict[str, re.Match[str]]:
    """Find the channels that are measured against one electrode of the scalp, if it is the same for all."""
    matches = {name: match for name in names if (match := _PAIR.fullmatch(name.strip()))}
    pairs = {name: match for name, match in matches.items() if electrode(match["second"])}
    common = {electrode(match["second"]) for match in pairs.values()}
    others = {found for name in names if (found := electrode(name))} - common
    return pairs if len(pairs) > 1 and len(common) == 1 and not others else {}


def electrodes(names: Sequence[str]) -> dict[str, str]:
    """Name the scalp electrodes of a recording's channels, by the names of those that are of one."""
    return {
        name: found for name, short in strip_common_reference(names).items() if (found := electrode(short))
    }


def harmonise(name: str) -> str:
    """Give a channel the modern name of its `electrode`, or leave it alone where it has none."""
    return electrode(name) or name


def reference(names: Sequence[str]) -> str:
    """Tell what the names of the scalp electrodes among ``names`` say of their common reference.

    Returns
    -------
    ``REF``, ``LE``, ``A1A2``, ``CZ`` or the like in capitals; "" where the names say nothing; more than one,
    with ``/`` between (``A1/A2``), where the channels have different references, which then no average
    takes out; ``?`` among these where some say nothing.
    """
    if pairs := _against_one(names):
        return next(iter(pairs.values()))["second"].upper()
    matches = [_DECORATED.fullmatch(name.strip()) for name in names if electrode(name)]
    written = {(match["reference"] or "").upper() for match in matches if match}
    return "/".join(sorted(name or "?" for name in written)) if written - {""} else ""
