"""The `eeg` command: its help, and one line for every mistake in its arguments."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_eeg.test_cli.command import eeg, refused


def usage(tmp_path: Path, cohort: Path, model: Path, recording: Path) -> dict[str, tuple[object, ...]]:
    train = ("train", cohort, "--out", tmp_path / "new")
    detect = ("detect", model, recording, "--out", tmp_path / "new")
    return {
        "did you mean 'oja'": (*train, "--rule", "ojja"),
        "did you mean 'tvgg'": (*train, "--model", "tvg"),
        "--model shallow, --window 2: ": (*train, "--rule", "eqprop", "--model", "shallow"),
        "eeg compare DATA --model tangent-bands": (*train, "--model", "tangent-bands"),
        "--notch: a filter at 50 Hz has no effect: the band ends at 45 Hz": (*train, "--notch", "BE"),
        "--notch: unknown power-line frequency 'ZZ'": (*train, "--notch", "ZZ"),
        "--channels: channels = ('Cz', 'Cz'): expected two or more, each once": (
            *train,
            "--channels",
            "Cz,Cz",
        ),
        "--channels: unknown 'XX', ''": (*train, "--channels", "Fp1,XX,"),
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
        "--shuffle-labels: a negative control of": (*train, "--shuffle-labels", 0),
        "0 is not in the range x>=1": (*detect, "--segments", 0),
        "cannot be written": ("detect", model, recording, "--out", recording / "below"),
        "is a file": ("detect", model, recording, "--out", recording),
        "Missing option '--out'": ("detect", model, recording),
        "Missing argument 'RECORDINGS": ("detect", model, "--out", tmp_path),
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


def test_the_command_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "eeg", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: eeg [OPTIONS] COMMAND")


def test_compare_states_its_default_labels_once() -> None:
    text = " ".join(eeg("compare", "--help").output.split())
    assert "[default: recording]" in text
    assert "events if every recording is annotated" not in text


def test_a_simulation_does_not_overwrite(cohort: Path, tmp_path: Path) -> None:
    assert "new or empty folder" in refused(2, "simulate", cohort)
    result = eeg("simulate", tmp_path / "c", "--subjects", 2, "--minutes", 1)
    assert result.exit_code == 0
    assert len(list((tmp_path / "c").glob("sub-*/eeg/*.edf"))) == 2


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
