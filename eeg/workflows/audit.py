"""How well the diagnoses of a corpus are predicted without any EEG: `eeg audit`."""

from eeg.datasets import Corpus, Entry
from eeg.datasets.copies import describe_copy, find_copies
from eeg.datasets.splits import diagnosed, subjects_of
from eeg.detector.results import Audit
from eeg.evaluation.confounds import describe_audit
from eeg.evaluation.recording_metadata import audit_recordings, read_confounds
from eeg.workflows.corpus import OnError, OnMessage, usable
from trainers.errors import DataError


def audit(
    corpus: Corpus,
    *,
    folds: int = 5,
    seed: int = 0,
    jobs: int = 1,
    on_error: OnError | None = None,
    on_message: OnMessage | None = None,
) -> Audit:
    """Predict the diagnoses of a corpus from facts of the recording, without any EEG.

    Date, hour, site, sex, age, device, sampling rate, duration, channels, filters and the band of the
    signal are evaluated one at a time, cross-validated by subject.

    Parameters
    ----------
    corpus
        Its recordings without a diagnosis are left out.
    folds
        Of the cross-validation, by subject.
    seed
        Of the folds and permutations.
    jobs
        Processes that read the recordings.
    on_error
        Called with each recording that cannot be read, which is left out; None raises its error.
    on_message
        Called with one line on each fault of the corpus and on each copy of a recording.

    Raises
    ------
    DataError
        The corpus has no diagnoses or of one class only.
    """
    entries = diagnosed(usable(corpus, on_error=on_error, on_message=on_message))
    facts = read_confounds(entries, jobs, on_error or _raise)
    subjects_of(facts)  # refuses one class only
    if on_message is not None:
        for pair in find_copies(facts, jobs):
            on_message(f"Warning: {describe_copy(*pair)}")
    return audit_recordings(facts, folds=folds, seed=seed)


def format_audit(corpus: Corpus, found: Audit) -> str:
    """Return the text that `eeg audit` prints."""
    entries = diagnosed(corpus)
    size = f"{len(entries)} recording(s), {len(subjects_of(entries))} subject(s)"
    return f"{corpus.name}: {size}\n{describe_audit(found)}"


def _raise(_: Entry, error: DataError) -> None:
    raise error
