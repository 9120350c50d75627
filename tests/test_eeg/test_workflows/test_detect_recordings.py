"""Many recordings: shards, processes and interruptions give the same table, and one never costs another."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import SequentialBackend

import eeg.workflows.detect_recordings as workflow
from eeg.cli.main import main
from eeg.datasets.fingerprint import file_hash
from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.explanation.options import ExplanationOptions
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.preprocessing.recording import open_recording
from eeg.reporting.analysis import RecordingAnalysis
from eeg.workflows.analyse import analyse, output_name
from eeg.workflows.detect_recordings import detect_recordings, find_recordings
from eeg.workflows.journal import identify, merge_journals, read_journals, without_names
from tests.test_eeg.helpers import leave_out_figures, untrained_detector
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

WORDS = ("--method", "grad-cam", "--segments", "1")
NAMES = ["Quincy.edf", "a.edf", "b/Zebulon.edf", "b/gone.edf"]


@dataclass(frozen=True)
class Archive:
    """A model, a folder with two recordings and two faulty ones, and the results of one run over it."""

    model: Path
    folder: Path
    out: Path


def run(model: Path, *words: object) -> Result:
    result = CliRunner().invoke(main, ["detect", str(model), *map(str, words), *WORDS])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def table(out: Path) -> bytes:
    return merge_journals(out)[0].read_bytes()


def results(out: Path) -> dict[str, bytes]:
    """Return all files but the journals, whose lines are in order of time."""
    found = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    place = tmp_path_factory.mktemp("archive")
    save_detector(untrained_detector(), place / "model.safetensors")
    folder = place / "Mueller"
    (folder / "b").mkdir(parents=True)
    for seed, name in enumerate(NAMES[1:3]):
        signal = 20 * np.random.default_rng(seed).normal(size=(19, 8 * 128))
        write_edf(folder / name, signal, TEN_TWENTY)
    (folder / NAMES[0]).write_text("this is no EEG")
    (folder / NAMES[3]).symlink_to(place / "missing.edf")
    return Archive(place / "model.safetensors", folder, place / "out")


@pytest.fixture(scope="module")
def quick(archive: Archive) -> Iterator[None]:
    """Give each recording the analysis of one, with a score of its own, and draw no figure."""
    options = ExplanationOptions("grad-cam", "zero", 1)
    one = analyse(untrained_detector(), archive.folder / "a.edf", options)

    def analyse_quickly(_: Detector, path: Path, *args: object, **named: object) -> RecordingAnalysis:
        opened = open_recording(path)
        decision = replace(one.decision, score=int(opened.digest or "0", 16) / 2**64)
        return replace(one, recording=opened, decision=decision, name=output_name(path, opened.digest))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eeg.workflows.detect.analyse", analyse_quickly)
        leave_out_figures(patch)
        yield


@pytest.fixture(scope="module")
def whole(archive: Archive, quick: None) -> Result:
    """The run over the archive, whose results are in ``archive.out``."""
    return run(archive.model, archive.folder, "--out", archive.out)


@pytest.fixture
def detected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings in which a run detects."""
    names: list[str] = []
    detect = workflow.detect

    def counted(detector: object, path: Path, *args: object, **named: object) -> object:
        names.append(path.name)
        return detect(detector, path, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(workflow, "detect", counted)
    return names


def test_folders_and_lists_name_the_same_recordings(archive: Archive, tmp_path: Path) -> None:
    expected = [archive.folder / name for name in NAMES]
    (archive.folder / "list.txt").write_text("\n".join(["", *NAMES, ""]))
    assert find_recordings([archive.folder], out=tmp_path) == expected
    assert find_recordings([], archive.folder / "list.txt", out=tmp_path) == expected
    assert find_recordings(expected[::-1], out=tmp_path) == expected[::-1]
    assert find_recordings([archive.folder], out=archive.folder / "b") == expected[:2], "not its results"
    with pytest.raises(DataError, match=r"none\.txt: cannot be read \(no such file or directory\)"):
        find_recordings([], tmp_path / "none.txt", out=tmp_path)
    assert run(archive.model, "--out", tmp_path / "out").exit_code == 2
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe := tmp_path / "pipe")
        with pytest.raises(DataError, match="pipe: not a file; expected a text file"):
            find_recordings([], pipe, out=tmp_path)
        assert "expected a model written" in run(pipe, archive.folder, "--out", tmp_path / "out").stderr


