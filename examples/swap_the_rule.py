"""One network, one loop, three rules and one of your own: python examples/swap_the_rule.py [EPOCHS].

Ten classes of 8 x 8 digits (scikit-learn's, embedded).  Only the line that makes the rule differs.
"""

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian import Backprop, DirectFeedback, Hebbian, SoftHebb, frozen
from trainers import Batches, Trainer, accuracy, load_images, predict


def mine(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Your own two-factor rule, dw = mean(gate xᵀ) - decay w: here, the winner moves to its input."""
    gate = F.one_hot(u.argmax(1), u.shape[1]).to(u.dtype)
    return gate, gate.mean(0)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    centre = nn.BatchNorm2d(1, affine=False)  # Hebbian rules want centred, scaled input
    return nn.Sequential(
        nn.Sequential(centre, nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 10)),
    )


def main(epochs: int) -> None:
    images = load_images("digits")
    x, x_test = images.x_train[:, None], images.x_test[:, None]
    rules = {
        "backprop": lambda model: Backprop(model, F.cross_entropy),
        "direct feedback": lambda model: DirectFeedback(model, F.cross_entropy, x[:2]),
        "SoftHebb": lambda model: Hebbian(model, {"0.1": SoftHebb()}, F.cross_entropy),
        "mine": lambda model: Hebbian(model, {"0.1": mine}, F.cross_entropy),
        "frozen random features": lambda model: Hebbian(model, {"0.1": frozen}, F.cross_entropy),
    }
    for name, make in rules.items():
        rule = make(network())
        batches = Batches(x, images.y_train, 32, torch.Generator().manual_seed(0))
        Trainer(rule, torch.optim.SGD(rule.parameters(), lr=0.02)).fit(batches, epochs)
        share = accuracy(predict(rule, x_test), images.y_test)
        print(f"{name:24s} {share:.1%} of {len(x_test)} test images")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
