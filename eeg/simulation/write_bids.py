"""The simulated cohort as a corpus on disk: EDF in BIDS layout, with every event."""

import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import edfio
import joblib
from tqdm import tqdm

from eeg.io.tables import write_table
from eeg.simulation.cohort import LINE, Simulated, check_settings, draw_labels, simulate_subject
from trainers.errors import DataError
from trainers.files import partial_folder, refuse_content

_STEP = 0.1  # µV, the resolution of the EDF's 16 bits; the simulated signals are far within their range


def write_cohort(
    out: Path,
    *,
    subjects: int = 80,
    minutes: float = 5.0,
    sfreq: float = 256.0,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> Path:
    """Simulate a cohort, half of it with epilepsy, and write it as EDF in BIDS layout.

    Parameters
    ----------
    out
        The folder to write, which must be new or empty.  It appears only when it is complete.
    subjects
        Their number, at least 2.
    minutes, sfreq, seed
        See `simulate_subject`.
    jobs
        Processes; they change only the run time.
    progress
        Show a progress bar.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    DataError
        `out` cannot be written.
    SettingsError
        `out` is not empty.
    ValueError
        There are fewer than 2 subjects, or as `simulate_subject`.
    """
    if subjects < 2:
        raise ValueError(f"subjects is {subjects}, expected at least 2, one for each group")
    check_settings(minutes, sfreq)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(out) as unfinished:
            refuse_content(out)
            folder = unfinished / "cohort"
            folder.mkdir()
            groups = draw_labels(subjects, seed)
            one = joblib.delayed(partial(_write_subject, folder, seed=seed, minutes=minutes, sfreq=sfreq))
            work = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(
                one(index, label) for index, label in enumerate(groups)
            )
            for _ in tqdm(work, "simulating", total=subjects, unit="subject", disable=not progress):
                pass
            _write_description(folder, groups, f"{subjects} subjects, {minutes:g} min, seed {seed}")
            folder.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}): name another folder") from error
    return out


def _write_subject(cohort: Path, index: int, label: int, *, seed: int, minutes: float, sfreq: float) -> None:
    subject = simulate_subject(index, label, seed=seed, minutes=minutes, sfreq=sfreq)
    folder = cohort / f"sub-{subject.subject}" / "eeg"
    folder.mkdir(parents=True)
    stem = f"sub-{subject.subject}_task-rest"
    _edf(subject).write(folder / f"{stem}_eeg.edf")
    _write_json(folder / f"{stem}_eeg.json", _sidecar(subject))
    write_table(
        ("name", "type", "units", "sampling_frequency", "reference"),
        ((name, "EEG", "uV", f"{sfreq:g}", "average") for name in subject.channels),
        folder / f"{stem}_channels.tsv",
    )
    write_table(
        ("onset", "duration", "trial_type", "channel", "amplitude"),
        (
            (f"{e.onset:.6f}", f"{e.duration:.6f}", e.kind, ",".join(e.channels), f"{e.amplitude:.3f}")
            for e in subject.events
        ),
        folder / f"{stem}_events.tsv",
    )


def _edf(subject: Simulated) -> edfio.Edf:
    """Return the recording as an EDF in steps of 0.1 µV; an anonymous start date is EDF's 1985-01-01."""
    microvolt = subject.data.astype(float) * 1e6
    signals = [
        edfio.EdfSignal(
            signal,
            subject.sfreq,
            label=name,
            physical_dimension="uV",
            physical_range=(-(2**15) * _STEP, (2**15 - 1) * _STEP),
        )
        for name, signal in zip(subject.channels, microvolt, strict=True)
    ]
    return edfio.Edf(
        signals,
        patient=edfio.Patient(code=f"SIMULATED-{subject.subject}", additional=("SIMULATED",)),
        recording=edfio.Recording(equipment_code="SIMULATED", additional=("SIMULATED",)),
    )


def _sidecar(subject: Simulated) -> dict[str, object]:
    return {
        "TaskName": "rest",
        "TaskDescription": "Simulated resting EEG",
        "SamplingFrequency": subject.sfreq,
        "PowerLineFrequency": LINE,
        "EEGReference": "average of the 19 electrodes",
        "EEGPlacementScheme": "10-20",
        "EEGChannelCount": len(subject.channels),
        "SoftwareFilters": "n/a",
        "RecordingDuration": subject.data.shape[1] / subject.sfreq,
        "RecordingType": "continuous",
    }


def _write_description(cohort: Path, groups: Sequence[int], settings: str) -> None:
    """Write the files that BIDS requires at the top of a data set."""
    description = {
        "Name": "Simulated EEG with and without interictal discharges",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "GeneratedBy": [
            {
                "Name": "hebbian-eeg",
                "Version": version("hebbian-eeg"),
                "Description": f"simulated: {settings}",
            }
        ],
    }
    _write_json(cohort / "dataset_description.json", description)
    _write_json(cohort / "participants.json", _PARTICIPANTS)
    _write_json(cohort / "task-rest_events.json", _EVENTS)
    rows = ((f"sub-{i + 1:03d}", ("control", "epilepsy")[label]) for i, label in enumerate(groups))
    write_table(("participant_id", "group"), rows, cohort / "participants.tsv")
    (cohort / "README").write_text(_README.format(settings=settings), encoding="utf-8")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_PARTICIPANTS = {
    "group": {
        "Description": "The simulated diagnosis",
        "Levels": {"epilepsy": "interictal discharges were added", "control": "no discharge was added"},
    }
}

_EVENTS = {
    "onset": {"Description": "Where the event's time course begins", "Units": "s"},
    "duration": {"Description": "How long its time course lasts", "Units": "s"},
    "trial_type": {
        "Description": "What was simulated",
        "Levels": {
            "discharge": "interictal epileptiform discharge",
            "wicket": "innocent wicket spike, alone or in a train",
            "small_sharp_spike": "innocent small sharp spike",
            "vertex_wave": "innocent vertex wave",
            "blink": "eye blink",
            "muscle": "burst of scalp muscle",
            "electrode_pop": "jump at one electrode",
        },
    },
    "channel": {
        "Description": "Electrodes that see at least half of the event's largest peak, strongest first",
        "Delimiter": ",",
    },
    "amplitude": {"Description": "Peak at the best electrode over the rms of the subject's background"},
}

_README = """\
Simulated EEG: no person was recorded.  Research use only.

{settings}.  Written by `eeg simulate` of hebbian-eeg.

Background activity (1/f and alpha) and transients of known place and time, seen by the 19 electrodes of
the 10-20 system through a sphere model of brain, fluid, skull and scalp; eyes, muscle and electrodes
beside them.  Both groups share everything but the interictal discharges, which only the group "epilepsy"
has.  The events.tsv of a recording lists every event, including benign ones.
"""
