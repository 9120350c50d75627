"""The `eeg` command: the main job on a tiny cohort, and one clear line for every bad input."""

import errno
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from click.testing import CliRunner, Result

from eeg.cli.common import echo_results
from eeg.cli.main import main
from eeg.datasets import open_corpus
from eeg.datasets.fingerprint import file_hash
from eeg.detector.calibration import NOT_SEPARATED
from eeg.detector.detector import Detector, load_detector, save_detector
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.explanation.explain import Check
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from eeg.reporting.export import WRITERS
from eeg.workflows.evaluate import plan_of
from eeg.workflows.run_folder import PARTS
from eeg.workflows.train import read_results
from tests.helpers import without_numbers
from tests.test_eeg.recordings import DATA, needs_data
from trainers.files import alone

OUTPUTS = set(WRITERS)
EVENTS = "_desc-attribution_events"
pytestmark = pytest.mark.usefixtures("few_resamples")


def told_of(out: Path) -> list[Path]:
    """Return the folders of recordings, those beside the derivative dataset of BIDS."""
    return sorted(folder for folder in out.iterdir() if folder.name != "derivatives")


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


@pytest.fixture
def model(detector: Detector, tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    save_detector(detector, tmp_path / "model" / "model.safetensors")
    return tmp_path / "model"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_edf(tmp_path / "recording.edf", noise())


# --- the main job


@dataclass(frozen=True)
class Trained:
    """A run of `eeg train` and its output."""

    out: Path
    result: Result


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("cli") / "run"
    options = ("--epochs", 1, "--folds", 2, "--hold-out", 0.25)
    return Trained(out, eeg("train", cohort, "--out", out, *options))


def test_train_writes_a_model_and_reports_its_results(trained: Trained) -> None:
    assert trained.result.exit_code == 0
    output = trained.result.output
    for words in ("SIMULATED", RESEARCH_USE, "labels: events", "amplitude (", "Held-out subjects", "p = "):
        assert words in output
    names = {path.name for path in trained.out.iterdir()}
    assert names == {
        "card.md",
        "model.safetensors",
        "predictions.csv",
        "quality.json",
        "run.json",
        "tensorboard",
    }
    assert load_detector(trained.out / "model.safetensors").training.subjects == 6


def test_a_finished_training_is_reported_again_and_its_folder_accepts_no_other(
    trained: Trained, cohort: Path
) -> None:
    again = ("train", cohort, "--out", trained.out, "--resume", "--epochs", 1, "--folds", 2)
    (trained.out / PARTS).mkdir()  # of a training killed after it wrote its record
    shown = eeg(*again, "--hold-out", 0.25)
    assert shown.exit_code == 0
    assert not (trained.out / PARTS).exists()
    assert shown.output in trained.result.output
    assert "hold_out was 0.25, is 0.0; name a new folder" in refused(1, *again)
    message = refused(1, *again, "--hold-out", 0.25, "--seed", 1, "--rule", "dfa")
    assert message.endswith("belongs to another training: plan.rule was backprop, is dfa; name a new folder")


needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


@needs_locks
@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_a_second_training_keeps_out_of_a_folder_where_one_is_at_work(
    options: tuple[str, ...], cohort: Path, tmp_path: Path
) -> None:
    half_written = tmp_path / ".partial-run.json-x"
    half_written.mkdir()
    again = ("train", cohort, "--out", tmp_path, *options)
    with alone(tmp_path):
        assert "another run is writing to this folder; name a new folder" in refused(1, *again)
        assert half_written.exists()
    (tmp_path / "letter.txt").touch()
    assert "not empty" in refused(2, *again)  # a lock left behind by a dead process does not count
    assert not half_written.exists()


@needs_locks
def test_disks_and_systems_without_locks_do_not_block_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        with alone(tmp_path), alone(tmp_path):
            pass
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "win32")
        patch.setitem(sys.modules, "fcntl", None)
        with alone(tmp_path), alone(tmp_path):
            pass


