"""Checkpoints: a training that is killed at any moment and resumed equals an uninterrupted one."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader, TensorDataset

from hebbian import Backprop, registry
from tests.helpers import FEED_FORWARD, ROOT, same_state, small_mlp
from trainers import (
    Batches,
    Checkpoint,
    DataError,
    Phase,
    Recipe,
    RunOptions,
    Schedule,
    Trainer,
    TrainingData,
    train_rule,
)
from trainers.networks import uniform

RECIPE = Recipe(
    Phase(partial(AdamW, lr=0.01, weight_decay=0.1), 2, 10), readout=Phase(partial(Adam, lr=0.01), 2, 10)
)
STEPS = 2 * 6  # of one phase


def noisy(x, generator):
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def trained(name, checkpoint=None, callbacks=(), epochs=2, recipe=RECIPE, augment=noisy, seed=0):
    """Train a net with dropout and running statistics; return its final state."""
    g = torch.Generator().manual_seed(1)
    x, y = torch.rand(60, 12, generator=g), torch.randint(0, 3, (60,), generator=g)
    model = small_mlp(activation=partial(nn.Dropout, 0.5), centred=True)
    recipe = replace(recipe, learn=replace(recipe.learn, epochs=epochs))
    data = TrainingData(x, y, classes=3, augment=augment)
    train_rule(name, model, data, recipe, RunOptions(seed, callbacks, checkpoint))
    return model.state_dict()


class Interrupt:
    """Stop after some steps, of all phases together."""

    def __init__(self, steps):
        self.steps = steps

    def on_step(self, trainer):
        self.steps -= 1
        if not self.steps:
            raise KeyboardInterrupt


def interrupted(path, name, after, **changed):
    with pytest.raises(KeyboardInterrupt):
        trained(name, Checkpoint(path, every=0), [Interrupt(after)], **changed)


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_a_resumed_training_equals_an_uninterrupted_one(name, tmp_path):
    """Interrupted within an epoch, between two, and in the second phase, if any."""
    path = tmp_path / "a.pt"
    steps = STEPS if registry.find_rule(name).supervised else 2 * STEPS
    for after in (4, steps // 2 - 1, 2):  # the step that is interrupted is lost each time
        interrupted(path, name, after)
    assert same_state(trained(name, Checkpoint(path)), trained(name))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("softhebb", {"greedy": True}),
        ("softhebb", {"finetune": Phase(partial(SGD, lr=0.01, momentum=0.9), 2, 10)}),
        ("dfa", {"finetune": Phase(partial(SGD, lr=0.01), 1, 20)}),
    ],
)
def test_every_phase_can_be_interrupted(name, changes, tmp_path):
    recipe = replace(RECIPE, **changes)
    steps = []

    class Count:
        def on_step(self, trainer):
            steps.append(trainer.phase)

    whole = trained(name, callbacks=[Count()], recipe=recipe)
    assert len(set(steps)) >= 2
    for after in range(2, len(steps), 5):
        path = tmp_path / f"{after}.pt"
        interrupted(path, name, after, recipe=recipe)
        assert same_state(trained(name, Checkpoint(path), recipe=recipe), whole)


def test_a_finished_training_is_not_repeated(tmp_path):
    path = tmp_path / "a.pt"
    whole = trained("softhebb", Checkpoint(path))
    assert same_state(trained("softhebb", Checkpoint(path), [Interrupt(1)]), whole)


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from tests.test_trainers.test_checkpoint import Checkpoint, trained
for name in {names!r}:
    torch.save(trained(name, Checkpoint(Path(name + ".pt"), every=0), epochs={epochs}), name + ".end")
"""


def await_writing(running, folder):
    """Return when a checkpoint was written, or the program has ended."""

    def written():
        return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.pt")}

    before = written()
    while running.poll() is None and written() == before:
        time.sleep(0.0005)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """By SIGKILL, which cannot be caught; every step writes, so many are killed during a write."""
    names, epochs = (
        ("backprop", "softhebb", "node-perturbation", "weight-mirror", "clapp", "kolen-pollack"),
        12,
    )
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(tests=str(ROOT), names=names, epochs=epochs))
    command, draws = [sys.executable, "run.py"], random.Random(0)
    start = time.monotonic()
    killed = 0
    while not (tmp_path / f"{names[-1]}.end").exists():
        assert time.monotonic() - start < 300
        running = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
        for _ in range(draws.randint(1, 120)):
            await_writing(running, tmp_path)
        time.sleep(draws.uniform(0, 0.01))
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        running.wait()
    assert killed >= 3
    for name in names:
        end = torch.load(tmp_path / f"{name}.end", weights_only=True)
        assert same_state(end, trained(name, epochs=epochs)), name


def test_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    interrupted(path, "backprop", 5)
    before = path.read_bytes()
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.test_trainers.test_checkpoint import Checkpoint, trained
def replace(part, path):
    Path(part).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
trained("backprop", Checkpoint(Path({str(path)!r}), every=0))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    assert same_state(trained("backprop", Checkpoint(path)), trained("backprop"))
    assert list(tmp_path.iterdir()) == [path]


class Signal:
    """Send a signal to this process, once, during a step."""

    def __init__(self, number, step):
        self.number, self.step = number, step

    def on_gradients(self, trainer, objective):
        if trainer.step == self.step - 1:
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_after_the_step_and_the_write(number, tmp_path):
    path = tmp_path / "a.pt"
    handler = signal.getsignal(number)
    checkpoint = Checkpoint(path, every=float("inf"))
    with pytest.raises(KeyboardInterrupt), checkpoint.interruptible():
        trained("backprop", checkpoint, [Signal(number, 5)])
    assert signal.getsignal(number) == handler
    assert torch.load(path, weights_only=True)["trainer"]["progress"]["step"] == 5
    assert same_state(trained("backprop", Checkpoint(path)), trained("backprop"))


