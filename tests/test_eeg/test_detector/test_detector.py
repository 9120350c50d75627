"""The saved detector: the same scores after loading, one clear line for other files, no hidden content."""

import json
import pickletools
from dataclasses import asdict, replace
from pathlib import Path

import mne
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.special import expit
from torch import nn

from eeg.detector.detector import Detector, load_detector, network_logits, save_detector
from eeg.detector.provenance import Provenance
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from trainers.errors import DataError
from trainers.provenance import from_plain


@pytest.fixture
def raw() -> mne.io.RawArray:
    data = 2e-5 * np.random.default_rng(0).normal(size=(19, 20 * 128))
    return mne.io.RawArray(data, mne.create_info(list(TEN_TWENTY), 128.0, "eeg"), verbose="error")


@pytest.fixture
def saved(detector: Detector, tmp_path: Path) -> Path:
    save_detector(detector, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_loaded_detector_answers_bit_for_bit_the_same(
    detector: Detector, saved: Path, raw: mne.io.RawArray
) -> None:
    again = load_detector(saved)
    found = detector.prepare(detector.open(raw)).windows
    windows = found.data
    np.testing.assert_array_equal(again.prepare(again.open(raw)).windows.data, windows)
    np.testing.assert_array_equal(again.logits(windows), detector.logits(windows))
    one, other = (d.decide(found, d.logits(windows), 0.1) for d in (again, detector))
    assert one.score == other.score
    assert replace(again, network=detector.network) == detector
    assert not again.network.training


@pytest.mark.parametrize("model", ["tvgg", "tvgg-gap"])
@pytest.mark.parametrize("settings", [Preprocessing(("Cz", "O2")), Preprocessing.paper(("Cz", "O2", "T7"))])
def test_every_model_and_preset_survives(
    detector: Detector, tmp_path: Path, model: str, settings: Preprocessing
) -> None:
    network = build_model(model, len(settings.channels), round(0.5 * settings.sfreq))
    whole = replace(detector, network=network, model=model, preprocessing=settings, window=0.5)
    save_detector(whole, tmp_path / "m.safetensors")
    again = load_detector(tmp_path / "m.safetensors")
    assert again.preprocessing == settings
    for name, value in network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)


def test_a_decision_is_the_calibrated_sigmoid_of_the_aggregated_logits(
    detector: Detector, raw: mne.io.RawArray
) -> None:
    found = detector.prepare(detector.open(raw)).windows
    windows, onset = found.data, found.onset
    assert windows.shape == (10, 19, 256)
    np.testing.assert_allclose(onset, 2.0 * np.arange(10))
    with torch.no_grad():
        logits = [float(detector.network(torch.from_numpy(w[None]))) for w in windows]
    decision = detector.decide(found, detector.logits(windows))
    np.testing.assert_allclose(decision.window_logit, logits, rtol=1e-4, atol=1e-6)
    raw_logit = 1.5 * max(logits) - 0.25  # 8 % of ten windows are one
    assert decision.logit == pytest.approx(raw_logit, rel=1e-4)
    assert decision.score == pytest.approx(float(expit(raw_logit)), rel=1e-4)
    assert decision.prevalence == 0.4
    moved = detector.decide(found, detector.logits(windows), 0.02)
    odds = np.exp(raw_logit) / (0.4 / 0.6) * (0.02 / 0.98)
    assert moved.score == pytest.approx(odds / (1 + odds), rel=1e-4)
    assert moved.prevalence == 0.02


def test_two_scores_are_the_log_odds_of_the_second_class() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 2))
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    p = torch.softmax(network(torch.from_numpy(x)), 1).detach().double().numpy()
    np.testing.assert_allclose(network_logits(network, x, batch=2), np.log(p[:, 1] / p[:, 0]), atol=1e-5)


def test_logits_are_those_of_evaluation_even_of_a_network_in_training(detector: Detector) -> None:
    x = np.random.default_rng(0).normal(size=(4, 19, 256)).astype(np.float32)
    before = detector.logits(x)
    detector.network.train()
    np.testing.assert_array_equal(detector.logits(x), before)


# --- what is in the file


def test_the_file_is_weights_and_json_and_no_pickle(detector: Detector, saved: Path) -> None:
    blob = saved.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["eeg.detector"])
    assert facts["preprocessing"]["channels"] == list(TEN_TWENTY)
    assert facts["calibration"] == json.loads(json.dumps(asdict(detector.calibration)))
    assert from_plain(Provenance, facts["training"]) == detector.training
    tensors = {name for name in header if name != "__metadata__"}
    assert tensors == set(detector.network.state_dict())
    with pytest.raises(ValueError, match=r"opcode|exhausted"):
        list(pickletools.genops(blob))


