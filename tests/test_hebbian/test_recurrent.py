"""Online learning of a recurrent cell against its traces written out, and against backprop through time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DirectFeedback
from hebbian.recurrent import LeakyRNN, RandomFeedbackOnline
from tests.test_hebbian.helpers import batch, grads


def net(tau=3.0, classes=4):
    torch.manual_seed(0)
    return nn.Sequential(LeakyRNN(5, 7, tau), nn.Linear(7, classes)).double()


def symmetric(model, x):
    """Return the rule with the transposed readout as its feedback."""
    rule = RandomFeedbackOnline(model, F.cross_entropy, x)
    rule.feedback.get_buffer("0").copy_(model[1].weight.detach())
    return rule


def test_the_cell_written_out():
    cell, (x, _) = net()[0], batch(8, 6, 5)
    h = torch.zeros(8, 7, dtype=torch.float64)
    for t in range(6):
        u = h @ cell.recurrent.weight.T + x[:, t] @ cell.input.weight.T + cell.input.bias
        h = (1 - 1 / 3) * h + torch.tanh(u) / 3
    torch.testing.assert_close(cell(x), h, rtol=1e-12, atol=1e-12)


def test_a_leaky_cell_without_leak_is_that_of_torch():
    cell, (x, _) = net(tau=1.0)[0], batch(8, 6, 5)
    twin = nn.RNN(5, 7, batch_first=True).double()
    twin.weight_ih_l0.data.copy_(cell.input.weight)
    twin.weight_hh_l0.data.copy_(cell.recurrent.weight)
    twin.bias_ih_l0.data.copy_(cell.input.bias)
    twin.bias_hh_l0.data.zero_()
    torch.testing.assert_close(cell(x), twin(x)[1][0], rtol=1e-12, atol=1e-12)


def test_the_update_is_error_times_eligibility_carried_forward():
    model, (x, y), tau = net(), batch(8, 6, 5), 3.0
    rule = RandomFeedbackOnline(model, F.cross_entropy, x)
    found = grads(rule, x, y)
    cell, readout = model
    h = torch.zeros(8, 7, dtype=torch.float64)
    p = torch.zeros(8, 7, 7, dtype=torch.float64)
    q = torch.zeros(8, 7, 5, dtype=torch.float64)
    r = torch.zeros(8, 7, dtype=torch.float64)
    with torch.no_grad():
        for t in range(6):
            f = torch.tanh(cell.recurrent(h) + cell.input(x[:, t]))
            slope = (1 - f**2) / tau
            p = (1 - 1 / tau) * p + slope[:, :, None] * h[:, None, :]
            q = (1 - 1 / tau) * q + slope[:, :, None] * x[:, t, None, :]
            r = (1 - 1 / tau) * r + slope
            h = (1 - 1 / tau) * h + f / tau
        error = (readout(h).softmax(1) - F.one_hot(y, 4)) / 8
        sent = error @ rule.feedback.get_buffer("0")
    expected = {
        "model.0.recurrent.weight": torch.einsum("ni,nij->ij", sent, p),
        "model.0.input.weight": torch.einsum("ni,nij->ij", sent, q),
        "model.0.input.bias": torch.einsum("ni,ni->i", sent, r),
        "model.1.weight": error.T @ h,
        "model.1.bias": error.sum(0),
    }
    assert set(found) == set(expected)
    for k in expected:
        torch.testing.assert_close(found[k], expected[k], rtol=1e-10, atol=1e-14)


@pytest.mark.oracle("rflo")
@pytest.mark.parametrize(("steps", "connected"), [(1, True), (6, False)], ids=["one step", "no recurrence"])
def test_it_is_backprop_through_time_where_the_truncation_is_exact(steps, connected):
    model, (x, y) = net(), batch(8, steps, 5)
    if not connected:
        model[0].recurrent.weight.data.zero_()
    a, b = grads(symmetric(model, x), x, y), grads(Backprop(model, F.cross_entropy), x, y)
    for k in b:
        torch.testing.assert_close(a[k], b[k], rtol=1e-10, atol=1e-14)


def test_with_recurrence_it_only_points_that_way():
    model, (x, y) = net(), batch(8, 6, 5)
    a = grads(symmetric(model, x), x, y)["model.0.recurrent.weight"].flatten()
    b = grads(Backprop(model, F.cross_entropy), x, y)["model.0.recurrent.weight"].flatten()
    assert 0.5 < F.cosine_similarity(a, b, dim=0) < 0.9999


def test_blocks_without_a_cell_learn_by_direct_feedback():
    torch.manual_seed(0)
    model = nn.Sequential(LeakyRNN(5, 7, 3.0), nn.Sequential(nn.Linear(7, 6), nn.Tanh()), nn.Linear(6, 4))
    x, y = batch(8, 6, 5)
    a, b = (
        grads(rule(model.double(), F.cross_entropy, x, torch.Generator().manual_seed(0)), x, y)
        for rule in (RandomFeedbackOnline, DirectFeedback)
    )
    assert all(torch.equal(a[k], b[k]) for k in ("model.1.0.weight", "model.1.0.bias", "model.2.weight"))
    assert not torch.equal(a["model.0.recurrent.weight"], b["model.0.recurrent.weight"])


@pytest.mark.parametrize("cell", [nn.RNN(5, 7, batch_first=True), nn.Linear(5, 7)], ids=["of torch", "none"])
def test_without_its_cell_it_refuses_and_names_direct_feedback(cell):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            h = self.cell(x)
            return (h[0] if isinstance(h, tuple) else h)[:, -1]

    model = nn.Sequential(Last(), nn.Linear(7, 4))
    with pytest.raises(TypeError, match=r"hebbian.LeakyRNN, and Sequential has none; .* the rule dfa"):
        RandomFeedbackOnline(model, F.cross_entropy, torch.zeros(2, 6, 5))


def test_attaching_and_calling_leaves_the_gradients_of_the_model_alone():
    model, (x, y) = net(), batch(8, 6, 5)
    before = grads(Backprop(model, F.cross_entropy), x, y)
    RandomFeedbackOnline(model, F.cross_entropy, x)(x, y)
    after = grads(Backprop(model, F.cross_entropy), x, y)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_it_remembers_the_first_step_of_a_sequence():
    """The class is the sign of the first step; all that follows is noise."""
    g = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(200, 10, 1, generator=g)
    y = torch.randint(0, 2, (200, 1), generator=g).float()
    x[:, 0] = 4 * y - 2
    torch.manual_seed(0)
    model = nn.Sequential(LeakyRNN(1, 16, tau=5.0), nn.Linear(16, 1))
    rule = RandomFeedbackOnline(model, nn.BCEWithLogitsLoss(), x, g)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    assert ((model(x) > 0) == (y > 0)).float().mean() > 0.95


def test_it_compiles_in_one_graph():
    model, (x, y) = net(), batch(8, 6, 5)
    rule = RandomFeedbackOnline(model, F.cross_entropy, x)
    exact = grads(rule, x, y)
    torch._dynamo.reset()
    rule.zero_grad()
    torch.compile(rule, backend="aot_eager", fullgraph=True)(x, y).backward()
    for k, p in rule.named_parameters():
        torch.testing.assert_close(p.grad, exact[k])


def test_errors_state_the_cause():
    with pytest.raises(ValueError, match="tau must be at least 1"):
        LeakyRNN(2, 3, tau=0.5)
    with pytest.raises(ValueError, match="needs targets"):
        RandomFeedbackOnline(net(), F.cross_entropy, batch(8, 6, 5)[0])(batch(8, 6, 5)[0])