def test_the_table_has_results_and_errors_and_names_no_one(archive: Archive, whole: Result) -> None:
    assert whole.exit_code == 1
    text = table(archive.out).decode()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["folder"][:10] for row in rows] == ["recording-", "recording-", "", ""]
    for row in rows[:2]:
        result = json.loads((archive.out / row["folder"] / "result.json").read_text())
        assert float(row["score"]) == result["score"]
        assert row["answer"] == result["answer"]["text"]
    errors = {row["error"].split(" (")[0] for row in rows[2:]}
    assert errors == {"not an EDF or BDF file", "a link to a file that is not here; fetch it"}
    journal = (archive.out / "detections" / "1-of-1.jsonl").read_text()
    for name in ("Mueller", "Zebulon", "Quincy"):
        assert name not in text + journal


def test_shards_in_any_order_give_the_same_bytes(archive: Archive, whole: Result, tmp_path: Path) -> None:
    for shard in ("3/3", "1/3", "2/3"):
        run(archive.model, archive.folder, "--out", tmp_path, "--shard", shard)
    assert table(tmp_path) == table(archive.out)
    assert results(tmp_path) == results(archive.out)


def test_a_resumed_run_detects_only_what_is_missing_and_prints_everything(
    archive: Archive, whole: Result, detected: list[str], tmp_path: Path
) -> None:
    words = (archive.model, archive.folder, "--out", tmp_path, "--resume")
    first = run(*words)
    assert detected == [Path(name).name for name in NAMES]
    journal = tmp_path / "detections" / "1-of-1.jsonl"
    lines = journal.read_bytes().split(b"\n")
    for left, again in (
        (lines, []),
        ([*lines[:4], lines[4][:-5]], ["gone.edf"]),  # torn by a crash
        (lines[:2], ["a.edf", "Zebulon.edf", "gone.edf"]),
    ):
        journal.write_bytes(b"\n".join(left))
        detected.clear()
        resumed = run(*words)
        assert detected == again
        assert (resumed.stdout, resumed.stderr) == (first.stdout, first.stderr)
        assert table(tmp_path) == table(archive.out)
    next(tmp_path.glob("recording-*/result.json")).unlink()
    detected.clear()
    run(*words)
    assert len(detected) == 1, "its results are gone"


