"""Data-parallel training by several processes, started by torchrun and joined by torch's DDP.

Every process has the whole data set, draws the same order, and trains on its part of each batch;
`DistributedDataParallel` averages the gradients.  With equal parts:

- a rule whose update is a mean over samples makes the same update as one process with the whole batch;
- a rule with batch statistics (trait ``batch statistics``, and BatchNorm in any model) uses those of a part,
  and the update is the mean over the parts;
- a rule with noise draws different noise in each process, like dropout;
- buffers that a rule changes when it is called (thresholds, running means) become the mean over the
  processes after each step; if they track means over samples, they equal those of one process.  The
  mirrored weights of weight-mirror, a parameter, depend on the noise of each process until the phase ends.

Only the first process has callbacks and writes files.  The others must be able to read the checkpoint to
resume; noise apart from the order of the data is not resumed in them.
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
    """Join the processes that torchrun started; does nothing without torchrun.

    GPUs, one a process, communicate by NCCL, CPUs by gloo.
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

    `DistributedDataParallel` is part of reference cycles; if it still exists when the interpreter exits, the
    process crashes, so it is collected first.
    """
    gc.collect()
    distributed.destroy_process_group()


def rank() -> int:
    """Return the index of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wrap_rule(rule: Rule) -> nn.Module:
    """Return ``rule`` wrapped such that its gradients are averaged over the processes.

    Parameters without a gradient in the first step must have none in any step.
    """
    if world() == 1:
        return rule
    return DistributedDataParallel(rule, static_graph=True)


def is_any(flag: bool) -> bool:
    """Return whether ``flag`` is true in any process."""
    if world() == 1:
        return flag
    votes = torch.tensor(int(flag), device=_device())
    distributed.all_reduce(votes)
    return votes.item() > 0


def _device() -> str:
    return "cuda" if "nccl" in distributed.get_backend() else "cpu"


def average_buffers(module: nn.Module) -> None:
    """Average the floating-point buffers of ``module`` over the processes."""
    if world() == 1:
        return
    for buffer in filter(torch.is_floating_point, module.buffers()):
        distributed.all_reduce(buffer)
        buffer.div_(world())


def broadcast(module: nn.Module) -> None:
    """Copy the parameters and buffers of ``module`` from the first process to all others."""
    if world() == 1:
        return
    for tensor in module.state_dict().values():
        distributed.broadcast(tensor, 0)
