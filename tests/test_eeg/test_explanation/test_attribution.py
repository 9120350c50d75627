"""Evidence of networks whose logit is known by hand, and the traps of captum 0.9."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from torch import Tensor, nn

from eeg.cli.main import main
from eeg.detector.detector import Detector
from eeg.explanation.attribution import METHODS, Contrast, Montage, Refused, attribute
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from hebbian.forward_forward import ForwardForward
from tests.test_eeg.helpers import normal

RATE = 128
FOUR = Montage(("Fp1", "T7", "Cz", "O2"), RATE)
ALL = Montage(TEN_TWENTY, RATE)
GRADIENTS = [name for name, method in METHODS.items() if method.gradients]
OTHERS = [name for name, method in METHODS.items() if not method.gradients]
DRAWN = ["gradient-shap", "shapley", "channel-shapley"]
COMPLETE = [name for name, method in METHODS.items() if method.complete]


class WeightedSum(nn.Module):
    """The logit of a window is the sum of its samples times known weights (C, T)."""

    def __init__(self, weights: Tensor, outputs: int = 1) -> None:
        super().__init__()
        self.weights, self.outputs = weights, outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit, or two scores of that difference."""
        total = (x * self.weights).sum((1, 2))[:, None]
        return total if self.outputs == 1 else torch.cat([-0.25 * total, 0.75 * total], 1)


def small(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return a chain whose first ReLU is followed by max-pooling."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv1d(4, 8, 3, padding=1),
            activation(),
            nn.MaxPool1d(4),
            nn.Conv1d(8, 8, 3, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(512, 1),
        ).eval()


def evidence(scores: Any, x: Tensor, method: str, montage: Montage = FOUR, **options: Any) -> Tensor:
    return attribute(scores, x, torch.zeros_like(x), montage, method=method, **options)


# --- what the methods give


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-shap", "deeplift"])
def test_of_a_sum_each_sample_is_given_its_term(method: str, outputs: int) -> None:
    weights, x = normal(4, 256), normal(3, 4, 256, seed=1)
    terms = x * weights
    if method == "gradient-shap":  # every point of the line has the same gradient
        torch.testing.assert_close(evidence(WeightedSum(weights, outputs), x, method), terms)
    else:
        found = evidence(WeightedSum(weights, outputs), x, method)
        torch.testing.assert_close(found, terms, rtol=1e-3, atol=1e-4)


def test_of_a_sum_each_part_is_given_its_terms() -> None:
    weights, x = normal(4, 256), normal(3, 4, 256, seed=1)
    found = evidence(WeightedSum(weights), x, "ablation")
    parts = (x * weights).unflatten(2, (-1, 32)).mean(3, keepdim=True).expand(-1, -1, -1, 32)
    torch.testing.assert_close(found, parts.flatten(2), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "rows"), [("shapley", 2), ("channel-shapley", 1)])
def test_shapley_values_of_a_sum_are_its_terms_by_half_second(method: str, rows: int) -> None:
    montage = Montage(("F3", "F4", "O1", "O2"), RATE)  # two regions of two rows
    weights, x = normal(4, 256), normal(2, 4, 256, seed=1)
    found = evidence(WeightedSum(weights), x, method, montage)
    terms = (x * weights).unflatten(1, (-1, rows)).unflatten(3, (4, 64))
    expected = terms.mean((2, 4), keepdim=True).expand_as(terms).flatten(3).flatten(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 2])
def test_occlusion_is_the_known_drop_averaged_over_the_positions_that_cover_a_sample(outputs: int) -> None:
    weights, x = normal(4, 256), normal(3, 4, 256, seed=1)
    found = evidence(WeightedSum(weights, outputs), x, "occlusion")
    assert found.shape == (3, 1, 256)
    size, step = 32, 8
    for window, row in zip(x, found[:, 0], strict=True):
        lost, covered = torch.zeros(256), torch.zeros(256)
        for start in range(0, 256 - size + 1, step):
            span = slice(start, start + size)
            lost[span] += (window[:, span] * weights[:, span]).sum()
            covered[span] += 1
        torch.testing.assert_close(row, lost / covered / size, rtol=1e-3, atol=1e-4)


