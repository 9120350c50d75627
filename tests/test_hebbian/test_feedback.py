"""Feedback rules against backprop where they must equal it, and against their theory where not."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import registry
from hebbian.backprop import Backprop
from hebbian.direct import DirectFeedback
from hebbian.feedback import FeedbackAlignment, KolenPollack, SignSymmetry, WeightMirror
from tests.test_hebbian.helpers import assert_same, batch, grads, mlp, seeded

NAMES = ["fa", "usf", "brsf", "frsf", "kolen-pollack", "weight-mirror"]


def feed_back_the_weights(rule):
    for layer, name in rule.names.items():
        rule.feedback[name].data.copy_(layer.weight)


def test_feedback_alignment_written_out():
    model = mlp(6, 5, 7, 4)
    x, y = batch(8, 6)
    rule = FeedbackAlignment(model, F.cross_entropy, seeded())
    b1, b2 = rule.feedback["1"], rule.feedback["2"]
    h0 = torch.tanh(model[0][0](x)).detach()
    h1 = torch.tanh(model[1][0](h0)).detach()
    error = (model(x).softmax(1) - F.one_hot(y, 4)).detach() / len(x)
    delta1 = (error @ b2) * (1 - h1**2)
    delta0 = (delta1 @ b1) * (1 - h0**2)
    found = grads(rule, x, y)
    for i, delta, h in ((0, delta0, x), (1, delta1, h0)):
        torch.testing.assert_close(found[f"model.{i}.0.weight"], delta.T @ h)
        torch.testing.assert_close(found[f"model.{i}.0.bias"], delta.sum(0))
    torch.testing.assert_close(found["model.2.weight"], error.T @ h1)


class Residual(nn.Module):
    """A graph that is no chain: skips, norms, one layer used twice, and work in place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding="same", padding_mode="circular", groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.act(self.stem(x))
        h = h + self.act(self.norm(self.body(h)))
        h = h + self.act(self.body(h))
        return self.head(h.mean((2, 3)))


def test_feedback_by_the_weights_themselves_is_backprop_on_any_graph():
    model = Residual().double()
    x, y = batch(5, 2, 7, 6, classes=3)
    rule = FeedbackAlignment(model, F.cross_entropy)
    feed_back_the_weights(rule)
    assert_same(grads(rule, x, y), grads(Backprop(model, F.cross_entropy), x, y))


