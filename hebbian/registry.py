"""Names to rules: one signature builds every rule, ours and those of other packages.

Another package adds a rule by an entry point of the group ``hebbian.rules`` that points to an `Entry`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hebbian import plasticity as p
from hebbian.adaptive import BCM, Foldiak
from hebbian.backprop import Backprop
from hebbian.equilibrium import EquilibriumPropagation
from hebbian.feedback import DirectFeedback, FeedbackAlignment, KolenPollack, SignSymmetry, WeightMirror
from hebbian.hebbian import Hebbian
from hebbian.local import Clapp, ForwardForward, MonoForward, pred, predsim, sim
from hebbian.perturbation import NodePerturbation, RewardModulatedHebb, WeightPerturbation
from hebbian.predictive import FixedPrediction, PredictiveCoding
from hebbian.recurrent import RandomFeedbackOnline
from hebbian.rule import Criterion, Rule
from hebbian.spiking import RewardSpikeTiming, SpikeTiming
from hebbian.synapse import synaptic, weight_layers
from hebbian.target import DifferenceTarget

Trait = Literal["local", "noisy", "batch statistics", "rewrites weights", "own readout"]
"""What a rule declares of itself, so that the laws of the tests know what must hold:

- ``local``: no later layer's weights enter an earlier layer's update
- ``noisy``: two calls on the same batch differ
- ``batch statistics``: the update of a batch is not the mean of those of its halves
- ``rewrites weights``: calling the rule changes parameters or buffers that the update depends on
- ``own readout``: ``predict(x)`` is not ``model(x)``
"""


@dataclass(frozen=True)
class Entry:
    """A rule and what a user must know of it.

    ``make`` takes the model and whichever of criterion, example, classes and layers it names.
    ``supervised`` is false where the rule learns features without labels and a readout must follow.
    ``one_logit`` is false where the rule needs one score a class.
    """

    name: str
    make: Callable[..., Rule]
    family: str
    source: str
    equation: str
    needs: str
    traits: frozenset[Trait]
    supervised: bool = True
    one_logit: bool = True


def at_layers(make: Callable[..., p.Plasticity]) -> Callable[..., Rule]:
    """Turn the constructor of a plasticity into one of a `Hebbian` rule that puts it at ``layers``.

    A constructor that names ``units`` is told the size of each layer.
    """
    sized = "units" in inspect.signature(make).parameters

    def build_hebbian(
        model: nn.Module, criterion: Criterion | None, layers: Sequence[str], **settings: Any
    ) -> Rule:
        def at(path: str) -> p.Plasticity:
            size = {"units": synaptic(model, path).weight.shape[0]} if sized else {}
            return make(**size, **settings)

        return Hebbian(model, {path: at(path) for path in layers}, criterion)

    return build_hebbian


def _two_factor(
    name: str,
    make: Callable[..., p.Plasticity],
    source: str,
    equation: str,
    *traits: Trait,
    but: str = "",
) -> Entry:
    return Entry(
        name,
        at_layers(make),
        family="two-factor",
        source=source,
        equation=equation,
        needs=f"Linear or ConvNd layers anywhere in any model{but}; a readout",
        traits=frozenset({"local", *traits}),
        supervised=False,
    )


def _feedback(name: str, make: Callable[..., Rule], source: str, equation: str, *traits: Trait) -> Entry:
    return Entry(
        name,
        make,
        family="feedback",
        source=source,
        equation=equation,
        needs="Linear or ConvNd layers anywhere in any model; labels",
        traits=frozenset(traits),
    )


def _local(name: str, make: Callable[..., Rule], source: str, equation: str, *traits: Trait) -> Entry:
    return Entry(
        name,
        make,
        family="local losses",
        source=source,
        equation=equation,
        needs="a chain of blocks (nn.Sequential); labels",
        traits=frozenset({"local", *traits}),
    )


BUILT_IN = (
    Entry(
        "backprop",
        Backprop,
        family="control",
        source="Rumelhart, Hinton & Williams 1986",
        equation="dw = -dL/dw",
        needs="any model; labels",
        traits=frozenset(),
    ),
    _two_factor("frozen", lambda: p.frozen, "control: random features", "dw = 0"),
    _two_factor("hebb", lambda: p.hebb, "Hebb 1949", "dw = y x', y = u"),
    _two_factor(
        "covariance",
        lambda: p.covariance,
        "Sejnowski 1977",
        "dw = (y - <y>) (x - <x>)', y = u; <> the batch mean",
        "batch statistics",
    ),
    _two_factor("oja", lambda: p.oja, "Oja 1982", "dw = y (x - y w)', y = u"),
    _two_factor("subspace", p.Subspace, "Oja 1989", "dw = y (x - W' y)', y = u", but=", without groups"),
    _two_factor(
        "sanger",
        p.Sanger,
        "Sanger 1989",
        "dw_i = y_i (x - sum_{k<=i} y_k w_k)', y = u",
        but=", without groups",
    ),
    _two_factor(
        "hpca",
        partial(p.Sanger, activation=torch.relu),
        "Lagani et al. 2021",
        "dw_i = y_i (x - sum_{k<=i} y_k w_k)', y = relu(u)",
        but=", without groups",
    ),
    _two_factor(
        "bcm",
        BCM,
        "Bienenstock, Cooper & Munro 1982; Intrator & Cooper 1992",
        "dw = y (y - theta) x', y = relu(u); theta follows the mean of y^2",
        "rewrites weights",
    ),
    _two_factor(
        "instar",
        p.Instar,
        "Grossberg 1976; MacQueen 1967",
        "dw = y (x - w)'; y = 1 for the k units nearest to x, else 0",
    ),
    _two_factor(
        "soft-instar",
        p.SoftInstar,
        "Nowlan 1990",
        "dw = y (x - w)'; y = softmax(-|x - w|^2 / (2 temperature))",
    ),
    _two_factor(
        "foldiak",
        Foldiak,
        "Földiák 1990",
        "dw = y (x - w)'; y fires at u + v y > t; dv = -alpha (y y' - p^2), v <= 0; dt = gamma (y - p)",
        "rewrites weights",
        but=", with inputs that are not negative",
    ),
    _two_factor(
        "krotov",
        p.Krotov,
        "Krotov & Hopfield 2019",
        "dw = g (x - u w)'; g = 1 for the strongest unit, -delta for the k-th; u = sum sign(w) |w|^(p-1) x",
    ),
    _two_factor(
        "softhebb",
        p.SoftHebb,
        "Moraitis et al. 2022; Journé et al. 2023",
        "dw = y (x - u w)'; y = softmax(u / temperature), negative for all but the strongest unit",
    ),
    _feedback(
        "fa",
        FeedbackAlignment,
        "Lillicrap et al. 2016",
        "dW = -(B d) f'(a) x'; B fixed and random, d the error of the next layer",
    ),
    _feedback(
        "usf",
        partial(SignSymmetry, magnitude="uniform"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = sign(W) / sqrt(fan-in)",
    ),
    _feedback(
        "brsf",
        partial(SignSymmetry, magnitude="batch"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = M sign(W); M positive and random, drawn anew each batch",
        "noisy",
    ),
    _feedback(
        "frsf",
        partial(SignSymmetry, magnitude="fixed"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = M sign(W); M positive and random, drawn once",
    ),
    _feedback(
        "kolen-pollack",
        KolenPollack,
        "Kolen & Pollack 1994; Akrout et al. 2019",
        "as fa with dB = dW; weight decay on both makes them one",
    ),
    _feedback(
        "weight-mirror",
        WeightMirror,
        "Akrout et al. 2019",
        "as fa with dB = rate (mean(u n') - B); n noise at the layer's input, u its response",
        "noisy",
        "rewrites weights",
    ),
    Entry(
        "dfa",
        DirectFeedback,
        family="feedback",
        source="Nøkland 2016",
        equation="dW = -(B e) f'(a) x'; B fixed and random, e = dL/dscores",
        needs="a chain of blocks (nn.Sequential); labels",
        traits=frozenset(),
    ),
    _local(
        "pred",
        pred,
        "Belilovsky et al. 2019; Nøkland & Eidnes 2019",
        "each block descends criterion(C h, y), its own linear classifier",
    ),
    _local(
        "sim",
        sim,
        "Nøkland & Eidnes 2019",
        "each block descends |S(E h) - S(y)|^2; S all pairs' cosines, E its own linear embedding",
        "batch statistics",
    ),
    _local(
        "predsim",
        predsim,
        "Nøkland & Eidnes 2019",
        "each block descends .01 pred + .99 sim",
        "batch statistics",
    ),
    _local(
        "mono-forward",
        MonoForward,
        "Gong et al. 2025",
        "each block descends criterion(G, y), G = M h; the sum of all G predicts",
        "own readout",
    ),
    Entry(
        "forward-forward",
        ForwardForward,
        family="local losses",
        source="Hinton 2022",
        equation="a block descends softplus(-g), with a false label softplus(g); g = sum (h^2 - threshold)",
        needs="a chain of blocks (nn.Sequential); one unit a class; labels",
        traits=frozenset({"local", "noisy", "own readout"}),
        one_logit=False,
    ),
    Entry(
        "clapp",
        Clapp,
        family="local losses",
        source="Illing et al. 2021",
        equation="a block descends max(0, 1 - s) for views of a sample, max(0, 1 + s) of two; s = z' W c",
        needs="a chain of blocks (nn.Sequential); a readout",
        traits=frozenset({"local", "noisy", "batch statistics"}),
        supervised=False,
    ),
    Entry(
        "pc",
        PredictiveCoding,
        family="settling",
        source="Whittington & Bogacz 2017",
        equation="dθ = -dF/dθ at the z that minimise F = sum_l |z_l - f_l(z_{l-1})|² / 2 + precision L",
        needs="a chain of blocks (nn.Sequential); labels",
        traits=frozenset(),
    ),
    Entry(
        "pc-fixed",
        FixedPrediction,
        family="settling",
        source="Millidge, Tschantz & Buckley 2022; Rosenbaum 2022",
        equation="dθ_l = -(df_l/dθ_l)' e_l; e_l <- e_l + rate (J_{l+1}' e_{l+1} - e_l), J of the sweep",
        needs="a chain of blocks (nn.Sequential); labels",
        traits=frozenset(),
    ),
    Entry(
        "eqprop",
        EquilibriumPropagation,
        family="settling",
        source="Scellier & Bengio 2017; Laborieux et al. 2021",
        equation="dW = (dPhi/dW(s_beta) - dPhi/dW(s_-beta)) / (2 beta), Phi = sum_l <s_l, f_l(s_{l-1})>",
        needs="a chain of blocks of Linear, ConvNd, pooling and pointwise layers; labels; one unit a class",
        traits=frozenset({"own readout"}),
        one_logit=False,
    ),
    Entry(
        "dtp",
        DifferenceTarget,
        family="settling",
        source="Lee et al. 2015; Meulemans et al. 2020",
        equation="dθ_l = -d|h_l - t_l|²/dθ_l / 2; t_{l-1} = h_{l-1} + g(t_l) - g(h_l), t_L = h_L - dL/dh_L",
        needs="a chain of blocks (nn.Sequential); labels; learns feedback weights of its own",
        traits=frozenset({"noisy"}),
    ),
    Entry(
        "weight-perturbation",
        WeightPerturbation,
        family="perturbation",
        source="Spall 1992; Salimans et al. 2017",
        equation="dθ = -n (L(θ + sigma n) - L(θ - sigma n)) / (2 sigma), n ~ N(0, 1)",
        needs="any model; labels; few parameters, for its error grows with their square root",
        traits=frozenset({"noisy"}),
    ),
    Entry(
        "node-perturbation",
        NodePerturbation,
        family="perturbation",
        source="Williams 1992; Fiete & Seung 2006",
        equation="dW = -n (L(u + n) - L(u)) x' / sigma², n ~ N(0, sigma²) at the currents u",
        needs="Linear or ConvNd layers anywhere in any model; labels; criterion a mean over samples",
        traits=frozenset({"noisy"}),
    ),
    Entry(
        "three-factor",
        RewardModulatedHebb,
        family="perturbation",
        source="Williams 1992; Frémaux & Gerstner 2016",
        equation="dW = (R - mean R) E; E <- trace E + n x' / sigma², n ~ N(0, sigma²) at the currents",
        needs="Linear or ConvNd layers anywhere in any model; labels, or minus the reward as criterion",
        traits=frozenset({"noisy", "rewrites weights"}),
    ),
    Entry(
        "stdp",
        SpikeTiming,
        family="spiking",
        source="Song, Miller & Abbott 2000; Nessler et al. 2013",
        equation="dW = sum a+ exp(-d / tau+), pre before post - sum a- exp(-d / tau-), post before pre",
        needs="Linear or ConvNd layers anywhere in any model; activity that is not negative; a readout",
        traits=frozenset({"local", "noisy"}),
        supervised=False,
    ),
    Entry(
        "rstdp",
        RewardSpikeTiming,
        family="spiking",
        source="Izhikevich 2007; Mozafari et al. 2018",
        equation="dW = (R - mean R) STDP; R = 1 where the model is right, else 0",
        needs="Linear or ConvNd layers anywhere in any model; activity that is not negative; labels",
        traits=frozenset({"noisy", "batch statistics"}),
    ),
    Entry(
        "rflo",
        RandomFeedbackOnline,
        family="recurrent",
        source="Murray 2019",
        equation="dW = -(B e) p; p <- (1 - 1/tau) p + f'(u) h' / tau, B fixed and random, e = dL/dscores",
        needs="a chain of blocks (nn.Sequential) with a LeakyRNN, without which it is dfa; labels",
        traits=frozenset(),
    ),
)


def rules() -> dict[str, Entry]:
    """Return every rule by name: the built-in ones and those that installed packages register."""
    found = {entry.name: entry for entry in BUILT_IN}
    for point in entry_points(group="hebbian.rules"):
        entry = point.load()
        if not isinstance(entry, Entry):
            raise TypeError(f"entry point {point.value!r} of hebbian.rules must be a registry.Entry")
        if entry.name in found:
            raise ValueError(f"entry point {point.value!r}: a rule named {entry.name!r} exists already")
        found[entry.name] = entry
    return found


def find(name: str) -> Entry:
    """Return the rule called ``name``; `ValueError` names the nearest ones where there is none."""
    known = rules()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no rule named {name!r}; {hint}known: {', '.join(sorted(known))}")
    return known[name]


def build(
    name: str,
    model: nn.Module,
    criterion: Criterion | None,
    *,
    example: Tensor,
    classes: int,
    layers: Sequence[str] | None = None,
    **settings: Any,
) -> Rule:
    """Build the rule called ``name`` on ``model``.

    Parameters
    ----------
    criterion
        Mean over the batch; None for a rule without labels.
    example
        A batch of inputs, for shapes.
    classes
        Number of scores K.
    layers
        Where a plasticity acts; all weight layers but the last by default.
    settings
        Whatever else the rule's constructor takes.
    """
    make = find(name).make
    offered = {
        "criterion": criterion,
        "example": example,
        "classes": classes,
        "layers": weight_layers(model)[:-1] if layers is None else list(layers),
    }
    wanted = inspect.signature(make).parameters
    return make(model, **{key: value for key, value in offered.items() if key in wanted}, **settings)