def test_grad_cam_of_a_gap_head_is_its_readout_applied_to_the_activations(detector: Detector) -> None:
    """The mean gradient of a channel is its readout weight over the number of cells, whatever was pooled.

    Cells of 16 samples have their middle between the eighth and the ninth.
    """
    x, network = normal(2, 19, 256), detector.network
    seen: list[Tensor] = []
    handle = network.last_convolution.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    network(x)
    handle.remove()
    cells = torch.einsum("k,nkrt->nt", network[-1][-1].weight[0].detach(), seen[0]).numpy() / 16 / 16
    expected = [np.interp(np.arange(256), 16 * np.arange(16) + 7.5, row) for row in cells]
    np.testing.assert_allclose(evidence(network, x, "grad-cam", ALL)[:, 0], expected, atol=1e-6)


def test_grad_cam_looks_at_the_last_convolution_also_of_images() -> None:
    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(1, 1, (4, 1), bias=False)
            nn.init.ones_(self.last.weight)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.last(x[:, None])).flatten(1).sum(1, keepdim=True)

    x = torch.zeros(1, 4, 256)
    x[:, :, 100] = 1
    found = evidence(Image(), x, "grad-cam")
    assert found.shape == (1, 1, 256)
    assert int(found.argmax()) == 100


@pytest.mark.parametrize("method", COMPLETE)
def test_complete_methods_add_up_to_the_logit(method: str) -> None:
    network, x = small(), normal(6, 4, 256)
    difference = (network(x) - network(torch.zeros_like(x)))[:, 0].detach()
    missed = (evidence(network, x, method).sum((1, 2)) - difference).abs().sum() / difference.abs().sum()
    assert missed < {"integrated-gradients": 0.03, "gradient-shap": 0.3}.get(method, 1e-4)


def test_ablation_does_not_add_up_where_parts_need_each_other() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 0, 10] * x[:, 1, 200])[:, None]

    found = evidence(Both(), torch.ones(1, 4, 256), "ablation")
    assert float(found.sum()) == pytest.approx(2)  # of a logit of 1
    assert not METHODS["ablation"].complete
    whole = evidence(Both(), torch.ones(1, 4, 256), "shapley")
    assert float(whole.sum()) == pytest.approx(1)


# --- what is asked


@pytest.mark.parametrize("method", METHODS)
def test_the_two_classes_of_one_logit_have_opposite_evidence(method: str) -> None:
    network, x = small(), normal(2, 4, 256)
    torch.testing.assert_close(evidence(network, x, method, target=0), -evidence(network, x, method))


def test_one_of_several_classes_is_contrasted_with_the_mean_of_the_others() -> None:
    scores = normal(5, 3)
    contrast = Contrast(lambda x: x, target=2)
    torch.testing.assert_close(contrast(scores)[:, 0], scores[:, 2] - scores[:, :2].mean(1))
    two = Contrast(lambda x: x[:, :2])(scores)[:, 0]
    torch.testing.assert_close(two, scores[:, 1] - scores[:, 0])


@pytest.mark.parametrize(("classes", "target"), [(1, 2), (1, -1), (3, 3)])
def test_a_class_that_there_is_not_is_refused(classes: int, target: int) -> None:
    with pytest.raises(ValueError, match=f"target is {target}, expected a class from 0 to"):
        Contrast(lambda x: x, target)(torch.zeros(1, classes))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="unknown method 'saliency'; expected one of grad-cam"):
        evidence(small(), normal(1, 4, 256), "saliency")


