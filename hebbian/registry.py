"""Names to rules: one signature builds every rule, ours and those of other packages.

Another package adds a rule by an entry point of the group ``hebbian.rules`` that points to an `Entry`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from hebbian import plasticity as p
from hebbian.backprop import Backprop
from hebbian.contrastive import Clapp
from hebbian.equilibrium import EquilibriumPropagation
from hebbian.feedback import DirectFeedback, FeedbackAlignment, KolenPollack, SignSymmetry, WeightMirror
from hebbian.forward_forward import ForwardForward
from hebbian.local import MonoForward, pred, predsim, sim
from hebbian.perturbation import NodePerturbation, RewardModulatedHebb, WeightPerturbation
from hebbian.plasticity import BCM, Foldiak
from hebbian.predictive import FixedPrediction, PredictiveCoding
from hebbian.recurrent import RandomFeedbackOnline
from hebbian.rule import Criterion, Rule
from hebbian.spiking import RewardSpikeTiming, SpikeTiming
from hebbian.synapse import synaptic, weight_layers
from hebbian.target import DifferenceTarget
from hebbian.two_factor import Hebbian, Reduction

Trait = Literal["local", "noisy", "batch statistics", "rewrites weights", "own readout", "graph breaks"]
"""What a rule declares of itself, so that the laws of the tests know what must hold:

- ``local``: no later layer's weights enter an earlier layer's update
- ``noisy``: two calls on the same batch differ
- ``batch statistics``: the update of a batch is not the mean of those of its halves
- ``rewrites weights``: calling the rule changes parameters or buffers that the update depends on
- ``own readout``: ``predict(x)`` is not ``model(x)``
- ``graph breaks``: `torch.compile` cannot take the rule in one graph
"""


CardType = TypeVar("CardType", bound="Card")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a user must know of a rule, or of something that learns locally and is no rule (`MODULES`).

    ``oracle`` tells what theory says of it and, in brackets, the test that holds it against that.
    """

    name: str
    family: str
    source: str
    equation: str
    needs: str
    oracle: str


@dataclass(frozen=True, kw_only=True)
class Entry(Card):
    """A rule, and how to make it.

    ``make`` takes the model and whichever of criterion, example, classes, layers and each it names; ``each``
    holds what `build` was told of single layers.
    ``traits`` has no default: a rule without any says so by an empty set, and the laws hold it to that.
    ``supervised`` is false where the rule learns features without labels and a readout must follow.
    ``one_logit`` is false where the rule needs one score a class.
    """

    make: Callable[..., Rule]
    traits: frozenset[Trait]
    supervised: bool = True
    one_logit: bool = True

    def __post_init__(self) -> None:
        if unknown := set(self.traits) - set(get_args(Trait)):
            raise ValueError(f"rule {self.name!r} declares {sorted(unknown)}; traits are {get_args(Trait)}")


def at_layers(make: Callable[..., p.Plasticity]) -> Callable[..., Rule]:
    """Turn the constructor of a plasticity into one of a `Hebbian` rule that puts it at ``layers``.

    A constructor that names ``units`` is told the size of each layer.
    """
    sized = "units" in inspect.signature(make).parameters

    def build_hebbian(
        model: nn.Module,
        criterion: Criterion | None,
        each: Mapping[str, Mapping[str, Any]],
        reduction: Reduction = "mean",
        **settings: Any,
    ) -> Rule:
        def at(path: str) -> p.Plasticity:
            size = {"units": synaptic(model, path).weight.shape[0]} if sized else {}
            return make(**size, **{**settings, **each[path]})

        return Hebbian(model, {path: at(path) for path in each}, criterion, reduction)

    return build_hebbian


def _two_factor(
    name: str,
    make: Callable[..., p.Plasticity],
    source: str,
    equation: str,
    oracle: str,
    *traits: Trait,
    but: str = "",
) -> Entry:
    return Entry(
        name=name,
        make=at_layers(make),
        family="two-factor",
        source=source,
        equation=equation,
        needs=f"Linear or ConvNd layers anywhere in any model{but}; a readout",
        oracle=oracle,
        traits=frozenset({"local", *traits}),
        supervised=False,
    )


def _feedback(
    name: str, make: Callable[..., Rule], source: str, equation: str, oracle: str, *traits: Trait
) -> Entry:
    return Entry(
        name=name,
        make=make,
        family="feedback",
        source=source,
        equation=equation,
        needs="Linear or ConvNd layers anywhere in any model; labels",
        oracle=oracle,
        traits=frozenset(traits),
    )


