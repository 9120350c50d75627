"""Measures of faithfulness on networks with known results, and against those of Captum and SciPy."""

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from scipy.special import expit
from scipy.stats import spearmanr
from torch import Tensor, nn

from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage, attribute
from eeg.explanation.faithfulness import (
    area_under_curve,
    cascade_randomization,
    deletion_insertion_curves,
    infidelity,
    max_sensitivity,
    measure,
    rank_agreement,
)
from tests.test_eeg.helpers import normal

MONTAGE = Montage(("Fp1", "T7", "Cz", "O2"), 128.0)
CELL = 16  # samples of 125 ms


def total(x: Tensor) -> Tensor:
    """Return the sum of a window as its logit."""
    return x.sum((1, 2))[:, None]


@pytest.mark.parametrize("times", [128, 120])
def test_curves_take_out_and_put_in_the_strongest_cells_first(times: int) -> None:
    x, baseline = 0.02 * normal(3, 4, times), 0.02 * normal(3, 4, times, seed=1)
    evidence = normal(3, 4, times, seed=2)
    deletion, insertion = deletion_insertion_curves(total, x, baseline, evidence, MONTAGE, batch=2)
    for n in range(3):
        parts = [slice(a, min(a + CELL, times)) for a in range(0, times, CELL)]
        parts.sort(key=lambda part: -float(evidence[n, :, part].sum()))
        left, put = x[n].clone(), baseline[n].clone()
        expected = [(expit(float(left.sum())), expit(float(put.sum())))]
        for part in parts:
            left[:, part], put[:, part] = baseline[n, :, part], x[n, :, part]
            expected.append((expit(float(left.sum())), expit(float(put.sum()))))
        np.testing.assert_allclose(torch.stack([deletion[n], insertion[n]], 1), expected, atol=1e-5)


def test_curves_of_several_classes_are_of_the_class_that_is_asked_for() -> None:
    def scores(x: Tensor) -> Tensor:
        return torch.stack([x[:, k].sum(1) for k in range(3)], 1)

    x = 0.1 * normal(2, 4, 64)
    deletion, _ = deletion_insertion_curves(scores, x, torch.zeros_like(x), x, MONTAGE, target=2)
    torch.testing.assert_close(deletion[:, 0], torch.softmax(scores(x), 1)[:, 2])
    torch.testing.assert_close(deletion[:, -1], torch.full((2,), 1 / 3))


def test_area_by_hand() -> None:
    assert area_under_curve(torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0.5, 1]])).tolist() == [1, 0.25, 0.5]


def test_evidence_that_is_exact_has_no_infidelity_whatever_its_unit() -> None:
    x, zero = normal(3, 4, 256), torch.zeros(3, 4, 256)
    rng = np.random.default_rng
    for unit in (1.0, 1e-6, 300.0):
        found = infidelity(total, x, zero, unit * x, MONTAGE, rng(0))
        torch.testing.assert_close(found, torch.zeros(3), atol=1e-5, rtol=0)
    nothing = infidelity(total, x, zero, torch.zeros_like(x), MONTAGE, rng(0))
    torch.testing.assert_close(nothing, torch.ones(3))


