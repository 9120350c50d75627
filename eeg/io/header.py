"""How a recording was made, from its header: what the audit looks at and `eeg inspect` prints."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from eeg.io.edf import EdfHeader, read_edf_header, years
from eeg.io.electrodes import electrodes, reference
from eeg.io.reader import is_edf, open_raw, reading

MIN_SFREQ = 92.0
"""Hz: the least that the usual band up to 45 Hz can be had from."""

_SEX = {1: "M", 2: "F"}  # FIF's numbers


@dataclass(frozen=True)
class Header:
    """Facts of how one recording was made; None or empty where nobody wrote them down.

    Date, sex and age belong to a person: they are for comparisons within a program, not for printing.
    """

    sfreqs: tuple[float, ...]  # Hz, of the scalp electrodes (of all channels where there is none)
    duration: float  # s
    channels: tuple[str, ...]  # as the file names them
    electrodes: tuple[str, ...]  # the scalp electrodes among them, by their modern names
    reference: str  # what the names of these say: "REF", "LE", "A1/A2" or ""
    units: tuple[str, ...]  # of these as written, "" for none; () where the format leaves no choice
    filters: str  # what the header says: "HP:0.1Hz LP:75Hz"
    recorded: datetime | None  # at midnight where only the day is known
    device: str | None
    sex: str | None  # "F" or "M"
    age: float | None  # years

    @property
    def sfreq(self) -> float:
        """The highest sampling rate, Hz: the one that `eeg.io.reader.read_recording` gives."""
        return max(self.sfreqs, default=0.0)

    @property
    def problems(self) -> list[str]:
        """What is doubtful about how the recording was made, a line each."""
        found = []
        if "/" in self.reference:
            found.append(
                f"electrodes have different references ({self.reference}), which no average takes out"
            )
        if "" in self.units:
            found.append("electrodes without a unit, taken as uV")
        if len(self.sfreqs) > 1:
            rates = ", ".join(f"{rate:g}" for rate in self.sfreqs)
            found.append(f"electrodes of different sampling rates ({rates} Hz), brought to the highest")
        if self.sfreq < MIN_SFREQ:
            found.append(f"sampled at {self.sfreq:g} Hz; the usual band wants {MIN_SFREQ:g} Hz")
        return found


def header_of(path: Path) -> Header:
    """Read the header of a file; raises as `header`."""
    with reading(path):
        return _from_edf(read_edf_header(path)) if is_edf(path) else _from_mne(path)


def _from_edf(found: EdfHeader) -> Header:
    names = [signal.label for signal in found.signals]
    of_scalp = electrodes(names)
    scalp = [signal for signal in found.signals if signal.label in of_scalp]
    return Header(
        sfreqs=tuple(sorted({signal.sfreq for signal in scalp or found.signals})),
        duration=found.duration,
        channels=tuple(names),
        electrodes=_electrodes(names),
        reference=reference(names),
        units=tuple(sorted({signal.dimension for signal in scalp})),
        filters=", ".join(sorted({signal.prefilter for signal in scalp} - {""})),
        recorded=found.recorded,
        device=found.device,
        sex=found.sex,
        age=found.age,
    )


def _from_mne(path: Path) -> Header:
    raw = open_raw(path)
    info = raw.info
    filters = [f"HP:{info['highpass']:g}Hz"] if info["highpass"] else []
    filters += [f"LP:{info['lowpass']:g}Hz"] if info["lowpass"] < info["sfreq"] / 2 else []
    person, recorded = info["subject_info"] or {}, info["meas_date"]
    born = person.get("birthday")
    return Header(
        sfreqs=(info["sfreq"],),
        duration=raw.n_times / info["sfreq"],
        channels=tuple(raw.ch_names),
        electrodes=_electrodes(raw.ch_names),
        reference=reference(raw.ch_names),
        units=(),
        filters=" ".join(filters),
        recorded=recorded and recorded.replace(tzinfo=None),
        device=(info["device_info"] or {}).get("type"),
        sex=_SEX.get(person.get("sex", 0)),
        age=years(born, recorded.date()) if recorded and born else None,
    )


def _electrodes(names: list[str]) -> tuple[str, ...]:
    found = electrodes(names)
    return tuple(found[name] for name in names if name in found)