def _local(
    name: str, make: Callable[..., Rule], source: str, equation: str, oracle: str, *traits: Trait
) -> Entry:
    return Entry(
        name=name,
        make=make,
        family="local losses",
        source=source,
        equation=equation,
        needs="a chain of blocks (nn.Sequential); labels",
        oracle=oracle,
        traits=frozenset({"local", *traits}),
    )


BUILT_IN = (
    Entry(
        name="backprop",
        make=Backprop,
        family="control",
        source="Rumelhart, Hinton & Williams 1986",
        equation="dw = -dL/dw",
        needs="any model; labels",
        oracle=("equals autograd (tests/test_hebbian/test_rules.py::test_backprop_is_autograd)"),
        traits=frozenset(),
    ),
    _two_factor(
        "frozen",
        lambda: p.frozen,
        "control: random features",
        "dw = 0",
        "the gradient is minus the update written out sample by sample: 0 "
        "(tests/test_hebbian/test_plasticity.py::test_gradient_is_minus_the_update_written_out)",
    ),
    _two_factor(
        "hebb",
        lambda: p.hebb,
        "Hebb 1949",
        "dw = y x', y = u",
        "with unit norm, finds the mean of data that have one "
        "(tests/test_hebbian/test_two_factor_theory.py::"
        "test_covariance_finds_the_first_component_where_hebb_finds_the_mean)",
    ),
    _two_factor(
        "covariance",
        lambda: p.covariance,
        "Sejnowski 1977",
        "dw = (y - <y>) (x - <x>)', y = u; <> the batch mean",
        "with unit norm, finds the first principal component whatever the mean "
        "(tests/test_hebbian/test_two_factor_theory.py::"
        "test_covariance_finds_the_first_component_where_hebb_finds_the_mean)",
        "batch statistics",
    ),
    _two_factor(
        "oja",
        lambda: p.oja,
        "Oja 1982",
        "dw = y (x - y w)', y = u",
        "converges to the first principal component with norm 1 "
        "(tests/test_hebbian/test_two_factor_theory.py::test_oja_finds_the_first_principal_component_with_norm_one)",
    ),
    _two_factor(
        "subspace",
        p.Subspace,
        "Oja 1989",
        "dw = y (x - W' y)', y = u",
        "W'W converges to the projector on the first components "
        "(tests/test_hebbian/test_two_factor_theory.py::"
        "test_subspace_finds_the_space_of_the_first_components_but_not_themselves)",
        but=", without groups",
    ),
    _two_factor(
        "sanger",
        p.Sanger,
        "Sanger 1989",
        "dw_i = y_i (x - sum_{k<=i} y_k w_k)', y = u",
        "rows converge to the principal components in order, orthonormal "
        "(tests/test_hebbian/test_two_factor_theory.py::test_sanger_finds_the_principal_components_in_order)",
        but=", without groups",
    ),
    _two_factor(
        "hpca",
        partial(p.Sanger, activation=torch.relu),
        "Lagani et al. 2021",
        "dw_i = y_i (x - sum_{k<=i} y_k w_k)', y = relu(u)",
        "stands still where what fires rebuilds the input "
        "(tests/test_hebbian/test_two_factor_theory.py::test_relu_makes_sanger_rebuild_the_input_from_what_fires)",
        but=", without groups",
    ),
    _two_factor(
        "bcm",
        BCM,
        "Bienenstock, Cooper & Munro 1982; Intrator & Cooper 1992",
        "dw = y (y - theta) x', y = relu(u); theta follows the mean of y^2",
        "of K patterns a unit answers one, with K: selectivity 1 - 1/K "
        "(tests/test_hebbian/test_two_factor_theory.py::test_bcm_units_come_to_answer_one_pattern_each_with_k)",
        "rewrites weights",
    ),
    _two_factor(
        "instar",
        p.Instar,
        "Grossberg 1976; MacQueen 1967",
        "dw = y (x - w)'; y = 1 for the k units nearest to x, else 0",
        "with steps of 1/wins it is sequential k-means "
        "(tests/test_hebbian/test_two_factor_theory.py::test_instar_with_steps_of_one_over_wins_is_sequential_k_means)",
        but=", without groups",
    ),
    _two_factor(
        "soft-instar",
        p.SoftInstar,
        "Nowlan 1990",
        "dw = y (x - w)'; y = softmax(-|x - w|^2 / (2 temperature))",
        "the update is the gradient of a mixture's log-likelihood "
        "(tests/test_hebbian/test_two_factor_theory.py::"
        "test_soft_instar_climbs_the_likelihood_of_a_mixture_of_gaussians)",
        but=", without groups",
    ),
    _two_factor(
        "foldiak",
        Foldiak,
        "Földiák 1990",
        "dw = y (x - w)'; y fires at u + v y > t; dv = -alpha (y y' - p^2), v <= 0; dt = gamma (y - p)",
        "the bars problem: each bar gets a unit of its own "
        "(tests/test_hebbian/test_two_factor_theory.py::test_foldiak_gives_each_bar_a_unit_of_its_own)",
        "rewrites weights",
        but=", with inputs that are not negative",
    ),
    _two_factor(
        "krotov",
        p.Krotov,
        "Krotov & Hopfield 2019",
        "dw = g (x - u w)'; g = 1 for the strongest unit, -delta for the k-th; u = sum sign(w) |w|^(p-1) x",
        "a step equals the published formula; winners converge to norm 1 and their cluster's direction "
        "(tests/test_hebbian/test_two_factor_theory.py::"
        "test_krotov_without_anti_hebb_converges_to_norm_one_cluster_directions)",
    ),
    _two_factor(
        "softhebb",
        p.SoftHebb,
        "Moraitis et al. 2022; Journé et al. 2023",
        "dw = y (x - u w)'; y = softmax(u / temperature), negative for all but the strongest unit",
        "stationary at norm 1, equally likely clusters share the units equally "
        "(tests/test_hebbian/test_two_factor_theory.py::test_softhebb_is_stationary_at_norm_one_with_equal_usage)",
    ),
    _feedback(
        "fa",
        FeedbackAlignment,
        "Lillicrap et al. 2016",
        "dW = -(B d) f'(a) x'; B fixed and random, d the error of the next layer",
        "written out; B = W is backprop on any graph; its angle to backprop falls below 60 degrees "
        "(tests/test_hebbian/test_feedback.py::test_feedback_alignment_turns_towards_backprop)",
    ),
    _feedback(
        "usf",
        partial(SignSymmetry, magnitude="uniform"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = sign(W) / sqrt(fan-in)",
        "B has the signs of W; is backprop where all weights have that magnitude "
        "(tests/test_hebbian/test_feedback.py::"
        "test_uniform_sign_symmetry_is_backprop_where_all_weights_have_that_magnitude)",
    ),
    _feedback(
        "brsf",
        partial(SignSymmetry, magnitude="batch"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = M sign(W); M positive and random, drawn anew each batch",
        "B has the signs of W as they are now, with magnitudes drawn anew "
        "(tests/test_hebbian/test_feedback.py::test_sign_symmetry_keeps_the_signs_of_the_weights_as_they_are_now)",
        "noisy",
    ),
    _feedback(
        "frsf",
        partial(SignSymmetry, magnitude="fixed"),
        "Liao et al. 2016; Moskovitz et al. 2018",
        "as fa with B = M sign(W); M positive and random, drawn once",
        "B has the signs of W as they are now, with magnitudes that stay "
        "(tests/test_hebbian/test_feedback.py::test_sign_symmetry_keeps_the_signs_of_the_weights_as_they_are_now)",
    ),
    _feedback(
        "kolen-pollack",
        KolenPollack,
        "Kolen & Pollack 1994; Akrout et al. 2019",
        "as fa with dB = dW; weight decay on both makes them one",
        "W and B get the same update, and decay makes them one "
        "(tests/test_hebbian/test_feedback.py::"
        "test_kolen_pollack_teaches_feedback_and_weights_alike_and_decay_makes_them_one)",
    ),
    _feedback(
        "weight-mirror",
        WeightMirror,
        "Akrout et al. 2019",
        "as fa with dB = rate (mean(u n') - B); n noise at the layer's input, u its response",
        "B becomes W' up to the sampling error of the noise "
        "(tests/test_hebbian/test_feedback.py::test_weight_mirror_becomes_the_weights_up_to_its_sampling_error)",
        "noisy",
        "rewrites weights",
    ),
    Entry(
        name="dfa",
        make=DirectFeedback,
        family="feedback",
        source="Nøkland 2016",
        equation="dW = -(B e) f'(a) x'; B fixed and random, e = dL/dscores",
        needs="a chain of blocks (nn.Sequential); labels",
        oracle=(
            "written out; with the transposed weights above it is backprop where these are linear "
            "(tests/test_hebbian/test_feedback.py::"
            "test_deep_direct_feedback_by_the_product_of_the_weights_above_is_backprop_where_these_are_linear)"
        ),
        traits=frozenset(),
    ),
    _local(
        "pred",
        pred,
        "Belilovsky et al. 2019; Nøkland & Eidnes 2019",
        "each block descends criterion(C h, y), its own linear classifier",
        "a block's update is autograd of its own loss, bit for bit whatever lies above "
        "(tests/test_hebbian/test_local.py::test_the_update_of_a_block_is_autograd_of_its_own_loss_alone)",
    ),
    _local(
        "sim",
        sim,
        "Nøkland & Eidnes 2019",
        "each block descends |S(E h) - S(y)|^2; S all pairs' cosines, E its own linear embedding",
        "the loss equals a loop over pairs; a block's update is autograd of it alone "
        "(tests/test_hebbian/test_local.py::test_similarity_matching_against_a_loop)",
        "batch statistics",
    ),
    _local(
        "predsim",
        predsim,
        "Nøkland & Eidnes 2019",
        "each block descends .01 pred + .99 sim",
        "a block's update is autograd of its own loss, bit for bit whatever lies above "
        "(tests/test_hebbian/test_local.py::test_the_update_of_a_block_is_autograd_of_its_own_loss_alone)",
        "batch statistics",
    ),
    _local(
        "mono-forward",
        MonoForward,
        "Gong et al. 2025",
        "each block descends criterion(G, y), G = M h; the sum of all G predicts",
        "a block's update is autograd of its own loss alone; the sum of goodness predicts "
        "(tests/test_hebbian/test_local.py::"
        "test_mono_forward_predicts_by_the_sum_of_goodness_with_a_whole_path_to_the_input)",
        "own readout",
    ),
    Entry(
        name="forward-forward",
        make=ForwardForward,
        family="local losses",
        source="Hinton 2022; Lee & Song 2023; Scodellaro et al. 2023",
        equation="a block descends softplus(slope (g' - g)); g = sum h^2, g' with a false label",
        needs="a chain of blocks (nn.Sequential); one unit a class; labels",
        oracle=(
            "written out sample by sample; a false label is never the true one "
            "(tests/test_hebbian/test_local.py::test_forward_forward_written_out_sample_by_sample)"
        ),
        traits=frozenset({"local", "noisy", "own readout"}),
        one_logit=False,
    ),
    Entry(
        name="clapp",
        make=Clapp,
        family="local losses",
        source="Illing et al. 2021",
        equation="a block descends max(0, 1 - s) for views of a sample, max(0, 1 + s) of two; s = z' W c",
        needs="a chain of blocks (nn.Sequential); a readout",
        oracle=(
            "the contrastive hinge equals a loop over pairs; no label is looked at "
            "(tests/test_hebbian/test_local.py::test_the_contrastive_hinge_against_a_loop)"
        ),
        traits=frozenset({"local", "noisy", "batch statistics"}),
        supervised=False,
    ),
    Entry(
        name="pc",
        make=PredictiveCoding,
        family="settling",
        source="Whittington & Bogacz 2017",
        equation="dθ = -dF/dθ at the z that minimise F = sum_l |z_l - f_l(z_{l-1})|² / 2 + precision L",
        needs="a chain of blocks (nn.Sequential); labels",
        oracle=(
            "linear nets settle at the closed form; backprop as precision goes to 0, with an error linear "
            "in it (tests/test_hebbian/test_predictive.py::"
            "test_strict_coding_nears_backprop_as_the_output_weighs_less_and_only_then)"
        ),
        traits=frozenset(),
    ),
    Entry(
        name="pc-fixed",
        make=FixedPrediction,
        family="settling",
        source="Millidge, Tschantz & Buckley 2022; Rosenbaum 2022",
        equation="dθ_l = -(df_l/dθ_l)' e_l; e_l <- e_l + rate (J_{l+1}' e_{l+1} - e_l), J of the sweep",
        needs="a chain of blocks (nn.Sequential); labels",
        oracle=(
            "equals backprop after one step a hidden block "
            "(tests/test_hebbian/test_predictive.py::test_fixed_prediction_is_backprop_after_one_step_a_hidden_block)"
        ),
        traits=frozenset(),
    ),
    Entry(
        name="eqprop",
        make=EquilibriumPropagation,
        family="settling",
        source="Scellier & Bengio 2017; Laborieux et al. 2021",
        equation="dW = (dPhi/dW(s_beta) - dPhi/dW(s_-beta)) / (2 beta), Phi = sum_l <s_l, f_l(s_{l-1})>",
        needs="a chain of blocks of Linear, ConvNd, pooling and pointwise layers; labels; one unit a class",
        oracle=(
            "error against backprop through time of slope 1 in beta (one-sided) and 2 (symmetric) "
            "(tests/test_hebbian/test_equilibrium.py::test_the_error_against_backprop_through_time_falls_with_beta)"
        ),
        traits=frozenset({"own readout"}),
        one_logit=False,
    ),
    Entry(
        name="dtp",
        make=DifferenceTarget,
        family="settling",
        source="Lee et al. 2015; Meulemans et al. 2020",
        equation="dθ_l = -d|h_l - t_l|²/dθ_l / 2; t_{l-1} = h_{l-1} + g(t_l) - g(h_l), t_L = h_L - dL/dh_L",
        needs="a chain of blocks (nn.Sequential), with one hidden block it is backprop; labels",
        oracle=(
            "with exact inverses it is backprop for orthogonal weights, and not for others "
            "(tests/test_hebbian/test_target.py::test_it_is_backprop_for_orthogonal_weights_and_not_for_others)"
        ),
        traits=frozenset({"noisy"}),
    ),
    Entry(
        name="weight-perturbation",
        make=WeightPerturbation,
        family="perturbation",
        source="Spall 1992; Salimans et al. 2017",
        equation="dθ = -n (L(θ + sigma n) - L(θ - sigma n)) / (2 sigma), n ~ N(0, 1)",
        needs="any model; labels; few parameters, for its error grows with their square root",
        oracle=(
            "unbiased, with a relative error of sqrt((P + 1) / n) "
            "(tests/test_hebbian/test_perturbation.py::"
            "test_weight_perturbation_is_off_by_the_root_of_parameters_over_draws)"
        ),
        traits=frozenset({"noisy"}),
    ),
    Entry(
        name="node-perturbation",
        make=NodePerturbation,
        family="perturbation",
        source="Williams 1992; Fiete & Seung 2006",
        equation="dW = -n (L(u + n) - L(u)) x' / sigma², n ~ N(0, sigma²) at the currents u",
        needs="Linear or ConvNd layers anywhere in any model; labels; criterion a mean over samples",
        oracle=(
            "the gradient on average; written out "
            "(tests/test_hebbian/test_perturbation.py::test_node_perturbation_is_the_gradient_on_average)"
        ),
        traits=frozenset({"noisy"}),
    ),
    Entry(
        name="three-factor",
        make=RewardModulatedHebb,
        family="perturbation",
        source="Williams 1992; Frémaux & Gerstner 2016",
        equation="dW = (R - mean R) E; E <- trace E + n x' / sigma², n ~ N(0, sigma²) at the currents",
        needs="Linear or ConvNd layers anywhere in any model; labels, or minus the reward as criterion",
        oracle=(
            "climbs the expected reward of a bandit; reward 1 leaves the two-factor rule exactly "
            "(tests/test_hebbian/test_perturbation.py::test_reward_modulation_climbs_the_expected_reward_of_a_bandit)"
        ),
        traits=frozenset({"noisy", "rewrites weights"}),
    ),
    Entry(
        name="stdp",
        make=SpikeTiming,
        family="spiking",
        source="Song, Miller & Abbott 2000; Nessler et al. 2013",
        equation="dW = sum a+ exp(-d / tau+), pre before post - sum a- exp(-d / tau-), post before pre",
        needs="Linear or ConvNd layers anywhere in any model; activity that is not negative; a readout",
        oracle=(
            "traces equal the double sum over spike pairs "
            "(tests/test_hebbian/test_spiking.py::test_traces_are_the_double_sum_over_pairs)"
        ),
        traits=frozenset({"local", "noisy"}),
        supervised=False,
    ),
    Entry(
        name="rstdp",
        make=RewardSpikeTiming,
        family="spiking",
        source="Izhikevich 2007; Mozafari et al. 2018",
        equation="dW = (R - mean R) STDP; R = 1 where the model is right, else 0",
        needs="Linear or ConvNd layers anywhere in any model; activity that is not negative; labels",
        oracle=(
            "the change by the spikes within, times the reward less its mean "
            "(tests/test_hebbian/test_spiking.py::test_the_gradient_is_minus_the_change_by_the_spikes_within)"
        ),
        traits=frozenset({"noisy", "batch statistics"}),
    ),
    Entry(
        name="rflo",
        make=RandomFeedbackOnline,
        family="recurrent",
        source="Murray 2019",
        equation="dW = -(B e) p; p <- (1 - 1/tau) p + f'(u) h' / tau, B fixed and random, e = dL/dscores",
        needs="a chain of blocks (nn.Sequential) with a LeakyRNN, without which it is dfa; labels",
        oracle=(
            "is backprop through time where the truncation is exact; without a recurrent cell it is dfa "
            "(tests/test_hebbian/test_recurrent.py::test_it_is_backprop_through_time_where_the_truncation_is_exact)"
        ),
        traits=frozenset(),
    ),
)
MODULES = (
    Card(
        name="hopfield",
        family="associative memory",
        source="Hopfield 1982; Amit, Gutfreund & Sompolinsky 1985",
        equation="dW = p p' / units, no unit to itself; recall s_i <- sign(sum_j W_ij s_j), unit after unit",
        needs="patterns of -1 and 1 that are hardly correlated: `hebbian.Hopfield(units)`, `store`, `recall`",
        oracle=(
            "recalls up to 0.138 random patterns a unit, and beyond that hardly one "
            "(tests/test_hebbian/test_memory.py::test_hopfield_holds_about_0_138_patterns_a_unit)"
        ),
    ),
    Card(
        name="storkey",
        family="associative memory",
        source="Storkey 1997",
        equation="dW_ij = (p_i p_j - p_i h_ji - h_ij p_j) / units, h_ij = sum_{k not i, j} W_ik p_k",
        needs="patterns of -1 and 1: `hebbian.Storkey(units)`, `store`, `recall`",
        oracle=(
            "holds n / sqrt(2 ln n) patterns without error, where Hebb's storage has lost them "
            "(tests/test_hebbian/test_memory.py::test_storkey_holds_patterns_exactly_where_hopfield_has_lost_them)"
        ),
    ),
    Card(
        name="genomic-bottleneck",
        family="genomic bottleneck",
        source="Shuvaev, Lachi, Koulakov & Zador 2024; Zador 2020",
        equation="W_ij = g(address of i, address of j); g a small network, learned by any rule through W",
        needs="Linear or ConvNd layers anywhere in any model: `hebbian.genomic.express`, `bake`, `Innate`",
        oracle=(
            "learns weights that follow a rule of the addresses, and not those that are noise "
            "(tests/test_hebbian/test_genomic.py::"
            "test_a_genome_learns_weights_that_follow_a_rule_and_not_those_that_are_noise)"
        ),
    ),
)
"""What learns locally, or is learned, and is used by itself: no model is trained by naming it."""


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
    return _named(name, rules())


def card(name: str) -> Card:
    """Return what there is to know of the rule or module called ``name``, or raise as `find` does."""
    return _named(name, {**{module.name: module for module in MODULES}, **rules()})


def _named(name: str, known: Mapping[str, CardType]) -> CardType:
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
    layers: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
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
        Where a plasticity acts; all weight layers but the last by default.  A mapping gives single layers
        settings of their own, which go before ``settings``.
    settings
        Whatever else the rule's constructor takes.

    Raises
    ------
    TypeError
        If a rule is given settings for single layers that has none.
    """
    make = find(name).make
    if layers is None:
        layers = weight_layers(model)[:-1]
    each = layers if isinstance(layers, Mapping) else {path: {} for path in layers}
    offered = {
        "criterion": criterion,
        "example": example,
        "classes": classes,
        "layers": list(each),
        "each": each,
    }
    wanted = inspect.signature(make).parameters
    if any(each.values()) and "each" not in wanted:
        raise TypeError(f"{name!r} has no settings for single layers; name the layers in a list")
    return make(model, **{key: value for key, value in offered.items() if key in wanted}, **settings)
