"""The saved detector: the same scores after loading, one clear line for other files, no hidden content."""

import copy
import json
import math
import pickletools
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import expit
from torch import Tensor, nn

import eeg.detector.detector as module
from eeg.detector.detector import Detector, network_logits
from eeg.detector.model_file import load_detector, save_detector
from eeg.detector.novelty import fit_novelty, statistics
from eeg.detector.provenance import Provenance, printable
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from eeg.preprocessing.recording import open_recording
from tests.test_eeg.helpers import read_model, untrained_detector, write_model
from trainers.errors import DataError
from trainers.provenance import from_plain

HALF_IN_DOUBLE = {"control": torch.float32, "epilepsy": torch.float64}


@pytest.fixture
def raw() -> mne.io.RawArray:
    data = 2e-5 * np.random.default_rng(0).normal(size=(19, 20 * 128))
    return mne.io.RawArray(data, mne.create_info(list(TEN_TWENTY), 128.0, "eeg"), verbose="error")


@pytest.fixture
def saved(detector: Detector, tmp_path: Path) -> Path:
    gate = fit_novelty([statistics(np.random.default_rng(0).normal(size=(2, 19, 256)), 128.0)])
    save_detector(replace(detector, gate=gate), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("reference", ["average", "mastoids"])
def test_ears_are_read_where_they_are_the_reference(
    reference: str, detector: Detector, tmp_path: Path
) -> None:
    names = [*TEN_TWENTY, "A1", "A2"]
    raw = mne.io.RawArray(np.zeros((21, 256)), mne.create_info(names, 128.0, "eeg"), verbose="error")
    raw.save(tmp_path / "ears_raw.fif", verbose="error")
    other = replace(detector, preprocessing=Preprocessing(TEN_TWENTY, reference=reference))  # type: ignore[arg-type]
    found = other.open(tmp_path / "ears_raw.fif").raw.ch_names
    assert found == (names if reference == "mastoids" else list(TEN_TWENTY))
    assert open_recording(tmp_path / "ears_raw.fif").raw.ch_names == list(TEN_TWENTY)


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
    assert again.gate is not None
    assert replace(again, network=detector.network, gate=None) == detector
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

    monkeypatch.setattr("eeg.detector.model_file.save_file", half)
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
    """Write the file again with some of its settings changed, or replaced if ``change`` is a text."""
    facts, tensors = read_model(saved)
    write_model(saved, {**facts, **change} if isinstance(change, dict) else change, tensors)
    return saved


@pytest.mark.parametrize("version", [0, 1, 5, 7, None])
def test_another_format_is_refused(saved: Path, version: object) -> None:
    with pytest.raises(DataError, match=rf"detector format {version}, this version reads 6; train it again"):
        load_detector(rewritten(saved, {"format": version}))


def with_field(facts: Any, path: str, value: object) -> Any:
    """Return the settings with the value at a dotted path replaced, or removed if it is ``...``."""
    facts = copy.deepcopy(facts)
    *parents, last = path.split(".")
    place = facts
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return facts


DAMAGED: list[tuple[str, object, str]] = [
    *((path, ..., "missing") for path in ("model", "gate", "quality", "readout", "training.seed")),
    *((path, ..., "missing") for path in ("calibration.conformal", "preprocessing.reference")),
    ("format", "4", "format unknown"),
    ("format", True, "format True"),
    ("colour", "red", "unknown field 'colour'"),
    ("preprocessing.colour", "red", "preprocessing: unknown field 'colour'"),
    ("preprocessing.sfrq", 128, "preprocessing: unknown field 'sfrq'; expected sfreq"),
    ("model", "resnet", "model: expected"),
    ("model", "a b:c; d", "model: expected"),
    ("model", 5, "model: expected a text"),
    *(("window", value, "window: expected a number") for value in ("long", True, None, [2.0], 10**400)),
    *(("window", value, "window: expected a length") for value in (-1.0, 0.0, 1e9, math.nan, math.inf)),
    ("window", 0.05, "at least 64 samples"),
    ("labels", "guessed", "labels: expected one of 'events'"),
    ("labels", ["events"], "labels: expected one of 'events'"),
    ("quality", "lenient", "quality: expected one of 'keep'"),
    ("aggregation", "median", "unknown aggregation 'median'"),
    ("readout", "oja", "'oja' has no readout of its own"),
    ("readout", "none such", "none such"),
    ("preprocessing", ["Cz"], "preprocessing: expected an object"),
    ("preprocessing.channels", "Cz", "channels: expected a list"),
    ("preprocessing.channels", ["Cz"], "expected two or more, each once"),
    ("preprocessing.channels", ["Cz", "Cz"], "expected two or more, each once"),
    ("preprocessing.channels", ["Cz", "$x_1$"], "expected electrodes"),
    (
        "preprocessing.channels",
        list(TEN_TWENTY[:5]),
        r"weights '0\.1\.weight': .*\(16, 19, 1, 3\), expected .*5",
    ),
    *(("preprocessing.sfreq", value, "preprocessing") for value in (-1.0, 0, math.nan, math.inf, 1e9)),
    *(("preprocessing.low", value, "preprocessing") for value in (-1.0, 0, math.nan, 64.0)),
    *(("preprocessing.notch", value, "notch") for value in (-50.0, 0, 1e-9, math.nan, math.inf)),
    *(("preprocessing.scale", value, "scale") for value in (-1.0, 0, math.nan, math.inf, 1e300)),
    ("preprocessing.reference", "nose", "reference: expected one of 'average'"),
    ("calibration", None, "calibration: expected an object"),
    *(("calibration.slope", value, "slope") for value in ("x", -1.0, math.nan, math.inf)),
    *(("calibration.intercept", value, "intercept") for value in ([], math.nan, -math.inf)),
    *(("calibration.prevalence", value, "prevalence") for value in ({}, -0.1, 0, 1, 1.5, math.nan)),
    *(("calibration.n", value, r"calibration") for value in (-1, 20.0, 21, "20")),
    ("calibration.conformal.epilepsy", 5, "conformal.epilepsy: expected a list"),
    ("calibration.conformal.epilepsy.0", "x", r"conformal.epilepsy\[0\]: expected a number"),
    ("calibration.conformal.control.3", math.nan, "expected finite scores"),
    ("gate", [], "gate: expected an object"),
    ("gate", {"centre": {"a": 0.0}, "spread": {"a": 1.0}, "limit": 1.0, "n": 3}, "gate: expected the stat"),
    ("gate.centre", {}, "centre and spread: expected the same statistics"),
    ("gate.centre.kurtosis", "x", r"gate.centre\['kurtosis'\]: expected a number"),
    ("gate.centre.kurtosis", math.inf, "centre: expected finite numbers"),
    *(("gate.spread.kurtosis", value, "gate: spread") for value in (0, -1.0, math.nan)),
    *(("gate.limit", value, "limit") for value in (-1.0, math.nan, math.inf)),
    *(("gate.n", value, "n") for value in (0, -3, 2.5)),
    ("training", 1, "training: expected an object"),
    ("training.corpus", "a\nb", "training.corpus.*printable"),
    ("training.corpus", "\x1b[2J\x1b[1;1H", "training.corpus.*printable"),
    ("training.corpus", "a\u202eb", "training.corpus.*printable"),
    ("training.corpus", "\ud800", "training.corpus.*printable"),
    ("training.versions", {"a\nb": "1"}, "training.versions.*printable"),
    ("training.corpus", 10_000 * "x", "training.corpus.*at most 300"),
    ("readout", 10_000 * "x", "settings.readout.*at most 300"),
    ("training.simulated", "false", "simulated: expected true or false"),
    ("training.subjects", -1, "epilepsy: expected a number of the subjects"),
    ("training.epilepsy", 21, "epilepsy: expected a number of the subjects"),
    ("training.seed", -1, "seed: expected a number not below 0"),
    ("training.recordings", "ab", "recordings: expected a list"),
    ("training.recordings", ["Jane Doe"], "recordings: expected digests"),
    ("training.signals", ["Jane Doe"], "signals: expected digests"),
    ("training.versions", {"torch": 2}, r"training.versions\['torch'\]: expected a text"),
    ("training.results", {"other": None}, "results"),
    ("training.results", {"held_out": {"subjects": 3}}, "training.results.*missing"),
]


@pytest.mark.parametrize(("path", "value", "problem"), DAMAGED)
def test_a_damaged_setting_is_refused_in_one_line_that_names_it(
    saved: Path, path: str, value: object, problem: str
) -> None:
    facts, tensors = read_model(saved)
    write_model(saved, with_field(facts, path, value), tensors)
    with pytest.raises(DataError, match=rf"model\.safetensors: .*{problem}") as caught:
        load_detector(saved)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("{not json", "Expecting property name"),
        ("[]", "expected settings with named fields"),
        ("null", "expected settings with named fields"),
        ('{"format": 6}', "missing"),
        ('{"format": 6, "format": 6}', "'format' is there twice"),
        ('{"format": ' + 5000 * "1" + "}", "integer string conversion"),
        ('{"format": 6, "training": ' + 100_000 * "[" + 100_000 * "]" + "}", "nested too deeply"),
    ],
)
def test_settings_that_are_not_those_of_a_detector_are_refused(
    saved: Path, header: str, problem: str
) -> None:
    with pytest.raises(DataError, match=rf"model\.safetensors: damaged: .*{problem}"):
        load_detector(rewritten(saved, header))


