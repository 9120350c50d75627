"""The `eeg` command in this process, and recordings for it."""

from dataclasses import dataclass
from pathlib import Path

import edfio
import mne
import numpy as np
from click.testing import CliRunner, Result

from eeg.cli.main import main
from eeg.io.electrodes import TEN_TWENTY


def eeg(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(code: int, *arguments: object) -> str:
    """Run a command that must fail, and return the one line that states the reason."""
    result = eeg(*arguments)
    assert result.exit_code == code, result.output
    message = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(message) == 1, result.stderr
    assert "Traceback" not in result.output
    if code == 1:
        assert result.stderr == message[0] + "\n"
    return message[0]


def recording_folders(out: Path) -> list[Path]:
    """Return the folders of recordings, those beside the derivative dataset of BIDS and the journal."""
    return sorted(folder for folder in out.iterdir() if folder.name not in ("derivatives", "detections"))


def write_edf(path: Path, data: np.ndarray, channels: tuple[str, ...] = TEN_TWENTY, name: str = "X") -> Path:
    """Write volts (C, T) at 128 Hz."""
    signals = [
        edfio.EdfSignal(1e6 * x, 128, label=c, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for c, x in zip(channels, data, strict=True)
    ]
    edfio.Edf(signals, patient=edfio.Patient(name=name)).write(path)
    return path


def noise(seconds: int = 8, channels: int = 19) -> np.ndarray:
    return 2e-5 * np.random.default_rng(0).normal(size=(channels, seconds * 128))


def bad_recording(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.edf"
    data = noise()
    if kind == "text":
        path.write_text("this is no EEG")
    elif kind == "truncated":
        write_edf(path, data)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "channels":
        write_edf(path, data[:16], TEN_TWENTY[:16])
    elif kind == "short":
        write_edf(path, data[:, :128])
    elif kind == "flat":
        data[3:6] = 0
        write_edf(path, data)
    elif kind == "nan":
        data[3:6, 5] = np.nan
        path = folder / "nan_raw.fif"
        info = mne.create_info(list(TEN_TWENTY), 128.0, "eeg")
        mne.io.RawArray(data, info, verbose="error").save(path, fmt="double", verbose="error")
    return path


def relabelled(folder: Path, change: dict[str, str]) -> None:
    """Give participants another group; '' takes the row's diagnosis away."""
    table = folder / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    pairs = [row.split("\t") for row in rows]
    lines = [f"{name}\t{change.get(name, change.get('*', group)) or 'n/a'}" for name, group in pairs]
    table.write_text("\n".join([header, *lines]) + "\n")


@dataclass(frozen=True)
class Trained:
    """A run of `eeg train` and its output."""

    out: Path
    result: Result


@dataclass(frozen=True)
class Detected:
    """A run of `eeg detect` at its defaults, of a recording whose name and header name a patient."""

    model: Path
    recording: Path
    out: Path
    result: Result

    @property
    def folder(self) -> Path:
        """What was written about the recording."""
        (folder,) = recording_folders(self.out)
        return folder
