"""The Python interface: the code of the README runs, and an external network becomes a detector."""

import math
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from torch import nn

import eeg
from eeg.io.electrodes import TEN_TWENTY
from tests.helpers import ROOT
from trainers.errors import SettingsError


def block() -> str:
    """Return the Python block of the README that trains and analyses."""
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    (found,) = [text.split("```")[0] for text in blocks if "eeg.open_corpus" in text.split("```")[0]]
    return found


@pytest.mark.usefixtures("without_figures")
def test_the_block_of_the_readme_runs(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cohort").symlink_to(cohort)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block().replace("folds=5", "folds=2, epochs=1"), names)
    run, analysis = names["run"], names["analysis"]
    assert isinstance(run, eeg.TrainingRun)
    assert run.results.subjects == 8
    assert run.results.audit is not None
    assert isinstance(analysis, eeg.RecordingAnalysis)
    assert 0 < analysis.decision.score < 1
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"cohort", "report.html"}


class Foreign(nn.Module):
    """A network of another library: any module, without knowledge of this project."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(19, 4, 9, stride=4)
        self.head = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores (N, outputs)."""
        return self.head(torch.relu(self.conv(x)).mean(-1))


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_network_trained_elsewhere_is_analysed_and_not_called_calibrated(
    outputs: int, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Foreign(outputs)
    settings = eeg.Preprocessing(TEN_TWENTY)
    detector = eeg.Detector.from_network(network, preprocessing=settings, window=2.0)
    data = 2e-5 * np.random.default_rng(0).normal(size=(19, 20 * 128))
    raw = mne.io.RawArray(data, mne.create_info(list(TEN_TWENTY), 128.0, "eeg"), verbose="error")
    analysis = eeg.analyse(detector, raw)
    scores = network(torch.from_numpy(analysis.windows.data)).detach().double().numpy()
    logits = scores[:, -1] - (scores[:, 0] if outputs == 2 else 0)
    np.testing.assert_allclose(analysis.logits, logits, atol=1e-5)
    assert analysis.decision.logit == pytest.approx(logits.mean(), abs=1e-5)
    assert analysis.decision.answer.group is None
    assert "not calibrated" in str(analysis.decision.answer)
    assert analysis.decision.interval is None
    assert analysis.model.name == "Foreign"
    assert analysis.model.calibration.startswith("none")
    analysis.report(tmp_path / "r.html")
    page = " ".join((tmp_path / "r.html").read_text(encoding="utf-8").split())
    assert "<tr><th>Training data</th><td>unknown</td></tr>" in page
    assert "It is not calibrated" in page
    assert "calibration: none" in page
    for untrue in ("At most", "n = 0", "stated prevalence", "a fraction of", "0 subjects", "eeg train"):
        assert untrue not in page, untrue


def test_a_network_of_another_shape_is_refused_and_one_without_a_name_is_not_saved(tmp_path: Path) -> None:
    settings = eeg.Preprocessing(TEN_TWENTY)
    with pytest.raises(ValueError, match=r"to \(2, 3\); expected finite logits"):
        eeg.Detector.from_network(Foreign(3), preprocessing=settings, window=2.0)
    endless = nn.Sequential(Foreign(1), nn.Threshold(math.inf, math.nan))
    with pytest.raises(ValueError, match=r"to \(2, 1\); expected finite logits"):
        eeg.Detector.from_network(endless, preprocessing=settings, window=2.0)
    assert eeg.Detector.from_network(Foreign(2), preprocessing=settings, window=2.0).shape == (19, 256)
    detector = eeg.Detector.from_network(Foreign(1), preprocessing=settings, window=2.0)
    with pytest.raises(ValueError, match=r"named 'Foreign'.*with name='package\.module:function'"):
        eeg.save_detector(detector, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_former_name_of_a_setting_is_refused_with_the_present_one(cohort: Path) -> None:
    corpus = eeg.open_corpus(cohort)
    with pytest.raises(SettingsError, match="labels 'found' are now called 'pseudo'"):
        eeg.train(corpus, labels="found")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="augmentation 'flip' is now called 'sign-flip'"):
        eeg.train(corpus, augment=["flip"])
    with pytest.raises(SettingsError, match="unknown labels 'x'; expected one of events, recording"):
        eeg.train(corpus, labels="x")  # type: ignore[arg-type]