def test_a_file_that_has_changed_is_detected_again(archive: Archive, quick: None, tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    path.write_text("this is no EEG")
    words = (archive.model, path, "--out", tmp_path / "out", "--resume")
    assert run(*words).exit_code == 1
    path.write_bytes((archive.folder / "a.edf").read_bytes())
    assert run(*words).exit_code == 0
    assert merge_journals(tmp_path / "out")[1:] == (1, 0)


def brainvision(source: Path, folder: Path, signals: str = "raw.eeg") -> Path:
    """Write a recording as BrainVision with signals of another name than that of the header."""
    raw = read_recording(source)
    folder.mkdir(parents=True, exist_ok=True)
    (1e6 * raw.get_data()).astype("<f4").T.tofile(folder / signals)
    channels = "".join(f"Ch{i}={name},,1,µV\n" for i, name in enumerate(raw.ch_names, 1))
    (folder / "rec.vhdr").write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nDataFile={signals}\n"
        f"DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels={len(raw.ch_names)}\n"
        f"SamplingInterval={1e6 / raw.info['sfreq']:g}\n\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n"
        f"[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    return folder / "rec.vhdr"


def expected_scores(*paths: Path) -> set[float]:
    """Return the scores of the analyses of `quick`, from the hashes of the recordings as they are now."""
    return {int(file_hash(path), 16) / 2**64 for path in paths}


def scores(out: Path) -> set[float]:
    return {float(row["score"] or "nan") for row in csv.DictReader(table(out).decode().splitlines())}


def test_recordings_with_the_same_header_have_results_of_their_own(
    archive: Archive, quick: None, tmp_path: Path
) -> None:
    paths = [brainvision(archive.folder / NAMES[i], tmp_path / "two" / "AB"[i - 1]) for i in (1, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert run(archive.model, tmp_path / "two", "--out", tmp_path / "out").exit_code == 0
    assert len({*(tmp_path / "out").glob("recording-*")}) == 2
    assert scores(tmp_path / "out") == expected_scores(*paths)


def test_the_latest_result_counts_whatever_the_names_of_the_journals(
    archive: Archive, quick: None, tmp_path: Path
) -> None:
    paths, out = [tmp_path / "x.edf", tmp_path / "y.edf"], tmp_path / "out"
    for path in paths:
        path.write_bytes((archive.folder / "a.edf").read_bytes())
    for shard in ("1/2", "2/2"):
        assert run(archive.model, *paths, "--out", out, "--shard", shard).exit_code == 0
    paths[0].write_bytes((archive.folder / NAMES[2]).read_bytes())
    paths[1].write_text("this is no EEG")
    assert run(archive.model, *paths, "--out", out, "--resume").exit_code == 1
    assert merge_journals(out)[1:] == (1, 1), "the error is newer than the result"
    paths[1].write_bytes((archive.folder / "a.edf").read_bytes())
    assert run(archive.model, *paths, "--out", out, "--resume").exit_code == 0
    assert scores(out) == expected_scores(*paths)


@pytest.mark.parametrize("change", ["another", "incomplete", "missing", "channels.tsv", "nothing"])
def test_a_change_of_any_file_of_a_recording_is_detected_again(
    change: str, archive: Archive, quick: None, detected: list[str], tmp_path: Path
) -> None:
    path = brainvision(archive.folder / "a.edf", tmp_path / "p")
    signals, words = path.with_name("raw.eeg"), (archive.model, path, "--out", tmp_path / "out", "--resume")
    content = signals.read_bytes()
    if change == "incomplete":
        signals.write_bytes(content[: len(content) // 2])
    if change == "missing":
        signals.unlink()
    assert run(*words).exit_code == (change == "missing")
    if change == "another":
        brainvision(archive.folder / NAMES[2], path.parent)
    if change in ("incomplete", "missing"):
        signals.write_bytes(content)
    if change == "channels.tsv":
        path.with_name("rec_channels.tsv").write_text("name\tstatus\nT7\tbad\n")
    assert run(*words).exit_code == 0
    assert detected == ["rec.vhdr"] * (1 if change == "nothing" else 2)
    assert scores(tmp_path / "out") == expected_scores(path)


def test_the_state_of_a_folder_is_that_of_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.mff").mkdir()
    states = {identify(tmp_path / "a.mff")["state"]}
    for content in (b"1", b"23"):
        (tmp_path / "a.mff" / "signal1.bin").write_bytes(content)
        states.add(identify(tmp_path / "a.mff")["state"])
    assert len(states) == 3


def test_a_file_that_a_header_names_may_still_come(archive: Archive, quick: None, tmp_path: Path) -> None:
    path = brainvision(archive.folder / "a.edf", tmp_path / "p")
    path.with_name("raw.eeg").unlink()
    assert run(archive.model, path, "--out", tmp_path / "out").exit_code == 1
    (facts,) = read_journals(tmp_path / "out").values()
    assert facts["again"]


@pytest.mark.parametrize(
    ("cause", "attempts"), [(OSError(28, "No space left on device"), 2), (ValueError("of its content"), 1)]
)
def test_outputs_that_failed_for_the_machine_are_written_by_a_resumed_run(
    cause: Exception, attempts: int, archive: Archive, quick: None, detected: list[str], tmp_path: Path
) -> None:
    def fails(*args: object, **named: object) -> None:
        raise DataError("cannot be written") from cause

    words = (archive.model, archive.folder / "a.edf", "--out", tmp_path, "--resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eeg.reporting.export.write_annotated_edf", fails)
        assert run(*words).exit_code == 1
    assert run(*words).exit_code == (attempts == 1)
    assert len(detected) == attempts
    assert bool([*tmp_path.glob("recording-*/annotated.edf")]) == (attempts == 2)


@pytest.mark.parametrize("name", ["detections", "Detections.csv", "derivatives", "tensorboard"])
def test_names_of_what_concerns_all_recordings_are_reserved(
    name: str, archive: Archive, quick: None, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.edf"
    path.write_bytes((archive.folder / "a.edf").read_bytes())
    result = run(archive.model, path, "--out", tmp_path / "out", "--keep-names")
    assert result.exit_code == 1
    assert f"{name}: reserved for what concerns all recordings; omit --keep-names" in result.stderr
    assert merge_journals(tmp_path / "out")[1:] == (0, 1)
    assert run(archive.model, path, "--out", tmp_path / "other").exit_code == 0


def test_a_fault_of_the_machine_is_tried_again(
    archive: Archive, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **named: object) -> None:
        raise DataError("the folder cannot be written") from OSError(28, "No space left on device")

    words = (archive.model, archive.folder / "a.edf", "--out", tmp_path, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "detect", fails)
        assert run(*words).exit_code == 1
    assert run(*words).exit_code == 0
    assert merge_journals(tmp_path)[1:] == (1, 0)


def test_an_interrupted_run_reports_how_to_continue(
    archive: Archive, quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    detect = workflow.detect

    def interrupted(detector: Detector, path: Path, *args: Any, **named: Any) -> object:
        if path.name == "Zebulon.edf":
            raise KeyboardInterrupt
        return detect(detector, path, *args, **named)

    words = (archive.model, *(archive.folder / name for name in NAMES[1:3]), "--out", tmp_path)
    for more in ((), ("--json",)):
        with monkeypatch.context() as patch:
            patch.setattr(workflow, "detect", interrupted)
            stopped = run(*words, *more)
        assert stopped.exit_code == 1
        assert "Interrupted; the same command with --resume continues." in stopped.stderr
    assert run(*words, "--resume").exit_code == 0
    assert merge_journals(tmp_path)[1:] == (2, 0)


def test_another_model_or_other_settings_are_refused_and_change_nothing(
    archive: Archive, quick: None, tmp_path: Path
) -> None:
    path, out, other = archive.folder / "a.edf", tmp_path / "out", tmp_path / "other.safetensors"
    detector = untrained_detector()
    save_detector(replace(detector, training=replace(detector.training, rule="backprop")), other)
    same = ("--prevalence", "0.1", "--out", out)
    for _ in range(2):
        assert run(archive.model, path, *same).exit_code == 0
        assert merge_journals(out)[1:] == (1, 0)

    def files() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}

    before = files()
    for words in ((), ("--resume",), ("--shard", "1/2")):
        for model, settings, difference in (
            (archive.model, ("--out", out), "prevalence was 0.1, is None"),
            (other, same, "model was "),
        ):
            refused = run(model, path, *settings, *words)
            assert refused.exit_code == 1
            assert f"another run of eeg detect: {difference}" in refused.stderr
            assert refused.stderr.endswith("; name a new folder\n")
            assert files() == before
    (out / "detections" / "run.json").unlink()
    assert run(archive.model, path, *same).exit_code == 1, "what the journal is of is not known"
    assert {**files(), out / "detections" / "run.json": before[out / "detections" / "run.json"]} == before
    assert run(archive.model, path, *same, "--shard", "3/2").exit_code == 2


def test_the_first_recording_of_a_name_has_its_folder_whichever_is_first(
    archive: Archive, quick: None, tmp_path: Path
) -> None:
    name = "sub-01_task-rest_eeg.edf"
    paths = [tmp_path / site / name for site in "xy"]
    for path, source in zip(paths, NAMES[1:3], strict=True):
        path.parent.mkdir()
        path.write_bytes((archive.folder / source).read_bytes())
    for shards in (("1/2", "2/2"), ("2/2", "1/2")):
        out = tmp_path / "-".join(shards).replace("/", "")
        codes = {
            shard: run(archive.model, *paths, "--out", out, "--shard", shard).exit_code for shard in shards
        }
        assert codes == {"1/2": 0, "2/2": 1}


def test_errors_in_the_journal_have_no_names() -> None:
    path = Path("x", "Mueller", "Quincy.edf")
    for text, expected in (
        (f"{path}: ends in a record", "ends in a record"),
        (f"{path.parent}/Zebulon.vmrk: damaged, 'a'", "(file): damaged, 'a'"),
        ("no file Quincy_channels.tsv", "no file (file)"),
        ("at x/Quincy.edf", "at x/(file)"),
    ):
        assert without_names(DataError(text), path) == expected


def test_merge_fails_if_the_table_has_errors(archive: Archive, whole: Result, tmp_path: Path) -> None:
    assert run(archive.model, archive.folder / "a.edf", "--out", tmp_path).exit_code == 0
    for out, code, counts in (
        (archive.out, 1, "2 result(s) and 2 error(s)"),
        (tmp_path, 0, "1 result(s) and 0 error(s)"),
    ):
        merged = CliRunner().invoke(main, ["merge", str(out)])
        assert (merged.exit_code, merged.stdout) == (code, f"{counts}: {out / 'detections.csv'}\n")
        assert (out / "detections.csv").is_file()


def test_a_folder_without_detections_has_no_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["merge", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path}: no detections; expected a folder --out of `eeg detect`" in result.stderr


@pytest.mark.slow
def test_kills_cost_one_recording_a_process_and_no_byte(archive: Archive, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "eeg", "detect", str(archive.model), str(archive.folder), *WORDS]
    alone = [*words, "--out", str(tmp_path / "alone")]
    subprocess.run(alone, capture_output=True, check=False)
    for number, seconds in enumerate((4.0, 9.0)):
        out = tmp_path / str(number)
        run = subprocess.Popen(
            [*words, "--jobs", "2", "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        again = [*words, "--jobs", "2", "--resume", "--out", str(out)]
        assert subprocess.run(again, capture_output=True, check=False).returncode == 1  # the faulty ones
        assert table(out) == table(tmp_path / "alone")
        assert results(out) == results(tmp_path / "alone")


@contextmanager
def cluster(name: str) -> Iterator[None]:
    """Two processes of a local cluster of Dask or Ray, to which joblib sends its work."""
    if name == "dask":
        distributed = pytest.importorskip("distributed")
        local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        with local, distributed.Client(local), parallel_config(name):
            yield
    else:
        ray = pytest.importorskip("ray")
        pytest.importorskip("ray.util.joblib").register_ray()
        with ray.init(num_cpus=2, include_dashboard=False), parallel_config(name):
            yield


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_cluster_gives_the_same_bytes(name: str, archive: Archive, tmp_path: Path) -> None:
    recordings = find_recordings([archive.folder], out=tmp_path)
    options = ExplanationOptions("grad-cam", "zero", 1)
    list(detect_recordings(archive.model, recordings, tmp_path / "alone", options))
    with cluster(name):
        outcomes = list(detect_recordings(archive.model, recordings, tmp_path / name, options))
    assert [outcome.path for outcome in outcomes] == recordings
    assert table(tmp_path / name) == table(tmp_path / "alone")
    assert results(tmp_path / name) == results(tmp_path / "alone")


class AllAtTheEnd(SequentialBackend):
    """A backend of joblib that cannot return results one by one, as Ray's cannot."""

    supports_return_generator = False


def test_a_backend_that_returns_all_at_the_end(quick: None, archive: Archive, tmp_path: Path) -> None:
    recordings = find_recordings([archive.folder], out=tmp_path)
    register_parallel_backend("all at the end", AllAtTheEnd)
    with parallel_config("all at the end"):
        outcomes = list(detect_recordings(archive.model, recordings, tmp_path))
    assert [outcome.path for outcome in outcomes] == recordings
