"""Rules in which every block has its own loss and no error crosses the boundary of a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.chain import ChainRule, block_outputs, forward_detached
from hebbian.rule import Criterion, check_classes, check_criterion
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import CONVOLUTION_FOR, init_uniform, surrogate
from hebbian.tapped import parameter_uses


class LocalLosses(ChainRule):
    """Every hidden block descends its own loss; the readout, the last block, the criterion.

    The input of a block is the detached output of the block before it, so that all learn in one pass.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    loss
        Makes the loss of a hidden block, a module (h, y) -> scalar, from an example of its output h.
        The parameters of this module learn by the same loss.
    maps
        Whether the loss needs outputs (N, units) or ``(N, channels, *space)``; others are refused.
    low_memory
        Whether the gradients of each block are computed before the next block runs, so that only one block
        has its activations in memory, however many blocks there are.  Gradients are the same.  A compiled
        rule stores all activations, and half precision, whose gradients a scaler must scale, is refused.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        loss: Callable[[Tensor], nn.Module],
        maps: bool = False,
        low_memory: bool = False,
    ) -> None:
        super().__init__(model)
        self.criterion, self.low_memory = check_criterion(criterion), low_memory
        self.losses = nn.ModuleList()
        for block, h in zip(self.blocks, block_outputs(self.blocks[:-1], example, maps), strict=False):
            try:
                self.losses.append(loss(h))
            except TypeError as error:
                raise TypeError(f"block {block.name!r}: {error}") from error

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses and the criterion of the readout."""
        if y is None:
            raise ValueError("local losses need targets: rule(x, y)")
        objective, h = torch.zeros((), device=x.device), x
        for block, loss in zip(self.blocks, (*self.losses, self.criterion), strict=True):
            h = block(h.detach())
            part = loss(h, y)
            if self.low_memory and part.requires_grad and not torch.compiler.is_compiling():
                part = _without_graph(part)
            objective = objective + part
        return objective


def _without_graph(loss: Tensor) -> Tensor:
    """Return a scalar with the value and the gradients of ``loss``, which are computed now.

    Raises
    ------
    TypeError
        Under autocast in half precision.
    """
    device = loss.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
        raise TypeError("low_memory computes gradients before a scaler scales them; use autocast in bfloat16")
    parameters = [*parameter_uses(loss)]
    gradients = torch.autograd.grad(loss, parameters)
    slope = torch.stack([surrogate(p, -g) for p, g in zip(parameters, gradients, strict=True)]).sum()
    return loss.detach() + slope - slope.detach()


@register_rule(
    name="pred",
    family="local losses",
    source="Belilovsky et al. 2019; Nøkland & Eidnes 2019",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, c.classes, **c.settings),
    traits={"local"},
)
def pred(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    generator: torch.Generator | None = None,
    low_memory: bool = False,
) -> LocalLosses:
    """Train each block by a linear classifier on its output.

    Equation::

        each block descends criterion(C h, y), its own linear classifier

    A block's output is flattened, while the papers pool large maps first.

    Parameters
    ----------
    model, criterion, example
        See `LocalLosses`.
    classes
        Number of scores K.
    generator
        For the initial classifiers.
    low_memory
        See `LocalLosses`.
    """

    def loss(h: Tensor) -> Prediction:
        return Prediction(h, classes, criterion, generator)

    return LocalLosses(model, criterion, example, loss, low_memory=low_memory)


@register_rule(
    name="sim",
    family="local losses",
    source="Nøkland & Eidnes 2019",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, c.classes, **c.settings),
    traits={"local", "batch statistics"},
)
def sim(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    generator: torch.Generator | None = None,
    low_memory: bool = False,
) -> LocalLosses:
    """Train each block to similar outputs for samples of one class.

    Equation::

        each block descends |S(E h) - S(y)|²; S all pairs' cosines, E its own linear embedding

    Parameters
    ----------
    model, criterion, example, classes
        See `pred`.
    generator
        For the initial embeddings.
    low_memory
        See `LocalLosses`.
    """

    def loss(h: Tensor) -> Similarity:
        return Similarity(h, classes, generator)

    return LocalLosses(model, criterion, example, loss, maps=True, low_memory=low_memory)


@register_rule(
    name="predsim",
    family="local losses",
    source="Nøkland & Eidnes 2019",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, c.classes, **c.settings),
    traits={"local", "batch statistics"},
)
def predsim(
    model: nn.Module,
    criterion: Criterion,
    example: Tensor,
    classes: int,
    similarity: float = 0.99,
    generator: torch.Generator | None = None,
    low_memory: bool = False,
) -> LocalLosses:
    """Train each block by the weighted sum of `pred` and `sim`.

    Equation::

        each block descends (1 - similarity) pred + similarity sim, similarity = 0.99

    Parameters
    ----------
    model, criterion, example, classes
        See `pred`.
    similarity
        Weight of `sim`, between 0 and 1.
    generator
        For the initial classifiers and embeddings.
    low_memory
        See `LocalLosses`.
    """
    if not 0 < similarity < 1:
        raise ValueError(
            f"similarity must be between 0 and 1, got {similarity}; use pred or sim for the limits"
        )

    def loss(h: Tensor) -> Mixture:
        parts = Prediction(h, classes, criterion, generator), Similarity(h, classes, generator)
        return Mixture(*parts, similarity)

    return LocalLosses(model, criterion, example, loss, maps=True, low_memory=low_memory)


class Prediction(nn.Module):
    """The criterion of a linear classifier on the output h (N, ...) of a block."""

    def __init__(
        self, h: Tensor, classes: int, criterion: Criterion, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.classifier = init_uniform(nn.Linear(h[0].numel(), classes), h, generator)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``h`` (N, ...) and the targets."""
        return self.criterion(self.classifier(h.flatten(1)), y)


