"""Small files of each format, written byte by byte where a test needs that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pytest
import scipy.io

from eeg.io.edf_header import read_edf_header
from eeg.io.reader import read_recording
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

RATE = 128
FOUR = ("Fp1", "T7", "Cz", "O2")
SECONDS = 20


def noise(seconds: int = SECONDS, channels: int = 4) -> np.ndarray:
    """Microvolts (C, T)."""
    return 25 * np.random.default_rng(0).standard_normal((channels, seconds * RATE))


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_recording(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


def write(path: Path, seconds: int = SECONDS, **fields: Any) -> Path:
    """Write an EDF+ or BDF+ with room for annotations in each record."""
    room = [edfio.EdfAnnotation(0, None, "x" * 60)]
    return write_edf(path, noise(seconds), FOUR, RATE, limits=(-400, 400), annotations=room, **fields)


def set_times(path: Path, times: Sequence[float | None], notes: str = "") -> Path:
    """Replace the annotations of each record by its time; the first one has ``notes`` too."""
    header = read_edf_header(path)
    content = bytearray(path.read_bytes())
    (place,) = header.annotations
    for number, time in enumerate(times):
        start = header.header_bytes + number * header.record_bytes
        text = "" if time is None else f"+{time:g}\x14\x14\0"
        width = place.stop - place.start
        tal = (text + notes * (number == 0)).encode().ljust(width, b"\0")
        content[start + place.start : start + place.stop] = tal
    path.write_bytes(content)
    return path


def write_brainvision(
    path: Path,
    markers: Sequence[str] | None = (),
    data: str = "a.eeg",
    codepage: str = "UTF-8",
    references: Sequence[str] = ("",) * 4,
) -> Path:
    """Write ``a.vhdr``, its signals and, unless None, its markers."""
    pairs = enumerate(zip(FOUR, references, strict=True), start=1)
    channels = "".join(f"Ch{i}={name},{reference},0.1,µV\n" for i, (name, reference) in pairs)
    (path / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data}\nMarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=4\nSamplingInterval={1e6 / RATE}\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n"
        f"[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    if markers is not None:
        lines = "".join(f"Mk{i}={marker}\n" for i, marker in enumerate(markers, start=1))
        text = "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nDataFile=a.eeg\n\n"
        (path / "a.vmrk").write_text(f"{text}[Marker Infos]\n{lines}", encoding=codepage)
    (10 * noise()).astype("<i2").T.tofile(path / "a.eeg")
    return path / "a.vhdr"


def write_eeglab(path: Path, event: Any = (), trials: int = 1) -> Path:
    """Write ``a.set`` with its signals inside; ``event`` is the type of one at 10 s."""
    events = np.array([(event, 10 * RATE + 0.5, 0.0)], [("type", "O"), ("latency", "O"), ("duration", "O")])
    data = noise().reshape(4, -1, trials, order="F") if trials > 1 else noise()
    structure = {"nbchan": 4, "trials": trials, "pnts": data.shape[1], "srate": float(RATE), "xmin": 0.0}
    structure |= {"xmax": 1.0, "data": data.astype(np.float32), "epoch": [], "event": events if event else []}
    structure |= {"chanlocs": np.array([(name,) for name in FOUR], [("labels", "O")])}
    scipy.io.savemat(path / "a.set", {"EEG": structure}, appendmat=False)
    return path / "a.set"


def write_persyst(path: Path, patient: str = "", times: str = "0=36000.0\n", encoding: str = "utf-8") -> Path:
    channels = "".join(f"{name}-Ref={i}\n" for i, name in enumerate(FOUR, start=1))
    (10 * noise()).astype("<i2").T.tofile(path / "a.dat")
    (path / "a.lay").write_text(
        f"[FileInfo]\nFile=C:\\eeg\\a.dat\nFileType=Interleaved\nSamplingRate={RATE}\nHeaderLength=0\n"
        f"Calibration=0.1\nWaveformCount=4\nDataType=0\n[ChannelMap]\n{channels}[SampleTimes]\n{times}"
        f"[Comments]\n5,0,0,100,Müller blinks\n[Patient]\n{patient}TestDate=2020.01.01\nTestTime=10:00:00\n",
        encoding=encoding,
    )
    return path / "a.lay"