@pytest.fixture
def terminal():
    """SIGINT as in a terminal; background processes of a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("terminal")
def test_a_second_signal_acts_at_once(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint = Checkpoint(path, every=float("inf"))
    twice = [Signal(signal.SIGINT, 5), Signal(signal.SIGINT, 5)]
    with pytest.raises(KeyboardInterrupt), checkpoint.interruptible():
        trained("backprop", checkpoint, twice)
    assert not path.exists()


# ---- by hand, with a data loader of torch --------------------------------------------------------


class Memory:
    """A callback with state: it stops the training after a number of steps."""

    def __init__(self):
        self.seen = 0

    def on_step(self, trainer):
        self.seen += 1
        trainer.stop = self.seen >= 15

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


@pytest.mark.parametrize("own", [False, True])
def test_torchs_own_loader_scheduler_and_scaler(own, tmp_path):
    """The loader has its own generator, or uses the global one, like dropout."""

    def fit(*riders, seed=0):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        uniform(model, torch.Generator().manual_seed(0))
        g = torch.Generator().manual_seed(2)
        data = TensorDataset(torch.randn(30, 5, generator=g), torch.randint(0, 2, (30,), generator=g))
        loader = DataLoader(
            data, 4, shuffle=True, generator=torch.Generator().manual_seed(3) if own else None
        )
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = Schedule(torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40))
        checkpoint = Checkpoint(tmp_path / "a.pt", every=0)
        checkpoint.open(model, {"seed": 0})
        trainer = Trainer(
            Backprop(model, F.cross_entropy),
            optimizer,
            [schedule, Memory(), *riders, checkpoint],
            scaler=torch.amp.GradScaler("cpu", growth_interval=2),
            accumulate=2,
        )
        checkpoint.resume(trainer)
        trainer.fit(loader, 9 - trainer.epoch)
        return model.state_dict(), trainer

    with pytest.raises(KeyboardInterrupt):
        fit(Interrupt(7))
    gone_on, trainer = fit(seed=9)
    (tmp_path / "a.pt").unlink()
    whole, other = fit()
    assert same_state(gone_on, whole)
    assert trainer.step == other.step == trainer.goal - 20 == 16
    assert trainer.scaler.get_scale() == other.scaler.get_scale() > 2**16


def test_a_callback_without_its_state_is_named(tmp_path):
    model = nn.Linear(2, 2)
    trainer = Trainer(Backprop(model, F.cross_entropy), SGD(model.parameters(), lr=0.1))
    trainer.fit(Batches(torch.zeros(2, 2), torch.zeros(2).long(), 2), 1)
    other = Trainer(Backprop(model, F.cross_entropy), SGD(model.parameters(), lr=0.1), [Memory()])
    with pytest.raises(DataError, match="no state for Memory 0; use the same callbacks"):
        other.load_state_dict(trainer.state_dict())


# ---- what is refused -----------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_reading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": Bomb()}, "a.pt")
    with open("b.pt", "wb") as file:
        pickle.dump(Bomb(), file)
    for name in ("a.pt", "b.pt"):
        with pytest.raises(
            DataError, match=rf"{name}: not a readable 'hebbian-eeg checkpoint 3'.*specify a new file"
        ):
            trained("backprop", Checkpoint(name))
    assert not os.path.exists("exploded")


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", "half", "one bit", {"weight": torch.zeros(2)}, [1]]
)
def test_a_foreign_or_damaged_file_is_refused_and_unchanged(content, tmp_path):
    path = tmp_path / "a.pt"
    if content in ("half", "one bit"):
        trained("backprop", Checkpoint(path))
        good = bytearray(path.read_bytes())
        good[len(good) // 2] ^= 1
        path.write_bytes(good if content == "one bit" else good[:3000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="written by this version; specify a new file") as caught:
        trained("backprop", Checkpoint(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "change"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"augment": None}, "augment was .*noisy, is None"),
        ({"epochs": 3}, "recipe.learn.epochs was 2, is 3"),
        ({"name": "dfa"}, "rule was backprop, is dfa"),
    ],
)
def test_other_settings_are_named(changed, change, tmp_path):
    path = tmp_path / "a.pt"
    trained("backprop", Checkpoint(path))
    with pytest.raises(DataError, match=rf"a.pt: a checkpoint of another run: {change}\. Use the settings"):
        trained(**{"name": "backprop", "checkpoint": Checkpoint(path), **changed})


def test_another_version_of_torch_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    trained("backprop", Checkpoint(path))
    monkeypatch.setattr("trainers.checkpoint.versions", lambda: {"torch": "1.0"})
    with pytest.raises(DataError, match=r"versions.torch was \S+, is 1.0"):
        trained("backprop", Checkpoint(path))


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        trained("backprop", Checkpoint(tmp_path / "nowhere" / "a.pt"))
    model = nn.Linear(2, 2)
    trainer = Trainer(Backprop(model, F.cross_entropy), SGD(model.parameters(), 0.1), [Checkpoint("a", 0)])
    with pytest.raises(RuntimeError, match="open the checkpoint before"):
        trainer.fit(Batches(torch.zeros(2, 2), torch.zeros(2).long(), 2), 1)
