import dataclasses
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eeg.io.electrodes import TEN_TWENTY, ear
from eeg.io.reader import read_recording
from eeg.preprocessing.line_frequency import parse_line_frequency
from eeg.preprocessing.pipeline import Preprocessing, _mixed, cleaned_signals, kernel
from eeg.preprocessing.reference import rereference
from tests.helpers import ROOT
from tests.test_eeg.helpers import clean_raw, prepare_raw, windows_from
from tests.test_eeg.recordings import DATA, needs_data
from trainers.errors import DataError

FOUR = ("Fp1", "T7", "Cz", "O2")
# Two channels of opposite sign are untouched by the average reference: what is left is the filter.
PAIR = ("C3", "C4")
SINGLE = 1e-9  # V: single precision leaves a tenth of it at 100 µV
MIRROR = np.array([[1.0], [-1.0]])


def recording(volts: np.ndarray, channels: tuple[str, ...], sfreq: float) -> mne.io.BaseRaw:
    return mne.io.RawArray(volts, mne.create_info(list(channels), sfreq, "eeg"), verbose="error")


def noise(seconds: float = 20.0, sfreq: float = 256.0, seed: int = 0) -> np.ndarray:
    return 2e-5 * np.random.default_rng(seed).standard_normal((len(FOUR), round(seconds * sfreq)))


