"""
Swap the learning rule
======================

One network and one training loop; only the line that builds the rule differs. The data are the 8 x 8 digits
of scikit-learn.
"""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DirectFeedback, Hebbian, Rule, SoftHebb, frozen
from trainers import Batches, Trainer, accuracy, load_images, predict

digits = load_images("digits")
x, x_test = digits.x_train[:, None], digits.x_test[:, None]

# %%
# The model is an ordinary ``torch.nn`` model: a convolution and a readout. Hebbian rules need centred,
# scaled input, which a batch norm without parameters provides.


def network() -> nn.Sequential:
    torch.manual_seed(0)
    centre = nn.BatchNorm2d(1, affine=False)
    return nn.Sequential(
        nn.Sequential(centre, nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 10)),
    )


# %%
# A rule is a module whose forward returns the objective to descend. Rules that act at single layers take
# the path of the layer, here ``"0.1"``, the convolution. ``frozen`` keeps it at its random weights and is
# the control.

rules = {
    "backprop": lambda model: Backprop(model, F.cross_entropy),
    "direct feedback alignment": lambda model: DirectFeedback(model, F.cross_entropy, x[:2]),
    "SoftHebb": lambda model: Hebbian(model, {"0.1": SoftHebb()}, F.cross_entropy),
    "frozen random features": lambda model: Hebbian(model, {"0.1": frozen}, F.cross_entropy),
}


def train(rule: Rule, epochs: int = 10) -> float:
    """Return the accuracy on the test images."""
    batches = Batches(x, digits.y_train, 32, torch.Generator().manual_seed(0))
    Trainer(rule, torch.optim.SGD(rule.parameters(), lr=0.02)).fit(batches, epochs)
    return accuracy(predict(rule, x_test), digits.y_test)


accuracies = {name: train(build(network())) for name, build in rules.items()}
for name, value in accuracies.items():
    print(f"{name:26s} {value:.1%} of {len(x_test)} test images")

# %%
# One seed on an easy task does not rank rules; :doc:`/comparison` has all rules over seeds.

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.barh(list(accuracies), [100 * value for value in accuracies.values()], color="0.5")
axes.set(xlim=(80, 100), xlabel="accuracy, %")
axes.invert_yaxis()
axes.spines[["top", "right"]].set_visible(False)