LAYERS = {
    "linear over time": (nn.Linear(6, 5), (3, 4, 6)),
    "conv1d": (nn.Conv1d(3, 5, 4, stride=2, padding=1), (2, 3, 17)),
    "conv1d same, reflect": (nn.Conv1d(3, 5, 3, padding="same", padding_mode="reflect"), (2, 3, 9)),
    "conv2d dilated, groups": (nn.Conv2d(4, 6, 3, padding=1, dilation=2, groups=2), (2, 4, 9, 8)),
    "conv2d replicate, no bias": (
        nn.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(2, 1), padding_mode="replicate", bias=False),
        (2, 2, 7, 6),
    ),
    "conv3d": (nn.Conv3d(2, 5, 2, stride=2), (2, 2, 4, 5, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_the_error_passes_a_layer_by_b_and_the_layer_learns_as_ever(layer, shape):
    model = nn.Sequential(copy.deepcopy(layer)).double()
    x = torch.randn(shape, generator=seeded(), dtype=torch.float64, requires_grad=True)
    rule = FeedbackAlignment(model, lambda out, y: (out.sin() * y).sum(), seeded(3))
    y = torch.randn(model(x).shape, generator=seeded(4), dtype=torch.float64)
    found = grads(rule, x, y)
    error = (model(x).cos() * y).detach()
    by_b = copy.deepcopy(model)
    by_b[0].weight.data.copy_(rule.feedback["0"])
    torch.testing.assert_close(x.grad, torch.autograd.grad(by_b(x), x, error)[0])
    expected = torch.autograd.grad(model(x), list(model.parameters()), error)
    for (name, _), g in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found[f"model.{name}"], g)


@pytest.mark.oracle("fa")
def test_feedback_alignment_turns_towards_backprop():
    """Lillicrap 2016: a linear 30-20-10 net learning a linear map; the angle falls far below 90."""
    g = seeded(0)
    model = nn.Sequential(nn.Linear(30, 20, bias=False), nn.Linear(20, 10, bias=False)).double()
    for layer in model:
        layer.weight.data.uniform_(-0.01, 0.01, generator=g)
    target = torch.randn(10, 30, generator=g, dtype=torch.float64) / 30**0.5
    rule = FeedbackAlignment(model, F.mse_loss, g)
    optimizer = torch.optim.SGD(rule.parameters(), 0.03)

    def angle(x):
        error = x @ target.T - model(x)
        cos = F.cosine_similarity(error @ rule.feedback["1"], error @ model[1].weight, dim=1)
        return torch.rad2deg(torch.acos(cos)).mean().item()

    probe = torch.randn(200, 30, generator=g, dtype=torch.float64)
    assert angle(probe) > 75
    for _ in range(200):
        x = torch.randn(100, 30, generator=g, dtype=torch.float64)
        grads(rule, x, x @ target.T)
        optimizer.step()
    assert F.mse_loss(model(probe), probe @ target.T) > 0.01  # an angle at no error means nothing
    assert angle(probe) < 60


@pytest.mark.oracle("brsf", "frsf")
@pytest.mark.parametrize("magnitude", ["uniform", "batch", "fixed"])
def test_sign_symmetry_keeps_the_signs_of_the_weights_as_they_are_now(magnitude):
    model = mlp(6, 5, 4)
    rule = SignSymmetry(model, F.cross_entropy, magnitude, seeded() if magnitude == "fixed" else None)
    layer = model[1]
    for _ in range(2):
        assert torch.equal(rule.backward_weight(layer).sign(), layer.weight.sign())
        layer.weight.data.neg_()
    first, second = rule.backward_weight(layer), rule.backward_weight(layer)
    assert torch.equal(first, second) == (magnitude != "batch")
    assert (len(first.abs().unique()) == 1) == (magnitude == "uniform")


@pytest.mark.oracle("usf")
def test_uniform_sign_symmetry_is_backprop_where_all_weights_have_that_magnitude():
    model = mlp(6, 5, 7, 4)
    for p in model.parameters():
        if p.ndim == 2:
            p.data.copy_(p.sign() * p.shape[1] ** -0.5)
    x, y = batch(8, 6)
    assert_same(
        grads(SignSymmetry(model, F.cross_entropy), x, y), grads(Backprop(model, F.cross_entropy), x, y)
    )


@pytest.mark.oracle("kolen-pollack")
def test_kolen_pollack_teaches_feedback_and_weights_alike_and_decay_makes_them_one():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 4, 4)).double()
    x, y = batch(8, 2, 6)
    rule = KolenPollack(model, F.cross_entropy, seeded())
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.1, weight_decay=0.5)
    layers = {model[0]: "0", model[3]: "1"}
    apart = {name: layer.weight.detach() - rule.feedback[name].detach() for layer, name in layers.items()}
    for _ in range(40):
        found = grads(rule, x, y)
        assert torch.equal(found["feedback.0"], found["model.0.weight"])
        assert torch.equal(found["feedback.1"], found["model.3.weight"])
        optimizer.step()
    for layer, name in layers.items():
        torch.testing.assert_close(layer.weight - rule.feedback[name], apart[name] * (1 - 0.1 * 0.5) ** 40)


