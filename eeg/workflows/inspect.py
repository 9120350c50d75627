"""What is in a folder of recordings, and what is wrong with it: `eeg inspect`.

Nothing here names a person: recordings are numbered, and who and when is told only where it is asked for.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mne
import numpy as np
from tqdm import tqdm

from eeg.datasets import Corpus, Entry, find_reader, open_corpus
from eeg.datasets.seizures import seizures
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.electrodes import TEN_TWENTY, electrodes
from eeg.io.gaps import stretches
from eeg.io.header import MIN_SFREQ, Header
from eeg.io.reader import PLAUSIBLE, amplitude, read_recording, sample
from eeg.preprocessing.interpolation import INTERPOLATED, lacking
from eeg.preprocessing.pipeline import Preprocessing, kernel
from eeg.preprocessing.quality import LEAST, clipped
from trainers.errors import DataError

_SUFFIXES = (
    *(".bdf", ".cdt", ".cnt", ".csv.gz", ".edf", ".eeg", ".fif", ".fif.gz", ".gdf", ".lay", ".mff", ".nxe"),
    *(".set", ".vhdr"),
)
_GROUPS = {1: "epilepsy", 0: "control", None: "unknown"}
_TOLD = 6  # missing electrodes are named if they are no more


@dataclass(frozen=True)
class Identity:
    """Who and when: shown only on demand."""

    path: str
    subject: str
    session: str | None
    recorded: str | None


@dataclass(frozen=True)
class RecordingSummary:
    """One recording; what cannot be known is None, and ``problems`` says why."""

    number: int
    group: str
    channels: int | None
    electrodes: tuple[str, ...]
    missing: tuple[str, ...]  # of the 19 of 10-20
    others: tuple[str, ...]  # channels that are left out
    sfreq: float | None  # Hz
    minutes: float | None
    amplitude: float | None  # µV within a second, of a typical channel
    reference: str
    filters: str
    montage: str | None
    seizures: int | None  # annotated ones, None where nobody annotated
    readable: bool  # the recording, and its seizures where they are annotated
    problems: tuple[str, ...]
    identity: Identity | None


@dataclass(frozen=True)
class Inspection:
    """All recordings of a folder; ``subjects`` counts those of each group, None where nobody tells whose."""

    corpus: str
    simulated: bool
    subjects: dict[str, int] | None
    recordings: tuple[RecordingSummary, ...]


def inspect_corpus(path: Path, *, show_ids: bool = False, progress: bool = True) -> Inspection:
    """Look at every recording of a corpus, a table, a folder of files or a file.

    Parameters
    ----------
    path
        What `eeg.datasets.open_corpus` opens, or any recording or folder of recordings.
    show_ids
        Tell files, subjects, sessions and dates too.
    progress
        Show a progress bar.

    Raises
    ------
    DataError
        There is nothing at ``path``, no recording in it, or its table cannot be understood.
    """
    corpus, told = _opened(path)
    bar = tqdm(corpus.entries, desc="recordings", disable=None if progress else True)
    both = _of_both_groups(corpus.entries) if told else set()
    found = tuple(
        _look(
            number,
            entry,
            show_ids,
            ["its subject is labelled both epilepsy and control"] if entry.subject in both else [],
        )
        for number, entry in enumerate(bar, start=1)
    )
    return Inspection(corpus.name, corpus.simulated, _subjects(corpus.entries) if told else None, found)


def _opened(path: Path) -> tuple[Corpus, bool]:
    """Open a corpus, or take files as they lie; whether it tells whose they are."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not _is_recording(path) and find_reader(path) is not None:
        return open_corpus(path), True
    files = [path] if _is_recording(path) else sorted(p for p in path.rglob("*") if _is_recording(p))
    if not files:
        raise DataError(f"{path}: no recording; expected {', '.join(sorted(_SUFFIXES))}")
    return Corpus("recordings of no known corpus", tuple(Entry(file, "", None) for file in files)), False


def _is_recording(path: Path) -> bool:
    name = path.name.lower()
    signals_of_brainvision = name.endswith(".eeg") and path.with_suffix(".vhdr").exists()
    return name.endswith(_SUFFIXES) and not name.startswith(".") and not signals_of_brainvision


def _subjects(entries: Sequence[Entry]) -> dict[str, int]:
    labels = {entry.subject: entry.label for entry in entries}
    counts = Counter(_GROUPS[label] for label in labels.values())
    return {group: counts[group] for group in _GROUPS.values()}


def _of_both_groups(entries: Sequence[Entry]) -> set[str]:
    epilepsy, control = ({entry.subject for entry in entries if entry.label == label} for label in (1, 0))
    return epilepsy & control


def _look(number: int, entry: Entry, show_ids: bool, doubts: Sequence[str]) -> RecordingSummary:
    """Look at one recording; what is wrong with it, after the ``doubts``, becomes a line of its own."""
    problems = list(doubts)
    facts: Header | None = None
    size, marked, readable = None, None, False
    try:
        facts = entry_header(entry)
        problems += facts.problems
        raw = read_recording(entry.path, preload=False)
        size, signal_problems = _signal(raw)
        problems += [*signal_problems, *_refusals(raw)]
        marked = _seizures(raw, entry.seizures)
        readable = size is not None
    except DataError as error:
        problems.append(_nameless(str(error), entry))
    found = facts.electrodes if facts else ()
    known = electrodes(facts.channels) if facts else {}
    return RecordingSummary(
        number=number,
        group=_GROUPS[entry.label],
        channels=len(facts.channels) if facts else None,
        electrodes=found,
        missing=tuple(name for name in TEN_TWENTY if name not in found),
        others=tuple(name for name in facts.channels if name not in known) if facts else (),
        sfreq=facts.sfreq if facts else None,
        minutes=facts.duration / 60 if facts else None,
        amplitude=size,
        reference=facts.reference if facts else "",
        filters=facts.filters if facts else "",
        montage=entry.montage,
        seizures=marked,
        readable=readable,
        problems=tuple(problems),
        identity=_identity(entry, facts) if show_ids else None,
    )


