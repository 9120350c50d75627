"""Forward-Forward: every block tells true labels from false ones by how strongly it answers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Rule, blocks


class ForwardForward(Rule):
    """Forward-Forward, supervised: goodness high for true labels, low for false ones (Hinton 2022).

    The label is written over the first K values of a sample.  A hidden block's goodness g is the sum of
    the squares of its output, less ``threshold`` a unit; it descends softplus(-g) for samples with
    their own label and softplus(g) for the same samples with a false one.  A block sees only the
    direction of what the one before gives, so that it cannot rest on that one's goodness.  The readout
    of the model is not used.

    Scores are goodnesses, so no gradient leads from `predict` to the input: explain it by occlusion.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is left out.
    example
        A batch (N, ...) of inputs, for the shapes only.
    classes
        Number of classes K, at least 2.
    threshold
        The mean square of a block's output at which true and false are equally likely.  Where it lies far
        above the one that the block begins with (1 / 6 after ReLU from torch's weights), all samples look
        false at first, and what makes them look true at once kills units: as do high rates.
    """

    def __init__(self, model: nn.Module, example: Tensor, classes: int, threshold: float = 0.2) -> None:
        if classes < 2:
            raise ValueError(f"Forward-Forward needs one unit a class, so 2 at least; got {classes}")
        if (values := example[0].numel()) <= classes:
            raise ValueError(f"Forward-Forward writes {classes} labels over a sample of {values} values")
        blocks(model)
        super().__init__(model)
        self.classes, self.threshold = classes, threshold

    def write(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``x`` (N, ...) with the label (N,) as ones and zeros over the first K values."""
        labels = F.one_hot(y, self.classes).to(x.dtype)
        return torch.cat([labels, x.flatten(1)[:, self.classes :]], 1).view_as(x)

    def others(self, y: Tensor) -> Tensor:
        """Return a random false label (N,) for each true one."""
        return (y + torch.randint(1, self.classes, y.shape, device=y.device)) % self.classes

    def goodness(self, x: Tensor) -> Tensor:
        """Return the goodness (blocks, N) of inputs that carry a label."""
        result, h = [], x
        for block in blocks(self.model)[:-1]:
            h = block(_direction(h.detach()))
            result.append((h.flatten(1).square() - self.threshold).sum(1))
        return torch.stack(result)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum over the blocks of the mean loss of true and false labels."""
        if y is None:
            raise ValueError("Forward-Forward needs targets: rule(x, y)")
        both = torch.cat([self.write(x, y), self.write(x, self.others(y))])
        true, false = self.goodness(both).chunk(2, 1)
        return (F.softplus(-true) + F.softplus(false)).mean(1).sum() / 2

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the goodness (N, K) of each label, over all blocks but the first where there are more."""
        scores = []
        for c in range(self.classes):
            goodness = self.goodness(self.write(x, torch.full((len(x),), c, device=x.device)))
            scores.append(goodness[min(1, len(goodness) - 1) :].sum(0))
        return torch.stack(scores, 1)


def _direction(h: Tensor) -> Tensor:
    """Give every sample (N, ...) a mean square of 1."""
    flat = h.flatten(1)
    return (F.normalize(flat, dim=1) * flat.shape[1] ** 0.5).view_as(h)
