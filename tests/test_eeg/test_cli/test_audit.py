"""`eeg audit`, and the audit beside the results of `eeg train`."""

import json
from pathlib import Path

import pytest

from eeg.cli.common import echo_results
from eeg.detector.model_file import load_detector
from eeg.workflows.evaluate import plan_of
from eeg.workflows.train import read_results
from tests.test_eeg.test_cli.command import (
    Trained,
    eeg,
)

pytestmark = pytest.mark.usefixtures("few_resamples")


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
