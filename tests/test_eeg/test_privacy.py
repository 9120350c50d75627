"""What identifies a person, planted in every field that has room for it, is in no output."""

import json
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import edfio
import mne
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

from eeg.cli.main import main
from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.io.electrodes import TEN_TWENTY
from tests.test_eeg.recordings import write_edf

MARK = "Zebulon"  # every planted text contains it, in this case or another
NAMES = [*TEN_TWENTY, "Zebulon 1"]
SECONDS, RATE = 20, 128


def signals(seed: int = 0) -> np.ndarray:
    """Return (C, T) µV."""
    return 20 * np.random.default_rng(seed).normal(size=(len(NAMES), SECONDS * RATE))


def write_marked_edf(path: Path, seed: int = 0) -> Path:
    """Write an EDF+ or BDF+ with the mark in all of its text fields."""
    write_edf(
        path,
        signals(seed),
        NAMES,
        RATE,
        filters="set by Zebulon",
        patient=edfio.Patient(
            code="Zebulon1", sex="F", birthdate=date(1951, 8, 2), name="Zebulon", additional=("Zebulon",)
        ),
        recording=edfio.Recording(
            startdate=date(2019, 3, 4),
            hospital_administration_code="Zebulon2",
            investigator_technician_code="Zebulon3",
            equipment_code="Zebulon4",
            additional=("Zebulon5",),
        ),
        annotations=[edfio.EdfAnnotation(1, 0.1, "Zebulon moves"), edfio.EdfAnnotation(2, None, "ZEBULON")],
    )
    content, count = bytearray(path.read_bytes()), len(NAMES)
    transducers = 256 + 16 * (count + 1)
    content[transducers : transducers + 80 * count] = b"of Dr Zebulon".ljust(80) * count
    path.write_bytes(content)
    return path


def write_marked_fif(path: Path) -> Path:
    """Write a FIF with the mark in the texts of its info and its annotations."""
    info = mne.create_info(NAMES, float(RATE), "eeg")
    info["subject_info"] = {"his_id": "Zebulon", "last_name": "Zebulon", "birthday": date(1951, 8, 2)}
    info["description"], info["experimenter"] = "Zebulon", "Zebulon"
    with info._unlock():
        info["proj_name"] = "Zebulon"
    info["device_info"] = {"type": "Zebulon", "serial": "Zebulon"}
    raw = mne.io.RawArray(1e-6 * signals(), info, verbose="error")
    raw.set_meas_date(datetime(2019, 3, 4, tzinfo=UTC))
    raw.set_annotations(mne.Annotations([1.0], [0.1], ["Zebulon moves"], raw.info["meas_date"]))
    raw.save(path, verbose="error")
    return path


def write_marked_brainvision(path: Path) -> Path:
    """Write a BrainVision recording with the mark in comments and markers."""
    path.with_suffix(".eeg").write_bytes(signals().T.astype("<f4").tobytes())
    path.with_suffix(".vmrk").write_text(
        "BrainVision Data Exchange Marker File, Version 1.0\n; Zebulon\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n[Marker Infos]\nMk1=New Segment,,1,1,0,20190304111213000000\n"
        "Mk2=Comment,Zebulon moves,100,1,0\n"
    )
    channels = "".join(f"Ch{i}={name},,1,µV\n" for i, name in enumerate(NAMES, 1))
    path.write_text(
        "BrainVision Data Exchange Header File Version 1.0\n; recorded by Zebulon\n[Common Infos]\n"
        f"Codepage=UTF-8\nDataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels={len(NAMES)}\nSamplingInterval={1e6 / RATE}\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{channels}"
        "[Comment]\nZebulon, ward 3\n",
        encoding="utf-8",
    )
    return path


def write_marked_set(path: Path) -> Path:
    """Write an EEGLAB set with the mark in its name, subject, comments and events."""
    content = {
        "setname": "Zebulon",
        "filename": "Zebulon.set",
        "subject": "Zebulon",
        "comments": "Zebulon",
        "nbchan": len(NAMES),
        "trials": 1,
        "pnts": SECONDS * RATE,
        "srate": float(RATE),
        "xmin": 0.0,
        "xmax": SECONDS - 1 / RATE,
        "data": signals().astype(np.float32),
        "chanlocs": np.array([(name,) for name in NAMES], dtype=[("labels", object)]),
        "event": np.array([("Zebulon moves", 100.0)], dtype=[("type", object), ("latency", float)]),
        "icawinv": [],
        "icasphere": [],
        "icaweights": [],
        "icachansind": [],
        "epoch": [],
        "urevent": [],
    }
    scipy.io.savemat(path, {"EEG": content}, appendmat=False)
    return path


WRITERS = {
    ".edf": write_marked_edf,
    ".bdf": write_marked_edf,
    "_raw.fif": write_marked_fif,
    ".vhdr": write_marked_brainvision,
    ".set": write_marked_set,
}


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder with the name of a person."""
    folder = tmp_path / "Zebulon Doe"
    folder.mkdir()
    return folder


@pytest.fixture
def model(detector: Detector, tmp_path: Path) -> Path:
    save_detector(detector, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def run(*words: object, code: int = 0) -> str:
    """Run a command of `eeg` and return all that it printed."""
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result.output


def texts(out: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file below a folder."""
    for path in out.rglob("*"):
        yield path.relative_to(out).as_posix(), path.read_bytes() if path.is_file() else b""


