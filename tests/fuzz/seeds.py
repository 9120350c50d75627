"""Valid recordings and tables, small, as the bytes of their files; the mutations start from them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import edfio
import mne
import numpy as np
from scipy.io import savemat

from eeg.io.electrodes import TEN_TWENTY

Files = dict[str, bytes]
"""The files of a recording or corpus by their path; the first is the one that is opened."""

RATE, SECONDS = 128, 16
CORPUS = "small-corpus"
"""The name of the corpus."""

SECRET = "Qvxsecret"
"""A text in every field about the patient, which no message may repeat."""

_HEADER = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile=a.eeg
MarkerFile=a.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels={channels}
SamplingInterval={interval}

[Binary Infos]
BinaryFormat=INT_16

[Channel Infos]
{infos}
[Comment]
Subject {secret}
"""
_MARKERS = """Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile=a.eeg

[Marker Infos]
Mk1=New Segment,,1,1,0,20200101100000000000
Mk2=Comment,eyes closed,257,1,0
"""


def microvolts() -> np.ndarray:
    """Noise of 20 uV, (19, T), the same each time."""
    g = np.random.default_rng(5)
    return np.round(20 * g.standard_normal((len(TEN_TWENTY), RATE * SECONDS)), 1)


def _signals(kind: type) -> list:
    return [
        kind(row, RATE, label=name, physical_dimension="uV", physical_range=(-3200, 3200))
        for name, row in zip(TEN_TWENTY, microvolts(), strict=True)
    ]


def _patient() -> edfio.Patient:
    return edfio.Patient(name=SECRET, code="X1")


def _edf(folder: Path) -> None:
    edfio.Edf(_signals(edfio.EdfSignal), patient=_patient(), data_record_duration=1).write(folder / "a.edf")


def _edf_notes(folder: Path) -> None:
    notes = [edfio.EdfAnnotation(3, None, "eyes closed"), edfio.EdfAnnotation(12, 2, "Seizure")]
    signals = _signals(edfio.EdfSignal)
    edfio.Edf(signals, patient=_patient(), annotations=notes, data_record_duration=1).write(folder / "a.edf")


def _bdf(folder: Path) -> None:
    edfio.Bdf(_signals(edfio.BdfSignal), patient=_patient(), data_record_duration=1).write(folder / "a.bdf")


def _brainvision(folder: Path) -> None:
    infos = "".join(f"Ch{i}={name},,0.1,µV\n" for i, name in enumerate(TEN_TWENTY, 1))
    header = _HEADER.format(channels=len(TEN_TWENTY), interval=1e6 / RATE, infos=infos, secret=SECRET)
    (folder / "a.vhdr").write_text(header, encoding="utf-8")
    (folder / "a.vmrk").write_text(_MARKERS, encoding="utf-8")
    (10 * microvolts()).round().astype("<i2").T.tofile(folder / "a.eeg")


def _eeglab(folder: Path) -> None:
    places = np.array([(name,) for name in TEN_TWENTY], dtype=[("labels", "O")])
    event = np.array([("eyes closed", 257.0, 1.0)], [("type", "O"), ("latency", "O"), ("duration", "O")])
    x = microvolts().astype(np.float32)
    fields = {
        "setname": SECRET, "nbchan": len(x), "trials": 1, "pnts": x.shape[1], "srate": float(RATE),
        "xmin": 0.0, "xmax": (x.shape[1] - 1) / RATE, "data": x, "event": event, "urevent": [],
        "ref": "common", "chaninfo": {"nosedir": "+X"}, "times": [], "chanlocs": places, "epoch": [],
        "icawinv": [], "icasphere": [], "icaweights": [], "icachansind": [],
    }  # fmt: skip
    savemat(folder / "a.set", {"EEG": fields}, appendmat=False)


def _fif(folder: Path) -> None:
    info = mne.create_info(list(TEN_TWENTY), RATE, "eeg")
    info["subject_info"] = {"last_name": SECRET}
    raw = mne.io.RawArray(1e-6 * microvolts(), info, verbose="error")
    raw.save(folder / "a_raw.fif", verbose="error")


def _persyst(folder: Path) -> None:
    channels = "".join(f"{name}-Ref={i}\n" for i, name in enumerate(TEN_TWENTY, 1))
    (10 * microvolts()).round().astype("<i2").T.tofile(folder / "a.dat")
    (folder / "a.lay").write_text(
        f"[FileInfo]\nFile=a.dat\nFileType=Interleaved\nSamplingRate={RATE}\nHeaderLength=0\nCalibration=0.1\n"
        f"WaveformCount={len(TEN_TWENTY)}\nDataType=0\n[ChannelMap]\n{channels}[Comments]\n"
        f"3.0,0.0,0,0,eyes closed\n[Patient]\nFirst={SECRET}\nLast={SECRET}\nSex=M\nHand=R\nID=1\n"
        "BirthDate=01/01/1960\nTestDate=2020.01.01\nTestTime=10:00:00\n[SampleTimes]\n0=36000.000000\n"
    )


def _bids(folder: Path) -> None:
    for subject in ("01", "02"):
        (folder / f"sub-{subject}" / "eeg").mkdir(parents=True)
        name = f"sub-{subject}/eeg/sub-{subject}_task-rest"
        _edf(folder)
        (folder / "a.edf").rename(folder / f"{name}_eeg.edf")
        rows = "".join(f"{channel}\tEEG\tuV\tgood\n" for channel in TEN_TWENTY)
        (folder / f"{name}_channels.tsv").write_text(f"name\ttype\tunits\tstatus\n{rows}")
        (folder / f"{name}_events.tsv").write_text(
            "onset\tduration\ttrial_type\n12\t2\tseizure\n3\tn/a\teyes\n"
        )
    (folder / "participants.tsv").write_text(
        "participant_id\tage\tsex\tgroup\nsub-01\t30\tF\tepilepsy\nsub-02\t41\tM\tcontrol\n"
    )
    (folder / "dataset_description.json").write_text(f'{{"Name": "{CORPUS}", "BIDSVersion": "1.8.0"}}')


_WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "edf": ("a.edf", _edf),
    "edf+": ("a.edf", _edf_notes),
    "bdf": ("a.bdf", _bdf),
    "brainvision": ("a.vhdr", _brainvision),
    "eeglab": ("a.set", _eeglab),
    "fif": ("a_raw.fif", _fif),
    "persyst": ("a.lay", _persyst),
    "bids": ("participants.tsv", _bids),
}
KINDS = tuple(_WRITERS)


@cache
def files(kind: str) -> Files:
    """Return the files of a valid recording or corpus of one kind."""
    first, write = _WRITERS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        found = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
    return {first: found.pop(first), **dict(sorted(found.items()))}


def write(content: Files, folder: Path) -> Path:
    """Write files below a folder; return the path of the first."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / next(iter(content))
