"""Rules in which every block has a loss of its own and no error crosses the edge of a block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, apart, blocks, outputs

_CONVOLUTION = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


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
        *hidden, scores = apart(blocks(self.model), x)
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
        self.classifier = _drawn(nn.Linear(h[0].numel(), classes), h, generator)

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
        elif h.ndim in _CONVOLUTION:
            embed = _CONVOLUTION[h.ndim](units, units, 3, padding=1, bias=False)
        else:
            raise ValueError(f"a block must give (N, units) or (N, channels, *space), got {tuple(h.shape)}")
        self.embed = _drawn(embed, h, generator)

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
            _drawn(nn.Linear(h[0].numel(), classes, bias=False), h, generator)
            for h in outputs(blocks(model)[:-1], example)
        )

    def goodness(self, x: Tensor) -> list[Tensor]:
        """Return every block's goodness (N, K), each block cut off from the others."""
        hidden = apart(blocks(self.model)[:-1], x)
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


class Clapp(Rule):
    """A contrastive hinge loss a block, without labels (CLAPP, Illing 2021).

    Where c and z are a block's outputs for two views, a bilinear score s = zᵀ W c is pushed above 1
    for views of the same sample and below -1 for views of different ones:
    mean max(0, 1 - s) + mean max(0, 1 + s).  In the paper the views are successive patches of a scene
    and a negative comes from another; here they are two random halves of a sample, so that any input
    will do, and all other samples of the batch are negatives.  Maps are averaged over space.  The
    readout of the model does not learn.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    example
        A batch (N, ...) of inputs, for the shapes only.
    patch
        Places along each side of the patches that fall to one view or the other, all channels together;
        convolutions want theirs as large as what they look for.  Inputs (N, values) are split by values.
    generator
        Source of the first W.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, patch: int = 1, generator: torch.Generator | None = None
    ) -> None:
        if patch < 1:
            raise ValueError(f"patch must be at least 1, got {patch}")
        super().__init__(model)
        self.patch = patch
        self.predictors = nn.ModuleList(
            _drawn(nn.Linear(h.shape[1], h.shape[1], bias=False), h, generator)
            for h in outputs(blocks(model)[:-1], example)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses; ``y`` is not looked at."""
        seen = self.first_view(x)
        views = 2 * torch.cat([x * seen, x * ~seen])  # twice, so that the currents keep their mean
        objectives = []
        for predictor, h in zip(self.predictors, apart(blocks(self.model)[:-1], views), strict=True):
            c, z = (h if h.ndim == 2 else h.flatten(2).mean(2)).chunk(2)
            objectives.append(hinge(z @ predictor(c).T))
        return torch.stack(objectives).sum()

    def first_view(self, x: Tensor) -> Tensor:
        """Return what the first view has of each sample (N, ...); the second has the rest."""
        if x.ndim == 2:
            return torch.rand_like(x) < 0.5
        grid = [-(-side // self.patch) for side in x.shape[2:]]
        seen = torch.rand(len(x), 1, *grid, device=x.device) < 0.5
        for d, side in enumerate(x.shape[2:], 2):
            seen = seen.repeat_interleave(self.patch, d).narrow(d, 0, side)
        return seen


def hinge(s: Tensor) -> Tensor:
    """Return the contrastive hinge loss of scores (N, N), whose diagonal has the pairs that belong."""
    n = len(s)
    strangers = (1 + s).relu()
    negatives = (strangers.sum() - strangers.diagonal().sum()) / max(n * (n - 1), 1)
    return (1 - s.diagonal()).relu().mean() + negatives


def _codes(y: Tensor, classes: int) -> Tensor:
    """Turn targets, (N,) classes or (N, 1) for one logit, into rows of one 1 and otherwise 0."""
    return torch.cat([1 - y, y], 1) if classes == 1 else F.one_hot(y, classes)


def _drawn(layer: nn.Module, like: Tensor, generator: torch.Generator | None) -> nn.Module:
    """Draw what ``layer`` has from U(-1, 1) / sqrt(fan-in), as torch does, and put it beside ``like``."""
    bound = next(layer.parameters())[0].numel() ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer.to(like)


def _direction(h: Tensor) -> Tensor:
    """Give every sample (N, ...) a mean square of 1."""
    flat = h.flatten(1)
    return (F.normalize(flat, dim=1) * flat.shape[1] ** 0.5).view_as(h)