def _signal(raw: mne.io.BaseRaw) -> tuple[float | None, list[str]]:
    """Return the amplitude of a typical channel, µV, and what is wrong with channels or in time."""
    sizes = amplitude(raw)
    low, high = PLAUSIBLE
    faults = {
        "marked bad": np.isin(raw.ch_names, raw.info["bads"]),
        "flat": sizes == 0,
        "not finite": ~np.isfinite(sizes),
        "hardly any signal": (sizes > 0) & (sizes < low),
        f"more than {high * 1e6:g} µV within a second": sizes > high,
    }
    names = np.array(raw.ch_names)
    problems = [f"{fault}: {', '.join(names[found])}" for fault, found in faults.items() if found.any()]
    pieces = [(stop - start) / raw.info["sfreq"] for start, stop in stretches(raw)]
    if len(pieces) > 1:
        longest = f"the longest of {max(pieces):.0f} s"
        problems.append(f"in {len(pieces)} pieces, {longest}, with gaps between them")
    finite = sizes[np.isfinite(sizes)]
    return float(np.median(finite)) * 1e6 if finite.size else None, problems


def _refusals(raw: mne.io.BaseRaw) -> Iterable[str]:
    """Tell why a model of the 19 electrodes of 10-20 would refuse a recording, as far as a sample shows."""
    absent, limit = lacking(raw, TEN_TWENTY), round(INTERPOLATED * len(TEN_TWENTY))
    if limit < len(absent) <= _TOLD:  # what lacks more is of another set of electrodes
        yield f"{len(absent)} of 10-20 are missing or bad, of which {limit} may be interpolated"
    if raw.info["sfreq"] >= MIN_SFREQ:  # else its header tells
        longest = max((stop - start for start, stop in stretches(raw)), default=0) / raw.info["sfreq"]
        needed = kernel(raw, Preprocessing(TEN_TWENTY))
        if longest < needed:
            yield f"{longest:.1f} s long, and the usual filter wants {needed:.1f} s"
    looked = sample(raw)
    finite = np.concatenate([*looked], axis=1)[np.isfinite(looked).all(axis=(0, 2))]
    seconds = {int(flaw.onset) for flaw in clipped(finite, looked.shape[2])}
    if len(seconds) > (1 - LEAST) * len(looked):
        yield f"clipped in {len(seconds)} of the {len(looked)} s that were looked at"


def _seizures(raw: mne.io.BaseRaw, table: Path | None) -> int | None:
    """Count the seizures that a table and the recording's own annotations tell; None where neither does."""
    onset, _ = seizures(raw, table)
    return None if table is None and not len(onset) else len(onset)


def _nameless(message: str, entry: Entry) -> str:
    """Leave out of a message whatever names the file or the person."""
    if entry.seizures:
        message = message.replace(str(entry.seizures), "the file of seizures")
    for name in (str(entry.path.absolute()), str(entry.path), entry.path.name, entry.path.stem):
        message = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "the file", message)  # of "a.fif" no letter else
    return message.removeprefix("the file: ")


def _identity(entry: Entry, facts: Header | None) -> Identity:
    recorded = facts.recorded if facts else entry.recorded
    day = recorded.isoformat() if recorded else None
    return Identity(str(entry.path), entry.subject, entry.session, day)


def format_inspection(found: Inspection) -> str:
    """Write an inspection for people: one line a recording, and one more for each of its problems."""
    kind = " (SIMULATED)" if found.simulated else ""
    troubled = sum(bool(one.problems) for one in found.recordings)
    lines = [
        f"{found.corpus}{kind}: {len(found.recordings)} recording(s), {_whose(found)}",
        *(line for one in found.recordings for line in (_line(one), *_more(one))),
        f"{troubled} of {len(found.recordings)} recording(s) with problems",
    ]
    return "\n".join(lines)


def _whose(found: Inspection) -> str:
    if found.subjects is None:
        return "subjects not told"
    groups = ", ".join(f"{count} {group}" for group, count in found.subjects.items() if count)
    return f"{sum(found.subjects.values())} subject(s): {groups}"


def _line(one: RecordingSummary) -> str:
    parts = [f"{one.number:>4}  {one.group}"]
    if one.channels is not None and one.sfreq is not None and one.minutes is not None:
        lacking = f"10-20 lacks {', '.join(one.missing)}" if one.missing else "10-20 complete"
        if len(one.missing) > _TOLD:
            lacking = f"{len(TEN_TWENTY) - len(one.missing)} of the {len(TEN_TWENTY)} of 10-20"
        parts += [
            f"{len(one.electrodes)} electrodes of {one.channels} channel(s), {lacking}",
            f"{one.sfreq:g} Hz",
            f"{one.minutes:.1f} min",
        ]
    parts += [f"{one.amplitude:.0f} µV"] if one.amplitude is not None else []
    parts += [f"reference {one.reference}"] if one.reference else []
    parts += [text for text in (one.filters, one.montage) if text]
    parts += [f"{one.seizures} seizure(s)"] if one.seizures else []
    return "  ".join(parts)


def _more(one: RecordingSummary) -> Iterable[str]:
    if one.others:
        yield f"      left out: {', '.join(one.others)}"
    if one.identity is not None:
        told = {name: value for name, value in asdict(one.identity).items() if value}
        yield "      " + "  ".join(f"{name} {value}" for name, value in told.items())
    yield from (f"      problem: {text}" for text in one.problems)
