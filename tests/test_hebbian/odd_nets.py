"""A net that uses its layers in one of several ways, and the same function by plain calls."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.test_hebbian.helpers import batch


class Middle(nn.Module):
    """Two weight layers that are used in one of several ways."""

    def __init__(self, way, by_hand):
        super().__init__()
        self.way, self.by_hand = way, by_hand
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        if way == "attention":
            self.attend = nn.MultiheadAttention(4, 1, batch_first=True)
        if way == "tied":
            self.b.weight = self.a.weight
        if way == "compiled layer" and not by_hand:
            self.b.compile(backend="eager")

    def both(self, h):
        return torch.tanh(self.b(torch.tanh(self.a(h))))

    def forward(self, h):
        if self.by_hand:
            return self.reference(h)
        match self.way:
            case "functional call":
                return torch.tanh(F.linear(torch.tanh(self.a(h)), self.b.weight, self.b.bias))
            case "functional call as well":
                return self.both(h) + F.linear(h, self.b.weight)
            case "keyword call":
                return torch.tanh(self.b(input=torch.tanh(self.a(input=h))))
            case "checkpoint":
                return checkpoint(self.both, h, use_reentrant=False)
            case "re-entrant checkpoint":
                return checkpoint(self.both, h, use_reentrant=True)
            case "called twice":
                return torch.tanh(self.b(self.both(h)))
            case "attention":
                tokens = h.view(-1, 4, 4)
                return self.both(self.attend(tokens, tokens, tokens)[0].flatten(1))
        return self.both(h)

    def reference(self, h):
        """The same function, by plain calls where both layers are called once, else by plain algebra."""
        if self.way not in {"functional call as well", "called twice", "attention", "tied"}:
            return self.both(h)
        if self.way == "attention":
            h = self.attended(h.view(-1, 4, 4)).flatten(1)
        out = torch.tanh(torch.tanh(h @ self.a.weight.T + self.a.bias) @ self.b.weight.T + self.b.bias)
        if self.way == "functional call as well":
            return out + h @ self.b.weight.T
        return torch.tanh(out @ self.b.weight.T + self.b.bias) if self.way == "called twice" else out

    def attended(self, tokens):
        q, k, v = (tokens @ self.attend.in_proj_weight.T + self.attend.in_proj_bias).chunk(3, -1)
        out = (q @ k.mT / 2).softmax(-1) @ v
        return out @ self.attend.out_proj.weight.T + self.attend.out_proj.bias


def net(way, by_hand=False):
    torch.manual_seed(0)
    middle = Middle(way, by_hand)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 16), nn.Tanh()), middle, nn.Linear(16, 4)).double()
    if way == "compiled model" and not by_hand:
        model.compile(backend="eager")
    if way.startswith("compiled"):
        model(batch(2, 20)[0])  # the compiled graph has no hooks
    return model
