"""Forward-Forward: every block responds more strongly to true labels than to false ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.chain import ChainRule
from hebbian.local import LocalLosses
from hebbian.rule import Criterion, check_classes
from hebbian.rule_info import CHAIN, register_rule


@register_rule(
    name="forward-forward",
    family="local losses",
    source="Hinton 2022; Lee & Song 2023; Scodellaro et al. 2023",
    needs=f"{CHAIN}; one unit a class",
    build=lambda make, c: make(c.model, c.example, c.classes, **c.settings),
    traits={"local", "noisy", "own readout"},
    one_logit=False,
)
class ForwardForward(ChainRule):
    """Supervised Forward-Forward: higher goodness for true labels than for false ones.

    Equation::

        a block descends softplus(slope (g' - g)); g = sum h², g' with a false label

    A label is a fixed random pattern that is added to the whole sample, so that a convolution receives it at
    every place (spatially extended labels, Scodellaro et al. 2023); Hinton's label in one corner reaches
    few places, and a convolution hardly learns from it.  The loss is SymBa (Lee & Song 2023), as Hinton's
    fixed threshold for g and g' has to be tuned for every net.  A block receives only the direction of the
    output of the block before it and not its goodness.  The readout of the model is not used.

    Scores are goodnesses, so no gradient leads from `predict` to the input: explain it by occlusion.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is not used.
    example
        A batch (N, ...) of inputs, for the shapes only.
    classes
        Number of classes K, at least 2.
    strength
        Root mean square of a label's pattern relative to the sample's.  Convolutions, whose kernels cover
        a small part of it, need more than perceptrons, for example 1.
    slope
        Of the loss in g - g'; choose a smaller one for blocks with more outputs.
    generator
        For the patterns.
    """

    patterns: Tensor

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        classes: int,
        strength: float = 0.1,
        slope: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if classes < 2:
            raise ValueError(f"Forward-Forward needs one unit a class, at least 2; got {classes}")
        if strength <= 0 or slope <= 0:
            raise ValueError(f"strength and slope must be positive, got {strength} and {slope}")
        super().__init__(model)
        self.classes, self.strength, self.slope = classes, strength, slope
        patterns = torch.randn(classes, *example.shape[1:], generator=generator)
        self.register_buffer("patterns", patterns.to(example))

    def write(self, x: Tensor, *labels: Tensor) -> Tensor:
        """Return the directions of ``x`` (N, ...) with the patterns of each of the ``labels`` (N,) added."""
        # Unlike patterns[y], an embedding refuses a negative label, in a compiled graph too.
        patterns, direction = self.strength * self.patterns.flatten(1), _direction(x).flatten(1)
        both = [direction + F.embedding(y, patterns) for y in labels]
        return torch.cat(both).unflatten(1, self.patterns.shape[1:])

    def others(self, y: Tensor) -> Tensor:
        """Return a random false label (N,) for each true one."""
        return (y + torch.randint(1, self.classes, y.shape, device=y.device)) % self.classes

    def goodness(self, x: Tensor) -> Tensor:
        """Return the goodness (blocks, N) of inputs with a label."""
        result, h = [], x
        for block in self.blocks[:-1]:
            h = block(_direction(h.detach()))
            result.append(h.flatten(1).square().sum(1))
        return torch.stack(result)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum over the blocks of the mean loss of a true label and a false one."""
        if y is None:
            raise ValueError("Forward-Forward needs targets: rule(x, y)")
        check_classes(y, self.classes, len(x))
        true, false = self.goodness(self.write(x, y, self.others(y))).chunk(2, 1)
        return F.softplus(self.slope * (false - true)).mean(1).sum()

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the goodness (N, K) of each label, over all blocks but the first if there are more."""
        scores = []
        for c in range(self.classes):
            goodness = self.goodness(self.write(x, torch.full((len(x),), c, device=x.device)))
            scores.append(goodness[min(1, len(goodness) - 1) :].sum(0))
        return torch.stack(scores, 1)


def _direction(h: Tensor) -> Tensor:
    """Scale every sample (N, ...) to a mean square of 1."""
    flat = h.flatten(1)
    norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=1e-12)
    return (flat * (flat.shape[1] ** 0.5 / norm)).view_as(h)


@register_rule(
    name="cwcomp",
    family="local losses",
    source="Papachristodoulou et al. 2024",
    needs=f"{CHAIN}, with a multiple of the number of classes of channels each; one unit a class",
    build=lambda make, c: make(c.model, c.loss, c.example, c.classes, **c.settings),
    traits={"local"},
    one_logit=False,
)
def cwcomp(model: nn.Module, criterion: Criterion, example: Tensor, classes: int) -> LocalLosses:
    """Train each block to respond most in the channels of the true class, without false labels.

    Equation::

        each block descends criterion(G, y), G_k = mean of h² over the k-th of K groups of channels

    Channel-wise competitive learning.  The readout learns by the criterion and predicts, which is the
    paper's predictor "Sf".  The paper's blocks end with a batch normalisation, without which a block may be
    silent for a class, and every second one is a convolution with K groups.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.  The units or
        channels of each other block are a multiple of the number of classes.
    criterion
        Mean over the batch; the cross-entropy in the paper.
    example
        A batch (N, ...) of inputs, for the shapes only.
    classes
        Number of classes K, at least 2.

    Raises
    ------
    TypeError
        If the channels of a block cannot be divided among the classes.
    ValueError
        If there are less than two classes.
    """
    if classes < 2:
        raise ValueError(f"cwcomp needs one unit a class, at least 2; got {classes}")
    return LocalLosses(
        model, criterion, example, lambda h: ChannelCompetition(h, classes, criterion), maps=True
    )


class ChannelCompetition(nn.Module):
    """The criterion of the mean squares of K groups of the channels of a block's output."""

    def __init__(self, h: Tensor, classes: int, criterion: Criterion) -> None:
        super().__init__()
        if h.shape[1] % classes:
            raise TypeError(
                f"{h.shape[1]} units or channels; expected a multiple of {classes}, the number of classes"
            )
        self.classes, self.criterion = classes, criterion

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``h``, (N, units) or (N, channels, ...), and the targets."""
        return self.criterion(h.unflatten(1, (self.classes, -1)).square().flatten(2).mean(2), y)
