"""Write a simulated corpus: `eeg simulate`."""

from pathlib import Path

from eeg.datasets import Corpus, open_corpus
from eeg.simulation.write_bids import write_cohort


def simulate(
    out: str | Path,
    *,
    subjects: int = 80,
    minutes: float = 5.0,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> Corpus:
    """Simulate EEG with known discharges, write it as EDF in BIDS layout and open it.

    Parameters
    ----------
    out
        The folder to write, new or empty.
    subjects
        Half of them with epilepsy.
    minutes
        Length of each recording.
    seed
        Determines everything random.
    jobs
        Processes; they change only the run time.
    progress
        Show a progress bar.

    Raises
    ------
    DataError
        ``out`` is not empty or cannot be written.
    ValueError
        There are fewer than 2 subjects, or the recordings are too short.
    """
    return open_corpus(
        write_cohort(Path(out), subjects=subjects, minutes=minutes, seed=seed, jobs=jobs, progress=progress)
    )
