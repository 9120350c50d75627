"""Names of electrodes: as recorders write them, and as in the 10-20 and 10-10 systems."""

import re
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

import mne

from trainers.errors import DataError

TEN_TWENTY = (
    *("Fp1", "F3", "C3", "P3", "O1", "F7", "T7", "P7", "Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "O2", "F8", "T8", "P8"),
)
"""The 19 electrodes of the 10-20 system, left, midline, right.

>>> len(TEN_TWENTY), TEN_TWENTY[:3]
(19, ('Fp1', 'F3', 'C3'))
"""

MONTAGE = "colin27_1020"
_ROW = 4  # contacts, at least, of a row of a grid or of a depth electrode
_STRANGE = 3  # of them, at least, that the 10-10 system does not have
_HIGHEST = 10  # number of an electrode

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
EARS = ("A1", "A2", "M1", "M2")
"""Electrodes at the ears and mastoids: in the montage, but references rather than scalp."""


# "EEG Fp1-REF", "POL T3", "Fp1-A2", "[Fp1]", "Fc5.": what recorders write around the electrode's name.  A
# second scalp electrode ("Fp1-F7") is not decoration unless it is the same in all channels: see
# `strip_common_reference`.
_REFERENCE = (
    r"V?REF\d?|C?L[EM]R?|LINKED\s?(?:EARS|MASTOIDS)|AA|AR|AVG?|AVE|AVR|AVG?REF|(?:COMMON\s?)?AVERAGE|CAR"
    r"|[AM][12]|[AM]12|\(*[AM]1\s?[+/]?\s?[AM]2\)*(?:/2)?\)*|NZ|GND|COM|ORG|G\d+|0"
)
_BEFORE = r"(?:(?:EEG|POL)[\s_:.-]*)*"
_DECORATED = re.compile(
    rf"{_BEFORE}\[?(?P<electrode>[A-Z]+\d*)\]?(?:\s*[-_/:\s]\s*(?P<reference>{_REFERENCE}))?\.*",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"(?P<first>{_BEFORE}\w+)\s*[-/:]\s*(?P<second>[A-Z]+\d*)\.*", re.IGNORECASE)
_CONTACT = re.compile(rf"{_BEFORE}(?P<row>[A-Z]{{1,3}}'?)(?P<number>\d+)(?:\s*[-_/:\s].*)?", re.IGNORECASE)
_ZERO = re.compile(rf"({_BEFORE}\[?)0(?=[12](?!\d))", re.IGNORECASE)  # "01" for "O1"


@cache
def standard_montage() -> mne.channels.DigMontage:
    """Return the positions of all known electrodes."""
    return mne.channels.make_standard_montage(MONTAGE)


@cache
def scalp_names() -> dict[str, str]:
    """Return the modern name of every scalp electrode of the montage, by its name in capitals."""
    scalp = [name for name in standard_montage().ch_names if name not in EARS]
    return {name.upper(): _OLD_NAMES.get(name, name) for name in scalp}


def electrode(name: str) -> str | None:
    """Return the modern name of a channel's scalp electrode, spelled as in the montage.

    None if the channel is not of a scalp electrode or is the difference of two.

    >>> [electrode(name) for name in ("EEG FP1-REF", "Fp1.", "T3-A1")]
    ['Fp1', 'Fp1', 'T7']
    >>> [electrode(name) for name in ("ECG", "A2-A1", "Fp1-F7")]
    [None, None, None]
    """
    match = _DECORATED.fullmatch(name.strip())
    return scalp_names().get(match["electrode"].upper()) if match else None


def ear(name: str) -> str | None:
    """Return the ear or mastoid electrode of a channel, None if it has none or its reference is one too."""
    match = _DECORATED.fullmatch(name.strip())
    found = match["electrode"].upper() if match else ""
    opposite = match is not None and (match["reference"] or "").upper() in EARS
    return found if found in EARS and not opposite else None


def strip_common_reference(names: Sequence[str]) -> dict[str, str]:
    """Strip from a recording's channel names what only all names together identify.

    That is a scalp electrode that is the reference of all (``Fp1-Cz``, ``F3-Cz``).  A zero in place of the
    letter in ``O1`` and ``O2`` is replaced if there are other electrodes: else it numbers a channel.
    Contacts of grids and depth electrodes (`contacts`) are left out.

    Returns
    -------
    The name to pass to `electrode` or `ear`, by channel name.

    >>> strip_common_reference(["Fp1-Cz", "01-Cz"])
    {'Fp1-Cz': 'Fp1', '01-Cz': 'O1'}
    """
    inside = contacts(names)
    names = [name for name in names if name not in inside]
    pairs = _against_one(names)
    found = {name: pairs[name]["first"] if name in pairs else name for name in names}
    if not any(map(electrode, found.values())):
        return found
    return {name: _ZERO.sub(r"\1O", short.strip(), count=1) for name, short in found.items()}


def contacts(names: Sequence[str]) -> set[str]:
    """Return the channels of a recording that are contacts of grids or depth electrodes.

    Their names, of a row and a running number, may be those of scalp electrodes: ``F3``.  A row has numbers
    that the 10-10 system does not have; beside one, rows that are complete from 1 on and have no ``z`` are
    such too.

    >>> len(contacts([*(f"F{i}" for i in range(1, 13)), "Cz", "C3"]))
    12
    """
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _CONTACT.fullmatch(name.strip()):
            rows.setdefault(match["row"].upper(), {})[name] = match["number"]
    rows = {row: numbers for row, numbers in rows.items() if len(numbers) >= _ROW}
    found = {row for row, numbers in rows.items() if _is_strange(row, {*map(int, numbers.values())})}
    if found:
        midline = {electrode(name) for name in names}
        found |= {
            row
            for row, numbers in rows.items()
            if scalp_names().get(f"{row}Z") not in midline - {None}
            and {*map(int, numbers.values())} == {*range(1, len(numbers) + 1)}
        }
    return {name for row in found for name in rows[row]}


def _is_strange(row: str, numbers: set[int]) -> bool:
    """Return whether a row has names of known electrodes, and several, or a number, that no electrode has."""
    unknown = {number for number in numbers if f"{row}{number}" not in {*scalp_names(), *EARS}}
    return len(unknown) < len(numbers) and (len(unknown) >= _STRANGE or max(unknown, default=0) > _HIGHEST)


def _against_one(names: Sequence[str]) -> dict[str, re.Match[str]]:
    """Return the channels with a scalp electrode as reference, if it is the same for all."""
    matches = {name: match for name in names if (match := _PAIR.fullmatch(name.strip()))}
    pairs = {name: match for name, match in matches.items() if electrode(match["second"])}
    common = {electrode(match["second"]) for match in pairs.values()}
    others = {found for name in names if (found := electrode(name))} - common
    return pairs if len(pairs) > 1 and len(common) == 1 and not others else {}


def electrodes(names: Sequence[str]) -> dict[str, str]:
    """Return the scalp electrodes of a recording's channels, by channel name."""
    return {
        name: found for name, short in strip_common_reference(names).items() if (found := electrode(short))
    }


def ears_among(names: Sequence[str]) -> dict[str, str]:
    """Return the electrodes at ears and mastoids of a recording's channels, by channel name."""
    return {name: found for name, short in strip_common_reference(names).items() if (found := ear(short))}


def harmonise(name: str) -> str:
    """Return the modern name of a channel's `electrode`, or the name itself if it has none."""
    return electrode(name) or name


def reference(names: Sequence[str]) -> str:
    """Return the reference in the names of scalp electrodes, in capitals; "" if they have none.

    Different references, which an average reference does not remove, are joined by ``/``, with ``?`` for
    names that have none.

    >>> reference(["Fp1-REF", "F3-REF"]), reference(["Fp1-A1", "Fp2-A2"]), reference(["Fp1", "Fp2"])
    ('REF', 'A1/A2', '')
    """
    if pairs := _against_one(names):
        return next(iter(pairs.values()))["second"].upper()
    matches = [_DECORATED.fullmatch(name.strip()) for name in electrodes(names)]
    written = {(match["reference"] or "").upper() for match in matches if match}
    return "/".join(sorted(name or "?" for name in written)) if written - {""} else ""


def scalp_missing(path: Path, names: Sequence[str], inside: Collection[str] = ()) -> DataError:
    """Return the error for a recording none of whose channels is of a scalp electrode.

    The channels ``inside`` are intracranial by their type.
    """
    message = f"{path}: no scalp electrode among its {len(names)} channel(s)"
    if inside:
        return DataError(f"{message}: {len(inside)} are intracranial by their type (ECoG, SEEG or DBS)")
    if contacts(names):
        return DataError(f"{message}, numbered in rows as contacts of grids or depth electrodes")
    if any(all(electrode(half) for half in name.split("-")) for name in names if "-" in name):
        return DataError(f"{message} but differences of two; export it against one common reference")
    return DataError(f"{message}; expected names of the 10-10 system")