def gain(frequency: float, sfreq: float, wanted: Preprocessing) -> float:
    """Amplitude of a sine after preprocessing over that before, away from the edges."""
    time = np.arange(round(40 * sfreq)) / sfreq
    sine = 1e-5 * np.sin(2 * np.pi * frequency * time) * MIRROR
    volts = clean_raw(recording(sine, PAIR, sfreq), wanted).get_data()
    middle = volts[0, volts.shape[1] // 4 : -volts.shape[1] // 4]
    return float(np.sqrt(2) * middle.std() / 1e-5)


@pytest.mark.parametrize("sfreq", [128.0, 160.0, 250.0, 256.0, 500.0])
def test_the_band_passes_and_the_power_line_does_not(sfreq: float) -> None:
    wanted = Preprocessing(PAIR)
    assert gain(10, sfreq, wanted) == pytest.approx(1, abs=0.01)
    assert gain(40, sfreq, wanted) == pytest.approx(1, abs=0.02)
    assert gain(50, sfreq, wanted) < 0.01  # 40 dB down
    assert gain(60, sfreq, wanted) < 0.01


@pytest.mark.parametrize(("sfreq", "rate"), [(128.0, 1024.0), (256.0, 1024.0), (500.0, 2000.0)])
def test_a_recording_is_decimated_at_most_to_four_times_the_models_rate(sfreq: float, rate: float) -> None:
    assert Preprocessing(PAIR, sfreq=sfreq).working_rate == rate


def test_what_would_alias_is_gone() -> None:
    assert gain(118, 500, Preprocessing(PAIR)) < 0.001  # 118 Hz would fold to 10 Hz at 128 Hz


@pytest.mark.parametrize("sfreq", [250.0, 256.0, 500.0])
def test_the_paper_keeps_up_to_nyquist_but_for_60_hz_and_its_multiples(sfreq: float) -> None:
    wanted = Preprocessing.paper(PAIR)
    assert gain(0.6, sfreq, wanted) == pytest.approx(1, abs=0.02)
    assert gain(100, sfreq, wanted) == pytest.approx(1, abs=0.02)
    assert gain(50, sfreq, wanted) == pytest.approx(1, abs=0.02)
    assert gain(60, sfreq, wanted) < 0.01
    assert gain(120, sfreq, wanted) < 0.01


def test_the_paper_takes_a_slow_recording_as_far_as_it_goes() -> None:
    assert gain(60.5, 128, dataclasses.replace(Preprocessing.paper(PAIR), notch=None)) == pytest.approx(
        1, abs=0.05
    )


def test_the_offset_is_gone() -> None:
    time = np.arange(256 * 40) / 256
    ten = 1e-5 * np.sin(2 * np.pi * 10 * time) * MIRROR
    with_offset, alone = (
        clean_raw(recording(volts, PAIR, 256), Preprocessing(PAIR)).get_data()
        for volts in (ten + 1e-4 * MIRROR, ten)
    )
    # a Hamming window's stop band is 53 dB down (Oppenheim and Schafer, table of common windows)
    assert np.abs(with_offset - alone).max() < 1e-4 * 10 ** (-53 / 20)


@pytest.mark.parametrize(
    ("sfreq", "band"), [(250, (0.5, 45)), (500, (0.5, 45)), (250, (0.5, 124)), (128, (0.5, 63))]
)
def test_white_noise_keeps_the_fraction_of_its_power_in_the_band(
    sfreq: int, band: tuple[float, float]
) -> None:
    wanted = (
        Preprocessing(PAIR) if band[1] == 45 else dataclasses.replace(Preprocessing.paper(PAIR), notch=None)
    )
    volts = 1e-5 * np.random.default_rng(0).standard_normal(sfreq * 300) * MIRROR
    share = clean_raw(recording(volts, PAIR, sfreq), wanted).get_data().var() / volts.var()
    assert share == pytest.approx((band[1] - band[0]) / (sfreq / 2), rel=0.08)  # 5 Hz of transition


def assert_equal_to_a_hundredth_of_a_microvolt(got: np.ndarray, expected: np.ndarray) -> None:
    """By what the stop band lets through at the new Nyquist frequency, two ways to resample may differ."""
    assert got.shape == expected.shape
    assert np.sqrt(np.mean((got - expected) ** 2)) < 1e-8
    assert np.abs(got - expected).max() < 1e-7


def test_the_same_as_mne_step_by_step() -> None:
    wanted = Preprocessing(FOUR[::-1], notch=40.0)
    volts = noise()
    reference = volts[::-1] - volts.mean(axis=0)
    filtered = mne.filter.filter_data(reference, 256, 0.5, 45, h_trans_bandwidth=5, verbose="error")
    notched = mne.filter.notch_filter(filtered, 256, [40.0], verbose="error")
    expected = mne.filter.resample(notched, up=128, down=256, npad="auto", method="fft", verbose="error")
    got = clean_raw(recording(volts, FOUR, 256), wanted)
    assert got.ch_names == list(FOUR[::-1])
    assert got.info["sfreq"] == 128
    assert_equal_to_a_hundredth_of_a_microvolt(got.get_data(), expected)


def test_channels_sum_to_zero_whatever_the_reference() -> None:
    volts = noise()
    other = volts - volts[2] + 1e-4 * np.sin(np.arange(volts.shape[1]))
    one, two = (clean_raw(recording(v, FOUR, 256), Preprocessing(FOUR)).get_data() for v in (volts, other))
    np.testing.assert_allclose(one.sum(axis=0), 0, atol=SINGLE)
    np.testing.assert_allclose(one, two, atol=SINGLE)


def test_only_the_chosen_channels_make_the_reference() -> None:
    volts = noise()
    volts[3] *= 100
    alone = prepare_raw(recording(volts[:3], FOUR[:3], 256), Preprocessing(FOUR[:3]))
    among = recording(volts, FOUR, 256)
    among.info["bads"] = ["O2"]  # not a chosen channel
    np.testing.assert_array_equal(prepare_raw(among, Preprocessing(FOUR[:3])), alone)


@given(a=st.floats(-3, 3), b=st.floats(-3, 3))
@settings(max_examples=10)
def test_cleaning_is_linear(a: float, b: float) -> None:
    one, two = noise(8, 128, seed=1), noise(8, 128, seed=2)
    together = a * one + b * two
    if np.ptp(together, axis=1).min() < 1e-6:
        return  # flat, and refused
    first, second, both = (
        clean_raw(recording(v, FOUR, 128), Preprocessing(FOUR)).get_data() for v in (one, two, together)
    )
    np.testing.assert_allclose(both, a * first + b * second, atol=SINGLE)


@given(samples=st.integers(2600, 5000), sfreq=st.sampled_from([128.0, 200.0, 250.0, 256.0]))
@settings(max_examples=10)
def test_length_follows_the_rates(samples: int, sfreq: float) -> None:
    volts = 1e-5 * np.random.default_rng(0).standard_normal((2, samples))
    prepared = prepare_raw(recording(volts, PAIR, sfreq), Preprocessing(PAIR))
    assert prepared.dtype == np.float32
    assert abs(prepared.shape[1] - samples * 128 / sfreq) <= 0.5


def test_own_scale_makes_the_unit_and_the_artefact_indifferent() -> None:
    volts = noise(120)
    plain = prepare_raw(recording(volts, FOUR, 256), Preprocessing(FOUR))
    scale = np.median(1.4826 * np.median(np.abs(plain - np.median(plain, axis=1, keepdims=True)), axis=1))
    assert scale == pytest.approx(1, rel=1e-5)
    assert plain.std() == pytest.approx(1, abs=0.1)  # 1.4826 MAD is the deviation of a Gaussian
    in_millivolts = prepare_raw(recording(1e3 * volts, FOUR, 256), Preprocessing(FOUR))
    np.testing.assert_allclose(in_millivolts, plain, rtol=1e-4, atol=1e-5)
    knocked = volts.copy()
    knocked[0, 1000:1200] += 9e-4  # below what is an artefact
    struck = prepare_raw(recording(knocked, FOUR, 256), Preprocessing(FOUR))
    assert np.abs(struck).max() == 20  # the knock is clipped
    far = slice(10 * 128, None)  # beyond the filter's ringing
    np.testing.assert_allclose(struck[:, far].std(), plain[:, far].std(), rtol=0.1)


def test_a_given_scale_multiplies_volts() -> None:
    raw = recording(noise(), FOUR, 256)
    wanted = Preprocessing.paper(FOUR)
    np.testing.assert_allclose(prepare_raw(raw, wanted), 1e5 * clean_raw(raw, wanted).get_data(), rtol=1e-6)


def test_the_recording_stays_as_it_was() -> None:
    raw = recording(noise(), FOUR, 256)
    raw.set_annotations(mne.Annotations(2.0, 0.5, "spike"))
    before = raw.get_data().copy()
    cleaned = clean_raw(raw, Preprocessing(FOUR[:2]))
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.ch_names == list(FOUR)
    assert raw.info["sfreq"] == 256
    assert [(a["onset"], a["description"]) for a in cleaned.annotations] == [(2.0, "spike")]


# --- bad input


def test_missing_channels_are_named_all_of_them() -> None:
    with pytest.raises(DataError, match=r"lacks the channels Pz, Oz; it has Fp1, T7, Cz, O2"):
        prepare_raw(recording(noise(), FOUR, 256), Preprocessing(("Fp1", "Pz", "Cz", "Oz")))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [slice(100, 101), slice(None)])
