"""Rules in which every block has a loss of its own and no error crosses the edge of a block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, blocks, fed_detached, outputs
from hebbian.synapse import CONVOLUTION_FOR, drawn


class LocalLosses(Rule):
    """Every hidden block descends a loss of its own; the readout, the last block, the criterion.

    A block is fed, detached, what the one before it gave, so that all learn at once from one pass.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    loss
        Makes the loss of a hidden block, a module (h, y) -> scalar, from an example of its output h.
        What parameters this module has learn by that same loss.
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, example: Tensor, loss: Callable[[Tensor], nn.Module]
    ) -> None:
        super().__init__(model)
        self.criterion = criterion
        self.losses = nn.ModuleList(loss(h) for h in outputs(blocks(model)[:-1], example))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses and the criterion of the readout."""
        if y is None:
            raise ValueError("local losses need targets: rule(x, y)")
        *hidden, scores = fed_detached(blocks(self.model), x)
        objective = self.criterion(scores, y)
        for loss, h in zip(self.losses, hidden, strict=True):
            objective = objective + loss(h, y)
        return objective


def pred(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    generator: torch.Generator | None = None,
) -> LocalLosses:
    """Teach each block by a linear classifier on its output (Belilovsky 2019; Nøkland & Eidnes 2019).

    A block's output is flattened whole, where the papers pool large maps first.
    """
    return LocalLosses(model, criterion, example, lambda h: Prediction(h, classes, criterion, generator))


def sim(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    generator: torch.Generator | None = None,
) -> LocalLosses:
    """Teach each block to give samples of a class similar outputs (Nøkland & Eidnes 2019)."""
    return LocalLosses(model, criterion, example, lambda h: Similarity(h, classes, generator))


def predsim(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    similarity: float = 0.99,
    generator: torch.Generator | None = None,
) -> LocalLosses:
    """Teach each block by (1 - similarity) `pred` + similarity `sim` (Nøkland & Eidnes 2019)."""
    if not 0 < similarity < 1:
        raise ValueError(f"similarity must lie between 0 and 1, got {similarity}; for these take pred, sim")
    return LocalLosses(
        model,
        criterion,
        example,
        lambda h: Mixture(
            Prediction(h, classes, criterion, generator), Similarity(h, classes, generator), similarity
        ),
    )


class Prediction(nn.Module):
    """The criterion of a linear classifier on the output h (N, ...) of a block."""

    def __init__(
        self, h: Tensor, classes: int, criterion: Criterion, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.classifier = drawn(nn.Linear(h[0].numel(), classes), h, generator)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``h`` (N, ...) and the targets."""
        return self.criterion(self.classifier(h.flatten(1)), y)


class Similarity(nn.Module):
    """Mean squared difference between the similarities of embedded outputs and those of the targets.

    The embedding is linear; for maps it is a 3-wide convolution, followed by the standard deviation of
    each channel over all places.
    """

    def __init__(self, h: Tensor, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.classes = classes
        units = h.shape[1]
        if h.ndim == 2:
            embed: nn.Module = nn.Linear(units, units, bias=False)
        elif h.ndim in CONVOLUTION_FOR:
            embed = CONVOLUTION_FOR[h.ndim](units, units, 3, padding=1, bias=False)
        else:
            raise ValueError(f"a block must give (N, units) or (N, channels, *space), got {tuple(h.shape)}")
        self.embed = drawn(embed, h, generator)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``h`` (N, units) or (N, channels, *space) and the targets."""
        z = self.embed(h)
        if z.ndim > 2:
            z = z.flatten(2).std(2, correction=0)
        return F.mse_loss(similarities(z), similarities(_codes(y, self.classes).to(z.dtype)))


class Mixture(nn.Module):
    """(1 - weight) a + weight b, of two losses."""

    def __init__(self, a: nn.Module, b: nn.Module, weight: float) -> None:
        super().__init__()
        self.a, self.b, self.weight = a, b, weight

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the mixed loss."""
        mixed: Tensor = (1 - self.weight) * self.a(h, y) + self.weight * self.b(h, y)
        return mixed


def similarities(z: Tensor) -> Tensor:
    """Return the cosines (N, N) between all pairs of samples (N, D), each less its own mean."""
    z = F.normalize(z - z.mean(1, keepdim=True), dim=1)
    return z @ z.T


class MonoForward(Rule):
    """Mono-Forward: each hidden block is scored by a projection of its own (Gong 2025).

    G = M h, (N, K), is a block's goodness for each class; block and M descend criterion(G, y), and the
    goodnesses of all blocks add up to the prediction.  The readout of the model is not used.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is left out.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    classes
        Number of scores K.
    generator
        Source of the first projections.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        classes: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model)
        self.criterion = criterion
        self.projections = nn.ModuleList(
            drawn(nn.Linear(h[0].numel(), classes, bias=False), h, generator)
            for h in outputs(blocks(model)[:-1], example)
        )

    def goodness(self, x: Tensor) -> list[Tensor]:
        """Return every block's goodness (N, K), each block cut off from the others."""
        hidden = fed_detached(blocks(self.model)[:-1], x)
        return [m(h.flatten(1)) for m, h in zip(self.projections, hidden, strict=True)]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' criteria."""
        if y is None:
            raise ValueError("Mono-Forward needs targets: rule(x, y)")
        return torch.stack([self.criterion(g, y) for g in self.goodness(x)]).sum()

    def predict(self, x: Tensor) -> Tensor:
        """Return the goodness (N, K) summed over the blocks, whose path to ``x`` is whole."""
        scores, h = [], x
        for block, projection in zip(blocks(self.model), self.projections, strict=False):
            h = block(h)
            scores.append(projection(h.flatten(1)))
        return torch.stack(scores).sum(0)


def _codes(y: Tensor, classes: int) -> Tensor:
    """Turn targets, (N,) classes or (N, 1) for one logit, into rows of one 1 and otherwise 0."""
    return torch.cat([1 - y, y], 1) if classes == 1 else F.one_hot(y, classes)