def test_it_appears_whole_or_not_at_all(
    detector: Detector, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def half(weights: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eeg.detector.detector.save_file", half)
    with pytest.raises(DataError, match=r"model\.safetensors cannot be written \(No space left"):
        save_detector(detector, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_not_there(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        save_detector(detector, tmp_path / "none" / "m.safetensors")


# --- what is refused


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_detector(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="no such file"):
        load_detector(tmp_path)
    for content in (b"", b"hello", b"a text file of more than eight bytes\n" * 50):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(DataError, match=r"text: not a safetensors file"):
            load_detector(tmp_path / "text")
    with pytest.raises(DataError, match="no such file"):
        load_detector(str(tmp_path))
    save_file({"w": torch.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(DataError, match="contains weights but no detector"):
        load_detector(tmp_path / "foreign")


def rewritten(saved: Path, change: object) -> Path:
    """Save the file's weights again with its facts changed, or replaced if ``change`` is a text."""
    with safe_open(str(saved), framework="pt") as file:
        facts = json.loads(file.metadata()["eeg.detector"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = change if isinstance(change, str) else json.dumps({**facts, **change})  # type: ignore[dict-item]
    save_file(weights, saved, metadata={"eeg.detector": text})
    return saved


@pytest.mark.parametrize("version", [0, 1, 2, "3", None])
def test_another_format_is_refused(saved: Path, version: object) -> None:
    with pytest.raises(DataError, match=rf"detector format {version}, this version reads 3; train it again"):
        load_detector(rewritten(saved, {"format": version}))


@pytest.mark.parametrize(
    "change",
    [
        "{not json",
        "[]",
        "null",
        '{"format": 3}',
        {"model": "resnet"},
        {"window": "long"},
        {"window": 0.05},
        {"preprocessing": {"channels": ["Cz"]}},
        {"preprocessing": {"channels": list(TEN_TWENTY), "colour": "red"}},
        {"preprocessing": {"channels": list(TEN_TWENTY[:5])}},  # its weights are for 19
        {"calibration": {"slope": 1.0}},
        {"aggregation": "median"},
        {"gate": {"centre": {}}},
        {"quality": "lenient"},
        {"labels": "guessed"},
    ],
)
def test_a_damaged_header_is_refused_in_one_line(saved: Path, change: object) -> None:
    with pytest.raises(DataError, match=r"model\.safetensors: .*damaged") as caught:
        load_detector(rewritten(saved, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("policy", ["keep", "exclude", "strict"])
def test_what_windows_may_not_touch_travels_in_the_file(
    detector: Detector, saved: Path, policy: Policy
) -> None:
    save_detector(replace(detector, quality=policy), saved)
    assert load_detector(saved).quality == policy


def test_a_file_without_a_quality_policy_has_the_default(saved: Path) -> None:
    with safe_open(str(saved), framework="pt") as file:
        facts = json.loads(file.metadata()["eeg.detector"])
    del facts["quality"]
    assert load_detector(rewritten(saved, json.dumps(facts))).quality == "exclude"


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a safetensors file"):
        load_detector(saved)


def test_code_that_a_file_names_is_run_only_if_it_is_allowed(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_detected.py").write_text(
        "from pathlib import Path\n"
        "from eeg.models.tvgg import TVGG\n"
        "Path(__file__).with_suffix('.ran').touch()\n"
        "def net(c, t, k):\n"
        "    return TVGG(c, t, k, gap=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    save_detector(replace(detector, model="mine_detected:net"), tmp_path / "m.safetensors")
    for allowed in (None, "eeg.models.tvgg:TVGG"):
        with pytest.raises(
            DataError, match="code, add network='mine_detected:net' \\(--network mine_detected:net\\)"
        ):
            load_detector(tmp_path / "m.safetensors", allowed)
    assert not (tmp_path / "mine_detected.ran").exists()
    windows = np.random.default_rng(0).normal(size=(3, 19, 256)).astype(np.float32)
    loaded = load_detector(str(tmp_path / "m.safetensors"), "mine_detected:net")
    np.testing.assert_array_equal(loaded.logits(windows), detector.logits(windows))


def test_code_that_cannot_be_imported_is_named_with_the_remedy(detector: Detector, tmp_path: Path) -> None:
    save_detector(replace(detector, model="not_installed:net"), tmp_path / "model.safetensors")
    with pytest.raises(
        DataError, match=r"No module named 'not_installed'.*install the module or set PYTHONPATH"
    ):
        load_detector(tmp_path, "not_installed:net")
    save_detector(replace(detector, model="torch.nn:Linear"), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"do not fit the network that torch\.nn:Linear returns"):
        load_detector(tmp_path, "torch.nn:Linear")


def test_settings_of_a_foreign_network_are_refused_in_one_line(detector: Detector) -> None:
    def make(network: object = nn.Flatten(), window: float = 2.0, **settings: str) -> Detector:
        return Detector.from_network(network, preprocessing=detector.preprocessing, window=window, **settings)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"network is a function; expected a torch\.nn\.Module"):
        make(lambda x: x)
    for window in (-2.0, 0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"window is {window} s; expected a positive length"):
            make(window=window)
    with pytest.raises(ValueError, match="labels 'found' are now called 'pseudo'"):
        replace(detector, labels="found")
    with pytest.raises(TypeError, match=r"recording is a ndarray; expected a path or an mne\.io\.Raw"):
        detector.open(np.zeros((19, 256)))  # type: ignore[arg-type]