def test_channels_that_are_not_finite(value: float, where: slice) -> None:
    volts = noise()
    volts[1, where] = volts[3, where] = value
    with pytest.raises(DataError, match="not finite signal in T7, O2;"):
        prepare_raw(recording(volts, FOUR, 256), Preprocessing(FOUR))


def test_flat_channels() -> None:
    volts = noise()
    volts[2] = 3e-5
    with pytest.raises(DataError, match="flat signal in Cz;"):
        prepare_raw(recording(volts, FOUR, 256), Preprocessing(FOUR))
    prepare_raw(
        recording(volts, FOUR, 256), Preprocessing(("Fp1", "T7", "O2"))
    )  # and not asked for, no matter


def test_a_recording_with_hardly_any_signal_has_no_scale() -> None:
    volts = np.zeros((4, 60 * 256))
    volts[:, 100] = [1e-4, -1e-4, 2e-4, -3e-4]
    with pytest.raises(DataError, match="most channels are flat"):
        prepare_raw(recording(volts, FOUR, 256), Preprocessing(FOUR))


@pytest.mark.parametrize(
    "wanted", [Preprocessing(FOUR), Preprocessing.paper(FOUR), Preprocessing(FOUR, low=1.0, notch=40.0)]
)
def test_shorter_than_the_filter(wanted: Preprocessing) -> None:
    """The bound is MNE's: just above it MNE does not warn of a kernel longer than the signal."""
    with pytest.raises(DataError, match=r"6\.5 s long; expected at least 6\.6 s"):
        prepare_raw(recording(noise(6.5), FOUR, 256), wanted)
    volts = noise(6.61)  # warnings are errors here
    mne.filter.filter_data(volts, 256, wanted.low, 45, h_trans_bandwidth=5, verbose="warning")
    if wanted.notch is not None:
        mne.filter.notch_filter(volts, 256, [wanted.notch], verbose="warning")
    assert np.isfinite(prepare_raw(recording(volts, FOUR, 256), wanted)).all()