@pytest.mark.parametrize("change", ["samples", "discharges", "diagnosis", "subject"])
def test_a_training_of_data_that_has_changed_is_not_shown_again(
    change: str, trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(cohort, tmp_path / cohort.name))
    again = (
        "train",
        folder,
        "--out",
        trained.out,
        "--resume",
        "--epochs",
        1,
        "--folds",
        2,
        "--hold-out",
        0.25,
    )
    assert eeg(*again).exit_code == 0  # in any location
    first = sorted(folder.glob("sub-*/eeg/*_eeg.edf"))[0]
    if change == "samples":
        *samples, last = first.read_bytes()
        first.write_bytes(bytes([*samples, last ^ 1]))
    elif change == "discharges":
        events = first.with_name(first.name.replace("_eeg.edf", "_events.tsv"))
        events.write_text(events.read_text() + "1.0\t0.1\tdischarge\tCz\t5.0\n")
    elif change == "diagnosis":
        relabelled(folder, {"*": "epilepsy"})
    else:
        shutil.rmtree(first.parents[1])
    message = refused(1, *again)
    assert message.endswith("annotations or diagnoses have changed since; name a new folder")


def test_json_output_has_the_same_content_and_nothing_else(
    trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    options = ("--resume", "--epochs", 1, "--folds", 2, "--hold-out", 0.25)
    shown = json.loads(eeg("train", cohort, "--out", trained.out, *options, "--json").stdout)
    record = json.loads((trained.out / "run.json").read_text())
    assert shown["results"] == record["training"]["results"]
    assert shown["statement"] == RESEARCH_USE
    assert shown["card"] == str(trained.out / "card.md")
    assert json.loads(eeg("evaluate", trained.out, "--json").stdout)["results"] == shown["results"]
    evaluated = json.loads(eeg("evaluate", trained.out, cohort, "--method", "grad-cam", "--json").stdout)
    assert evaluated["results"] == shown["results"]["held_out"]
    assert (evaluated["left_out_as_seen"], evaluated["against"]) == (6, None)
    assert set(evaluated["precision"]) == {"explanation", "amplitude", "chance"}
    one, bad = next(cohort.glob("sub-*/eeg/*.edf")), bad_recording("text", tmp_path)
    detected = eeg(
        "detect", trained.out, bad, one, "--out", tmp_path / "out", "--method", "grad-cam", "--json"
    )
    assert detected.exit_code == 1
    found = json.loads(detected.stdout)
    assert found["simulated"] is True
    (entry,) = found["recordings"]
    written = json.loads((Path(entry["folder"]) / "result.json").read_text())
    assert entry["recording"] == 2
    assert entry["score"] == pytest.approx(written["score"], abs=1e-4)
    assert entry["answer"] == written["answer"]["text"]
    assert entry["segments"] == len(written["explanation"]["segments"])


def test_named_subjects_are_held_out_and_a_run_is_resumed_from_nothing(cohort: Path, tmp_path: Path) -> None:
    named = sorted({entry.subject for entry in open_corpus(cohort).entries})[2:6]
    table = tmp_path / "held.tsv"
    table.write_text("\n".join(["subject", *named]) + "\n")
    options = ("--resume", "--epochs", 1, "--folds", 2, "--model", "tvgg-gap")
    result = eeg("train", cohort, "--out", tmp_path / "run", "--hold-out", table, *options)
    assert result.exit_code == 0, result.output
    assert "4 subjects, 2 with epilepsy" in result.output.split("Held-out subjects")[1]
    assert "4 named subjects held out of all training" in (tmp_path / "run" / "card.md").read_text()
    record = (tmp_path / "run" / "run.json").read_text()
    held = {file_hash(e.path) for e in open_corpus(cohort).entries if e.subject in named}
    assert set(json.loads(record)["held_out"]) == held
    names = {name.removeprefix("sub-") for name in named}
    assert not names & set(re.findall(r"\d+", without_numbers(record)))
    table.write_text("subject\nMueller\n")
    message = refused(1, "train", cohort, "--out", tmp_path / "new", "--hold-out", table)
    assert "1 of its 1 subjects are not in the data" in message
    assert "Mueller" not in message


def test_evaluate_reports_the_results_again_and_evaluates_held_out_recordings(
    trained: Trained, cohort: Path
) -> None:
    shown = eeg("evaluate", trained.out)
    assert shown.exit_code == 0
    table = shown.output.split("\n\n")[0]
    assert table in trained.result.output
    evaluated = eeg("evaluate", trained.out, cohort)
    assert evaluated.exit_code == 0
    assert "6 recording(s) of training subjects are excluded" in evaluated.output
    assert "precision at R of the explanation (occlusion)" in evaluated.output
    held = shown.output.split("Held-out subjects, not used in any training:\n")[1].splitlines()[1]
    assert held.startswith("ROC-AUC")
    assert held in evaluated.output


@pytest.mark.slow
def test_two_models_are_compared_on_subjects_new_to_both(trained: Trained, cohort: Path, model: Path) -> None:
    assert "subjects are new to both" in refused(1, "evaluate", trained.out, cohort, "--against", trained.out)
    result = eeg("evaluate", model, cohort, "--against", model, "--method", "grad-cam")
    assert result.exit_code == 0
    assert "0.000 (0.000-0.000), n = 8, p = 1 (DeLong), 1 (scores swapped" in result.output


def test_evaluate_reports_the_rule_that_the_model_was_trained_by(
    trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    detector = load_detector(trained.out / "model.safetensors")
    other = replace(detector, training=replace(detector.training, rule="oja", recordings=()))
    save_detector(other, tmp_path / "model.safetensors")
    assert "tvgg-gap by oja" in eeg("evaluate", tmp_path, cohort, "--method", "grad-cam").output


def test_the_card_is_written_with_the_model_and_printed(trained: Trained) -> None:
    written = (trained.out / "card.md").read_text()
    for place in (trained.out, trained.out / "model.safetensors"):
        assert eeg("card", place).output == written + "\n"
    for words in (RESEARCH_USE, "Not tested on", "sensitivity at 90 %", "Held-out subjects", "Verdict: "):
        assert words in written


def test_the_audit_is_printed_beside_every_score_and_alone(trained: Trained, cohort: Path) -> None:
    assert trained.result.output.count("Verdict: ") == 2
    alone = eeg("audit", cohort)
    assert alone.exit_code == 0
    assert "8 recording(s), 8 subject(s)" in alone.output
    assert "the same for all subjects: " in alone.output
    found = json.loads(eeg("audit", cohort, "--json").output)
    assert "sampling rate" in found["constant"]
    assert "sub-" not in alone.output


def test_an_audit_that_is_the_same_is_printed_once(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = read_results(trained.out)["cross_validated"]
    plan = plan_of(load_detector(trained.out / "model.safetensors"))
    echo_results({"cross_validated": figures, "held_out": figures}, plan)
    output = capsys.readouterr().out
    assert output.count("Verdict: ") == output.count("Confounds: as above.") == 1
    assert output.count("ROC-AUC of amplitude") == 2


def test_an_interrupted_training_reports_how_to_resume(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eeg.workflows.corpus.load_windows", interrupted)
    result = eeg("train", cohort, "--out", tmp_path / "run", "--folds", 2)
    assert result.exit_code == 1
    assert "Interrupted; the same command with --resume continues." in result.stderr


@pytest.mark.slow
def test_sites_are_left_out_and_diagnoses_shuffled(cohort: Path, tmp_path: Path) -> None:
    entries = open_corpus(cohort).entries
    rows = [
        f"{e.path},{e.subject},{e.label},{'north' if i < 4 else 'south'}"
        for i, e in enumerate(sorted(entries, key=lambda e: (e.subject[-1], e.label)))
    ]
    listing = tmp_path / "sites.csv"
    listing.write_text("\n".join(["path,subject,label,site", *rows]) + "\n")
    options = ("--by-site", "--aggregation", "noisy-or", "--shuffle-labels", 2, "--epochs", 1, "--folds", 2)
    run = tmp_path / "run"
    result = eeg("train", listing, "--outside", "--out", run, "--rule", "frozen", *options)
    assert result.exit_code == 0
    assert "sites, diagnoses shuffled" in result.output
    detector = load_detector(run / "model.safetensors")
    assert detector.aggregation == "noisy-or"
    assert detector.training.splits.startswith("2 folds by site")
    assert json.loads((run / "run.json").read_text())["by_site"] is True


def test_detect_answers_or_states_that_it_cannot(model: Path, recording: Path, tmp_path: Path) -> None:
    result = eeg("detect", model, recording, "--out", tmp_path / "out", "--alpha", 0.2)
    assert result.exit_code == 0
    assert "error rate of at most 0.2 each, by n = 8 calibration subjects" in result.output
    assert "may not hold for another hospital" in result.output
    answer = json.loads(next((tmp_path / "out").glob("*/result.json")).read_text())["answer"]
    assert answer["text"] in result.output
    assert (answer["alpha"], answer["n"]) == (0.2, 8)
    report = next((tmp_path / "out").glob("*/report.html")).read_text()
    assert answer["text"].split(":")[0] in report
    again = eeg("detect", model, recording, "--out", tmp_path / "again")
    assert "Cannot say: n = 8 calibration subjects" in again.output  # 0.1 needs nine
    assert "No recording is assigned to a group: n = 8" in again.output
    assert "error rate of at most" not in again.output
    assert "at least 9 per group" in again.output
    result = json.loads(next((tmp_path / "again").glob("*/result.json")).read_text())
    assert result["answer"]["grounds"] == "", "no error rate holds"
    assert "n = 8" in refused(1, "detect", model, recording, "--out", tmp_path / "no", "--alpha", 0.1)
    assert not (tmp_path / "no").exists()


def test_detect_warns_of_a_calibration_that_does_not_separate_the_groups(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    detector = load_detector(model / "model.safetensors")
    flat = replace(detector, calibration=replace(detector.calibration, slope=0.0, intercept=0.0))
    save_detector(flat, tmp_path / "model.safetensors")
    result = eeg("detect", tmp_path / "model.safetensors", recording, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert f"Warning: {NOT_SEPARATED}" in result.output
    (folder,) = told_of(tmp_path / "out")
    assert NOT_SEPARATED in json.loads((folder / "result.json").read_text())["model"]["warnings"]
    assert NOT_SEPARATED in (folder / "report.html").read_text()
    assert NOT_SEPARATED not in eeg("detect", model, recording, "--out", tmp_path / "other").output


def test_detect_states_why_an_explanation_is_not_shown(
    model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Check, "passed", False)
    result = eeg("detect", model, recording, "--out", tmp_path / "out")
    assert "0 segment(s)" in result.output
    assert "The explanation failed its check and is not shown: replacing the segments" in result.output


def test_compare_states_its_default_labels_once() -> None:
    text = " ".join(eeg("compare", "--help").output.split())
    assert "[default: recording]" in text
    assert "events if every recording is annotated" not in text


def test_detect_scores_and_explains_and_warns_of_what_it_was_trained_on(
    trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    recordings = sorted(cohort.glob("sub-*/eeg/*.edf"))[:2]
    result = eeg("detect", trained.out, *recordings, "--out", tmp_path / "out", "--prevalence", 0.1)
    assert result.exit_code == 0
    for words in (RESEARCH_USE, NORMAL_EEG, "prevalence of 0.10", "trained on simulated EEG", "1/2", "2/2"):
        assert words in result.output
    folders = told_of(tmp_path / "out")
    dataset = tmp_path / "out" / "derivatives" / "hebbian-eeg"
    assert (dataset / "dataset_description.json").exists()
    assert len(list(dataset.glob(f"sub-*/eeg/sub-*{EVENTS}.tsv"))) == len(recordings)
    assert [folder.name for folder in folders] == [path.stem for path in recordings]
    known = set(load_detector(trained.out / "model.safetensors").training.recordings)
    for folder, path in zip(folders, recordings, strict=True):
        assert {file.name for file in folder.iterdir()} == OUTPUTS
        found = json.loads((folder / "result.json").read_text())
        assert found["prevalence"] == 0.1
        assert 0 < found["score"] < 1
        warned = any("was in the training data" in w for w in found["model"]["warnings"])
        assert warned == (file_hash(path) in known)
        copy = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
        marks = [d for d in copy.annotations.description if d.startswith("model attribution")]
        assert len(marks) == len(found["explanation"]["segments"])


def test_detecting_again_gives_the_same_bytes(model: Path, recording: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert eeg("detect", model, recording, "--out", tmp_path / "out").exit_code == 0
    eeg("detect", model / "model.safetensors", recording, "--out", tmp_path / "other")
    (first,), (other,) = (told_of(tmp_path / name) for name in ("out", "other"))
    for name in ("result.json", "szcore.tsv", "annotated.edf"):
        assert (first / name).read_bytes() == (other / name).read_bytes()


def test_no_output_contains_the_name_of_a_patient(model: Path, tmp_path: Path) -> None:
    """Neither that of the file nor that in its header, in any byte that is written or printed."""
    path = write_edf(tmp_path / "Mueller_Zebulon.edf", noise(), name="Mueller_Zebulon")
    result = eeg("detect", model, path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {file.name for file in files} >= OUTPUTS
    everything = result.output.encode() + b"".join(file.read_bytes() for file in files)
    everything += " ".join(map(str, files)).replace(str(tmp_path), "").encode()
    for name in (b"mueller", b"zebulon"):
        assert name not in everything.lower()
    kept = eeg("detect", model, path, "--out", tmp_path / "kept", "--keep-names")
    assert "Mueller_Zebulon" in kept.output


# --- bad recordings


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


BAD = {
    "missing": "no such file",
    "text": "not an EDF",
    "truncated": "truncated, holds",
    "channels": "lacks the channels F8, T8, P8;",
    "short": "1.0 s long; expected at least",
    "flat": "flat signal in P3",
    "nan": "not finite signal in P3",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_is_reported_in_one_line_and_writes_nothing(
    kind: str, model: Path, tmp_path: Path
) -> None:
    path = bad_recording(kind, tmp_path)
    message = refused(1, "detect", model, path, "--out", tmp_path / "out")
    assert path.name in message
    assert BAD[kind] in message
    assert list((tmp_path / "out").iterdir()) == []
    again = eeg("detect", model, path, "--out", tmp_path / "out")
    assert "No recording could be scored." in again.output
    assert "assigned" not in again.output


def test_two_missing_channels_are_interpolated_and_reported(model: Path, tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", noise()[:17], TEN_TWENTY[:17])
    assert eeg("detect", model, tmp_path / "a.edf", "--out", tmp_path / "out").exit_code == 0
    (folder,) = told_of(tmp_path / "out")
    assert "not recorded: T8, P8." in (folder / "result.json").read_text()
    assert "not recorded: T8, P8." in (folder / "report.html").read_text()
    raw = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
    assert set(raw.ch_names) == set(TEN_TWENTY[:17])


def test_the_others_go_on_after_a_bad_recording(model: Path, recording: Path, tmp_path: Path) -> None:
    bad = bad_recording("truncated", tmp_path)
    result = eeg("detect", model, bad, recording, tmp_path / "none.edf", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["Error", "Error"]
    assert "2/3" in result.stdout
    (folder,) = told_of(tmp_path / "out")
    assert {file.name for file in folder.iterdir()} == OUTPUTS


def test_channels_that_are_not_finite_are_interpolated_and_reported(model: Path, tmp_path: Path) -> None:
    """One that the model uses, and one that it does not; an EDF copy can hold neither."""
    data = np.vstack([noise(), noise(channels=1)])
    data[3, 5] = np.nan
    data[19, 7] = np.inf
    info = mne.create_info([*TEN_TWENTY, "AF3"], 128.0, "eeg")
    path = tmp_path / "broken_raw.fif"
    mne.io.RawArray(data, info, verbose="error").save(path, fmt="double", verbose="error")
    assert eeg("detect", model, path, "--out", tmp_path / "out").exit_code == 0
    (folder,) = told_of(tmp_path / "out")
    assert "not recorded: P3." in (folder / "result.json").read_text()
    assert "not finite: P3, AF3" in (folder / "report.html").read_text()
    assert json.loads((folder / "quality.json").read_text())["quality"]["not_finite"] == ["P3", "AF3"]
    raw = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
    assert set(raw.ch_names) == set(TEN_TWENTY) - {"P3"}


def test_a_fault_while_writing_leaves_nothing_half_written(
    model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eeg.reporting.html.replacing", full)
    assert "No space left" in refused(1, "detect", model, recording, "--out", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# --- bad models, corpora and arguments


def test_a_model_that_is_none(tmp_path: Path, recording: Path) -> None:
    out = tmp_path / "out"
    assert "no such file" in refused(1, "detect", tmp_path / "none", recording, "--out", out)
    assert "not a safetensors file" in refused(1, "detect", recording, recording, "--out", out)
    assert "no such file" in refused(1, "evaluate", tmp_path)
    assert not out.exists()


def usage(tmp_path: Path, cohort: Path, model: Path, recording: Path) -> dict[str, tuple[object, ...]]:
    train = ("train", cohort, "--out", tmp_path / "new")
    detect = ("detect", model, recording, "--out", tmp_path / "new")
    return {
        "did you mean 'oja'": (*train, "--rule", "ojja"),
        "did you mean 'tvgg'": (*train, "--model", "tvg"),
        "every link in both directions and cannot use": (*train, "--rule", "eqprop", "--model", "shallow"),
        "eeg compare DATA --model tangent-bands": (*train, "--model", "tangent-bands"),
        "has no effect: the band ends at 45 Hz": (*train, "--notch", "BE"),
        "unknown power-line frequency 'ZZ'": (*train, "--notch", "ZZ"),
        "each once": (*train, "--channels", "Cz,Cz"),
        "unknown channels 'XX', ''": (*train, "--channels", "Fp1,XX,"),
        "'x' is not one of": (*train, "--labels", "x"),
        "'found' is now called 'pseudo'": (*train, "--labels", "found"),
        "'turn' is now called 'head-rotation'": (*train, "--augment", "turn"),
        "0 is not in the range": (*train, "--epochs", 0),
        "1 is not in the range": (*train, "--folds", 1),
        "not empty; expected a new or empty folder": ("train", cohort, "--out", model),
        "not empty; expected": ("train", cohort, "--out", model, "--resume"),
        ": not empty; expected a new": ("simulate", cohort),
        "'half' is not a valid": (*train, "--hold-out", "half"),
        "nan is not a finite number": (*detect, "--prevalence", "nan"),
        "1.0 is not in the range": (*detect, "--prevalence", 1),
        "--against needs DATA": ("evaluate", model, "--against", model),
        "shuffled labels are a negative control of": (*train, "--shuffle-labels", 0),
        "0 is not in the range x>=1": (*detect, "--segments", 0),
        "cannot be written": ("detect", model, recording, "--out", recording / "below"),
        "is a file": ("detect", model, recording, "--out", recording),
        "Missing option '--out'": ("detect", model, recording),
        "Missing argument 'RECORDINGS": ("detect", model),
        "inf is not a finite number": ("simulate", tmp_path / "new", "--minutes", "inf"),
    }


@pytest.mark.parametrize("words", usage(*[Path()] * 4))
def test_a_mistake_in_the_command_is_usage(
    words: str, tmp_path: Path, cohort: Path, model: Path, recording: Path
) -> None:
    assert words in refused(2, *usage(tmp_path, cohort, model, recording)[words])
    assert not (tmp_path / "new").exists()


def test_usage_is_that_of_the_command(tmp_path: Path, cohort: Path) -> None:
    result = eeg("train", cohort, "--out", tmp_path / "new", "--rule", "nope")
    assert result.exit_code == 2
    assert "Usage: main train [OPTIONS] DATA" in result.stderr


def test_a_folder_is_not_a_recording(tmp_path: Path, cohort: Path, model: Path) -> None:
    out = ("--out", tmp_path / "new")
    assert refused(1, "detect", model, cohort, *out).endswith(f"{cohort}: a folder; give recordings (files)")


def test_the_command_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "eeg", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: eeg [OPTIONS] COMMAND")


def copied(cohort: Path, to: Path) -> Path:
    return Path(shutil.copytree(cohort, to / "copy"))


def relabelled(folder: Path, change: dict[str, str]) -> None:
    """Give participants another group; '' takes the row's diagnosis away."""
    table = folder / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    pairs = [row.split("\t") for row in rows]
    lines = [f"{name}\t{change.get(name, change.get('*', group)) or 'n/a'}" for name, group in pairs]
    table.write_text("\n".join([header, *lines]) + "\n")


def test_one_class_only(cohort: Path, tmp_path: Path) -> None:
    folder = copied(cohort, tmp_path)
    relabelled(folder, {"*": "epilepsy"})
    assert "one class only: 8 with epilepsy, 0 controls" in refused(
        1, "train", folder, "--out", tmp_path / "run"
    )
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--folds", 5), "5 folds need 5 subjects of each class, found 4"),
        (("train", "--hold-out", 0.05), "cannot hold out 0.05 of 8 subjects"),
        (("train", "--by-site"), "0 site(s) are known"),
        (("compare", "--folds", 5), "5 folds need 5 subjects of each class, found 4"),
    ],
)
def test_subjects_that_cannot_be_split_are_reported_before_loading(
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    words: str,
) -> None:
    monkeypatch.setattr("eeg.workflows.corpus.load_windows", None)
    assert words in refused(1, arguments[0], cohort, "--out", tmp_path / "run", *arguments[1:])
    assert not any((tmp_path / "run").glob("*"))


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    assert "no such folder" in refused(1, "train", tmp_path / "none", "--out", tmp_path / "run")
    (tmp_path / "empty").mkdir()
    assert "unknown layout" in refused(1, "train", tmp_path / "empty", "--out", tmp_path / "run")
    (tmp_path / "a.edf").touch()
    message = refused(1, "train", tmp_path / "a.edf", "--out", tmp_path / "run")
    assert message.endswith("a.edf: an EEG recording; expected a corpus folder or a table of recordings")
    assert not (tmp_path / "run").exists()


def test_a_bad_recording_of_a_corpus_is_excluded_and_reported(cohort: Path, tmp_path: Path) -> None:
    folder = copied(cohort, tmp_path)
    first = sorted(folder.glob("sub-*/eeg/*.edf"))[0]
    first.write_bytes(first.read_bytes()[:-4000])
    result = eeg("train", folder, "--out", tmp_path / "run", "--epochs", 1, "--folds", 2)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert first.name in line
    assert line.endswith("the recording is left out")
    assert "7 subjects" in result.stdout
    assert load_detector(tmp_path / "run" / "model.safetensors").training.subjects == 7


def test_an_unannotated_corpus_has_recording_labels_only(cohort: Path, tmp_path: Path) -> None:
    folder = copied(cohort, tmp_path)
    for events in folder.glob("sub-*/eeg/*_events.tsv"):
        events.unlink()
    result = eeg("train", folder, "--out", tmp_path / "a", "--epochs", 1, "--folds", 2, "--labels", "events")
    assert result.exit_code == 1
    assert "use --labels recording" in result.stderr
    result = eeg("train", folder, "--out", tmp_path / "b", "--epochs", 1, "--folds", 2)
    assert result.exit_code == 0
    assert "labels: recording, windows of 10 s" in result.output


def test_a_simulation_does_not_overwrite(cohort: Path, tmp_path: Path) -> None:
    assert "new or empty folder" in refused(2, "simulate", cohort)
    result = eeg("simulate", tmp_path / "c", "--subjects", 2, "--minutes", 1)
    assert result.exit_code == 0
    assert len(list((tmp_path / "c").glob("sub-*/eeg/*.edf"))) == 2


# --- the command itself


@pytest.mark.parametrize("command", [None, "demo", "simulate", "train", "evaluate", "detect"])
def test_help(command: str | None) -> None:
    for flag in ("--help", "-h"):
        result = eeg(*([command] if command else []), flag)
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")
    if command is None:
        assert "Research use only" in result.output


def test_help_loads_neither_torch_nor_mne() -> None:
    program = (
        "import sys\nfrom eeg.cli.main import main\n"
        "try:\n    main(['train', '--help'])\n"
        "finally:\n    print(sorted({'torch', 'mne', 'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- recorded EEG

EMOTIV = "F7,F3,T7,P7,O1,O2,P8,T8,F4,F8"


@pytest.mark.slow
@needs_data
def test_guinea_bissau_refuses_what_lacks_its_channels_and_detects_with_those_shared(tmp_path: Path) -> None:
    folder = tmp_path / "gb"
    (folder / "EEGs_Guinea-Bissau").mkdir(parents=True)
    source = DATA / "guinea_bissau"
    shutil.copy(source / "metadata_guineabissau.csv", folder)
    entries = open_corpus(source).entries
    for label in (0, 1):
        for entry in [e for e in entries if e.label == label][:4]:
            (folder / "EEGs_Guinea-Bissau" / entry.path.name).symlink_to(entry.path)
    recordings = sorted((DATA / "eegmat").glob("*.edf"))[:2]
    options = ("--epochs", 1, "--folds", 2)
    assert eeg("train", folder, "--out", tmp_path / "all", *options).exit_code == 0
    result = eeg("detect", tmp_path / "all", *recordings, "--out", tmp_path / "out")
    assert result.exit_code == 1
    for line, path in zip(result.stderr.splitlines(), recordings, strict=True):
        assert path.name in line
        lacking = line.split("lacks the channels ")[1].split(";")[0].split(", ")
        assert set(lacking) == {"AF3", "AF4", "FC5", "FC6"}
    assert eeg("train", folder, "--out", tmp_path / "ten", "--channels", EMOTIV, *options).exit_code == 0
    result = eeg("detect", tmp_path / "ten", *recordings, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert len(told_of(tmp_path / "out")) == 2
    assert "simulated EEG" not in result.output


@pytest.mark.slow
def test_the_paper_preset_end_to_end(cohort: Path, tmp_path: Path) -> None:
    options = ("--preset", "paper", "--labels", "recording", "--model", "tvgg", "--epochs", 1, "--folds", 2)
    assert eeg("train", cohort, "--out", tmp_path / "run", *options).exit_code == 0
    detector = load_detector(tmp_path / "run" / "model.safetensors")
    assert detector.preprocessing == Preprocessing.paper(TEN_TWENTY)
    assert (detector.aggregation, detector.window) == ("mean-probability", 10.0)
    assert sum(p.numel() for p in detector.network.parameters()) == 33_425
