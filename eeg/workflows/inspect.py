"""The recordings in a folder and their problems: `eeg inspect`.

Recordings are numbered; files, subjects, dates and free texts of headers are included only on request.
"""

import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mne
import numpy as np
from tqdm import tqdm

from eeg.datasets import Corpus, Entry, find_reader, open_corpus
from eeg.datasets.copies import pair_copies, signal_hash
from eeg.datasets.participants import GROUP_NAMES
from eeg.datasets.seizure_words import AUTO
from eeg.datasets.seizures import Annotated, find_seizures
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.electrodes import TEN_TWENTY, electrodes
from eeg.io.fif import without_parts
from eeg.io.gaps import stretches
from eeg.io.header import MIN_SFREQ, Header
from eeg.io.reader import PLAUSIBLE, amplitude, read_with_header, sample
from eeg.io.recording_files import recording_files
from eeg.io.suffixes import SUFFIXES, is_recording, recording_stem
from eeg.io.vocabulary import known_filter, known_labels
from eeg.preprocessing.interpolation import INTERPOLATED, missing_channels
from eeg.preprocessing.pipeline import Preprocessing, kernel
from eeg.preprocessing.quality import MIN_CLEAN_FRACTION, find_clipped
from trainers.errors import DataError, one_line

_BOTH_GROUPS = ("its subject is labelled both epilepsy and control",)
_KINDS = re.compile(
    r"\.(asc|con|dat|dpa|e|erd|etc|fdt|hdr|log|m00|mat|md|ncs|nev|plg|pos|raw|rec|rs3|sig|snirf|sqd|trc"
    r"|vmrk|xdf)"
)
"""Suffixes of formats beside those in `mimetypes`."""

_BESIDE = (".head", ".json")
"""Suffixes of files about a recording of the same name, beside its `recording_files`."""

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
    annotations: tuple[str, ...]  # what they count as seizures, and what not
    readable: bool  # the recording and its seizure annotations, if any
    problems: tuple[str, ...]
    identity: Identity | None


@dataclass(frozen=True)
class Inspection:
    """All recordings of a folder.

    ``subjects`` counts them by group, None if they are unknown; ``problems`` are those of the corpus's
    tables; ``passed_over`` counts the files that are not taken for recordings, by their suffix.
    """

    corpus: str
    simulated: bool
    subjects: dict[str, int] | None
    problems: tuple[str, ...]
    passed_over: dict[str, int]
    recordings: tuple[RecordingSummary, ...]


def inspect_corpus(
    path: Path, *, show_ids: bool = False, outside: bool = False, ictal: str = AUTO, progress: bool = True
) -> Inspection:
    """Examine every recording of a corpus, a table, a folder of files or a file.

    Parameters
    ----------
    path
        A corpus as for `eeg.datasets.open_corpus`, or any recording or folder of recordings.
    show_ids
        Include files, subjects, sessions and dates.
    outside
        Allow paths and links of a corpus that leave its folder.
    ictal
        Which annotations mark a seizure; see `eeg.datasets.seizure_words.marks_seizure`.
    progress
        Show a progress bar.

    Raises
    ------
    DataError
        ``path`` does not exist, holds no recording, its table is malformed, or a path leaves its folder.
    """
    if not path.exists() and not path.is_symlink():
        raise DataError(f"{path}: no such file or folder")
    passed_over: dict[str, int] = {}
    if has_subjects := not is_recording(path) and find_reader(path) is not None:
        corpus = open_corpus(path, outside=outside)
    else:
        files, passed_over = _list_folder(path) if path.is_dir() and not is_recording(path) else ([path], {})
        corpus = Corpus("recordings of no known corpus", tuple(Entry(file, "", None) for file in files))
    bar = tqdm(corpus.entries, desc="recordings", disable=None if progress else True)
    doubtful = _of_both_groups(corpus.entries) if has_subjects else set()
    found = [
        _summarise(number, entry, show_ids, ictal, _BOTH_GROUPS if entry.subject in doubtful else ())
        for number, entry in enumerate(bar, start=1)
    ]
    return Inspection(
        corpus=corpus.name,
        simulated=corpus.simulated,
        subjects=_subjects(corpus.entries) if has_subjects else None,
        problems=(*corpus.problems, *filter(None, [corpus.undiagnosed])),
        passed_over=passed_over,
        recordings=_with_copies(found, corpus.entries),
    )


