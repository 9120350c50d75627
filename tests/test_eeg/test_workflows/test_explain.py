"""`eeg explain`: what it prints and writes, and that it refuses in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from eeg.cli.main import main
from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.attribution import Montage
from eeg.explanation.explain import Check, Explanation
from eeg.explanation.faithfulness import measure_with_chance
from eeg.explanation.options import ExplanationOptions
from eeg.workflows.explain import explanation_notes, format_explanation

FIELDS = {"rank", "onset", "duration", "channels", "attribution", "change", "stability", "most_similar"}


@pytest.fixture
def model(detector: Detector, tmp_path: Path) -> Path:
    """A detector whose readout weights are not near 0."""
    with torch.no_grad():
        detector.network[-1][-1].weight.mul_(30)
    save_detector(detector, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def explained(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, words)])


def test_it_writes_ranked_segments_with_the_faithfulness_of_this_very_explanation(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    done = explained(model, recording, "--out", tmp_path / "out", "--method", "deeplift", "--batch", "16")
    assert done.exit_code == 0, done.output
    assert RESEARCH_USE in done.output
    assert NOT_A_FINDING in done.output
    (written,) = tmp_path.glob("out/*/explanation.json")
    assert (written.parent / "events.tsv").exists()
    found = json.loads(written.read_text())
    assert found["method"] == "deeplift"
    assert set(found["faithfulness"]) == {"deeplift", "random"}
    assert found["faithfulness"]["deeplift"]["infidelity"] < found["faithfulness"]["random"]["infidelity"]
    assert found["refused"] == (found["check"]["lost"] <= found["check"]["by_chance"])
    assert bool(found["segments"]) != found["refused"]
    for rank, segment in enumerate(found["segments"], 1):
        assert set(segment) == FIELDS
        assert segment["rank"] == rank
        assert 0 <= segment["stability"] <= 1
    windows = found["windows"]
    assert len(windows["contribution"]) == len(windows["onset"]) == 30
    assert min(windows["contribution"]) < max(windows["contribution"])
    losses = [segment["attribution"] for segment in found["segments"]]
    assert losses == sorted(losses, reverse=True)


def test_windows_of_a_control_can_be_the_baseline(
    model: Path, recording: Path, cohort: Path, tmp_path: Path
) -> None:
    healthy = sorted(cohort.glob("sub-*/eeg/*_eeg.edf"))[-1]
    done = explained(
        model, recording, "--out", tmp_path / "out", "--method", "grad-cam", "--healthy", healthy
    )
    assert done.exit_code == 0, done.output
    (written,) = tmp_path.glob("out/*/explanation.json")
    assert json.loads(written.read_text())["baseline"] == "healthy"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "saliency"], "'saliency' is not one of"),
        (["--baseline", "noise"], "'noise' is not one of"),
    ],
)
def test_unknown_names_are_reported(
    model: Path, recording: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    done = explained(model, recording, "--out", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert expected in done.output


def test_a_refused_explanation_states_the_reason_and_no_segments(detector: Detector) -> None:
    refused = Explanation(
        "occlusion", (), torch.arange(3).numpy(), torch.ones(3).numpy(), "zero", Check(0, 1, "phase")
    )
    text = format_explanation(refused, {})
    assert "failed its check and is not shown" in text
    assert "stable" not in text
    silent = replace(refused, check=None)
    assert "That says nothing about the patient." in format_explanation(silent, {})


def test_methods_that_do_not_add_up_are_marked() -> None:
    shown = Explanation("occlusion", (), torch.arange(3).numpy(), torch.ones(3).numpy())
    assert "do not add up" in explanation_notes(shown)[0]
    assert explanation_notes(replace(shown, method="deeplift")) == []


def test_evidence_that_is_exact_beats_random_evidence_on_a_sum(detector: Detector) -> None:
    class Total(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0.02 * x.sum((1, 2))[:, None]

    x = torch.randn(12, 19, 256, generator=torch.Generator().manual_seed(0)).numpy()
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)
    found = measure_with_chance(Total(), x, montage, ExplanationOptions("integrated-gradients"))
    exact, chance = found["integrated-gradients"], found["random"]
    assert exact.infidelity < 0.01 < chance.infidelity
    assert exact.deletion < chance.deletion
