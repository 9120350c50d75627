"""Multiple-instance learning: the diagnosis belongs to the recording, not to each of its windows.

With the diagnosis copied to every window, a network must call normal windows of a patient epilepsy, which it
can only by recognising the subject.  Here windows are pooled to one logit per bag as in use, and the loss is
that of the bag (Ilse et al. 2018 review the poolings).  All subjects and both classes count the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eeg.models.pooling import Pooling
from trainers.data.batches import Augment
from trainers.data.rows import Inputs


class Pooled(nn.Module):
    """Bags of windows (B, W, C, T) -> one logit each (B, 1), by a network of one logit a window.

    The threshold is a parameter too, since pooled logits need not be centred on 0; the calibration refits it.
    """

    def __init__(self, network: nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        self.threshold = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the bags."""
        logits: Tensor = self.network(x.flatten(0, 1))
        return self.pooling(logits.view(len(x), -1))[:, None] - self.threshold


@dataclass(frozen=True)
class Bags:
    """Batches of bags and their labels, (B, W, C, T) and (B, 1), half of the bags of either class.

    Parameters
    ----------
    subjects
        The windows (N, C, T) of each subject, of all recordings.
    labels
        (S,), 0 or 1.
    generator
        Draws subjects, windows and augmentation.
    bags
        A batch, even.
    windows
        A bag, or as many as the longest subject has; drawn again for each, with replacement only where a
        subject has fewer.  They must be many: a patient with one discharge a minute has it in one of 30
        windows of 2 s, and a bag without any teaches that silence is epilepsy.
    augment
        Augmentation of the windows, with one draw per window.

    Raises
    ------
    ValueError
        If ``bags`` is odd or a class has no subject.
    """

    subjects: Sequence[Inputs]
    labels: Tensor
    generator: torch.Generator
    bags: int = 4
    windows: int = 128
    augment: Augment | None = None

    def __post_init__(self) -> None:
        if self.bags < 2 or self.bags % 2:
            raise ValueError(f"bags = {self.bags}: expected an even number, half of them of either class")
        if self.labels.min() == self.labels.max():
            raise ValueError("all subjects are of one class; both are needed")

    def __len__(self) -> int:
        """Return the batches of an epoch: as many bags as there are subjects."""
        return math.ceil(len(self.subjects) / self.bags)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        classes = [(self.labels == c).nonzero().flatten() for c in (0, 1)]
        for _ in range(len(self)):
            drawn = torch.cat([self._some(of, self.bags // 2) for of in classes])
            x = torch.stack([self._bag(self.subjects[i]) for i in drawn.tolist()])
            if self.augment is not None:
                x = self.augment(x.flatten(0, 1), self.generator).view(x.shape)
            yield x, self.labels[drawn].to(x)[:, None]

    def _bag(self, windows: Inputs) -> Tensor:
        size = min(self.windows, max(map(len, self.subjects)))
        return windows[self._some(torch.arange(len(windows)), size)]

    def _some(self, of: Tensor, k: int) -> Tensor:
        """Draw ``k`` entries of ``of``, none twice where there are enough."""
        rounds = math.ceil(k / len(of))
        return torch.cat([of[torch.randperm(len(of), generator=self.generator)] for _ in range(rounds)])[:k]