def _list_folder(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """Return the recordings in a folder, and how many other files it holds by suffix.

    The parts of a recording are none of these, such as the signals of BrainVision.
    """
    files = [file for file in sorted(folder.rglob("*")) if not _is_hidden(file.relative_to(folder))]
    named = [file for file in files if is_recording(file)]
    whole = without_parts(named)
    if not whole:
        raise DataError(f"{folder}: no recording; expected {', '.join(sorted(SUFFIXES))}")
    stems = {file.with_name(recording_stem(file)) for file in named}
    parts = {part for file in named for part in recording_files(file)}
    others = [
        file
        for file in {*files} - parts
        if not file.is_dir()
        and not (file.suffix.lower() in _BESIDE and file.with_suffix("") in stems)
        and not any(is_recording(part) for part in file.parents)
    ]
    return whole, dict(sorted(Counter(_kind(file) for file in others).items()))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kind(file: Path) -> str:
    """Return the suffix of a file, if it is one of a format: what follows a point may also be a name."""
    suffix = file.suffix.lower()
    return suffix if _KINDS.fullmatch(suffix) or suffix in mimetypes.types_map else "other"


def _with_copies(
    found: Sequence[tuple[RecordingSummary, str | None]], entries: Sequence[Entry]
) -> tuple[RecordingSummary, ...]:
    """Add to each recording the one before it with the same signal."""
    summaries = [summary for summary, _ in found]
    for first, other in pair_copies(signal for _, signal in found):
        one_subject = entries[first].subject == entries[other].subject
        whose = "" if one_subject else ", which is of another subject"
        line = f"the same signal as recording {first + 1}{whose}"
        summaries[other] = replace(summaries[other], problems=(*summaries[other].problems, line))
    return tuple(summaries)


def _subjects(entries: Sequence[Entry]) -> dict[str, int]:
    labels = {entry.subject: entry.label for entry in entries if entry.subject}
    counts = Counter(GROUP_NAMES[label] for label in labels.values())
    return {group: counts[group] for group in GROUP_NAMES.values()}


def _of_both_groups(entries: Sequence[Entry]) -> set[str]:
    epilepsy, control = ({entry.subject for entry in entries if entry.label == label} for label in (1, 0))
    return epilepsy & control


def _summarise(
    number: int, entry: Entry, show_ids: bool, ictal: str, doubts: Sequence[str]
) -> tuple[RecordingSummary, str | None]:
    """Examine one recording, its problems after the ``doubts``; return also the hash of its signal."""
    problems = [*doubts, *([_nameless(entry.problem, entry)] if entry.problem else [])]
    facts: Header | None = None
    size, annotated, readable, signal = None, Annotated(), False, None
    try:
        with one_line(entry.path):
            facts = entry_header(entry)
            problems += facts.problems
            raw, header = read_with_header(entry.path)
            problems += [line for line in header.problems if line not in facts.problems]
            signal = signal_hash(raw)
            size, signal_problems = _signal(raw)
            problems += [*signal_problems, *_refusals(raw)]
            annotated = find_seizures(raw, entry.seizures, ictal)
            readable = size is not None
    except DataError as error:
        problems.append(_nameless(str(error), entry))
    present = facts.electrodes if facts else ()
    known = electrodes(facts.channels) if facts else {}
    channels = facts.channels if facts else ()
    labels = {name: name for name in channels} if show_ids else known_labels(channels)
    summary = RecordingSummary(
        number=number,
        group=GROUP_NAMES[entry.label],
        channels=len(facts.channels) if facts else None,
        electrodes=present,
        missing=tuple(name for name in TEN_TWENTY if name not in present),
        others=tuple(labels[name] for name in channels if name not in known),
        sfreq=facts.sfreq if facts else None,
        minutes=facts.duration / 60 if facts else None,
        amplitude=size,
        reference=facts.reference if facts else "",
        filters=facts.filters if facts and (show_ids or known_filter(facts.filters)) else "",
        montage=entry.montage,
        seizures=len(annotated.spans[0]) if annotated.seizures or (entry.seizures and readable) else None,
        annotations=tuple(annotated.describe()),
        readable=readable,
        problems=tuple(problems),
        identity=_identity(entry, facts) if show_ids else None,
    )
    return summary, signal


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


def _nameless(message: str, entry: Entry) -> str:
    """Remove the names of files and folders from a message: whole ones only, other words stay."""
    if entry.seizures:
        message = message.replace(str(entry.seizures), "the seizure annotations")
    file, stem = entry.path, re.escape(recording_stem(entry.path))
    for path in (str(file.absolute()), str(file)) if len(file.parts) > 1 else (str(file.absolute()),):
        message = message.replace(path, "the file")
    message = message.removeprefix(f"{file}: ")
    places = (file, file.absolute(), Path(os.path.realpath(file)))
    folders = {str(folder) for place in places for folder in place.parents} - {".", file.anchor, os.sep}
    for folder in sorted(folders, key=len, reverse=True):  # also of files that several recordings share
        below = "?" if os.path.isabs(folder) else ""  # a relative one may be a word of the message
        message = re.sub(rf"(?<![\w./-]){re.escape(folder)}(/[^\s'\":)]*){below}", "the file", message)
    message = re.sub(rf"(?<![\w.-]){stem}(\.\w+)+", "the file", message)  # its name, or that of a part of it
    return re.sub("^(the file: )+", "", message)


def _identity(entry: Entry, facts: Header | None) -> Identity:
    recorded = facts.recorded if facts else entry.recorded
    day = recorded.isoformat() if recorded else None
    return Identity(str(entry.path), entry.subject, entry.session, day)


def format_inspection(found: Inspection) -> str:
    """Return the text that `eeg inspect` prints: a line per recording, and one per problem."""
    kind = " (SIMULATED)" if found.simulated else ""
    affected = sum(bool(one.problems) for one in found.recordings)
    others = ", ".join(f"{count} {kind}" for kind, count in found.passed_over.items())
    lines = [
        f"{found.corpus}{kind}: {len(found.recordings)} recording(s), {_whose(found)}",
        *(line for one in found.recordings for line in (_line(one), *_more(one))),
        *(f"problem: {text}" for text in found.problems),
        *([f"passed over, not recordings by their names: {others}"] if others else []),
        f"{affected} of {len(found.recordings)} recording(s) with problems"
        + (f", and {len(found.problems)} problem(s) of the corpus" if found.problems else ""),
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
        named = [name for name in one.others if not re.fullmatch(r"channel \d+", name)]
        unknown = len(one.others) - len(named)
        shown = [*named, *([f"{unknown} channel(s) of other labels"] if unknown else [])]
        yield f"      not used: {', '.join(shown)}"
    if one.identity is not None:
        known = {name: value for name, value in asdict(one.identity).items() if value}
        yield "      " + "  ".join(f"{name} {value}" for name, value in known.items())
    yield from (f"      {text}" for text in one.annotations)
    yield from (f"      problem: {text}" for text in one.problems)
