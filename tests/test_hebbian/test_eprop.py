"""E-prop against real-time recurrent learning written out, against backprop through time, and in pieces."""

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing, nn
from torch.utils.checkpoint import checkpoint

from hebbian import LIF, Backprop, EProp, LeakyRNN, RandomFeedbackOnline
from hebbian.recurrent import STEPS
from hebbian.report import BY_CRITERION, BY_RULE
from tests.helpers import ROOT
from tests.test_hebbian.helpers import assert_same, batch, grads, seeded

CELLS = {
    "LIF": partial(LIF, tau=5.0, tau_out=8.0, threshold=0.5),
    "LeakyRNN": partial(LeakyRNN, tau=3.0),
}
EXACT = {"rtol": 1e-10, "atol": 1e-14}


@pytest.fixture(params=CELLS)
def model(request):
    torch.manual_seed(0)
    return nn.Sequential(CELLS[request.param](5, 7), nn.Linear(7, 4)).double()


def symmetric(model, x, **settings):
    return EProp(model, F.cross_entropy, x, feedback="symmetric", **settings)


def real_time(cell, x, truncate):
    """Return the derivatives (N, units, units, in) of the last outputs by the weights of each unit.

    The Jacobian between the states of two steps is ``truncate``d: those of LIF are potentials, those of
    LeakyRNN h, in which all recurrence is; x and h or spikes are the presynaptic activity.
    """
    w, v_in = cell.recurrent_weight().detach(), cell.input.weight.detach()
    n, units, width = len(x), len(w), 5 + 1 + len(w)
    one, rows = torch.eye(units).double(), torch.arange(units)
    state = sent = out = slope = torch.zeros(n, units).double()
    influence = outputs = torch.zeros(n, units, units, width).double()
    for t in range(x.shape[1]):
        pre = torch.cat([x[:, t], torch.ones(n, 1).double(), sent], 1)
        if isinstance(cell, LIF):
            jacobian = cell.memory * one + w * slope[:, None, :]
            state = cell.memory * state + x[:, t] @ v_in.T + sent @ w.T - cell.threshold * sent
            sent = (state > cell.threshold).double()
            distance = (state - cell.threshold).abs() / cell.threshold
            slope, gain = cell.damping / cell.threshold * (1 - distance).clamp(min=0), 1.0
        else:
            f = torch.tanh(x[:, t] @ v_in.T + cell.input.bias.detach() + sent @ w.T)
            gain = (1 - f**2) / cell.tau
            jacobian = (1 - 1 / cell.tau) * one + gain[:, :, None] * w
            state = sent = (1 - 1 / cell.tau) * state + f / cell.tau
        direct = torch.zeros_like(influence)
        direct[:, rows, rows] = (gain * torch.ones(n, units).double())[:, :, None] * pre[:, None]
        influence = torch.einsum("nkl,nljp->nkjp", truncate(jacobian), influence) + direct
        if isinstance(cell, LIF):
            outputs = cell.leak * outputs + (1 - cell.leak) * slope[:, :, None, None] * influence
            out = cell.leak * out + (1 - cell.leak) * sent
        else:
            outputs, out = influence, state
    return out, outputs


def by_real_time(model, x, y, feedback, truncate):
    """Return minus the update, of the weights of inputs and units and of the readout."""
    cell, readout = model
    with torch.no_grad():
        out, outputs = real_time(cell, x, truncate)
        error = (readout(out).softmax(1) - F.one_hot(y, 4)) / len(x)
    change = torch.einsum("nk,nkjp->jp", error @ feedback, outputs)
    found = {"model.0.input.weight": change[:, :5], "model.1.weight": error.T @ out}
    if isinstance(cell, LIF):
        return found | {"model.0.recurrent": change[:, 6:].fill_diagonal_(0), "model.1.bias": error.sum(0)}
    found |= {"model.0.recurrent.weight": change[:, 6:], "model.0.input.bias": change[:, 5]}
    return found | {"model.1.bias": error.sum(0)}


def diagonal(jacobian):
    return torch.diag_embed(jacobian.diagonal(dim1=1, dim2=2))