def refuse_marks(out: Path, *printed: str) -> None:
    """Fail where a mark, the folder of the sources or the name of the machine is found."""
    host = socket.gethostname().encode()
    for name, content in (*texts(out), *((f"output {i}", text.encode()) for i, text in enumerate(printed))):
        assert MARK.lower() not in name.lower(), name
        assert MARK.lower().encode() not in content.lower(), name
        assert b"1951-08-02" not in content, name
        assert b"aug-1951" not in content.lower(), name
        assert len(host) < 6 or (host not in content and host.decode() not in name), name


@pytest.mark.parametrize("kind", WRITERS)
def test_inspect_names_no_one(kind: str, private: Path, tmp_path: Path) -> None:
    WRITERS[kind](private / f"Zebulon{kind}")
    (private / "letter of Zebulon.txt").write_text("Zebulon")
    refuse_marks(tmp_path / "none", run("inspect", private), run("inspect", private, "--json"))
    assert MARK in run("inspect", private, "--show-ids"), "on request"


@pytest.mark.parametrize(
    "kind", [".edf", *(pytest.param(kind, marks=pytest.mark.slow) for kind in WRITERS if kind != ".edf")]
)
def test_detect_names_no_one(kind: str, model: Path, private: Path, tmp_path: Path) -> None:
    path = WRITERS[kind](private / f"Zebulon{kind}")
    words = ("--out", tmp_path / "out", "--tensorboard", "--method", "grad-cam", "--segments", 1, "--json")
    refuse_marks(tmp_path / "out", run("detect", model, path, *words))
    assert len(list((tmp_path / "out").rglob("*"))) > 8


@pytest.mark.slow
def test_explain_names_no_one(model: Path, private: Path, tmp_path: Path) -> None:
    path = write_marked_edf(private / "Zebulon.edf")
    refuse_marks(tmp_path / "out", run("explain", model, path, "--out", tmp_path / "out"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def rename(path: Path) -> None:
    """A file of Zebulon's that is not a recording."""
    path.write_text("Zebulon, born 1951-08-02\n" * 40)


def unusual_unit(path: Path) -> None:
    content, count = bytearray(path.read_bytes()), len(NAMES) + 1
    content[256 + 96 * count : 256 + 96 * count + 8 * len(NAMES)] = b"Zebulon ".ljust(8) * len(NAMES)
    path.write_bytes(content)


def no_electrode(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[256 : 256 + 16 * len(NAMES)] = b"".join(
        f"Zebulon {i}".encode().ljust(16) for i in range(len(NAMES))
    )
    path.write_bytes(content)


def strange_numbers(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[236:244] = b"Zebulon "
    path.write_bytes(content)


DAMAGES = (truncate, rename, unusual_unit, no_electrode, strange_numbers)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [(kind, damage) for kind in WRITERS for damage in DAMAGES[: None if kind in {".edf", ".bdf"} else 2]],
)
def test_errors_name_the_file_that_was_given_and_quote_nothing(
    kind: str, damage: Any, model: Path, private: Path, tmp_path: Path
) -> None:
    path = WRITERS[kind](private / f"a{kind}")
    damage(path)
    shown = run("inspect", private, code=1)
    assert MARK.lower() not in shown.lower()
    printed = run("detect", model, path, "--out", tmp_path / "out", code=1)
    assert MARK.lower() not in printed.replace(str(path), "").lower()
    assert "Traceback" not in printed


def listing(private: Path, subjects: int) -> Path:
    """Write recordings of two groups and sites, and the table of them."""
    rows = ["path,subject,label,site,sex,age,date"]
    for i in range(subjects):
        write_marked_edf(private / f"Zebulon {i}.edf", i)
        site = f"Zebulon {i % 4 // 2}"
        rows.append(f"Zebulon {i}.edf,Zebulon {i},{i % 2},{site},F,{20 + i},2019-03-{1 + i:02d}")
    table = private / "Zebulon.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def test_audit_names_no_one(private: Path, tmp_path: Path) -> None:
    table = listing(private, 8)
    printed = [run("audit", table, "--folds", 2, *more) for more in ((), ("--json",))]
    refuse_marks(tmp_path / "none", *printed, run("inspect", table))
    assert "2019-03" not in "".join(printed)


@pytest.mark.slow
def test_training_names_no_one(private: Path, tmp_path: Path) -> None:
    """Model, card, record, scores, curves and cache, and what evaluates and compares them."""
    table, out = listing(private, 8), tmp_path / "out"
    quick = ("--folds", 2, "--cache", out / "cache")
    printed = [
        run(
            "train", table, "--out", out / "run", *quick, "--epochs", 1, "--hold-out", 0.5, "--prototypes", 2
        ),
        run("evaluate", out / "run"),
        run("evaluate", out / "run", "--json"),
        run("evaluate", out / "run", table, "--method", "grad-cam"),
        run("card", out / "run"),
        run("compare", table, "--out", out / "compared", *quick, "--model", "svm"),
        run("detect", out / "run", private / "Zebulon 1.edf", "--out", out / "found", "--method", "grad-cam"),
    ]
    refuse_marks(out, *printed)
    record = json.loads((out / "run" / "run.json").read_text())
    assert record["corpus"] == "a table of recordings"
    assert "2019-03" not in "".join(printed)


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_a_table_of_subjects_is_not_quoted(private: Path, tmp_path: Path) -> None:
    table = listing(private, 2)
    for column, old, new in (
        ("label", ",0,", ",Zebulon,"),
        ("sex", ",F,", ",Zebulon,"),
        ("age", ",20,", ",Zebulon,"),
        ("date", "2019-03-01", "Zebulon"),
    ):
        changed = table.with_name("table.csv")
        changed.write_text(table.read_text().replace(old, new, 1))
        shown = run("audit", changed, code=1)
        assert MARK.lower() not in shown.replace(str(private), "").lower(), column
