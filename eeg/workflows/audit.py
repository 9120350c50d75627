"""How well the diagnoses of a corpus are predicted without any EEG: `eeg audit`."""

from eeg.datasets import Corpus
from eeg.datasets.splits import diagnosed, subjects_of
from eeg.detector.results import Audit
from eeg.evaluation.confounds import describe_audit
from eeg.evaluation.recording_metadata import audit_recordings, read_confounds


def audit(corpus: Corpus, *, folds: int = 5, seed: int = 0, jobs: int = 1) -> Audit:
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

    Raises
    ------
    DataError
        The corpus has no diagnoses or of one class only.
    """
    return audit_recordings(read_confounds(diagnosed(corpus), jobs), folds=folds, seed=seed)


def format_audit(corpus: Corpus, found: Audit) -> str:
    """Return the text that `eeg audit` prints."""
    entries = diagnosed(corpus)
    size = f"{len(entries)} recording(s), {len(subjects_of(entries))} subject(s)"
    return f"{corpus.name}: {size}\n{describe_audit(found)}"
