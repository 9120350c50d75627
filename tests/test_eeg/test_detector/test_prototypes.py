"""Training windows stored in a detector: their choice, their similarity, and that they contain no names."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from eeg.cli.main import main
from eeg.datasets import open_corpus
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector, save_detector
from eeg.detector.prototypes import Prototypes, _central, choose
from eeg.explanation.attribution import Montage
from eeg.explanation.explain import Check, Explanation
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import find_similar
from eeg.workflows.detect import detect
from tests.test_eeg.helpers import SCHEMA
from trainers.errors import DataError

MONTAGE = Montage(("T7", "Cz"), 32.0)
NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(64, 1)).eval()  # what its readout is given is the window


def windows(number: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, 2, 32, generator=torch.Generator().manual_seed(seed))


def kept(number: int = 6) -> Prototypes:
    y = (torch.arange(40) % 3 == 0).float()[:, None]
    return choose(NETWORK, windows(40), y, number, seed=0)


def within(chosen: torch.Tensor, windows: torch.Tensor) -> list[int]:
    """Return which of ``windows`` the chosen ones are."""
    return [int(torch.nonzero((windows == one).all((1, 2)))[0, 0]) for one in chosen]


def test_windows_are_kept_of_both_classes_and_are_those_of_the_class() -> None:
    found = kept()
    epilepsy, control = within(found.epilepsy, windows(40)), within(found.control, windows(40))
    assert len(set(epilepsy)) == len(set(control)) == 6
    assert all(i % 3 == 0 for i in epilepsy)
    assert all(i % 3 for i in control)


def test_of_fewer_windows_all_are_kept() -> None:
    y = torch.tensor([[1.0], [0.0], [1.0]])
    found = choose(NETWORK, windows(3), y, 8, seed=0)
    assert within(found.epilepsy, windows(3)) == [0, 2]
    assert within(found.control, windows(3)) == [1]


def test_equal_windows_are_one_group() -> None:
    """scikit-learn warns of more groups than distinct points."""
    points = np.repeat(np.eye(3), 4, axis=0)
    assert _central(points, 5, seed=0).tolist() == [0, 4, 8]


def test_each_kind_of_window_has_a_prototype() -> None:
    """Three directions far apart, with a little noise on each: one window of each is stored."""
    kinds = torch.eye(64)[[3, 17, 40]].view(3, 2, 32)
    x = kinds[torch.arange(60) % 3] + 0.01 * windows(60)
    found = choose(NETWORK, x, torch.ones(60, 1), 3, seed=0)
    assert {i % 3 for i in within(found.epilepsy, x)} == {0, 1, 2}


def test_the_nearest_is_the_one_with_the_smallest_angle_written_out() -> None:
    recording, found = windows(5, seed=1), kept()
    spans = [(104, 120), (24, 56)]
    compared = find_similar(NETWORK, found, recording.numpy(), spans, MONTAGE)
    for one, number, onset in zip(compared, (3, 1), (0.25, -0.25), strict=True):
        np.testing.assert_array_equal(one.window, recording[number])
        assert one.onset == pytest.approx(onset)
        for neighbour, held in ((one.epilepsy, found.epilepsy), (one.control, found.control)):
            cosines = [
                float(recording[number].flatten() @ other.flatten() / recording[number].norm() / other.norm())
                for other in held
            ]
            assert neighbour.number == 1 + int(np.argmax(cosines))
            assert neighbour.similarity == pytest.approx(max(cosines), abs=1e-6)
            np.testing.assert_array_equal(neighbour.window, held[neighbour.number - 1])


def test_the_nearest_of_a_training_window_is_itself() -> None:
    found = kept()
    spans = [(32 * i + 8, 32 * i + 24) for i in range(6)]
    compared = find_similar(NETWORK, found, found.epilepsy.numpy(), spans, MONTAGE)
    assert [one.epilepsy.number for one in compared] == [1, 2, 3, 4, 5, 6]
    assert [one.epilepsy.similarity for one in compared] == pytest.approx([1.0] * 6)
    assert all(one.control.similarity < 0.9 for one in compared)
    assert all(one.epilepsy.similarity <= 1 for one in compared)


def test_what_moves_the_network_most_is_marked_in_the_neighbours() -> None:
    """The logit is the sum over a quarter of a second from 0.5 s on: only that can speak for epilepsy."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = nn.Linear(64, 1, bias=False)
            weight = torch.zeros(2, 32)
            weight[:, 16:24] = 1.0
            self.readout.weight = nn.Parameter(weight.view(1, 64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logit: torch.Tensor = self.readout(x.flatten(1))
            return logit

    ones = torch.ones(1, 2, 32)
    (found,) = find_similar(Sum(), Prototypes(ones, -ones), ones.numpy(), [(16, 24)], MONTAGE)
    assert found.control.strongest is None, "what lowers the logit is no evidence for epilepsy"
    assert found.epilepsy.strongest is not None
    onset, duration = found.epilepsy.strongest
    assert onset <= 0.5 + 0.125
    assert onset + duration >= 0.75 - 0.125
    assert duration <= 0.5


def test_without_segments_nothing_is_compared() -> None:
    assert find_similar(NETWORK, kept(), windows(5).numpy(), [], MONTAGE) == ()


# --- in the file, and from the command line


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def keeping(detector: Detector) -> Detector:
    x = torch.randn(6, 19, 256, generator=torch.Generator().manual_seed(0))
    return replace(detector, prototypes=Prototypes(x[:2], x[2:]))


def test_they_survive_in_the_file_and_the_network_answers_as_before(
    keeping: Detector, tmp_path: Path
) -> None:
    save_detector(keeping, tmp_path / "model.safetensors")
    again = load_detector(tmp_path / "model.safetensors")
    assert again.prototypes is not None
    assert keeping.prototypes is not None
    assert torch.equal(again.prototypes.epilepsy, keeping.prototypes.epilepsy)
    assert torch.equal(again.prototypes.control, keeping.prototypes.control)
    x = keeping.prototypes.control.numpy()
    np.testing.assert_array_equal(again.logits(x), keeping.logits(x))
    save_detector(replace(keeping, prototypes=None), tmp_path / "none.safetensors")
    assert load_detector(tmp_path / "none.safetensors").prototypes is None


@pytest.mark.parametrize("shape", [(2, 19, 255), (2, 18, 256), (0, 19, 256), (2, 256)])
def test_what_is_no_window_of_the_network_is_refused(
    keeping: Detector, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    assert keeping.prototypes is not None
    wrong = replace(keeping.prototypes, control=torch.zeros(shape))
    save_detector(replace(keeping, prototypes=wrong), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="damaged"):
        load_detector(tmp_path / "model.safetensors")


@pytest.mark.slow
def test_a_training_stores_them_on_request_without_names(cohort: Path, tmp_path: Path) -> None:
    listing = tmp_path / "people.csv"
    rows = []
    for number, entry in enumerate(open_corpus(cohort).entries):
        for file in entry.path.parent.glob(f"{entry.path.stem.removesuffix('_eeg')}*"):
            shutil.copy(file, tmp_path / f"Zebulon{number}{file.name[file.name.rindex('_') :]}")
        rows.append(f"Zebulon{number}_eeg.edf,Mueller{number},{entry.label}")
    listing.write_text("\n".join(["path,subject,label", *rows]) + "\n")
    options = ["--labels", "recording", "--window", "2", "--rule", "frozen", "--epochs", "1", "--folds", "2"]
    out = tmp_path / "run"
    done = run("train", listing, "--out", out, *options, "--prototypes", "2")
    assert done.exit_code == 0, done.output
    kept = load_detector(out / "model.safetensors").prototypes
    assert kept is not None
    assert (len(kept.epilepsy), len(kept.control)) == (2, 2)
    assert json.loads((out / "run.json").read_text())["prototypes"] == 2
    for name in (b"zebulon", b"mueller"):
        assert name not in (out / "model.safetensors").read_bytes().lower()


def test_a_network_without_a_linear_readout_is_refused_before_loading(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eeg.workflows.train.load_corpus", lambda *args, **how: pytest.fail("loaded"))
    done = run("train", cohort, "--out", tmp_path / "run", "--rule", "mono-forward", "--prototypes", "2")
    assert done.exit_code == 2
    assert "has no linear readout" in done.output
    assert not (tmp_path / "run").exists()


def test_a_detection_sets_segments_beside_them(
    detector: Detector, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = sorted(cohort.glob("sub-*/eeg/*_eeg.edf"))[0]
    windows = detector.prepare(detector.open(recording)).windows
    y = (torch.arange(len(windows.data)) % 2)[:, None]
    kept = choose(detector.network, torch.from_numpy(windows.data), y, 99, seed=0)  # all of them
    shown = Segment(4.5, 0.5, ("Cz",), 1.0, 0.1)  # in the third window, the second of those with y = 0
    times = np.arange(windows.data.size // 19) / 128.0
    explanation = Explanation(
        "grad-cam",
        (shown,),
        times,
        np.ones(len(times)),
        check=Check(1.0, 0.0, "phase"),
        spans=((576, 640),),
        effects=np.ones((1, 19)),
        contribution=np.ones(len(windows.data)),
    )
    monkeypatch.setattr("eeg.workflows.analyse.explain", lambda *args, **options: explanation)
    out = tmp_path / "out"
    options = ExplanationOptions("grad-cam")
    folder = detect(replace(detector, prototypes=kept), recording, out, options).folder
    result = json.loads((folder / "result.json").read_text())
    jsonschema.validate(result, SCHEMA)
    (segment,) = result["explanation"]["segments"]
    assert segment["most_similar"]["control"] == {"prototype": 2, "similarity": pytest.approx(1.0)}
    assert segment["most_similar"]["epilepsy"]["similarity"] < 1
    assert set(result["explanation"]["faithfulness"]) == {"grad-cam", "random"}
    assert len(result["windows"]["contribution"]) == len(windows.data)
    assert "raining windows similar to segment 1" in (folder / "report.html").read_text()
