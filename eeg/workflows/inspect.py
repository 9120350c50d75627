"""The recordings in a folder and their problems: `eeg inspect`.

Recordings are numbered; files, subjects and dates are included only on request.
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
from eeg.datasets.participants import GROUP_NAMES
from eeg.datasets.seizures import seizures
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.electrodes import TEN_TWENTY, electrodes
from eeg.io.gaps import stretches
from eeg.io.header import MIN_SFREQ, Header
from eeg.io.reader import PLAUSIBLE, amplitude, read_recording, sample
from eeg.io.suffixes import SUFFIXES, is_recording
from eeg.preprocessing.interpolation import INTERPOLATED, missing_channels
from eeg.preprocessing.pipeline import Preprocessing, kernel
from eeg.preprocessing.quality import MIN_CLEAN_FRACTION, find_clipped
from trainers.errors import DataError, one_line

_BOTH_GROUPS = ("its subject is labelled both epilepsy and control",)
_MAX_NAMED = 6  # up to so many missing electrodes are named


@dataclass(frozen=True)
class Identity:
    """File, subject and date: included only on request."""

    path: str
    subject: str
    session: str | None
    recorded: str | None


@dataclass(frozen=True)
class RecordingSummary:
    """One recording; unknown facts are None, and ``problems`` gives the reasons."""

    number: int
    group: str
    channels: int | None
    electrodes: tuple[str, ...]
    missing: tuple[str, ...]  # of the 19 of 10-20
    others: tuple[str, ...]  # channels that are not used
    sfreq: float | None  # Hz
    minutes: float | None
    amplitude: float | None  # µV within a second, of a typical channel
    reference: str
    filters: str
    montage: str | None
    seizures: int | None  # None without annotations
    readable: bool  # the recording and its seizure annotations, if any
    problems: tuple[str, ...]
    identity: Identity | None


@dataclass(frozen=True)
class Inspection:
    """All recordings of a folder; ``subjects`` counts them by group, None if they are unknown."""

    corpus: str
    simulated: bool
    subjects: dict[str, int] | None
    recordings: tuple[RecordingSummary, ...]


def inspect_corpus(path: Path, *, show_ids: bool = False, progress: bool = True) -> Inspection:
    """Examine every recording of a corpus, a table, a folder of files or a file.

    Parameters
    ----------
    path
        A corpus as for `eeg.datasets.open_corpus`, or any recording or folder of recordings.
    show_ids
        Include files, subjects, sessions and dates.
    progress
        Show a progress bar.

    Raises
    ------
    DataError
        ``path`` does not exist, holds no recording, or its table is malformed.
    """
    corpus, has_subjects = _open(path)
    bar = tqdm(corpus.entries, desc="recordings", disable=None if progress else True)
    doubtful = _of_both_groups(corpus.entries) if has_subjects else set()
    summaries = tuple(
        _summarise(number, entry, show_ids, _BOTH_GROUPS if entry.subject in doubtful else ())
        for number, entry in enumerate(bar, start=1)
    )
    subjects = _subjects(corpus.entries) if has_subjects else None
    return Inspection(corpus.name, corpus.simulated, subjects, summaries)


def _open(path: Path) -> tuple[Corpus, bool]:
    """Open a corpus or list files; return whether their subjects are known."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not is_recording(path) and find_reader(path) is not None:
        return open_corpus(path), True
    files = [path] if is_recording(path) else sorted(p for p in path.rglob("*") if is_recording(p))
    if not files:
        raise DataError(f"{path}: no recording; expected {', '.join(sorted(SUFFIXES))}")
    return Corpus("recordings of no known corpus", tuple(Entry(file, "", None) for file in files)), False


def _subjects(entries: Sequence[Entry]) -> dict[str, int]:
    labels = {entry.subject: entry.label for entry in entries}
    counts = Counter(GROUP_NAMES[label] for label in labels.values())
    return {group: counts[group] for group in GROUP_NAMES.values()}


def _of_both_groups(entries: Sequence[Entry]) -> set[str]:
    epilepsy, control = ({entry.subject for entry in entries if entry.label == label} for label in (1, 0))
    return epilepsy & control


