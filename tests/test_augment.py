import mne
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mne.channels.interpolation import _make_interpolation_matrix
from scipy.spatial.transform import Rotation

from eeg.augment import TurnedHead, _on_sphere, spline
from eeg.recording import MONTAGE, TEN_TWENTY

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
    monkeypatch.setattr("eeg.augment._RIDGE", 0.0)
    np.testing.assert_allclose(spline(PLACES, PLACES), np.eye(len(PLACES)), atol=1e-6)


def test_a_potential_that_is_the_same_everywhere_stays_it() -> None:
    turned = TurnedHead.drawn(TEN_TWENTY, np.random.default_rng(0), turns=20)
    x = torch.full((8, len(TEN_TWENTY), 5), 3.0)
    torch.testing.assert_close(turned(x, torch.Generator().manual_seed(0)), x, rtol=0, atol=1e-3)


def test_a_smooth_field_is_turned_as_the_field_itself_is() -> None:
    """A dipole at the centre gives a potential linear in the direction, known everywhere."""
    moment = np.array([0.3, -0.5, 0.8])
    turned = Rotation.from_rotvec([0.1, 0.3, -0.2]).apply(PLACES)
    np.testing.assert_allclose(spline(PLACES, turned) @ (PLACES @ moment), turned @ moment, atol=0.05)


def test_places_point_where_their_names_say() -> None:
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
    """The smallest turns leave every electrode next to itself; every second one is mirrored."""
    turned = TurnedHead.drawn(TEN_TWENTY, np.random.default_rng(0), most=0.0, turns=4).maps
    torch.testing.assert_close(turned[0], torch.from_numpy(spline(PLACES, PLACES)).float())
    torch.testing.assert_close(turned[0], turned[2])
    torch.testing.assert_close(turned[1], turned[3])
    assert turned[1, TEN_TWENTY.index("F7")].argmax() == TEN_TWENTY.index("F8")


def test_each_window_gets_a_map_of_its_own_and_the_generators_decide() -> None:
    turned = TurnedHead.drawn(TEN_TWENTY, np.random.default_rng(0), turns=50)
    again = TurnedHead.drawn(TEN_TWENTY, np.random.default_rng(0), turns=50)
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
        TurnedHead.drawn(("Cz", "nowhere"), np.random.default_rng(0))
