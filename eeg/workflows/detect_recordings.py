"""`eeg detect` of many recordings: by several processes or machines, continued after an interruption."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from eeg.datasets.fingerprint import file_hash
from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.options import ExplanationOptions
from eeg.io.suffixes import SUFFIXES, is_plain_folder, is_recording, recording_stem
from eeg.preprocessing.quality import Policy
from eeg.reporting.export.bids import is_bids
from eeg.threads import one_thread
from eeg.workflows.detect import Detection, detect, may_pass
from eeg.workflows.journal import (
    JOURNAL,
    Facts,
    append_line,
    begin_journal,
    identify,
    is_done,
    read_journals,
    without_names,
)
from eeg.workflows.load_model import load_model
from trainers.errors import DataError, describe_unreadable
from trainers.files import sweep
from trainers.provenance import versions


def find_recordings(paths: Sequence[Path], listing: Path | None = None, *, out: Path) -> list[Path]:
    """Return the recordings of arguments: files as they are, and those below folders, sorted.

    Parameters
    ----------
    paths
        Files and folders.
    listing
        A file with one more path on each line, relative to it.
    out
        A folder that is not searched: that of the results.

    Raises
    ------
    DataError
        If a folder contains no recording, or the list cannot be read.
    """
    found: list[Path] = []
    for path in (*paths, *([] if listing is None else _read_list(listing))):
        inside = _list_folder(path, out) if is_plain_folder(path) else [path]
        if not inside:
            raise DataError(
                f"{path}: contains no recording; expected files that end in {', '.join(SUFFIXES)}"
            )
        found += inside
    return found


def _read_list(listing: Path) -> list[Path]:
    if listing.exists() and not listing.is_file():
        raise DataError(
            f"{listing}: not a file; expected a text file with the path of a recording on each line"
        )
    try:
        lines = listing.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{listing}: cannot be read ({describe_unreadable(error)})") from error
    if not any(lines):
        raise DataError(f"{listing}: empty; expected the path of a recording on each line")
    return [listing.parent / line for line in lines if line]


def _list_folder(folder: Path, out: Path) -> list[Path]:
    results = out.absolute()
    return sorted(
        path
        for path in folder.rglob("*")
        if is_recording(path)
        and not any(is_recording(part) for part in path.relative_to(folder).parents)
        and results not in path.absolute().parents
    )


@dataclass(frozen=True)
class ModelFile:
    """What each process loads a detector from; ``digest`` is the hash of its file."""

    path: Path
    network: str | None = None
    quality: Policy | None = None
    ictal: str | None = None
    digest: str = ""


@lru_cache(maxsize=1)
def _load(model: ModelFile) -> Detector:
    """Load the model of this process, which uses one thread."""
    one_thread()
    detector = load_model(model.path, model.network, model.quality, model.ictal)
    if _digest(model.path) != model.digest:
        raise DataError(f"{model.path}: changed during the run; name a new folder --out")
    return detector


def _digest(model: Path) -> str:
    file = model / "model.safetensors" if model.is_dir() else model
    try:
        return file_hash(file)
    except OSError as error:
        reason = describe_unreadable(error)
        raise DataError(f"{file}: cannot be read ({reason}); expected a model of `eeg train`") from error


@dataclass(frozen=True)
class Outcome:
    """The facts on one recording as in the journal, or the ``error`` because of which it cannot be used."""

    path: Path
    facts: Facts
    error: DataError | None = None


def detect_recordings(
    model: Path,
    recordings: Sequence[Path],
    out: Path,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    network: str | None = None,
    quality: Policy | None = None,
    ictal: str | None = None,
    prevalence: float | None = None,
    alpha: float = ALPHA,
    keep_name: bool = False,
    tensorboard: bool = False,
    jobs: int = 1,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
) -> Iterator[Outcome]:
    """Detect in many recordings, and return what was found in each, in their order, as soon as it is known.

    A backend of joblib that cannot return results one by one, such as Ray's, returns them at the end.
    Each recording is a line of a journal as soon as its results are complete.

    Parameters
    ----------
    model, network, quality, ictal
        As in `eeg.workflows.load_model.load_model`; each process loads the model once.
    recordings
        Files, as `find_recordings` returns them.
    out, options, prevalence, alpha, keep_name, tensorboard
        As in `eeg.workflows.detect.detect`.
    jobs
        Number of processes, unless ``joblib.parallel_config`` sets a cluster.
    resume
        Detect only in recordings that are in no journal of ``out``, and yield the others from there.
    shard
        ``(i, n)``: take every n-th recording, from the i-th, the first of which is 1.

    Raises
    ------
    DataError
        If ``out`` belongs to a run with another model or other settings, or cannot be written.
    """
    used = ModelFile(model.absolute(), network, quality, ictal, _digest(model))
    how: dict[str, Any] = {
        "prevalence": prevalence,
        "alpha": alpha,
        "keep_name": keep_name,
        "tensorboard": tensorboard,
        "progress": jobs == 1,
    }
    settings = {"model": used.digest, "quality": quality, "ictal": ictal, "options": options}
    record = {**settings, **how, "versions": versions()}
    del record["progress"]
    sweep(out)
    begin_journal(out, record)
    journal = out.absolute() / JOURNAL / f"{shard[0]}-of-{shard[1]}.jsonl"
    before = read_journals(out) if resume else {}
    owners = _owners(recordings, keep_name)
    mine = recordings[shard[0] - 1 :: shard[1]]
    identities = [identify(path) for path in mine]
    earlier = [before.get(identity["key"]) for identity in identities]
    done = [
        facts if is_done(facts, identity, out) else None
        for facts, identity in zip(earlier, identities, strict=True)
    ]
    backend, _ = get_active_backend()
    returned = "generator" if backend.supports_return_generator else "list"  # Ray returns all at the end
    results = iter(
        Parallel(n_jobs=jobs, return_as=returned, batch_size=1)(
            delayed(_attempt)(used, path, identity, owners.get(path), out.absolute(), options, journal, how)
            for path, identity, facts in zip(mine, identities, done, strict=True)
            if facts is None
        )
    )
    return (
        next(results) if facts is None else _recorded(path, facts)
        for path, facts in zip(mine, done, strict=True)
    )


def _owners(recordings: Sequence[Path], keep_name: bool) -> dict[Path, Path]:
    """Return the first recording with the same name of outputs, for each where there is another one."""
    first: dict[str, Path] = {}
    named = {path: recording_stem(path) for path in recordings}
    return {
        path: first[name]
        for path, name in named.items()
        if (keep_name or is_bids(name)) and first.setdefault(name, path) != path
    }


def _recorded(path: Path, facts: Facts) -> Outcome:
    error = DataError(f"{path}: {facts['error']}") if "error" in facts else None
    return Outcome(path, facts, error)


def _attempt(
    model: ModelFile,
    path: Path,
    identity: Facts,
    owner: Path | None,
    out: Path,
    options: ExplanationOptions,
    journal: Path,
    how: dict[str, Any],
) -> Outcome:
    """Detect in one recording and append its line to the journal; an error of any type becomes one line."""
    detector, problem = _load(model), None
    try:
        if owner is not None:
            _refuse_other(path, owner, out)
        facts: Facts = {**identity, **_facts(detect(detector, path, out, options, **how))}
    except DataError as error:
        facts = {**identity, "error": without_names(error, path), "again": may_pass(error)}
        problem = DataError(error)
        problem.add_note("".join(traceback.format_exception(error)))
    append_line(journal, facts)
    return Outcome(path, facts, problem)


def _refuse_other(path: Path, owner: Path, out: Path) -> None:
    """Refuse another recording of the same name, whichever of them is detected first."""
    if path.exists() and owner.exists() and file_hash(path) != file_hash(owner):
        folder = out / recording_stem(path)
        raise DataError(
            f"{folder}: for the results of another recording of this call with the same name; detect this "
            "one with another --out"
        )


def _facts(found: Detection) -> Facts:
    analysis = found.analysis
    return {
        "folder": found.folder.name,
        "digest": analysis.recording.digest,
        "score": analysis.decision.score,
        "answer": str(analysis.decision.answer),
        "segments": len(analysis.segments),
        "annotations": analysis.annotated.describe(),
        "problems": list(analysis.recording.header.problems) if analysis.recording.header else [],
        "refused": str(analysis.explanation.check) if analysis.explanation.refused else None,
        "missing": found.missing,
        "again": bool(found.again),
        "notes": [*analysis.warnings, *found.notes],
    }
