"""De-identified copies of recordings, to share them: `eeg anonymize`."""

from __future__ import annotations

import csv
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eeg.datasets import open_corpus
from eeg.datasets.bids import has_participants
from eeg.datasets.participants import GROUPS
from eeg.datasets.seizures import EVENT_TEXTS
from eeg.io.reader import reading
from eeg.io.sidecars import find_sidecar
from eeg.io.suffixes import SUFFIXES, is_plain_folder, is_recording, recording_stem
from eeg.io.tables import read_table, write_table
from eeg.io.vocabulary import known_labels
from eeg.reporting.export.anonymous import Copied, audit_copy, code_of, words, write_anonymous
from eeg.reporting.export.bids import is_bids
from eeg.reporting.export.json import write_json
from trainers.errors import DataError, SettingsError, one_line
from trainers.files import partial_folder, refuse_content, replacing

_LABEL = re.compile(r"(sub|ses)-[A-Za-z0-9]+|eeg")  # of a folder of BIDS
_EDF = (".edf", ".bdf")


@dataclass(frozen=True)
class AnonymousCopy:
    """A de-identified copy, and what it keeps of its source."""

    file: str  # relative to the output
    annotations_kept: int
    annotations_dropped: int
    channels_renamed: int
    channels_left_out: int
    clipped: tuple[str, ...]


@dataclass(frozen=True)
class Anonymization:
    """The copies that were written and audited, the tables, and the number of files that were not."""

    copies: tuple[AnonymousCopy, ...]
    tables: tuple[str, ...]
    failed: int