@pytest.mark.parametrize("low", [0.1, 0.5, 2.0, 5.0, 12.0])
@pytest.mark.parametrize("sfreq", [256, 500])
def test_the_kernel_is_as_long_as_that_of_mne(low: float, sfreq: int) -> None:
    raw = recording(noise(20, sfreq), FOUR, sfreq)
    response = mne.filter.create_filter(None, sfreq, low, 45, h_trans_bandwidth=5, verbose="error")
    found = kernel(raw, Preprocessing(FOUR, low=low))
    assert found * sfreq == pytest.approx(len(response), abs=2)  # an odd number of samples


def test_sampled_too_slowly() -> None:
    with pytest.raises(DataError, match="sampled at 64 Hz; expected at least 92 Hz"):
        prepare_raw(recording(noise(20, 64), FOUR, 64), Preprocessing(FOUR))


def test_the_message_names_the_file(tmp_path: Path) -> None:
    recording(noise(3), FOUR, 256).save(tmp_path / "short_raw.fif", verbose="error")
    with pytest.raises(DataError, match=r"short_raw\.fif: 3\.0 s long"):
        prepare_raw(read_recording(tmp_path / "short_raw.fif"), Preprocessing(FOUR))


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ("Cz",)},
        {"channels": ("Cz", "Cz")},
        {"low": 0.0},
        {"low": 45.0},
        {"low": 50.0},
        {"notch": 9.9},
        {"notch": np.inf},
        {"high": 65.0},
        {"high": 63.5},
    ],
)
def test_settings_that_contradict_each_other(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(Preprocessing(FOUR), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "right", [{"low": 44.9}, {"notch": 10.0}, {"high": 63.0}, {"high": 64.0}, {"scale": 0.5}, {"scale": 1e12}]
)
def test_settings_at_their_limits(right: dict[str, float]) -> None:
    found = dataclasses.replace(Preprocessing(FOUR), **right)  # type: ignore[arg-type]
    assert {name: getattr(found, name) for name in right} == right


@needs_data
def test_a_14_channel_model_refuses_the_19_channels_of_eegmat() -> None:
    raw = read_recording(DATA / "eegmat" / "Subject00_1.edf")
    epoc = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
    with pytest.raises(DataError, match="lacks the channels AF3, FC5, FC6, AF4;"):
        prepare_raw(raw, Preprocessing(epoc))
    shared = ("F7", "F3", "T7", "P7", "O1", "O2", "P8", "T8", "F4", "F8")
    assert prepare_raw(raw, Preprocessing(shared)).shape == (10, 182 * 128)


# --- references


def referred(volts: np.ndarray, channels: tuple[str, ...], reference: str) -> mne.io.BaseRaw:
    wanted = Preprocessing(channels, reference=reference)  # type: ignore[arg-type]
    return rereference(recording(volts.copy(), channels, 256), wanted.reference)


def test_two_electrodes_make_a_pair() -> None:
    assert Preprocessing(("Fp1", "F7"), reference="bipolar").inputs == ("Fp1-F7",)


def test_the_bipolar_chains_are_differences_of_neighbours() -> None:
    volts = np.random.default_rng(0).standard_normal((19, 256))
    got = referred(volts, TEN_TWENTY, "bipolar")
    assert len(got.ch_names) == 20  # as in the Temple corpora's TCP montages, without A1-T3 and T4-A2
    for name, difference in zip(got.ch_names, got.get_data(), strict=True):
        anode, cathode = (TEN_TWENTY.index(electrode) for electrode in name.split("-"))
        np.testing.assert_allclose(difference, volts[anode] - volts[cathode])
    assert Preprocessing(TEN_TWENTY, reference="bipolar").inputs == tuple(got.ch_names)


def test_the_laplacian_takes_the_four_neighbours_off() -> None:
    volts = np.random.default_rng(0).standard_normal((19, 256))
    got = referred(volts, TEN_TWENTY, "laplacian").get_data()
    around = [TEN_TWENTY.index(name) for name in ("C3", "C4", "Fz", "Pz")]  # of Cz, by the 10-20 system
    cz = TEN_TWENTY.index("Cz")
    np.testing.assert_allclose(got[cz], volts[cz] - volts[around].mean(axis=0))
    np.testing.assert_allclose(referred(volts + 3, TEN_TWENTY, "laplacian").get_data(), got)


@pytest.mark.parametrize("ears", [("A1", "A2"), ("M1", "M2")])
def test_linked_mastoids_are_what_is_subtracted(ears: tuple[str, str], tmp_path: Path) -> None:
    volts = 2e-5 * np.random.default_rng(0).standard_normal((6, 256 * 20))
    recording(volts, (*FOUR, *ears), 256).save(tmp_path / "ears_raw.fif", verbose="error")
    raw = read_recording(tmp_path / "ears_raw.fif", ears=True)
    assert read_recording(tmp_path / "ears_raw.fif").ch_names == list(FOUR)
    got = clean_raw(raw, Preprocessing(FOUR, reference="mastoids"))
    linked = volts[:4] - volts[4:].mean(axis=0)
    filtered = mne.filter.filter_data(linked, 256, 0.5, 45, h_trans_bandwidth=5, verbose="error")
    expected = mne.filter.resample(filtered, up=128, down=256, npad="auto", method="fft", verbose="error")
    assert got.ch_names == list(FOUR)
    assert_equal_to_a_hundredth_of_a_microvolt(got.get_data(), expected)


def test_no_mastoids_no_reference() -> None:
    with pytest.raises(DataError, match="neither A1 and A2 nor M1 and M2 among its good channels"):
        clean_raw(recording(noise(), FOUR, 256), Preprocessing(FOUR, reference="mastoids"))


def test_a_mastoid_that_is_not_finite_is_no_reference() -> None:
    volts = 2e-5 * np.random.default_rng(0).standard_normal((6, 256 * 20))
    volts[5, 7] = np.nan
    raw = recording(volts, (*FOUR, "A1", "A2"), 256).set_channel_types(
        {"A1": "misc", "A2": "misc"}, on_unit_change="ignore"
    )
    with pytest.raises(DataError, match="neither A1 and A2 nor M1 and M2 among its good channels"):
        windows_from(raw, Preprocessing(FOUR, reference="mastoids"), 2.0)


@pytest.mark.parametrize(
    "wrong", [{"reference": "nose"}, {"reference": "bipolar", "channels": ("Fp1", "O2")}]
)
def test_references_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"reference|expected both electrodes of a bipolar pair"):
        dataclasses.replace(Preprocessing(FOUR), **wrong)  # type: ignore[arg-type]


