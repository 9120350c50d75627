"""`eeg train` on a tiny cohort: its outputs, its folder, and one line for a corpus that it cannot use."""

import errno
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from eeg.datasets import open_corpus
from eeg.datasets.fingerprint import file_hash
from eeg.detector.model_file import load_detector
from eeg.disclaimers import RESEARCH_USE
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from eeg.workflows.run_folder import PARTS
from tests.helpers import without_numbers
from tests.test_eeg.test_cli.command import (
    Trained,
    bad_recording,
    eeg,
    refused,
    relabelled,
)
from trainers.files import alone

pytestmark = pytest.mark.usefixtures("few_resamples")
QUICK = ("--model", "tvgg-gap", "--augment", "none")


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


@pytest.mark.usefixtures("without_figures")
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


@pytest.mark.usefixtures("without_figures")
def test_named_subjects_are_held_out_and_a_run_is_resumed_from_nothing(cohort: Path, tmp_path: Path) -> None:
    named = sorted({entry.subject for entry in open_corpus(cohort).entries})[2:6]
    table = tmp_path / "held.tsv"
    table.write_text("\n".join(["subject", *named]) + "\n")
    options = ("--resume", "--epochs", 1, "--folds", 2, *QUICK)
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
    assert "corpus: a table of recordings, diagnoses shuffled (seed 2)" in (run / "card.md").read_text()
    detector = load_detector(run / "model.safetensors")
    assert detector.aggregation == "noisy-or"
    assert detector.training.splits.startswith("2 folds by site")
    assert json.loads((run / "run.json").read_text())["by_site"] is True


def test_one_class_only(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort, tmp_path / "copy"))
    relabelled(folder, {"*": "epilepsy"})
    assert "one class only: 8 with epilepsy, 0 controls" in refused(
        1, "train", folder, "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--folds", 5), "--folds 5: expected 5 subjects of each class, found 4"),
        (("train", "--hold-out", 0.05), "--hold-out: cannot hold out 0.05 of 8 subjects"),
        (
            ("train", "--by-site"),
            "--by-site: leaving a site out needs the site of every recording, and two; 0",
        ),
        (("compare", "--folds", 5), "--folds 5: expected 5 subjects of each class, found 4"),
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


def test_a_resumed_training_that_does_not_exist_starts_and_says_so(cohort: Path, tmp_path: Path) -> None:
    result = eeg("train", cohort, "--out", tmp_path / "new", "--resume", "--folds", 5)  # too many
    assert f"{tmp_path / 'new'}: no training to resume; it starts from the beginning." in result.stdout


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    assert "no such folder" in refused(1, "train", tmp_path / "none", "--out", tmp_path / "run")
    (tmp_path / "empty").mkdir()
    assert "unknown layout" in refused(1, "train", tmp_path / "empty", "--out", tmp_path / "run")
    (tmp_path / "a.edf").touch()
    message = refused(1, "train", tmp_path / "a.edf", "--out", tmp_path / "run")
    assert message.endswith("a.edf: an EEG recording; expected a corpus folder or a table of recordings")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("without_figures")
def test_a_bad_recording_of_a_corpus_is_excluded_and_reported(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort, tmp_path / "copy"))
    first = sorted(folder.glob("sub-*/eeg/*.edf"))[0]
    first.write_bytes(first.read_bytes()[:-4000])
    result = eeg("train", folder, "--out", tmp_path / "run", "--epochs", 1, "--folds", 2, *QUICK)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert first.name in line
    assert line.endswith("the recording is left out")
    assert "7 subjects" in result.stdout
    assert load_detector(tmp_path / "run" / "model.safetensors").training.subjects == 7


@pytest.mark.usefixtures("without_figures")
def test_an_unannotated_corpus_has_recording_labels_only(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort, tmp_path / "copy"))
    for events in folder.glob("sub-*/eeg/*_events.tsv"):
        events.unlink()
    options = ("--epochs", 1, "--folds", 2, *QUICK)
    result = eeg("train", folder, "--out", tmp_path / "a", "--labels", "events", *options)
    assert result.exit_code == 1
    assert "use --labels recording" in result.stderr
    result = eeg("train", folder, "--out", tmp_path / "b", *options)
    assert result.exit_code == 0
    assert "labels: recording, windows of 10 s" in result.output


@pytest.mark.slow
def test_the_paper_preset_end_to_end(cohort: Path, tmp_path: Path) -> None:
    options = ("--preset", "paper", "--labels", "recording", "--model", "tvgg", "--epochs", 1, "--folds", 2)
    assert eeg("train", cohort, "--out", tmp_path / "run", *options).exit_code == 0
    detector = load_detector(tmp_path / "run" / "model.safetensors")
    assert detector.preprocessing == Preprocessing.paper(TEN_TWENTY)
    assert (detector.aggregation, detector.window) == ("mean-probability", 10.0)
    assert sum(p.numel() for p in detector.network.parameters()) == 33_425