def anonymize(
    source: Path,
    out: Path,
    *,
    keep_annotations: bool = False,
    keep_time: bool = False,
    key: Path | None = None,
    on_error: Callable[[DataError], object] | None = None,
) -> Anonymization:
    """Write de-identified EDF+ copies of recordings, and audit each.

    Files and folders get numbers in random order, except for labels of BIDS, which are pseudonyms.  Of a
    BIDS dataset with diagnoses, participants, events and channels are copied as far as they are codes.

    Parameters
    ----------
    source
        A recording, or a folder with recordings.
    out
        A new or empty folder; for one recording also a new file, ``.edf`` or, for a BDF, ``.bdf``.  It
        appears when it is complete; a call after one that was killed starts again.
    keep_annotations, keep_time
        As in `eeg.reporting.export.anonymous.write_anonymous`.
    key
        A new file for the table of copies and their sources, readable by its owner only.  It appears with the
        copies.
    on_error
        Called with the error of each file that is not copied; None raises it.

    Raises
    ------
    SettingsError
        If ``out`` or ``key`` exists, or one is inside ``source`` or ``out``.
    DataError
        If there is no recording, or one cannot be copied.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    _check_places(source, out, key)
    errors: list[DataError] = []

    def refuse(error: DataError) -> None:
        if on_error is None:
            raise error
        errors.append(error)
        on_error(error)

    copies: list[AnonymousCopy] = []
    tables: list[str] = []
    identities: set[str] = set()
    with _unfinished(source, out) as place, _key_table(key) as add:
        targets = _targets(source, place)
        for file, target in targets.items():
            try:
                with reading(file):
                    pass
                with one_line(file):
                    add(file, out / target.relative_to(place))
                    copied = _write(file, target, source, keep_annotations, keep_time)
            except DataError as error:
                refuse(error)
                continue
            identities |= copied.identities()
            copies.append(_account(copied, target.relative_to(place) if target != out else Path(out.name)))
        _remove_empty_folders(place)  # of files that were not copied: their names may be those of people
        if has_participants(source):
            tables += _copy_tables(source, place, targets, identities, keep_annotations, refuse)
    return Anonymization(tuple(copies), tuple(tables), len(errors))


def _targets(source: Path, out: Path) -> dict[Path, Path]:
    """Return the file of each copy in ``out``, by that of its source, in random order."""
    if not is_plain_folder(source):
        if _is_file(source, out):
            if out.suffix.lower() != _suffix(source):
                raise SettingsError(
                    f"{out}: expected a file {_suffix(source)} for this recording, or a folder"
                )
            return {source: out}
        name = recording_stem(source)
        return {source: out / f"{name if is_bids(name) else 'recording-1'}{_suffix(source)}"}
    files = sorted(path for path in source.rglob("*") if is_recording(path))
    if not files:
        raise DataError(f"{source}: no recording; expected {', '.join(sorted(SUFFIXES))}")
    random.SystemRandom().shuffle(files)  # their order would reveal the order of names
    folders: dict[Path, Path] = {source: out}
    numbers: dict[Path, int] = {}
    targets = {}
    for file in files:
        for folder in reversed(file.relative_to(source).parents):
            place = source / folder
            if place not in folders:
                folders[place] = folders[place.parent] / _pseudonym(
                    place.name, "folder", place.parent, numbers
                )
        name = recording_stem(file)
        name = name if is_bids(name) else _pseudonym("", "recording", file.parent, numbers)
        targets[file] = folders[file.parent] / f"{name}{_suffix(file)}"
    if len({*targets.values()}) < len(targets):
        raise DataError(f"{source}: has a recording of one BIDS name in several formats; leave one of them")
    return targets


def _is_file(source: Path, out: Path) -> bool:
    """Return whether ``out`` is the file of one copy, and not the folder of all."""
    return out.suffix.lower() in _EDF and not is_plain_folder(source)


@contextmanager
def _unfinished(source: Path, out: Path) -> Iterator[Path]:
    """Yield what becomes ``out`` at the end: a folder beside it; itself if it is a file."""
    if _is_file(source, out):
        yield out
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(out) as partial:
            folder = partial / "copies"
            folder.mkdir()
            yield folder
            if any(folder.iterdir()):
                folder.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}); name another folder") from error


def _pseudonym(name: str, kind: str, parent: Path, numbers: dict[Path, int]) -> str:
    if _LABEL.fullmatch(name):
        return name
    numbers[parent] = numbers.get(parent, 0) + 1
    return f"{kind}-{numbers[parent]}"


def _suffix(file: Path) -> str:
    return ".bdf" if file.suffix.lower() == ".bdf" else ".edf"


def _check_places(source: Path, out: Path, key: Path | None) -> None:
    if _is_file(source, out):
        if out.exists():
            raise SettingsError(f"{out}: exists; name a new file")
    else:
        refuse_content(out)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise SettingsError(f"{out}: inside the folder that is copied; name another one")
    if key is not None and (key.exists() or key.resolve().is_relative_to(out.resolve())):
        raise SettingsError(
            f"{key}: exists, or is among the copies that it identifies; name a new file elsewhere"
        )


@contextmanager
def _key_table(path: Path | None) -> Iterator[Callable[[Path, Path], object]]:
    """Yield what adds a row to the table of sources and copies, which is complete or not there."""
    if path is None:
        yield lambda source, target: None
        return
    with replacing(path) as partial:
        number = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["copy", "source"])
            yield lambda source, target: rows.writerow([target, source])


def _write(file: Path, target: Path, root: Path, keep_annotations: bool, keep_time: bool) -> Copied:
    """Write and audit a copy; it gets its name only after that."""
    names = (
        {recording_stem(file), *file.relative_to(root).parent.parts}
        if file != root
        else {recording_stem(file)}
    )
    names = {name for name in names if not is_bids(name) and not _LABEL.fullmatch(name)}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target.parent}: cannot be created ({error.strerror})") from error
    with replacing(target) as partial:
        copied = write_anonymous(file, partial, keep_annotations=keep_annotations, keep_time=keep_time)
        try:
            audit_copy(partial, copied, names)
            _audit_labels(file.relative_to(root) if file != root else Path(file.name), copied)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    return replace(copied, free=copied.free | names)


def _audit_labels(path: Path, copied: Copied) -> None:
    """Refuse labels of BIDS that name a person: they remain in the names of the copy."""
    labels = re.findall(r"(?<![A-Za-z0-9])(?:sub|ses)-([A-Za-z0-9]+)", str(path))
    if any(re.search(r"[^\W\d]{3}", label) and words([label]) & copied.identities() for label in labels):
        raise DataError("a BIDS label has a word of the identifying fields; rename the subject or session")


def _remove_empty_folders(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _account(copied: Copied, file: Path) -> AnonymousCopy:
    return AnonymousCopy(
        file.as_posix(),
        copied.annotations_kept,
        copied.annotations_dropped,
        copied.channels_renamed,
        copied.channels_left_out,
        tuple(copied.clipped),
    )


def _copy_tables(
    source: Path,
    out: Path,
    targets: dict[Path, Path],
    identities: set[str],
    keep_annotations: bool,
    refuse: Callable[[DataError], object],
) -> Iterator[str]:
    """Copy the codes in the tables of a BIDS dataset; yield the names of the files."""
    simulated = open_corpus(source, outside=True).simulated
    name = f"Anonymized {'simulated ' if simulated else ''}EEG"
    write_json({"Name": name, "BIDSVersion": "1.10.0"}, out / "dataset_description.json")
    mark = str if keep_annotations else code_of
    diagnosis = _among(*GROUPS)
    columns: dict[str, dict[str, Callable[[str], str | None]]] = {
        "events": {"onset": _number, "duration": _number, **dict.fromkeys(EVENT_TEXTS, mark)},
        "channels": {"name": _label, "type": _among(*_TYPES), "status": _among("good", "bad")},
    }
    participants = {"participant_id": _participant, "group": diagnosis, "diagnosis": diagnosis}
    places = [(source / "participants.tsv", out / "participants.tsv", participants)]
    for file, target in targets.items():
        stem = recording_stem(file)
        for kind, kept in columns.items() if target.exists() and is_bids(stem) else ():
            try:
                table = find_sidecar(file, f"{kind}.tsv")
            except DataError as error:
                refuse(error)
                continue
            if table is not None:
                places.append((table, target.with_name(f"{stem.removesuffix('_eeg')}_{kind}.tsv"), kept))
    for table, copy, kept in places:
        try:
            required = {"participant_id"} if kept is participants else set()
            rows = read_table(table, required, delimiter="\t")
        except DataError as error:
            refuse(error)
            continue
        chosen = [column for column in (rows[0] if rows else ()) if column.lower() in map(str.lower, kept)]
        if kept is participants:  # of whom nothing was copied, the label may say who they are
            rows = [row for row in rows if (out / row["participant_id"]).is_dir()]
        by_name = {column.lower(): choose for column, choose in kept.items()}
        cells = [[by_name[column.lower()](row[column]) or "n/a" for column in chosen] for row in rows]
        if (
            words(cell for row in cells for cell in row if not (_number(cell) or _participant(cell)))
            & identities
        ):
            refuse(DataError(f"{table}: its copy would contain words that identify its source; drop them"))
            continue
        write_table(chosen, cells, copy)
        yield copy.relative_to(out).as_posix()
    yield "dataset_description.json"


_TYPES = ("EEG", "EOG", "ECG", "EMG", "MISC", "TRIG", "VEOG", "HEOG", "EKG", "REF")


def _among(*values: str) -> Callable[[str], str | None]:
    known = {value.lower() for value in values}
    return lambda text: text if text.lower() in known else None


def _number(text: str) -> str | None:
    return text if re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", text) else None


def _participant(text: str) -> str | None:
    return text if re.fullmatch(r"sub-[A-Za-z0-9]+", text) else None


def _label(text: str) -> str | None:
    return text if known_labels([text])[text] == text else None


def format_anonymization(found: Anonymization) -> str:
    """Return the text that `eeg anonymize` prints."""
    kept, dropped, renamed, left_out = (
        sum(getattr(copy, name) for copy in found.copies)
        for name in ("annotations_kept", "annotations_dropped", "channels_renamed", "channels_left_out")
    )
    lines = [
        f"{len(found.copies)} recording(s) copied and audited: header, annotations and tables have no word "
        "of three letters or more of the identifying fields",
        f"annotations: {kept} kept, {dropped} dropped; channels: {renamed} numbered, {left_out} left out",
    ]
    if clipped := sum(bool(copy.clipped) for copy in found.copies):
        lines.append(f"channels are clipped in {clipped} recording(s): EDF cannot hold their range")
    if found.failed:
        lines.append(f"{found.failed} file(s) not copied")
    lines.append("The signal itself is unchanged: EEG can identify a person.")
    return "\n".join(lines)