def test_the_ears_in_every_spelling() -> None:
    assert [ear(name) for name in ("A1", "EEG A2-REF", "M1-LE", "a1")] == ["A1", "A2", "M1", "A1"]
    assert [ear(name) for name in ("A2-A1", "Cz", "ECG", "Fp1-A1")] == [None] * 4


# --- long recordings


@pytest.mark.parametrize("wanted", [Preprocessing(FOUR), Preprocessing.paper(FOUR)])
def test_the_seams_between_blocks_do_not_show(wanted: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 40 s against the whole by MNE, where the rates leave no fraction of a sample."""
    raw = recording(np.cumsum(noise(200, 512) / 10, axis=1), FOUR, 512)
    raw.set_annotations(mne.Annotations(150.0, 0.5, "spike"))
    whole = clean_raw(raw, wanted)
    monkeypatch.setattr("eeg.preprocessing.pipeline.BLOCK", 40.0)
    blocks = clean_raw(raw, wanted)
    assert blocks.n_times == whole.n_times
    assert [a["onset"] for a in blocks.annotations] == [150.0]
    apart = 1e6 * (blocks.get_data() - whole.get_data())[:, 1000:-1000]
    assert 1e6 * whole.get_data().std() > 3
    assert np.sqrt(np.mean(apart**2)) < 0.01  # µV


def test_a_gap_is_marked_once() -> None:
    raw = recording(noise(60), FOUR, 256)
    raw.set_annotations(mne.Annotations([20.0, 30.0], [2.0, 1.0], ["BAD_ACQ_SKIP", "spike"]))
    annotations = clean_raw(raw, Preprocessing(FOUR)).annotations
    assert [(a["onset"], a["description"]) for a in annotations] == [(20, "BAD_ACQ_SKIP"), (30, "spike")]


@pytest.mark.parametrize("span", [(55, 63), (30, 61), (36, 44), (70, 95)])
def test_seams_do_not_show_where_a_channel_keeps_one_value(
    span: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across the beginning or the end of blocks of 40 s and their margin of 8 s."""
    volts = np.cumsum(noise(160, 256) / 10, axis=1)
    first, last = (256 * second for second in span)
    volts[2, first:last] = volts[2, first]
    raw = recording(volts, FOUR, 256)
    whole = clean_raw(raw, Preprocessing(FOUR)).get_data()
    monkeypatch.setattr("eeg.preprocessing.pipeline.BLOCK", 40.0)
    blocks = clean_raw(raw, Preprocessing(FOUR)).get_data()
    inner = slice(8 * 128, -8 * 128)
    assert np.abs(blocks - whole)[:, inner].max() < 1e-3 * whole.std()


@pytest.mark.parametrize("sfreq", [173.61, 250.0, 500.0])
def test_blocks_keep_time_at_any_rate(sfreq: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sine stays in phase from the first to the last block; no block is shifted by a part of a sample."""
    monkeypatch.setattr("eeg.preprocessing.pipeline.BLOCK", 100.0)
    time = np.arange(round(400 * sfreq)) / sfreq
    sine = 1e-5 * np.sin(2 * np.pi * 11.3 * time + 0.4) * MIRROR
    got = clean_raw(recording(sine, PAIR, sfreq), Preprocessing(PAIR)).get_data()[0, 1000:-1000]
    at = (1000 + np.arange(len(got))) / 128
    np.testing.assert_allclose(got, 1e-5 * np.sin(2 * np.pi * 11.3 * at + 0.4), atol=1e-7)


def test_a_day_of_drift_costs_single_precision_nothing() -> None:
    """Offsets of 100 mV and a drift of 10 mV, of a DC amplifier, against MNE in double precision."""
    time = np.arange(256 * 60) / 256
    volts = noise(60) + np.array([[0.1], [-0.1], [0.05], [0.0]]) + 1e-2 * np.sin(2 * np.pi * time / 60)
    reference = volts - volts.mean(axis=0)
    filtered = mne.filter.filter_data(reference, 256, 0.5, 45, h_trans_bandwidth=5, verbose="error")
    expected = mne.filter.resample(filtered, up=128, down=256, npad="auto", method="fft", verbose="error")
    got = clean_raw(recording(volts, FOUR, 256), Preprocessing(FOUR)).get_data()
    assert np.sqrt(np.mean((got - expected) ** 2)) < 1e-8


def test_weights_are_applied_as_in_a_product_of_matrices() -> None:
    rng = np.random.default_rng(0)
    volts = rng.standard_normal((5, 100)).astype(np.float32)
    for weights in (np.eye(5) - 0.2, rng.standard_normal((3, 5)), np.eye(5)[[1, 3]] - np.eye(5)[[0, 2]]):
        np.testing.assert_allclose(_mixed(volts, weights), weights @ volts, atol=1e-5)


@pytest.mark.parametrize(("lowest", "highest"), [(None, None), (0.1, 70.0), (1.0, 30.0)])
def test_what_is_noted_of_a_recording_is_what_mne_notes(lowest: float | None, highest: float | None) -> None:
    raw = recording(noise(), FOUR, 256)
    with raw.info._unlock():  # as of a recorder that filters
        raw.info["highpass"], raw.info["lowpass"] = lowest, highest
    expected = raw.copy().filter(0.5, 45, verbose="error").resample(128, verbose="error").info
    got = clean_raw(raw, Preprocessing(FOUR)).info
    assert [got[name] for name in ("sfreq", "highpass", "lowpass")] == [
        expected[name] for name in ("sfreq", "highpass", "lowpass")
    ]


def test_a_cleaned_recording_is_one_of_mne(tmp_path: Path) -> None:
    """It begins where the recording does, and is read, cropped, picked, copied and saved as any other."""
    raw = recording(noise(), FOUR, 256)
    raw = mne.io.RawArray(raw.get_data(), raw.info, first_samp=512, verbose="error")
    cleaned = clean_raw(raw, Preprocessing(FOUR))
    assert cleaned.first_samp == 256
    signals = cleaned_signals(cleaned)
    part = cleaned.copy().crop(2, 4).pick(["O2", "Fp1"])
    np.testing.assert_array_equal(part.get_data(), signals[[3, 0], 2 * 128 : 4 * 128 + 1])
    np.testing.assert_array_equal(part.load_data().get_data(), signals[[3, 0], 2 * 128 : 4 * 128 + 1])
    cleaned.save(tmp_path / "cleaned_raw.fif", verbose="error")
    np.testing.assert_allclose(mne.io.read_raw(tmp_path / "cleaned_raw.fif").get_data(), signals)
    mean = cleaned.copy().set_eeg_reference(projection=True, verbose="error").apply_proj(verbose="error")
    np.testing.assert_allclose(mean.get_data(), signals - signals.mean(axis=0), atol=1e-10)


def test_a_large_array_is_in_a_file_and_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, wanted = recording(noise(60), FOUR, 256), Preprocessing(FOUR)
    small = prepare_raw(raw, wanted)
    monkeypatch.setattr("eeg.large_arrays.LARGE", 1000)
    np.testing.assert_array_equal(prepare_raw(raw, wanted), small)


# --- power-line frequency


@pytest.mark.parametrize(
    ("place", "expected"),
    [("BE", 50), ("us", 60), ("GW", 50), ("NG", 50), ("BR", 60), ("60", 60), ("50", 50)],
)
def test_the_power_line_frequency_of_a_country(place: str, expected: float) -> None:
    assert parse_line_frequency(place) == expected


@pytest.mark.parametrize("place", ["Belgium", "", "55", "ZZ", "UK"])
def test_an_unknown_power_line_frequency_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=r"frequency|expected"):
        parse_line_frequency(place)
    with pytest.raises(ValueError, match="Japan has 50 Hz in the east and 60 Hz in the west"):
        parse_line_frequency("jp")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell of memory so")
def test_memory_does_not_grow_with_the_length() -> None:
    """64 channels at 256 Hz, of 20 and of 40 minutes; so far below a gigabyte, a day fits as well."""
    benchmark = ROOT / "benchmarks" / "preprocessing.py"
    done = subprocess.run(
        [sys.executable, benchmark, "--hours", "0.33333", "0.66667"],
        capture_output=True,
        text=True,
        check=True,
    )
    short, long = (float(line.split()[1]) for line in done.stdout.splitlines()[1:])
    assert long < 1000  # MB
    assert long < 1.05 * short
