"""
Write your own plasticity
=========================

A two-factor rule is a callable from the currents ``u`` (samples, units) and the weights ``w`` (units,
inputs) of a layer to a gate (samples, units) and a decay (units,). Its update is

    dw = mean over samples of gate x - decay w

where x is the input of the layer. Linear layers and convolutions look the same to it: each position of a
convolution is one more sample.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian import Hebbian
from trainers import load_images
from visualizers import receptive_fields

# %%
# A conscience mechanism (DeSieno 1988): the winner moves towards its input, and a unit's chance to win
# falls with the noise of its current. Without a mechanism of this kind few units win all inputs.


@dataclass(frozen=True)
class NoisyWinner:
    """dw = y (x - w), y = 1 for the unit with the largest noisy current."""

    noise: float = 1.0

    def __call__(self, u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        noisy = u + self.noise * u.std() * torch.randn_like(u)
        gate = F.one_hot(noisy.argmax(1), u.shape[1]).to(u.dtype)
        return gate, gate.mean(0)


# %%
# That is all. `hebbian.Hebbian` places it at a layer of any model; without a criterion nothing else is
# trained.

digits = load_images("digits")
x = digits.x_train.flatten(1)
torch.manual_seed(0)
model = nn.Sequential(nn.BatchNorm1d(64, affine=False), nn.Linear(64, 16, bias=False))
rule = Hebbian(model, {"1": NoisyWinner()})
optimizer = torch.optim.SGD(rule.parameters(), lr=0.5)
for _ in range(200):
    batch = x[torch.randint(len(x), (100,))]
    optimizer.zero_grad()
    rule(batch, None).backward()
    optimizer.step()

# %%
# The gradient that the optimizer sees is minus the update, which is checked by writing it out sample by
# sample:

u = model(batch)
torch.manual_seed(1)
gate, decay = NoisyWinner()(u, model[1].weight)
inputs = model[0](batch)
update = sum(torch.outer(g, z) for g, z in zip(gate, inputs, strict=True)) / len(batch)
update = update - decay[:, None] * model[1].weight
torch.manual_seed(1)
optimizer.zero_grad()
rule(batch, None).backward()
torch.testing.assert_close(model[1].weight.grad, -update)
print("gradient = -update")

# %%
# The units have become prototypes of the digits.

tiles = receptive_fields(model[1].weight.detach().reshape(-1, 8, 8).numpy())
plt.imshow(tiles.transpose(1, 2, 0))
plt.axis("off")
