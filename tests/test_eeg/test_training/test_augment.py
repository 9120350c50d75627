import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from mne.channels.interpolation import _make_interpolation_matrix
from scipy.spatial.transform import Rotation

from eeg.io.electrodes import MONTAGE, TEN_TWENTY
from eeg.training.augment import (
    AUGMENTATIONS,
    BackgroundMix,
    Compose,
    HeadRotation,
    _on_sphere,
    augmentation,
    channel_dropout,
    gain,
    sign_flip,
    spline,
    time_shift,
    whiten,
)

PLACES = _on_sphere(TEN_TWENTY)


def sphere(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(st.integers(4, 30), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=25)
def test_the_spline_is_mnes(origins: int, targets: int, seed: int) -> None:
    origin, target = sphere(origins, seed), sphere(targets, seed + 100)
    np.testing.assert_allclose(
        spline(origin, target), _make_interpolation_matrix(origin, target, alpha=1e-5), atol=1e-7
    )


def test_no_turn_changes_nothing_but_for_the_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ridge smooths: a harmonic of degree n loses 1 / (1 + eigenvalue / ridge), 1 % for n = 2."""
    x, y, z = PLACES.T
    for smooth in (x, y, z, x * y, y * z, x**2 - y**2, 3 * z**2 - 1):
        np.testing.assert_allclose(spline(PLACES, PLACES) @ smooth, smooth, atol=0.04)
    monkeypatch.setattr("eeg.training.augment._RIDGE", 0.0)
    np.testing.assert_allclose(spline(PLACES, PLACES), np.eye(len(PLACES)), atol=1e-6)


def test_a_potential_that_is_the_same_everywhere_stays_it() -> None:
    turned = HeadRotation.draw(TEN_TWENTY, np.random.default_rng(0), turns=20)
    x = torch.full((8, len(TEN_TWENTY), 5), 3.0)
    torch.testing.assert_close(turned(x, torch.Generator().manual_seed(0)), x, rtol=0, atol=1e-3)


def test_a_smooth_field_is_turned_as_the_field_itself_is() -> None:
    """The potential of a dipole at the centre is linear in the direction, in closed form."""
    moment = np.array([0.3, -0.5, 0.8])
    turned = Rotation.from_rotvec([0.1, 0.3, -0.2]).apply(PLACES)
    np.testing.assert_allclose(spline(PLACES, turned) @ (PLACES @ moment), turned @ moment, atol=0.05)


def test_electrode_positions_match_their_names() -> None:
    place = dict(zip(TEN_TWENTY, PLACES, strict=True))
    np.testing.assert_allclose(np.linalg.norm(PLACES, axis=1), 1)
    assert place["Fp1"][0] < 0 < place["Fp2"][0]
    assert place["O1"][1] < 0 < place["Fp1"][1]
    assert place["Cz"][2] > 0.95


def test_the_centre_of_the_head_is_about_that_of_mnes_sphere() -> None:
    names = list(mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"])
    info = mne.create_info(names, 128.0, "eeg").set_montage(MONTAGE)
    _, centre, _ = mne.bem.fit_sphere_to_headshape(info, dig_kinds="eeg", units="m", verbose="error")
    theirs = np.array([info["chs"][names.index(name)]["loc"][:3] for name in TEN_TWENTY]) - centre
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    # MNE's axes are others than the montage's: only angles between electrodes can be compared.
    np.testing.assert_allclose(PLACES @ PLACES.T, theirs @ theirs.T, atol=0.05)


def test_a_mirrored_head_swaps_left_and_right() -> None:
    mirrored = spline(PLACES, PLACES * [-1, 1, 1])
    swap = str.maketrans("1234567890", "2143658709")
    other = [TEN_TWENTY.index(name.translate(swap)) for name in TEN_TWENTY]
    assert TEN_TWENTY[other[TEN_TWENTY.index("Fp1")]] == "Fp2"
    assert (mirrored.argmax(1) == other).all()


def test_a_turn_is_no_more_than_asked_for() -> None:
    """The smallest rotations leave every electrode next to itself; every second one is mirrored."""
    turned = HeadRotation.draw(TEN_TWENTY, np.random.default_rng(0), most=0.0, turns=4).maps
    torch.testing.assert_close(turned[0], torch.from_numpy(spline(PLACES, PLACES)).float())
    torch.testing.assert_close(turned[0], turned[2])
    torch.testing.assert_close(turned[1], turned[3])
    assert turned[1, TEN_TWENTY.index("F7")].argmax() == TEN_TWENTY.index("F8")


def test_each_window_gets_a_map_of_its_own_and_the_generators_decide() -> None:
    turned = HeadRotation.draw(TEN_TWENTY, np.random.default_rng(0), turns=50)
    again = HeadRotation.draw(TEN_TWENTY, np.random.default_rng(0), turns=50)
    torch.testing.assert_close(turned.maps, again.maps, rtol=0, atol=0)
    x = torch.randn(1, 19, 30, generator=torch.Generator().manual_seed(1)).expand(40, -1, -1)
    y = turned(x, torch.Generator().manual_seed(2))
    assert len({float(window[0, 0]) for window in y}) > 20
    assert torch.equal(y, turned(x, torch.Generator().manual_seed(2)))
    drawn = torch.randint(50, (40,), generator=torch.Generator().manual_seed(2))
    for window, original, i in zip(y, x, drawn, strict=True):
        torch.testing.assert_close(window, turned.maps[i] @ original)


def test_an_electrode_without_a_place_is_refused() -> None:
    with pytest.raises(KeyError):
        HeadRotation.draw(("Cz", "nowhere"), np.random.default_rng(0))


# --- what takes away whose EEG it is


def some(seed: int = 0, n: int = 200) -> torch.Tensor:
    return torch.randn(n, 5, 128, generator=torch.Generator().manual_seed(seed))


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every() -> list[str]:
    return sorted(AUGMENTATIONS)


@pytest.mark.parametrize("name", every())
def test_every_augmentation_keeps_the_shape_and_is_its_generators(name: str) -> None:
    x = torch.randn(6, 19, 64, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    one = augmentation([name], TEN_TWENTY, x, np.random.default_rng(0))
    y = one(x, drawn())
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    assert torch.equal(x, kept)
    assert torch.equal(y, one(x, drawn()))
    assert not torch.equal(y, one(x, drawn(2)))


def test_gain_is_one_factor_a_window_from_a_half_to_two() -> None:
    x = some()
    factor = gain(x, drawn()) / x
    torch.testing.assert_close(factor, factor[:, :1, :1].expand_as(factor), rtol=1e-3, atol=0)
    assert 0.5 <= factor.min() < 0.6
    assert 1.8 < factor.max() <= 2.001


def test_a_tenth_of_the_channels_is_silent_and_the_others_are_as_they_were() -> None:
    x = some()
    y = channel_dropout(x, drawn())
    silent = (y == 0).all(-1)
    assert 0.05 < silent.float().mean() < 0.15
    assert torch.equal(y[~silent], x[~silent])


def test_every_second_window_is_turned_upside_down_whole() -> None:
    x = some()
    sign = sign_flip(x, drawn()) / x
    assert (sign == sign[:, :1, :1]).all()
    assert 0.4 < (sign[:, 0, 0] == -1).float().mean() < 0.6


def test_a_shift_is_a_rotation_alike_in_all_channels() -> None:
    x = some(n=20)
    y = time_shift(x, drawn())
    starts = [
        next(k for k in range(128) if torch.equal(b, a.roll(-k, -1))) for a, b in zip(x, y, strict=True)
    ]
    assert len(set(starts)) > 10


def test_whitening_flattens_backgrounds_of_any_slope_and_keeps_their_power() -> None:
    frequency = torch.fft.rfftfreq(128, 1 / 128).clamp_min(1)

    def slope(x: torch.Tensor) -> torch.Tensor:
        log = torch.fft.rfft(x).abs().mean(1)[:, 2:40].log()
        f = frequency[2:40].log()
        return ((f - f.mean()) * (log - log.mean(1, keepdim=True))).sum(1) / ((f - f.mean()) ** 2).sum()

    red = torch.fft.irfft(torch.fft.rfft(some()) / frequency)
    y = whiten(red, drawn())
    before, after = slope(red), slope(y)
    assert (before < -0.7).all()
    assert (after >= before - 0.05).all()
    assert after.max() > -0.35  # nearly flat
    assert after.min() < -0.7  # hardly touched
    torch.testing.assert_close(y.square().mean((1, 2)), red.square().mean((1, 2)), rtol=1e-4, atol=0)


def test_whitening_keeps_a_sharp_wave_where_it_is() -> None:
    frequency = torch.fft.rfftfreq(128, 1 / 128).clamp_min(1)
    x = torch.fft.irfft(torch.fft.rfft(some()) / frequency)
    x[:, :, 60:64] += torch.tensor([2.0, 5.0, -3.0, -1.0]) * x.std()
    assert (whiten(x, drawn()).abs().mean(1).argmax(-1) - 61).abs().float().median() <= 1


def test_backgrounds_are_added_by_less_than_a_half() -> None:
    x, others = torch.zeros(50, 5, 128), some(n=3)
    y = BackgroundMix(others)(x, drawn())
    share = (y.flatten(1) @ others.flatten(1).T) / others.flatten(1).square().sum(1)
    assert share.max() < 0.75
    for window in y:
        fits = [(window / other).std() < 1e-4 and 0 <= (window / other).mean() <= 0.5 for other in others]
        assert sum(fits) == 1


def test_augmentations_follow_one_another() -> None:
    x = some(n=4)
    g = drawn()
    assert torch.equal(Compose((gain, sign_flip))(x, drawn()), sign_flip(gain(x, g), g))


def test_unknown_augmentations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown augmentation \['shake'\]; expected some of head-rotation"):
        augmentation(["gain", "shake"], TEN_TWENTY, some(), np.random.default_rng(0))
