"""Several processes that train as one: torchrun starts them, torch's process group and DDP join them.

Every process has the whole data set, draws the same order, and learns from its share of each batch;
`DistributedDataParallel` averages the gradients.  So, with equal shares:

- a rule whose update is a mean over samples does what one process does with the whole batch;
- a rule with batch statistics (``batch statistics`` among its traits, and BatchNorm in any model) has
  those of a share, and the update is the mean over the shares;
- a rule with noise draws other noise in each process, as dropout does;
- what a rule rewrites as it is called (thresholds, running means), its buffers, becomes the mean over the
  processes after each step; where it follows means over samples, that is what one process would have.
  The mirrored weights of weight-mirror, a parameter, follow each process's own noise until the phase ends.

Only the first process has callbacks, and so writes.  The others must see the checkpoint to go on from;
noise apart from the order of the data then begins anew in them.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hebbian.rule import Rule


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that torchrun started; without it, be alone.

    GPUs, one a process, talk by NCCL, CPUs by gloo.
    """
    if "LOCAL_RANK" not in os.environ:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend)
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """End the process group.

    `DistributedDataParallel` stands in cycles of references; what is left of it when the interpreter ends
    takes the process down, so it is collected before.
    """
    gc.collect()
    distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Return how many processes train as one."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def joined(rule: Rule) -> nn.Module:
    """Return ``rule`` such that its gradients are the mean over the processes.

    Parameters that rest in a rule's first step must rest in all of them.
    """
    if world() == 1:
        return rule
    return DistributedDataParallel(rule, static_graph=True)


def anywhere(found: bool) -> bool:
    """Return whether ``found`` is true in any process."""
    if world() == 1:
        return found
    votes = torch.tensor(int(found), device=_device())
    distributed.all_reduce(votes)
    return votes.item() > 0


def _device() -> str:
    return "cuda" if "nccl" in distributed.get_backend() else "cpu"


def average(module: nn.Module) -> None:
    """Make the buffers of ``module`` that hold real numbers the mean over the processes."""
    if world() == 1:
        return
    for buffer in filter(torch.is_floating_point, module.buffers()):
        distributed.all_reduce(buffer)
        buffer.div_(world())


def agree(module: nn.Module) -> None:
    """Give every process the parameters and buffers that ``module`` has in the first one."""
    if world() == 1:
        return
    for tensor in module.state_dict().values():
        distributed.broadcast(tensor, 0)
