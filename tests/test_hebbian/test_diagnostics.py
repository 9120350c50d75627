"""Statistics of units and updates, against theory and slow reference implementations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, FeedbackAlignment, Hebbian, NodePerturbation, RewardModulatedHebb, frozen, oja
from hebbian.diagnostics import (
    activities,
    alignment,
    dead,
    norm_error,
    projections,
    relative_update,
    selectivity,
)
from hebbian.synapse import synaptic, weight_layers


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(6, 3),
    )


def batch(n=12, *shape):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, *(shape or (2, 6, 6)), generator=g), torch.randint(0, 3, (n,), generator=g)


def copy_weights(rule, sign=1):
    for layer, name in rule.names.items():
        rule.feedback[name].data.copy_(sign * layer.weight)


def test_backprop_is_aligned_with_itself():
    found = alignment(Backprop(convolutional(), F.cross_entropy), F.cross_entropy, *batch())
    assert found == {"0.0": pytest.approx(1), "1.1": pytest.approx(1), "2": pytest.approx(1)}


def test_feedback_by_the_weights_themselves_is_backprop_and_by_their_negatives_turns_every_other_layer():
    rule = FeedbackAlignment(convolutional(), F.cross_entropy)
    copy_weights(rule)
    assert all(c == pytest.approx(1) for c in alignment(rule, F.cross_entropy, *batch()).values())
    copy_weights(rule, sign=-1)
    # The error passes no feedback weight on its way to the last layer, one to the middle, two to the first.
    found = alignment(rule, F.cross_entropy, *batch())
    assert found == {"0.0": pytest.approx(1), "1.1": pytest.approx(-1), "2": pytest.approx(1)}


def test_alignment_is_the_cosine_of_the_gradients():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    rule = FeedbackAlignment(model, F.cross_entropy)
    x, y = batch(12, 5)
    rule(x, y).backward()
    taught = model[0].weight.grad.clone()
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    expected = (taught * model[0].weight.grad).sum() / taught.norm() / model[0].weight.grad.norm()
    assert alignment(rule, F.cross_entropy, x, y)["0"] == pytest.approx(expected.item(), rel=1e-5)


def test_layers_that_do_not_learn_are_left_out():
    rule = Hebbian(convolutional(), {"0.0": frozen}, F.cross_entropy)
    assert set(alignment(rule, F.cross_entropy, *batch())) == {"1.1", "2"}
    rule.model[2].requires_grad_(False)
    assert set(alignment(rule, F.cross_entropy, *batch())) == {"1.1"}


@pytest.mark.parametrize("make", [Backprop, NodePerturbation, RewardModulatedHebb])
def test_nothing_is_changed_by_looking(make):
    rule = make(convolutional(), F.cross_entropy)
    x, y = batch()
    rule(x, y)  # some rules have something to remember then
    rule.model[0].eval()
    modes = [m.training for m in rule.modules()]
    before = {key: value.clone() for key, value in rule.state_dict().items()}
    torch.manual_seed(7)
    alignment(rule, F.cross_entropy, x, y)
    activities(rule.model, x)
    projections(rule.model, weight_layers(rule.model), x, 2)
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
    for key, value in rule.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in rule.parameters())
    assert [m.training for m in rule.modules()] == modes
    assert not any(m._forward_hooks for m in rule.modules())
    assert not x.requires_grad


def test_activity_is_what_follows_the_layer():
    model = convolutional().eval()
    x, _ = batch()
    found = activities(model, x)
    after = torch.relu(model[0][1](model[0][0](x)))
    h = model[0][3](after).flatten(1)
    torch.testing.assert_close(found["0.0"], after.movedim(1, -1).reshape(-1, 4))
    torch.testing.assert_close(found["1.1"], torch.relu(model[1][1](h)))
    torch.testing.assert_close(found["2"], model(x))


def test_activity_is_the_layers_own_where_a_layer_or_another_shape_follows():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Unflatten(1, (2, 2))).eval()
    x, _ = batch(12, 5)
    found = activities(model, x)
    torch.testing.assert_close(found["0"], model[0](x))
    torch.testing.assert_close(found["2"], model[:3](x))
    same = nn.Linear(5, 5)  # what goes out has the shape of what came in, which is not its activity
    torch.testing.assert_close(activities(same, x)[""], same(x))


def test_an_activation_in_place_and_units_over_time_are_seen():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True))
    x, _ = batch(3, 7, 5)
    torch.testing.assert_close(activities(model, x)["0"], torch.relu(model[0](x)).reshape(-1, 4))


def test_units_are_dead_by_construction():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x, _ = batch(12, 5)
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias[:3] = torch.tensor([0.0, -100.0, 100.0])
        model[0].weight[3], model[0].bias[3] = x[4], 1e-3 - (x @ x[4]).max()  # one sample only wakes it
    assert dead(activities(model, x)["0"]).tolist() == [True, True, False, False]


def test_selectivity_of_one_pattern_of_all_and_of_none():
    responses = torch.zeros(5, 4)
    responses[2, 0] = 3.0
    responses[:, 1] = 0.5
    responses[:, 2] = -1.0
    responses[:, 3] = torch.tensor([1.0, 1.0, -7.0, 0.0, 0.0])
    torch.testing.assert_close(selectivity(responses), torch.tensor([1 - 1 / 5, 0.0, 0.0, 1 - 2 / 5]))


def test_norms():
    w = torch.tensor([[3.0, -4.0], [0.6, 0.8], [0.0, 0.0]])
    torch.testing.assert_close(norm_error(w), torch.tensor([4.0, 0.0, 1.0]))
    torch.testing.assert_close(norm_error(w, p=1)[0], torch.tensor(6.0))
    torch.testing.assert_close(norm_error(torch.ones(2, 3, 4, 4)), torch.full((2,), 48**0.5 - 1))


def test_oja_converges_to_norm_one():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=g) * torch.tensor([2.0, 1.0, 0.5, 0.3])
    layer = nn.Linear(4, 2, bias=False)
    rule = Hebbian(nn.Sequential(layer), {"0": oja})
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        rule(x).backward()
        optimizer.step()
    assert norm_error(layer.weight.detach()).max() < 1e-3


def test_the_relative_update_is_relative_to_where_it_began():
    w = batch(4, 3)[0]
    assert relative_update(w, w) == 0
    assert relative_update(w, 3 * w) == pytest.approx(2)


def test_projections_of_a_linear_chain_are_the_products_of_its_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 4), nn.Linear(4, 3))
    x, _ = batch(6, 3, 4)
    one, two, three = (model[i].weight.detach() for i in (1, 2, 3))
    found = projections(model, ["1", "2", "3"], x, 64)
    torch.testing.assert_close(found["1"], one.view(5, 3, 4))
    torch.testing.assert_close(found["2"], (two @ one).view(4, 3, 4))
    torch.testing.assert_close(found["3"], (three @ two @ one).view(3, 3, 4))
    assert projections(model, ["2"], x, 2).keys() == {"2"}
    torch.testing.assert_close(projections(model, ["2"], x, 2)["2"], found["2"][:2])


@pytest.mark.parametrize("inplace", [False, True])
def test_a_unit_below_is_weighted_in_a_projection_by_the_fraction_of_inputs_with_an_open_gate(inplace):
    model = nn.Sequential(
        nn.Linear(12, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 4), nn.ReLU(inplace=inplace)
    )
    x, _ = batch(9, 12)
    one, two = model[0].weight.detach(), model[2].weight.detach()
    share = (x @ one.T + model[0].bias > 0).float().mean(0)
    torch.testing.assert_close(projections(model, ["2"], x, 4)["2"], two @ torch.diag(share) @ one)


def test_a_convolution_is_projected_from_the_middle_of_its_map():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3, padding=1)
    )
    x, _ = batch(2, 2, 12, 12)
    found = projections(model, ["2"], x, 64)["2"]
    # The net is affine: switch one pixel on after the other and see what the unit in the middle does.
    with torch.no_grad():
        pixels = torch.eye(2 * 12 * 12).view(-1, 2, 12, 12)
        middle = (model(pixels) - model(torch.zeros(1, 2, 12, 12)))[:, :, 1, 1]
    torch.testing.assert_close(found, middle.T.reshape(4, 2, 12, 12), atol=1e-6, rtol=1e-4)


def test_layers_that_are_not_called_have_neither_activity_nor_projection():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.apart = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.apart(F.relu(self.used(x)).detach())

    model, x = Branching(), batch(5, 3)[0]
    assert set(activities(model, x)) == {"used", "apart"}
    found = projections(model, ["used", "unused", "apart"], x, 9)
    assert set(found) == {"used", "apart"}
    assert not found["apart"].any()  # nothing comes through
    torch.testing.assert_close(found["used"], synaptic(model, "used").weight.detach())
