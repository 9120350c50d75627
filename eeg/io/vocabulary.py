"""Texts in recordings that identify no one: labels of channels, filters and marks from closed lists.

Any other text of a recording is free and may name a person, a hospital or a device.
"""

import re
from collections.abc import Sequence

from eeg.io.electrodes import contacts, ear, electrode, electrodes
from eeg.io.gaps import GAP

_OTHER_CHANNEL = re.compile(
    r"(?:(?:EEG|POL|PSG|E[CK]G|EOG|EMG|RESP|TEMP|SAO2)[\s_:.-]*)?"
    r"(?:E[CK]G|EOG|EMG|ECOG|SP?O2|SAO2|PULSE?|PR|HR|RESP|FLOW|THOR|ABDO|SNORE|TEMP|PHOTIC|STI|TRIG(?:GER)?|STATUS"
    r"|EVENT|MARK(?:ER)?|LOC|ROC|[HV]EOG|CHIN|LEG|TIB|DC|AUX|BIP|MISC|EXG|EX|X|ANA|ACC|GYRO?)"
    r"[\s_.-]*(?:\d{1,3}|[LRXYZ]|LEFT|RIGHT)?(?:\s*[-_/]\s*(?:V?REF|LE|AR|AVG?|[AM][12]|0|\d{1,2}))?",
    re.IGNORECASE,
)
_NUMBER = r"\d{1,4}(?:[.,]\d{1,4})?"
_FILTER = re.compile(
    rf"(?:(?:HPF?|LPF?|BP|NF?|NOTCH|DC)\s*[:=]?\s*(?:{_NUMBER}\s*(?:m?Hz|m?s)?|off|none)?[\s,;/]*)+",
    re.IGNORECASE,
)
_UNITS = {
    *(
        "",
        "V",
        "mV",
        "uV",
        "nV",
        "\u00b5V",
        "\u03bcV",
        "%",
        "bpm",
        "Hz",
        "C",
        "degC",
        "s",
        "mmHg",
        "g",
        "Boolean",
    ),
}
_WHEN = r"(?:[\s_-]*(?:start|begin|onset|on|end|stop|offset|off)s?)?"
_MARK = re.compile(
    rf"""
    (?:eeg[\s_-]*|sub[\s_-]*clinical[\s_-]*|electrographic[\s_-]*|clinical[\s_-]*)*
      (?:seizures?|seiz|[a-z]{{0,3}}sz|ictal|inter-?ictal|post-?ictal|pre-?ictal|bckg){_WHEN}
    |(?:ied|spikes?|sharp[\s_-]*waves?|poly-?spikes?|spike[\s_-]*(?:and[\s_-]*)?waves?|discharges?|[gp]p?leds?|spsw)
    |(?:sleep[\s_-]*stage[\s_-]*)?(?:w|wake|n[1-4]?|r|rem|[1-4?]|s[1-4])|movement[\s_-]*time|arousals?
    |wickets?(?:[\s_-]*spikes?)?|small[\s_-]*sharp[\s_-]*spikes?|vertex[\s_-]*waves?
    |awake|drows(?:y|iness)|asleep|sleep|k-?complex|spindles?
    |artefacts?|artifacts?|artf|eyem|chew(?:ing)?|shiv|elpp|musc(?:le)?|movements?|blinks?|eye[\s_-]*movements?
    |electrode[\s_-]*pop|swallow(?:ing)?|talk(?:ing)?|cough(?:ing)?
    |(?:eyes?[\s_-]*(?:open|clos)(?:ed)?|e[oc]){_WHEN}|blinks?[\s_-]*eyes?
    |(?:post[\s_-]*)?(?:hyper-?ventilation|hv){_WHEN}
    |(?:intermittent[\s_-]*)?photic(?:[\s_-]*stimulation)?(?:[\s_-]*\d{{1,2}}\s*Hz)?{_WHEN}
    |{GAP}|bad|(?:edge[\s_-]*|bad[\s_-]*)?boundary|new[\s_]segment/?|recording[\s_-]*(?:starts|ends)
    |impedance[\s_-]*check|calibration
    |(?:(?:stimulus|response|trigger|comment|event|code)?[/#\s_-]*)[a-z]?[\s_-]*\d{{1,3}}|[a-z]
    """,
    re.IGNORECASE | re.VERBOSE,
)


def known_labels(names: Sequence[str]) -> dict[str, str]:
    """Return each channel's name in outputs: as written if it is of an electrode or a usual kind of signal.

    Others, and contacts of depth electrodes, are numbered by their place: ``channel 23``.

    >>> known_labels(["EEG Fp1-REF", "F3-C3", "ECG", "Dr House"])
    {'EEG Fp1-REF': 'EEG Fp1-REF', 'F3-C3': 'F3-C3', 'ECG': 'ECG', 'Dr House': 'channel 4'}
    """
    scalp, inside = electrodes(names), contacts(names)
    known = {name for name in names if name in scalp or (name not in inside and _is_known(name))}
    return {name: name if name in known else f"channel {number}" for number, name in enumerate(names, 1)}


def _is_known(name: str) -> bool:
    parts = re.split(r"\s*[-/:]\s*", name)
    of_electrodes = len(parts) <= 2 and all(electrode(part) or ear(part) for part in parts)
    return of_electrodes or ear(name) is not None or _OTHER_CHANNEL.fullmatch(name.strip()) is not None


def known_filter(text: str) -> str:
    """Return a description of filters if it is of the usual form, else "".

    >>> known_filter("HP:0.1Hz LP:75Hz N:50Hz"), known_filter("set by J. Doe")
    ('HP:0.1Hz LP:75Hz N:50Hz', '')
    """
    return text if _FILTER.fullmatch(text.strip()) else ""


def known_unit(text: str) -> str:
    """Return a unit if it is a usual one, else ``?``, which no reader takes for a voltage."""
    return text if text in _UNITS else "?"


def known_mark(text: str) -> str | None:
    """Return the text of an annotation if it is a code of the closed list, else None.

    The list has seizures, discharges, sleep stages, artefacts, eyes open and closed, hyperventilation, photic
    stimulation, gaps and joints, and triggers of up to three digits.

    >>> [known_mark(text) for text in ("Sleep stage N2", "Seizure end", "T1", "J. Doe asleep")]
    ['Sleep stage N2', 'Seizure end', 'T1', None]
    """
    words, _, channel = text.strip().partition("@@")
    if _MARK.fullmatch(words.strip()) is None:
        return None
    return text.strip() if not channel or _is_known(channel) else words.strip()