@pytest.mark.oracle("eprop")
@pytest.mark.parametrize("feedback", ["random", "symmetric"])
def test_it_is_real_time_recurrent_learning_with_a_diagonal_jacobian(model, feedback):
    x, y = batch(3, 20, 5)
    if isinstance(model[0], LeakyRNN):
        model[0].recurrent.weight.data.fill_diagonal_(0)  # as LIF, it has no synapse from a unit to itself
    rule = EProp(model, F.cross_entropy, x, feedback)
    b = rule.feedback.get_buffer("0") if feedback == "random" else model[1].weight.detach()
    assert_same(grads(rule, x, y), by_real_time(model, x, y, b, diagonal), **EXACT)


def test_the_reference_without_truncation_is_backprop_through_time(model):
    x, y = batch(3, 20, 5)
    exact = by_real_time(model, x, y, model[1].weight.detach(), lambda jacobian: jacobian)
    assert_same(grads(Backprop(model, F.cross_entropy), x, y), exact, **EXACT)
    found = grads(symmetric(model, x), x, y)["model.0.input.weight"].flatten()
    assert 0.5 < F.cosine_similarity(found, exact["model.0.input.weight"].flatten(), 0) < 0.9999


@pytest.mark.parametrize("steps", [1, STEPS, 2 * STEPS + 30])
def test_without_recurrent_weights_it_is_backprop_through_time(model, steps):
    x, y = batch(3, steps, 5)
    for p in model[0].parameters():
        p.data.mul_(0.0 if p.shape == (7, 7) else 1.0)
    found, expected = grads(symmetric(model, x), x, y), grads(Backprop(model, F.cross_entropy), x, y)
    assert_same(found, expected, rtol=1e-9, atol=1e-13)
    assert steps == 1 or all(g.any() for g in expected.values())