def test_every_flipped_bit_is_noticed(saved: Path) -> None:
    blob, rng = bytearray(saved.read_bytes()), np.random.default_rng(0)
    tensors = 8 + int.from_bytes(blob[:8], "little")
    places = [*rng.integers(0, tensors, 100), *rng.integers(tensors, len(blob), 100), len(blob) - 1]
    for place in places:
        bit = 1 << int(rng.integers(8))
        blob[place] ^= bit
        saved.write_bytes(blob)
        with pytest.raises(DataError, match=r"model\.safetensors: "):
            load_detector(saved)
        blob[place] ^= bit


def test_weights_that_do_not_fit_the_settings_are_refused_before_memory_is_taken(
    detector: Detector, tmp_path: Path
) -> None:
    saved = tmp_path / "model.safetensors"
    save_detector(replace(detector, network=build_model("tvgg", 19, 256), model="tvgg"), saved)
    facts, tensors = read_model(saved)
    built: list[torch.device] = []
    write_model(saved, {**facts, "window": 4096.0}, tensors)  # whose dense layer has 4 million weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "reset_parameters", lambda layer: built.append(layer.weight.device))
        with pytest.raises(DataError, match=r"weights '6\.1\.weight': .*expected .*\(16, 262144\)"):
            load_detector(saved)
    assert {device.type for device in built} == {"meta"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.pop("0.1.bias"), r"weights '0\.1\.bias': none, expected torch.float32 of shape \(16,\)"),
        (
            lambda t: t.update(more=torch.zeros(2)),
            r"weights 'more': torch.float32 of shape \(2,\), expected none",
        ),
        (
            lambda t: t.update({"0.1.bias": torch.zeros(16).double()}),
            r"torch.float64 of shape \(16,\), expected",
        ),
        (lambda t: t["0.1.bias"][3].fill_(math.nan), r"0\.1\.bias: expected finite values"),
        (lambda t: t["5.1.running_var"].fill_(math.inf), r"5\.1\.running_var: expected finite values"),
        (
            lambda t: t.update({"prototypes.control": torch.zeros(2, 19, 256)}),
            "prototypes: .* of both classes",
        ),
        (
            lambda t: t.update(
                {f"prototypes.{c}": torch.zeros(2, 19, 256).to(d) for c, d in HALF_IN_DOUBLE.items()}
            ),
            "prototypes: .* of both classes, float32",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_network_are_refused(
    saved: Path, change: Callable[[dict[str, Tensor]], object], problem: str
) -> None:
    facts, tensors = read_model(saved)
    change(tensors)
    write_model(saved, facts, tensors)
    with pytest.raises(DataError, match=problem):
        load_detector(saved)


def test_scores_that_are_not_finite_are_refused(detector: Detector) -> None:
    x = np.zeros((3, 19, 256), np.float32)
    with torch.no_grad():
        detector.network[5][1].running_var.fill_(-1.0)  # type: ignore[index, operator, union-attr]
    with pytest.raises(DataError, match="not finite"):
        detector.logits(x)
    x[1, 0, 0] = np.nan  # of three windows
    with pytest.raises(DataError, match="not finite"):
        network_logits(nn.Sequential(nn.Flatten(), nn.Linear(19 * 256, 1)), x)
    x[:] = 0
    with pytest.raises(DataError, match=r"shape \(3, 3\) for 3 windows"):
        network_logits(nn.Sequential(nn.Flatten(), nn.Linear(19 * 256, 3)), x)


def test_a_detector_has_the_same_bytes_each_time(detector: Detector, saved: Path, tmp_path: Path) -> None:
    again = load_detector(saved)
    blobs = set()
    for _ in range(8):
        save_detector(again, tmp_path / "again.safetensors")
        blobs.add((tmp_path / "again.safetensors").read_bytes())
    assert len(blobs) == 1


def test_text_that_could_act_on_a_terminal_is_not_saved(detector: Detector, tmp_path: Path) -> None:
    hostile = replace(detector, training=replace(detector.training, corpus="a\x1b[2Jb"))
    with pytest.raises(ValueError, match=r"training\.corpus.*printable"):
        save_detector(hostile, tmp_path / "m.safetensors")
    assert printable("a\x1b[2J\u202eb\n") == "a [2J b "


@pytest.mark.parametrize("policy", ["keep", "exclude", "strict"])
def test_what_windows_may_not_touch_travels_in_the_file(
    detector: Detector, saved: Path, policy: Policy
) -> None:
    save_detector(replace(detector, quality=policy), saved)
    assert load_detector(saved).quality == policy


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
        DataError,
        match=r"safetensors: cannot import .*'not_installed'.*install the module or set PYTHONPATH",
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


def test_a_window_has_at_most_so_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST", 19 * 256)
    assert untrained_detector().shape == (19, 256)
    monkeypatch.setattr(module, "_LARGEST", 19 * 256 - 1)
    with pytest.raises(ValueError, match="window: expected a length of 1 to 255 samples"):
        untrained_detector()
