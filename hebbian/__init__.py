"""Local learning rules for any PyTorch model.

A learning rule is a module whose forward returns the objective to descend::

    rule = Hebbian(model, {"features.0": SoftHebb()}, criterion=F.cross_entropy)
    rule(x, y).backward()      # every parameter's .grad is minus the update that the rule asks for
    optimizer.step()
    scores = rule.predict(x)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hebbian.adaptive import BCM as BCM
    from hebbian.adaptive import Foldiak as Foldiak
    from hebbian.backprop import Backprop as Backprop
    from hebbian.contrastive import Clapp as Clapp
    from hebbian.equilibrium import EquilibriumPropagation as EquilibriumPropagation
    from hebbian.feedback import DirectFeedback as DirectFeedback
    from hebbian.feedback import FeedbackAlignment as FeedbackAlignment
    from hebbian.feedback import KolenPollack as KolenPollack
    from hebbian.feedback import SignSymmetry as SignSymmetry
    from hebbian.feedback import WeightMirror as WeightMirror
    from hebbian.forward import ForwardForward as ForwardForward
    from hebbian.hebbian import Hebbian as Hebbian
    from hebbian.local import LocalLosses as LocalLosses
    from hebbian.local import MonoForward as MonoForward
    from hebbian.memory import Hopfield as Hopfield
    from hebbian.memory import Storkey as Storkey
    from hebbian.perturbation import NodePerturbation as NodePerturbation
    from hebbian.perturbation import RewardModulatedHebb as RewardModulatedHebb
    from hebbian.perturbation import WeightPerturbation as WeightPerturbation
    from hebbian.plasticity import Instar as Instar
    from hebbian.plasticity import Krotov as Krotov
    from hebbian.plasticity import Sanger as Sanger
    from hebbian.plasticity import SoftHebb as SoftHebb
    from hebbian.plasticity import SoftInstar as SoftInstar
    from hebbian.plasticity import Subspace as Subspace
    from hebbian.plasticity import covariance as covariance
    from hebbian.plasticity import frozen as frozen
    from hebbian.plasticity import hebb as hebb
    from hebbian.plasticity import oja as oja
    from hebbian.predictive import FixedPrediction as FixedPrediction
    from hebbian.predictive import PredictiveCoding as PredictiveCoding
    from hebbian.recurrent import LeakyRNN as LeakyRNN
    from hebbian.recurrent import RandomFeedbackOnline as RandomFeedbackOnline
    from hebbian.registry import build as build
    from hebbian.rule import Rule as Rule
    from hebbian.rule import probabilities as probabilities
    from hebbian.spiking import PairSTDP as PairSTDP
    from hebbian.spiking import RewardSpikeTiming as RewardSpikeTiming
    from hebbian.spiking import SpikeTiming as SpikeTiming
    from hebbian.target import DifferenceTarget as DifferenceTarget

_HOME = {
    "BCM": "adaptive",
    "Backprop": "backprop",
    "Clapp": "contrastive",
    "DifferenceTarget": "target",
    "DirectFeedback": "feedback",
    "EquilibriumPropagation": "equilibrium",
    "FeedbackAlignment": "feedback",
    "FixedPrediction": "predictive",
    "Foldiak": "adaptive",
    "ForwardForward": "forward",
    "Hebbian": "hebbian",
    "Hopfield": "memory",
    "Instar": "plasticity",
    "KolenPollack": "feedback",
    "Krotov": "plasticity",
    "LeakyRNN": "recurrent",
    "LocalLosses": "local",
    "MonoForward": "local",
    "NodePerturbation": "perturbation",
    "PairSTDP": "spiking",
    "PredictiveCoding": "predictive",
    "RandomFeedbackOnline": "recurrent",
    "RewardModulatedHebb": "perturbation",
    "RewardSpikeTiming": "spiking",
    "Rule": "rule",
    "Sanger": "plasticity",
    "SignSymmetry": "feedback",
    "SoftHebb": "plasticity",
    "SoftInstar": "plasticity",
    "SpikeTiming": "spiking",
    "Storkey": "memory",
    "Subspace": "plasticity",
    "WeightMirror": "feedback",
    "WeightPerturbation": "perturbation",
    "build": "registry",
    "covariance": "plasticity",
    "frozen": "plasticity",
    "hebb": "plasticity",
    "oja": "plasticity",
    "probabilities": "rule",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Import torch only when something that needs it is asked for (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"hebbian.{_HOME[name]}"), name)
    raise AttributeError(f"module 'hebbian' has no attribute {name!r}")