def test_of_a_leaky_cell_it_is_rflo():
    x, y = batch(3, 2 * STEPS + 30, 5)
    torch.manual_seed(0)
    model = nn.Sequential(LeakyRNN(5, 7), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4)).double()
    online, traced = (
        grads(rule(model, F.cross_entropy, x, generator=seeded()), x, y)
        for rule in (RandomFeedbackOnline, EProp)
    )
    assert_same(traced, online, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("length", [1, 7, STEPS + 1])
def test_the_updates_of_pieces_add_up_to_that_of_the_whole_with_an_error_at_the_end_of_each(model, length):
    x, y = batch(3, 4 * length, 5)
    ends = range(length, 4 * length + 1, length)
    errors = [grads(symmetric(model, x), x[:, :end], y) for end in ends]
    rule = symmetric(model, x, stateful=True)
    pieces = [grads(rule, piece, y) for piece in x.split(length, 1)]
    for found, expected in zip(pieces, errors, strict=True):
        assert_same(found, expected, rtol=1e-9, atol=1e-13)
    whole = {k: sum(error[k] for error in errors) for k in errors[0]}
    assert_same({k: sum(piece[k] for piece in pieces) for k in whole}, whole, rtol=1e-9, atol=1e-13)


def test_a_piece_without_a_target_is_not_descended_and_reset_begins_again(model):
    x, y = batch(3, 21, 5)
    whole = grads(symmetric(model, x), x, y)
    rule = symmetric(model, x, stateful=True)
    for _ in range(2):
        with torch.no_grad():
            rule(x[:, :9], y)
        rule(x[:, 9:12], y)
        assert_same(grads(rule, x[:, 12:], y), whole, rtol=1e-9, atol=1e-13)
        rule.reset()


def test_a_saved_or_copied_rule_goes_on_where_it_was(model):
    x, y = batch(3, 12, 5)
    rule = EProp(model, F.cross_entropy, x, stateful=True)
    rule(x, y)
    other = EProp(copy.deepcopy(model), F.cross_entropy, torch.zeros_like(x), stateful=True)
    other.load_state_dict(rule.state_dict())
    twin = copy.deepcopy(rule)
    expected = grads(rule, x, y)
    assert_same(grads(other, x, y), expected)
    assert_same(grads(twin, x, y), expected)
    assert not torch.equal(grads(rule, x, y)["model.0.input.weight"], expected["model.0.input.weight"])


def pieces_of(rule, x, y):
    return [grads(rule, piece, y) for piece in x.split(4, 1)]


def stateful(x):
    torch.manual_seed(0)
    model = nn.Sequential(LIF(5, 7), nn.Linear(7, 4)).double()
    return EProp(model, F.cross_entropy, x, stateful=True, generator=seeded())


def work(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    x, y = (part[4 * rank :][:4] for part in batch(8, 12, 5))
    wrapped = nn.parallel.DistributedDataParallel(stateful(x))
    found = [{k.removeprefix("module."): g for k, g in p.items()} for p in pieces_of(wrapped, x, y)]
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_each_process_carries_the_state_of_its_own_sequences(tmp_path):
    multiprocessing.spawn(work, (tmp_path,), nprocs=2)
    x, y = batch(8, 12, 5)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for one, expected in zip(found, pieces_of(stateful(x), x, y), strict=True):
            assert_same(one, expected)


def test_predictions_and_the_gradients_of_the_model_are_left_alone(model):
    x, y = batch(3, 12, 5)
    before, scores = grads(Backprop(model, F.cross_entropy), x, y), model(x)
    rule = EProp(model, F.cross_entropy, x, stateful=True)
    rule(x, y)
    assert torch.equal(rule.predict(x), scores)
    assert_same(grads(Backprop(model, F.cross_entropy), x, y), before, 0, 0)


MEMORY = """
import re, sys, torch, torch.nn.functional as F
from pathlib import Path
from torch import nn
import hebbian

torch.set_num_threads(1)
x, y = (torch.rand(1, 100_000, 4) < 0.1).float(), torch.tensor([1])
cell = getattr(hebbian, sys.argv[1])(4, 64)
rule = hebbian.EProp(nn.Sequential(cell, nn.Linear(64, 2)), F.cross_entropy, x)
for steps in (1_000, 100_000):
    rule(x[:, :steps], y).backward()
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux")
@pytest.mark.parametrize("cell", CELLS)
def test_memory_does_not_grow_with_the_number_of_steps(cell):
    """The peak of resident memory of a process of its own, with the input in memory from the start.

    For 100,000 steps it is at most 1.1 times that for 1,000.  One value for each step and unit would add
    25.6 MB: it grows by less than a fifth of it.
    """
    done = subprocess.run([sys.executable, "-c", MEMORY, cell], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    short, long = map(int, done.stdout.split())
    assert long <= 1.1 * short
    assert long - short < 5_000


def test_spikes_as_booleans_are_numbers(model):
    x, y = torch.rand(3, 20, 5, generator=seeded()) < 0.4, batch(3)[1]
    rule = EProp(model, F.cross_entropy, x.double())
    assert_same(grads(rule, x, y), grads(rule, x.double(), y))


def test_it_compiles_in_one_graph(model):
    x, y = batch(3, 6, 5)
    rule = EProp(model, F.cross_entropy, x, stateful=True)
    rule(x, y)
    twin = copy.deepcopy(rule)
    exact = grads(rule, x, y)
    torch._dynamo.reset()
    torch.compile(twin, backend="aot_eager", fullgraph=True)(x, y).backward()
    for k, p in twin.named_parameters():
        torch.testing.assert_close(p.grad, exact[k])
    assert_same(dict(twin.named_buffers()), dict(rule.named_buffers()))


def test_spiking_neurons_remember_the_first_step_of_a_sequence():
    """The class is the sign of the first step; all that follows is noise."""
    g = seeded()
    x = 0.1 * torch.randn(200, 10, 1, generator=g)
    y = torch.randint(0, 2, (200, 1), generator=g).float()
    x[:, 0] = 4 * y - 2
    torch.manual_seed(0)
    model = nn.Sequential(LIF(1, 16), nn.Linear(16, 1))
    rule = EProp(model, nn.BCEWithLogitsLoss(), x, generator=g)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    assert ((model(x) > 0) == (y > 0)).float().mean() > 0.95


class Wrapped(nn.Module):
    """A block that uses its cell in one of several ways."""

    def __init__(self, way):
        super().__init__()
        self.way, self.before, self.cell = way, nn.Linear(5, 5), LIF(5, 7)

    def forward(self, x):
        match self.way:
            case "twice":
                return self.cell(x) + self.cell(2 * x)
            case "not":
                return self.before(x).mean(1)
            case "late":
                return self.cell(self.before(x))
        return checkpoint(self.cell, x, use_reentrant=False)


@pytest.mark.parametrize(
    ("way", "kind", "message"),
    [
        ("twice", TypeError, "calls its LIF 2 times; expected once"),
        ("late", TypeError, "what precedes the LIF learns"),
        ("checkpoint", RuntimeError, "a LIF is called inside activation checkpointing"),
    ],
)
@pytest.mark.parametrize("feedback", ["random", "symmetric"])
def test_a_cell_that_is_used_otherwise_is_refused(way, kind, message, feedback):
    x, y = batch(8, 6, 5)
    rule = EProp(nn.Sequential(Wrapped(way), nn.Linear(7, 4)).double(), F.cross_entropy, x, feedback)
    with pytest.raises(kind, match=message):
        rule(x, y)
    assert rule.model[0].cell.online is None


def test_a_cell_that_is_not_called_is_refused():
    x, y = batch(8, 6, 5)
    rule = EProp(nn.Sequential(Wrapped("not"), nn.Linear(5, 4)).double(), F.cross_entropy, x)
    with pytest.raises(TypeError, match="calls its LIF 0 times; expected once"):
        rule(x, y)


def test_a_block_before_the_cell_learns_by_random_feedback_only():
    x, y = batch(8, 6, 5)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(5, 6), nn.Tanh()), LIF(6, 7), nn.Linear(7, 4)).double()
    assert grads(EProp(model, F.cross_entropy, x), x, y)["model.0.0.weight"].any()
    with pytest.raises(TypeError, match="what precedes the LIF learns"):
        symmetric(model, x)(x, y)


@pytest.mark.parametrize("rule", [EProp, RandomFeedbackOnline])
def test_the_report_names_the_rule_for_the_cell_and_not_backprop_inside_its_block(rule):
    x, y = batch(8, 6, 5)
    model = nn.Sequential(LeakyRNN(5, 7), nn.Linear(7, 4)).double()
    learns = rule(model, F.cross_entropy, x).report(x, y).learns
    assert {learns[f"model.0.{p}"] for p in ("input.weight", "input.bias", "recurrent.weight")} == {BY_RULE}
    assert learns["model.1.weight"] == BY_CRITERION


def test_errors_state_the_cause():
    x, y = batch(8, 6, 5)
    model = nn.Sequential(LIF(5, 7), nn.Linear(7, 4)).double()
    none = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(30, 7)), nn.Linear(7, 4)).double()
    with pytest.raises(TypeError, match=r"one hebbian.LIF or hebbian.LeakyRNN, and Sequential has none; use"):
        EProp(none, F.cross_entropy, x)
    two = nn.Sequential(LIF(5, 7), nn.Unflatten(1, (7, 1)), LIF(1, 7), nn.Linear(7, 4)).double()
    with pytest.raises(TypeError, match="Sequential has 2; use one"):
        EProp(two, F.cross_entropy, x)
    with pytest.raises(ValueError, match="feedback must be 'random' or 'symmetric', got 'adaptive'"):
        EProp(model, F.cross_entropy, x, "adaptive")
    with pytest.raises(ValueError, match="a generator is for random feedback only"):
        symmetric(model, x, generator=seeded())
    with pytest.raises(ValueError, match="needs targets"):
        EProp(model, F.cross_entropy, x)(x)
    with pytest.raises(ValueError, match="batch of 3 sequences; a stateful rule has those of its example, 8"):
        EProp(model, F.cross_entropy, x, stateful=True)(x[:3], y[:3])
