from .backprop import Backprop as Backprop
from .chain import divide as divide
from .contrastive import Clapp as Clapp, SelfContrastive as SelfContrastive
from .direct import DirectFeedback as DirectFeedback, DirectTarget as DirectTarget, Pepita as Pepita
from .dual import DualPropagation as DualPropagation
from .eprop import EProp as EProp
from .equilibrium import EquilibriumPropagation as EquilibriumPropagation
from .feedback import (
    FeedbackAlignment as FeedbackAlignment,
    KolenPollack as KolenPollack,
    SignSymmetry as SignSymmetry,
    WeightMirror as WeightMirror,
)
from .forward_forward import ForwardForward as ForwardForward, cwcomp as cwcomp
from .forward_gradient import ForwardGradient as ForwardGradient
from .local import LocalLosses as LocalLosses, MonoForward as MonoForward
from .memory import Hopfield as Hopfield, Storkey as Storkey
from .perturbation import (
    NodePerturbation as NodePerturbation,
    RewardModulatedHebb as RewardModulatedHebb,
    WeightPerturbation as WeightPerturbation,
)
from .plasticity import (
    BCM as BCM,
    Foldiak as Foldiak,
    Instar as Instar,
    Krotov as Krotov,
    Sanger as Sanger,
    SoftHebb as SoftHebb,
    SoftInstar as SoftInstar,
    Subspace as Subspace,
    covariance as covariance,
    frozen as frozen,
    hebb as hebb,
    oja as oja,
)
from .predictive import FixedPrediction as FixedPrediction, PredictiveCoding as PredictiveCoding
from .recurrent import LIF as LIF, LeakyRNN as LeakyRNN, RandomFeedbackOnline as RandomFeedbackOnline
from .registry import build as build, find_rule as find_rule, list_rules as list_rules
from .rule import Rule as Rule, probabilities as probabilities
from .spiking import PairSTDP as PairSTDP, RewardSpikeTiming as RewardSpikeTiming, SpikeTiming as SpikeTiming
from .target import (
    DifferenceTarget as DifferenceTarget,
    LocalDifferenceReconstruction as LocalDifferenceReconstruction,
)
from .two_factor import Hebbian as Hebbian, Winners as Winners
