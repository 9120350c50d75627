"""Peak memory of a training step against depth: python benchmarks/depth_memory.py [--batch 1024].

Residual nets of He et al. 2016 for images 3 x 32 x 32, of 8 to 110 layers, trained by backprop, by local
losses, and by local losses with ``low_memory``.  Each run is a process of its own; its memory is the highest
resident size after two steps of SGD with momentum, less that before the net was built: weights, gradients
and the optimizer's state are included.  Results are in benchmarks/results/depth_memory.json.
"""

from __future__ import annotations

import argparse
import json
import resource
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from journal import RESULTS
from torch import Tensor, nn

from hebbian import build

DEPTHS = (8, 20, 56, 110)
RULES = {"backprop": ("backprop", {}), "sim": ("sim", {}), "sim, low_memory": ("sim", {"low_memory": True})}


class Residual(nn.Module):
    """Two convolutions with batch normalisation, and a skip without weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps (N, outputs, ...)."""
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        skip = x[:, :, :: self.stride, :: self.stride]
        return F.relu(h + torch.cat([skip] * (h.shape[1] // x.shape[1]), 1))


def resnet(depth: int) -> nn.Sequential:
    """Return a residual net of 6 n + 2 layers, (N, 3, 32, 32) -> (N, 10)."""
    widths = [16, *(width for width in (16, 32, 64) for _ in range((depth - 2) // 6))]
    blocks = [Residual(a, b) for a, b in pairwise(widths)]
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    readout = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(stem, *blocks, readout)


def megabytes(name: str, depth: int, batch: int) -> float:
    """Return the peak of a training in MB (10^6 bytes)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rule_name, settings = RULES[name]
    x, y = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    rule = build(rule_name, resnet(depth), F.cross_entropy, example=x[:2], classes=10, **settings)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1024)
    options = parser.parse_args()
    found: dict[str, dict[int, int]] = {name: {} for name in RULES}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for name in RULES:
            for depth in DEPTHS:
                found[name][depth] = round(pool.submit(megabytes, name, depth, options.batch).result())
                print(f"{name}, {depth} layers: {found[name][depth]} MB", flush=True)
    result = {"batch": options.batch, "torch": torch.__version__, "megabytes": found}
    (RESULTS / "depth_memory.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
