"""How a recording was made, from its header: facts for the audit and `eeg inspect`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import mne

from eeg.io.edf_header import EdfHeader, years
from eeg.io.electrodes import contacts, electrode, electrodes, reference

MIN_SFREQ = 92.0
"""Hz: the lowest sampling rate that allows the default band up to 45 Hz."""

INTRACRANIAL = frozenset({"ecog", "seeg", "dbs"})
"""Types of channels, as MNE and BIDS call them, that are not scalp EEG whatever their names are."""

_SEX = {1: "M", 2: "F"}  # FIF's numbers


@dataclass(frozen=True)
class Header:
    """Facts on how one recording was made; None or empty if not recorded.

    Date, sex and age are personal data: for comparisons within a program, not for printing.
    """

    sfreqs: tuple[float, ...]  # Hz, of the scalp electrodes (of all channels if there are none)
    duration: float  # s
    channels: tuple[str, ...]  # as in the file
    electrodes: tuple[str, ...]  # the scalp electrodes among them, modern names
    intracranial: tuple[str, ...]  # those among them that are not scalp electrodes in spite of their names
    reference: str  # in their names: "REF", "LE", "A1/A2" or ""
    units: tuple[str, ...]  # theirs as written, "" for none; () if the format has one unit only
    filters: str  # as written: "HP:0.1Hz LP:75Hz"
    recorded: datetime | None  # midnight if only the day is known
    device: str | None
    sex: str | None  # "F" or "M"
    age: float | None  # years
    notes: tuple[str, ...] = ()  # doubts that arose while it was read

    @property
    def sfreq(self) -> float:
        """The highest sampling rate, Hz: that of `eeg.io.reader.read_recording`."""
        return max(self.sfreqs, default=0.0)

    @property
    def problems(self) -> list[str]:
        """Doubts about how the recording was made, one line each."""
        lines = [*self.notes]
        rows = sum(electrode(name) is not None for name in contacts(self.channels))
        if rows:
            lines.append(
                f"{rows} channel(s) are numbered in rows as contacts of grids are, so not scalp electrodes"
            )
        if self.intracranial:
            lines.append(
                f"{len(self.intracranial)} channel(s) named as scalp electrodes are intracranial by their "
                "type, so left out"
            )
        if "/" in self.reference:
            lines.append(
                f"electrodes have different references ({self.reference}), which an average does not remove"
            )
        if "" in self.units:
            lines.append("electrodes without a unit, taken as uV")
        if len(self.sfreqs) > 1:
            rates = ", ".join(f"{rate:g}" for rate in self.sfreqs)
            lines.append(f"electrodes of different sampling rates ({rates} Hz), resampled to the highest")
        if self.sfreq < MIN_SFREQ:
            lines.append(f"sampled at {self.sfreq:g} Hz; the default band needs {MIN_SFREQ:g} Hz")
        return lines


def header_from_edf(found: EdfHeader, inside: Collection[str] = ()) -> Header:
    """Return the facts in an EDF header; the channels ``inside`` are intracranial by another file."""
    names = [signal.label for signal in found.signals]
    outside = [name for name in names if name not in inside]
    of_scalp = electrodes(outside)
    scalp = [signal for signal in found.signals if signal.label in of_scalp]
    return Header(
        sfreqs=tuple(sorted({signal.sfreq for signal in scalp or found.signals})),
        duration=found.duration,
        channels=tuple(names),
        electrodes=tuple(of_scalp.values()),
        intracranial=tuple(electrodes([name for name in names if name in inside])),
        reference=reference(outside),
        units=tuple(sorted({signal.dimension for signal in scalp})),
        filters=", ".join(sorted({signal.prefilter for signal in scalp} - {""})),
        recorded=found.recorded,
        device=found.device,
        sex=found.sex,
        age=found.age,
        notes=found.notes,
    )


def header_from_raw(raw: mne.io.BaseRaw, notes: Sequence[str] = (), inside: Collection[str] = ()) -> Header:
    """Return the facts in the info of a recording with all its channels, and ``notes`` on it.

    The channels ``inside`` are intracranial by another file, whatever their type.
    """
    info, inside = raw.info, {*inside, *intracranial(raw)}
    outside = [name for name in raw.ch_names if name not in inside]
    filters = [f"HP:{info['highpass']:g}Hz"] if info["highpass"] else []
    filters += [f"LP:{info['lowpass']:g}Hz"] if info["lowpass"] < info["sfreq"] / 2 else []
    person, recorded = info["subject_info"] or {}, info["meas_date"]
    born = person.get("birthday")
    return Header(
        sfreqs=(info["sfreq"],),
        duration=raw.n_times / info["sfreq"],
        channels=tuple(raw.ch_names),
        electrodes=tuple(electrodes(outside).values()),
        intracranial=tuple(electrodes([name for name in raw.ch_names if name in inside])),
        reference=reference(outside),
        units=(),
        filters=" ".join(filters),
        recorded=recorded and recorded.replace(tzinfo=None),
        device=(info["device_info"] or {}).get("type"),
        sex=_SEX.get(person.get("sex", 0)),
        age=_age(born, recorded),
        notes=tuple(notes),
    )


def _age(born: date | None, recorded: datetime | None) -> float | None:
    return years(born, recorded.date()) if born and recorded and born <= recorded.date() else None


def intracranial(raw: mne.io.BaseRaw) -> set[str]:
    """Return the channels of a recording that are intracranial by their type."""
    kinds = zip(raw.ch_names, raw.get_channel_types(), strict=True)
    return {name for name, kind in kinds if kind in INTRACRANIAL}
