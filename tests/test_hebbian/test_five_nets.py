"""Every rule on nets as their users write them: it learns from a batch, or refuses it by name."""

import sys

import pytest
import torch
import torch.nn.functional as F

from hebbian import registry
from hebbian.synapse import weight_layers
from tests.helpers import ROOT
from tests.test_hebbian.every_rule import AT_LAYERS, CHAINS, FEEDBACK, LINKED, NAMES, RECURRENT
from trainers.recipes import recommended

sys.path.append(str(ROOT / "benchmarks"))

from any_net import NETS

FEATURES_FIRST = {"clapp", "cwcomp", "dtp", "ldrl", "predsim", "scff", "sim"}
REFUSED = {
    "flat MLP": RECURRENT,
    "conv": RECURRENT | {"cwcomp"},  # whose 16 channels are not a multiple of 10 classes
    "residual": RECURRENT | LINKED | {"cwcomp"},
    # Attention does not call a layer that it has.
    "ViT": AT_LAYERS | RECURRENT | FEATURES_FIRST | LINKED,
    "RNN": AT_LAYERS - FEEDBACK | LINKED,  # the cell calls a layer at every step
}
NAMED = "attention", "cell.recurrent", "features last", "cannot use", "a multiple of 10", "hebbian.LeakyRNN"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("net", NETS)
def test_a_rule_learns_on_a_net_or_refuses_it_by_name(net, name):
    torch.manual_seed(0)
    model, x, y = NETS[net](recommended(name)), torch.rand(4, 1, 8, 8), torch.arange(4)
    criterion = F.cross_entropy if registry.find_rule(name).supervised else None

    def learn():
        rule = registry.build(name, model, criterion, example=x, classes=10)
        rule(x, y).backward()

    if name in REFUSED[net]:
        with pytest.raises(TypeError) as refusal:
            learn()
        assert any(part in str(refusal.value) for part in NAMED)
        return
    learn()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients) or name in {"frozen", "foldiak"}  # whose units may all be silent
    if name in CHAINS | FEEDBACK | RECURRENT:  # of which every weight layer learns, but the unused readout
        weights = [model.get_parameter(f"{path}.weight").grad for path in weight_layers(model)[:-1]]
        assert all(w is not None for w in weights)
