"""Two processes that communicate by gloo, verified by one process with the whole batch."""

import shutil
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing, nn
from torch.optim import SGD

from hebbian import registry
from tests.helpers import FEED_FORWARD, samples, small_mlp
from trainers import Batches, Checkpoint, Phase, Recipe, RunOptions, Trainer, TrainingData, mlp, train_rule
from trainers.distributed import leave, rank, world, wrap_rule
from trainers.networks import uniform

FEW = ["backprop", "bcm", "clapp", "softhebb"]


def means():
    """The rules whose update is a mean over samples, so that of the whole batch is known."""
    return [n for n in FEED_FORWARD if not registry.find_rule(n).traits & {"noisy", "batch statistics"}]


def net():
    return small_mlp(4, torch.float64, activation=nn.Tanh)


def data(n=8):
    return samples(n, 12, 4, torch.float64)


def build(name):
    torch.manual_seed(rank())  # what each process draws at construction differs; the first one's counts
    return registry.build(name, net(), F.cross_entropy, example=data()[0], classes=4)


class Recorder:
    def on_gradients(self, trainer, objective):
        self.found = {k: p.grad.clone() for k, p in trainer.rule.named_parameters() if p.grad is not None}


def gradients(name):
    """Return the gradients of the second of two steps, after the state of the rule has changed."""
    rule, recorder, (x, y) = build(name), Recorder(), data()
    wrapped = wrap_rule(rule)
    torch.manual_seed(10 + rank())
    batches = Batches(x, y, len(x), torch.Generator().manual_seed(2), rank=rank(), world=world())
    Trainer(wrapped, SGD(rule.parameters(), lr=0.01), [recorder]).fit(batches, 2)
    return recorder.found


class Keep:
    """Copy the checkpoint at the third step."""

    def __init__(self, folder):
        self.folder = folder

    def on_step(self, trainer):
        if trainer.step == 3 and not (self.folder / "kept.pt").exists():
            shutil.copy(self.folder / "last.pt", self.folder / "kept.pt")


def quick(name, checkpoint=None, callbacks=()):
    """Return the final weights of a training of one or two phases."""
    model = mlp(12, [8], 4, centred=True).double()
    uniform(model, torch.Generator().manual_seed(0))
    phase = Phase(partial(SGD, lr=0.01), 2, 8)
    options = RunOptions(3, callbacks, checkpoint)
    train_rule(name, model, TrainingData(*data(30), classes=4), Recipe(phase, phase), options)
    return model.state_dict()


def work(number, folder, names):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2
    )
    found = {"gradients": {n: gradients(n) for n in names}, "weights": {n: quick(n) for n in names}}
    quick("bcm", Checkpoint(folder / "last.pt", every=0), [Keep(folder)])
    torch.distributed.barrier()
    found["resumed"] = quick("bcm", Checkpoint(folder / "kept.pt"))
    torch.save(found, f"{folder}/{number}.pt")
    leave()


def both(folder, names):
    multiprocessing.spawn(work, (folder, names), nprocs=2)
    return [torch.load(f"{folder}/{i}.pt", weights_only=True) for i in range(2)]


def check(folder, names):
    first, second = both(folder, names)
    for name in names:
        a, b = first["gradients"][name], second["gradients"][name]
        assert a, name
        assert a.keys() == b.keys(), name
        assert all(torch.equal(a[k], b[k]) for k in a), name
        ends = first["weights"][name], second["weights"][name]
        assert all(torch.equal(p, q) for p, q in zip(*map(dict.values, ends), strict=True)), name
    for found in (first, second):
        assert all(torch.equal(p, found["weights"]["bcm"][k]) for k, p in found["resumed"].items())
    for name in set(names) & set(means()):
        whole = gradients(name)
        for k in whole:
            torch.testing.assert_close(
                first["gradients"][name][k], whole[k], rtol=1e-9, atol=1e-12, msg=f"{name}: {k}"
            )


@pytest.mark.parametrize("size", [4, 6])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_parts_of_a_batch_are_equal_and_complete(size, drop_last):
    def batches(share):
        generator = torch.Generator().manual_seed(0)
        augment = (lambda x, g: x + torch.rand(x.shape, generator=g)) if drop_last else None
        return Batches(x, x, size, generator, drop_last, augment, *share)

    x = torch.arange(21.0)
    halves = [batches((i, 2)) for i in range(2)]
    whole = list(batches((0, 1)))[: len(halves[0])]  # a last sample alone is left out
    for one, a, b in zip(whole, *halves, strict=True):
        for part in range(2):
            assert len(a[part]) == len(b[part])
            pair = torch.stack([a[part], b[part]], 1).flatten()
            assert torch.equal(pair, one[part][: len(pair)])
            assert len(one[part]) - len(pair) <= 1


def test_a_batch_must_divide_among_the_processes():
    with pytest.raises(ValueError, match="multiple of the 2 processes, got 5"):
        Batches(torch.zeros(9), None, 5, world=2)


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path):
    check(tmp_path, FEW)


@pytest.mark.slow
def test_two_processes_learn_as_one_by_every_rule(tmp_path):
    check(tmp_path, FEED_FORWARD)


@pytest.mark.slow
def test_torchrun_trains_by_the_command_and_one_process_prints(tmp_path):
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "trainers", "train"]
    wanted = ["--rule", "softhebb", "--epochs", "1", "--no-controls", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, *command, *wanted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("softhebb") == 1
    assert (tmp_path / "run" / "run.json").exists()