def test_infidelity_equals_captums_normalised_one() -> None:
    x, zero, evidence = normal(2, 4, 256), torch.zeros(2, 4, 256), normal(2, 1, 256, seed=1)
    found = infidelity(total, x, zero, evidence, MONTAGE, np.random.default_rng(0))
    rng, lost = np.random.default_rng(0), []

    def taken_out(inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the same stretches; Captum wants all draws of the first window, then all of the second."""
        gone = torch.zeros(40, 2, 1, 256)
        for draw in gone:
            for row, start in zip(draw, rng.integers(1 - 32, 256, 2), strict=True):
                row[:, max(0, start) : start + 32] = 1
        mask = gone.transpose(0, 1).flatten(0, 1).expand(-1, 4, -1)
        lost.append((mask * inputs).sum((1, 2)).reshape(2, 40))
        return mask, inputs * (1 - mask)

    theirs = captum_infidelity(
        total, taken_out, x, evidence.expand(-1, 4, -1), n_perturb_samples=40, normalize=True
    )
    torch.testing.assert_close(found, theirs.flatten() / lost[0].square().mean(1), rtol=1e-3, atol=1e-4)


def test_max_sensitivity_of_the_signal_itself_is_that_of_the_noise() -> None:
    x = normal(3, 4, 256)
    found = max_sensitivity(lambda x: x, x, np.random.default_rng(0))
    rng, radius = np.random.default_rng(0), 0.1 * float(x.abs().median())
    noises = [rng.uniform(-radius, radius, x.shape) for _ in range(4)]
    expected = [max(np.linalg.norm(e[n]) for e in noises) / np.linalg.norm(x[n]) for n in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    constant = max_sensitivity(torch.ones_like, x, np.random.default_rng(0))
    assert constant.tolist() == [0, 0, 0]


def test_max_sensitivity_is_not_a_number_where_nothing_is_explained() -> None:
    x = torch.stack([torch.zeros(1, 2, 64), torch.ones(1, 2, 64)]).flatten(0, 1)
    found = max_sensitivity(lambda noisy: x, x, np.random.default_rng(0))
    assert found.isnan().tolist() == [True, False]
    assert found[1] == 0


def test_agreement_is_spearmans_over_cells() -> None:
    one, other = normal(3, 4, 128), normal(3, 1, 128, seed=1)
    cells = [e.sum(1).unflatten(1, (-1, CELL)).sum(2).numpy() for e in (one, other)]
    expected = [spearmanr(a, b).statistic for a, b in zip(*cells, strict=True)]
    np.testing.assert_allclose(rank_agreement(one, other, MONTAGE), expected, atol=1e-6)
    np.testing.assert_allclose(rank_agreement(one, 7 * one, MONTAGE), 1)
    np.testing.assert_array_equal(rank_agreement(one, torch.ones(3, 1, 128), MONTAGE), 0)


def test_a_cascade_shuffles_one_more_layer_each_time_from_the_readout_down() -> None:
    norm = nn.BatchNorm1d(20)
    nn.init.normal_(norm.weight)
    network = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), norm, nn.Linear(20, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = cascade_randomization(network, np.random.default_rng(0))
    changed = [
        {name[0] for name, tensor in other.state_dict().items() if not torch.equal(tensor, before[name])}
        for other in found
    ]
    assert changed == [{"3"}, {"2", "3"}, {"0", "2", "3"}]
    for name, tensor in found[-1].state_dict().items():
        assert torch.equal(tensor.flatten().sort().values, before[name].flatten().sort().values)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("magnitude", [False, True])
def test_evidence_of_a_linear_network_is_forgotten_with_its_only_layer(magnitude: bool) -> None:
    """On windows of ones evidence is the weights; shuffled, each order of the cells is as likely.

    So the mean of the rank correlations over S cells is 0 and their variance 1 / (S - 1).
    """
    readout = nn.Linear(4 * 256, 1)
    nn.init.normal_(readout.weight, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.Flatten(), readout)
    x = torch.ones(1, 4, 256)

    def evidence(network: nn.Module) -> Tensor:
        found = attribute(network, x, torch.zeros_like(x), MONTAGE, method="integrated-gradients")
        return found.abs() if magnitude else found

    rng, own, draws = np.random.default_rng(1), evidence(network), 150
    found = [
        rank_agreement(own, evidence(cascade_randomization(network, rng)[-1]), MONTAGE)[0]
        for _ in range(draws)
    ]
    cells = 256 / CELL
    assert abs(np.mean(found)) < 4 / np.sqrt(draws * (cells - 1))
    assert np.std(found) == pytest.approx(1 / np.sqrt(cells - 1), rel=0.25)


def test_the_cascade_of_t_vgg_goes_through_its_seven_blocks(detector: Detector) -> None:
    x = normal(3, 19, 256)
    answers = [
        network.eval()(x) for network in cascade_randomization(detector.network, np.random.default_rng(0))
    ]
    assert len(answers) == 7
    assert not any(torch.allclose(detector.network(x), answer) for answer in answers)


def test_exact_evidence_is_more_faithful_than_random_evidence() -> None:
    class Total(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.05 * x.sum((1, 2))[:, None]

    x = normal(4, 4, 256).numpy()
    exact = measure(Total(), x, MONTAGE, lambda x, baseline: x - baseline)
    chance = measure(Total(), x, MONTAGE, lambda x, baseline: normal(len(x), 1, 256, seed=5))
    assert exact.deletion < chance.deletion
    assert exact.insertion > chance.insertion
    assert exact.infidelity < 0.01 < chance.infidelity
    assert exact.baselines > 0.5
    assert chance.baselines == pytest.approx(1)
    assert chance.sensitivity == 0