def _summarise(number: int, entry: Entry, show_ids: bool, doubts: Sequence[str]) -> RecordingSummary:
    """Examine one recording; its problems follow the ``doubts``."""
    problems = list(doubts)
    facts: Header | None = None
    size, count, readable = None, None, False
    try:
        with one_line(entry.path):
            facts = entry_header(entry)
            problems += facts.problems
            raw = read_recording(entry.path, preload=False)
            size, signal_problems = _signal(raw)
            problems += [*signal_problems, *_refusals(raw)]
            count = _count_seizures(raw, entry.seizures)
            readable = size is not None
    except DataError as error:
        problems.append(_nameless(str(error), entry))
    present = facts.electrodes if facts else ()
    known = electrodes(facts.channels) if facts else {}
    return RecordingSummary(
        number=number,
        group=GROUP_NAMES[entry.label],
        channels=len(facts.channels) if facts else None,
        electrodes=present,
        missing=tuple(name for name in TEN_TWENTY if name not in present),
        others=tuple(name for name in facts.channels if name not in known) if facts else (),
        sfreq=facts.sfreq if facts else None,
        minutes=facts.duration / 60 if facts else None,
        amplitude=size,
        reference=facts.reference if facts else "",
        filters=facts.filters if facts else "",
        montage=entry.montage,
        seizures=count,
        readable=readable,
        problems=tuple(problems),
        identity=_identity(entry, facts) if show_ids else None,
    )


def _signal(raw: mne.io.BaseRaw) -> tuple[float | None, list[str]]:
    """Return the amplitude of a typical channel, µV, and problems of channels and of continuity."""
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
        problems.append(f"{len(pieces)} pieces between gaps, the longest of {max(pieces):.0f} s")
    finite = sizes[np.isfinite(sizes)]
    return float(np.median(finite)) * 1e6 if finite.size else None, problems


def _refusals(raw: mne.io.BaseRaw) -> Iterable[str]:
    """Return why a model of the 19 electrodes of 10-20 would refuse a recording, from a sample of it."""
    absent, limit = missing_channels(raw, TEN_TWENTY), round(INTERPOLATED * len(TEN_TWENTY))
    if limit < len(absent) <= _MAX_NAMED:  # a recording that lacks more has another set of electrodes
        yield f"{len(absent)} electrodes of 10-20 are missing or bad; at most {limit} can be interpolated"
    if raw.info["sfreq"] >= MIN_SFREQ:  # else the header shows it
        longest = max((stop - start for start, stop in stretches(raw)), default=0) / raw.info["sfreq"]
        needed = kernel(raw, Preprocessing(TEN_TWENTY))
        if longest < needed:
            yield f"{longest:.1f} s long; the default filter needs {needed:.1f} s"
    seen = sample(raw)
    finite = np.concatenate([*seen], axis=1)[np.isfinite(seen).all(axis=(0, 2))]
    seconds = {int(flaw.onset) for flaw in find_clipped(finite, seen.shape[2])}
    if len(seconds) > (1 - MIN_CLEAN_FRACTION) * len(seen):
        yield f"clipped in {len(seconds)} of {len(seen)} s sampled"


def _count_seizures(raw: mne.io.BaseRaw, table: Path | None) -> int | None:
    """Count the seizures in a table and in the recording's own annotations; None if both have none."""
    onset, _ = seizures(raw, table)
    return None if table is None and not len(onset) else len(onset)


def _nameless(message: str, entry: Entry) -> str:
    """Remove the names of the file and of the person from a message."""
    if entry.seizures:
        message = message.replace(str(entry.seizures), "the seizure annotations")
    for name in (str(entry.path.absolute()), str(entry.path), entry.path.name, entry.path.stem):
        message = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "the file", message)  # whole words only
    return message.removeprefix("the file: ")


def _identity(entry: Entry, facts: Header | None) -> Identity:
    recorded = facts.recorded if facts else entry.recorded
    day = recorded.isoformat() if recorded else None
    return Identity(str(entry.path), entry.subject, entry.session, day)


def format_inspection(found: Inspection) -> str:
    """Return the text that `eeg inspect` prints: a line per recording, and one per problem."""
    kind = " (SIMULATED)" if found.simulated else ""
    affected = sum(bool(one.problems) for one in found.recordings)
    lines = [
        f"{found.corpus}{kind}: {len(found.recordings)} recording(s), {_whose(found)}",
        *(line for one in found.recordings for line in (_line(one), *_more(one))),
        f"{affected} of {len(found.recordings)} recording(s) with problems",
    ]
    return "\n".join(lines)


def _whose(found: Inspection) -> str:
    if found.subjects is None:
        return "subjects unknown"
    groups = ", ".join(f"{count} {group}" for group, count in found.subjects.items() if count)
    return f"{sum(found.subjects.values())} subject(s): {groups}"


def _line(one: RecordingSummary) -> str:
    parts = [f"{one.number:>4}  {one.group}"]
    if one.channels is not None and one.sfreq is not None and one.minutes is not None:
        lacking = f"10-20 lacks {', '.join(one.missing)}" if one.missing else "10-20 complete"
        if len(one.missing) > _MAX_NAMED:
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
        yield f"      not used: {', '.join(one.others)}"
    if one.identity is not None:
        known = {name: value for name, value in asdict(one.identity).items() if value}
        yield "      " + "  ".join(f"{name} {value}" for name, value in known.items())
    yield from (f"      problem: {text}" for text in one.problems)