def test_a_rule_that_reads_out_by_itself_is_explained_by_its_answers() -> None:
    x = normal(2, 4, 256)
    chain = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(1024, 16), nn.ReLU()), nn.Linear(16, 2))
    rule = ForwardForward(chain, x, 2).eval()
    with torch.no_grad():
        scores = rule.predict(x) - rule.predict(torch.zeros_like(x))
    for method in OTHERS:
        found = evidence(rule.predict, x, method)
        assert bool(found.isfinite().all())
        if method in DRAWN:
            torch.testing.assert_close(found.sum((1, 2)), scores[:, 1] - scores[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", GRADIENTS)
def test_methods_of_gradients_refuse_a_function_of_scores(method: str) -> None:
    network = small()
    with pytest.raises(Refused, match=f"{method} needs a network, got .*; use occlusion") as caught:
        evidence(lambda x: network(x), normal(1, 4, 256), method)
    assert "\n" not in str(caught.value)


def test_grad_cam_refuses_a_network_without_a_convolution() -> None:
    with pytest.raises(Refused, match="needs a convolution"):
        evidence(nn.Sequential(nn.Flatten(), nn.Linear(1024, 1)), normal(1, 4, 256), "grad-cam")


# --- traps


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_deeplift_is_right_behind_relu_and_max_pooling_where_captum_is_not() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model("tvgg-gap", 19, 256).eval()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.bias)
    x = normal(8, 19, 256)
    difference = (network(x) - network(torch.zeros_like(x)))[:, 0].detach()
    _, missing = DeepLift(network).attribute(x, torch.zeros_like(x), target=0, return_convergence_delta=True)
    assert float(missing.abs().sum() / difference.abs().sum()) > 0.01  # the trap is still there
    missed = evidence(network, x, "deeplift", ALL).sum((1, 2)) - difference
    assert float(missed.abs().sum() / difference.abs().sum()) < 1e-4


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.chain = small(nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.chain:
            x = F.relu(layer(x)) if isinstance(layer, nn.Conv1d) else layer(x)
        return x


SHARED = nn.ReLU()


@pytest.mark.parametrize("network", [Functional(), small(lambda: SHARED)])
def test_deeplift_refuses_functional_and_reused_activations(network: nn.Module) -> None:
    with pytest.raises(Refused, match="deeplift"):
        evidence(network, normal(8, 4, 256), "deeplift")


@pytest.mark.parametrize("method", METHODS)
def test_activations_in_place_change_nothing(method: str) -> None:
    x = normal(4, 4, 256)
    network = small(lambda: nn.ReLU(inplace=True))
    torch.testing.assert_close(evidence(network, x, method), evidence(small(), x, method))
    assert all(m.inplace for m in network if isinstance(m, nn.ReLU))


@pytest.mark.parametrize("method", METHODS)
def test_no_method_shows_the_network_more_windows_at_once_than_it_may(method: str) -> None:
    class Counting(nn.Module):
        largest = 0

        def __init__(self) -> None:
            super().__init__()
            self.chain = small()

        def forward(self, x: Tensor) -> Tensor:
            Counting.largest = max(Counting.largest, len(x))
            return self.chain(x)

    evidence(Counting(), normal(11, 4, 256), method, batch=6)
    assert 1 <= Counting.largest <= 6


@pytest.mark.parametrize("method", [name for name in METHODS if name not in DRAWN])
def test_evidence_does_not_depend_on_the_batch(method: str) -> None:
    network, x = small(), normal(5, 4, 256)
    torch.testing.assert_close(evidence(network, x, method, batch=2), evidence(network, x, method))


@pytest.mark.parametrize("method", METHODS)
def test_explaining_leaves_network_and_generators_as_they_were(method: str) -> None:
    network = nn.Sequential(nn.Dropout(0.5), *deepcopy(small())).train()
    modes = [m.training for m in network.modules()]
    before = {k: v.clone() for k, v in network.state_dict().items()}
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    first = evidence(network, normal(2, 4, 256), method)
    torch.testing.assert_close(evidence(network, normal(2, 4, 256), method), first, rtol=0, atol=0)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("command", ["explain", "detect", "evaluate"])
def test_the_commands_offer_all_methods(command: str) -> None:
    offered = next(p for p in main.commands[command].params if p.name == "method")
    assert [offered.type.convert(name, offered, None) for name in METHODS] == list(METHODS)