@pytest.mark.oracle("weight-mirror")
def test_weight_mirror_becomes_the_weights_up_to_its_sampling_error():
    model = nn.Sequential(nn.Conv1d(4, 12, 3, groups=2), nn.Flatten(), nn.Linear(12 * 4, 4)).double()
    x, y = batch(8, 4, 6)
    torch.manual_seed(0)
    rate, samples = 0.02, 50
    rule = WeightMirror(model, F.cross_entropy, rate, samples, seeded())

    def cosines():
        return [
            F.cosine_similarity(rule.feedback[name].flatten(), layer.weight.detach().flatten(), dim=0).item()
            for layer, name in rule.names.items()
        ]

    seen = [cosines()]
    for calls in (20, 80, 400):
        for _ in range(calls):
            rule(x, y)
        seen.append(cosines())
    for start, early, later, end in zip(*seen, strict=True):
        assert start < early < later
        assert end > 0.97
    # An average over samples white noise vectors errs by sqrt((P + 1) / samples), relative to the weights.
    for layer, name in rule.names.items():
        w = layer.weight.detach()
        fan_in = w[0].numel()
        expected = (rate / (2 - rate) * (fan_in + 1) / samples) ** 0.5
        assert ((rule.feedback[name] - w).norm() / w.norm()).item() == pytest.approx(expected, rel=0.3)


def test_weight_mirror_learns_from_a_single_pattern():
    rule = WeightMirror(mlp(6, 5, 4), F.cross_entropy, samples=1)
    before = copy.deepcopy(rule.feedback)
    rule(*batch(8, 6))
    assert all(not torch.equal(before[name], rule.feedback[name]) for name in rule.names.values())


def test_weight_mirror_rests_in_eval_mode_and_allows_two_calls_before_one_backward():
    model = mlp(6, 5, 4)
    x, y = batch(8, 6)
    rule = WeightMirror(model, F.cross_entropy)
    before = copy.deepcopy(rule.state_dict())
    rule.eval()(x, y)
    assert all(torch.equal(before[k], v) for k, v in rule.state_dict().items())
    (rule.train()(x, y) + rule(x, y)).backward()
    assert not torch.equal(before["feedback.1"], rule.feedback["1"])


@pytest.mark.oracle("dfa")
def test_deep_direct_feedback_by_the_product_of_the_weights_above_is_backprop_where_these_are_linear():
    model = mlp(6, 5, 7, 4, activation=nn.Identity)
    x, y = batch(8, 6)
    rule = DirectFeedback(model, F.cross_entropy, x)
    rule.feedback.get_buffer("1").copy_(model[2].weight.detach())
    rule.feedback.get_buffer("0").copy_((model[2].weight @ model[1][0].weight).detach())
    assert_same(grads(rule, x, y), grads(Backprop(model, F.cross_entropy), x, y))


@pytest.mark.parametrize("name", NAMES)
def test_one_logit_on_a_residual_net(name):
    model = Residual()
    model.head = nn.Linear(4, 1)
    x, y = torch.randn(6, 2, 8, 8), torch.randint(0, 2, (6, 1)).float()
    rule = registry.build(name, model, nn.BCEWithLogitsLoss(), example=x, classes=1)
    assert grads(rule, x, y)["model.stem.weight"].abs().sum() > 0


@pytest.mark.parametrize("name", ["fa", "frsf", "kolen-pollack"])
def test_feedback_comes_from_the_generator(name):
    states = [
        registry.build(
            name, mlp(6, 5, 4), F.cross_entropy, example=None, classes=4, generator=seeded(seed)
        ).state_dict()
        for seed in (0, 0, 1)
    ]
    drawn = [k for k in states[0] if not k.startswith("model.")]
    assert drawn
    assert all(torch.equal(states[0][k], states[1][k]) for k in drawn)
    assert not any(torch.equal(states[0][k], states[2][k]) for k in drawn)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: SignSymmetry(m, F.cross_entropy, "none"), "'uniform', 'batch' or 'fixed'"),
        (lambda m: WeightMirror(m, F.cross_entropy, rate=0), "rate must be above 0"),
        (lambda m: WeightMirror(m, F.cross_entropy, samples=0), "samples must be at least 1"),
        (lambda m: FeedbackAlignment(m, F.cross_entropy)(torch.zeros(1, 6).double()), "needs targets"),
    ],
)
def test_errors_state_the_cause(make, message):
    with pytest.raises(ValueError, match=message):
        make(mlp(6, 5, 4))