class Similarity(nn.Module):
    """Mean squared difference between the similarities of embedded outputs and those of the targets.

    The embedding is linear; for maps of more than one place it is a convolution of width 3, followed by the
    standard deviation of each channel over all places.
    """

    def __init__(self, h: Tensor, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.classes = classes
        units = h.shape[1]
        if h[0, 0].numel() == 1:
            embed: nn.Module = nn.Linear(units, units, bias=False)
        elif h.ndim in CONVOLUTION_FOR:
            embed = CONVOLUTION_FOR[h.ndim](units, units, 3, padding=1, bias=False)
        else:
            raise TypeError(
                f"the output of a block must be (N, units) or (N, channels, *space), got {tuple(h.shape)}"
            )
        self.embed = init_uniform(embed, h, generator)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``h``, (N, units) or (N, channels, ...), and the targets."""
        z = self.embed(h.flatten(1) if h[0, 0].numel() == 1 else h)
        if z.ndim > 2:
            z = z.flatten(2).std(2, correction=0)
        return similarity_loss(z, _directions(_codes(y, self.classes, len(h)).to(z.dtype))[0])


class Mixture(nn.Module):
    """(1 - weight) a + weight b, of two losses."""

    def __init__(self, a: nn.Module, b: nn.Module, weight: float) -> None:
        super().__init__()
        self.a, self.b, self.weight = a, b, weight

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Return the mixed loss."""
        mixed: Tensor = (1 - self.weight) * self.a(h, y) + self.weight * self.b(h, y)
        return mixed


def _directions(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row of ``z`` (N, D) minus its mean, with norm 1, and the norm that it had (N, 1)."""
    centred = z - z.mean(1, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=1, keepdim=True).clamp(min=1e-12)
    return centred / norm, norm


class _SimilarityLoss(torch.autograd.Function):
    """The loss of `similarity_loss`, whose gradient takes one product where autograd needs two."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, b: Tensor) -> Tensor:
        a, norm = _directions(z)
        wide = len(a) <= a.shape[1]
        # |a aᵀ - b bᵀ|² is also |aᵀ a|² - 2 |aᵀ b|² + |bᵀ b|², without a matrix (N, N).
        own = a @ a.T - b @ b.T if wide else a.T @ a
        squares = own.square().sum()
        if not wide:
            squares = squares - 2 * (a.T @ b).square().sum() + (b.T @ b).square().sum()
        ctx.save_for_backward(a, norm, b, own)
        ctx.wide = wide
        return squares / len(a) ** 2

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        a, norm, b, own = ctx.saved_tensors
        to_a = own @ a if ctx.wide else torch.addmm(a @ own, b, b.T @ a, alpha=-1)
        # The directions' part of it; its rows have mean 0, as those of a do.
        radial = (to_a * a).sum(1, keepdim=True)
        return torch.addcmul(to_a, radial, a, value=-1).mul_(4 / len(a) ** 2 * scale / norm), None


def similarity_loss(z: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference between a aᵀ and b bᵀ, for ``z`` (N, D) and ``b`` (N, K).

    The rows of a are the directions of those of ``z``: minus their mean, with norm 1.  ``b`` is constant.
    """
    exact = torch.promote_types(z.dtype, torch.float32)  # also under autocast
    with torch.autocast(z.device.type, enabled=False):
        loss: Tensor = _SimilarityLoss.apply(z.to(exact), b.to(exact))  # type: ignore[no-untyped-call]
    return loss


@register_rule(
    name="mono-forward",
    family="local losses",
    source="Gong et al. 2025",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, c.classes, **c.settings),
    traits={"local", "own readout"},
)
class MonoForward(ChainRule):
    """Mono-Forward: each hidden block has its own projection to class scores.

    Equation::

        each block descends criterion(G, y), G = M h; the sum of all G predicts

    G (N, K) is a block's goodness for each class; M learns by the same loss.  The readout of the model is
    not used.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is not used.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    classes
        Number of scores K.
    generator
        For the initial projections.
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
        self.criterion = check_criterion(criterion)
        self.projections = nn.ModuleList(
            init_uniform(nn.Linear(h[0].numel(), classes, bias=False), h, generator)
            for h in block_outputs(self.blocks[:-1], example)
        )

    def goodness(self, x: Tensor) -> list[Tensor]:
        """Return every block's goodness (N, K), without gradients between blocks."""
        hidden = forward_detached(self.blocks[:-1], x)
        return [m(h.flatten(1)) for m, h in zip(self.projections, hidden, strict=True)]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' criteria."""
        if y is None:
            raise ValueError("Mono-Forward needs targets: rule(x, y)")
        return torch.stack([self.criterion(g, y) for g in self.goodness(x)]).sum()

    def predict(self, x: Tensor) -> Tensor:
        """Return the goodness (N, K) summed over the blocks, with gradients from all blocks to ``x``."""
        scores, h = [], x
        for block, projection in zip(self.blocks, self.projections, strict=False):
            h = block(h)
            scores.append(projection(h.flatten(1)))
        return torch.stack(scores).sum(0)


def _codes(y: Tensor, classes: int, count: int) -> Tensor:
    """Convert ``count`` targets, (N,) classes or (N, 1) for one logit, to one-hot rows."""
    if classes > 1:
        check_classes(y, classes, count)
    return torch.cat([1 - y, y], 1) if classes == 1 else F.one_hot(y, classes)
