"""Write docs/rules.md from the registry and from what the benchmarks measured: python docs/make_rules.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hebbian.registry import BUILT_IN, Entry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import journal  # noqa: E402
from journal import NETS, Summary, cell  # noqa: E402

PAGE = ROOT / "docs" / "rules.md"
Measured = Mapping[tuple[str, str], Summary]

ORACLES = {
    "backprop": ("equals autograd", "test_rules.py::test_backprop_is_autograd"),
    "frozen": (
        "the gradient is minus the update written out sample by sample: 0",
        "test_plasticity.py::test_gradient_is_minus_the_update_written_out",
    ),
    "hebb": (
        "with unit norm, finds the mean of data that have one",
        "test_two_factor_theory.py::test_covariance_finds_the_first_component_where_hebb_finds_the_mean",
    ),
    "covariance": (
        "with unit norm, finds the first principal component whatever the mean",
        "test_two_factor_theory.py::test_covariance_finds_the_first_component_where_hebb_finds_the_mean",
    ),
    "oja": (
        "converges to the first principal component with norm 1",
        "test_two_factor_theory.py::test_oja_finds_the_first_principal_component_with_norm_one",
    ),
    "subspace": (
        "W'W converges to the projector on the first components",
        "test_two_factor_theory.py::test_subspace_finds_the_space_of_the_first_components_but_not_themselves",
    ),
    "sanger": (
        "rows converge to the principal components in order, orthonormal",
        "test_two_factor_theory.py::test_sanger_finds_the_principal_components_in_order",
    ),
    "hpca": (
        "stands still where what fires rebuilds the input",
        "test_two_factor_theory.py::test_relu_makes_sanger_rebuild_the_input_from_what_fires",
    ),
    "bcm": (
        "of K patterns a unit answers one, with K: selectivity 1 - 1/K",
        "test_two_factor_theory.py::test_bcm_units_come_to_answer_one_pattern_each_with_k",
    ),
    "instar": (
        "with steps of 1/wins it is sequential k-means",
        "test_two_factor_theory.py::test_instar_with_steps_of_one_over_wins_is_sequential_k_means",
    ),
    "soft-instar": (
        "the update is the gradient of a mixture's log-likelihood",
        "test_two_factor_theory.py::test_soft_instar_climbs_the_likelihood_of_a_mixture_of_gaussians",
    ),
    "foldiak": (
        "the bars problem: each bar gets a unit of its own",
        "test_two_factor_theory.py::test_foldiak_gives_each_bar_a_unit_of_its_own",
    ),
    "krotov": (
        "a step equals the published formula; winners converge to norm 1 and their cluster's direction",
        "test_two_factor_theory.py::test_krotov_without_anti_hebb_converges_to_norm_one_cluster_directions",
    ),
    "softhebb": (
        "stationary at norm 1, equally likely clusters share the units equally",
        "test_two_factor_theory.py::test_softhebb_is_stationary_at_norm_one_with_equal_usage",
    ),
    "fa": (
        "written out; B = W is backprop on any graph; its angle to backprop falls below 60 degrees",
        "test_feedback.py::test_feedback_alignment_turns_towards_backprop",
    ),
    "usf": (
        "B has the signs of W; is backprop where all weights have that magnitude",
        "test_feedback.py::test_uniform_sign_symmetry_is_backprop_where_all_weights_have_that_magnitude",
    ),
    "brsf": (
        "B has the signs of W as they are now, with magnitudes drawn anew",
        "test_feedback.py::test_sign_symmetry_keeps_the_signs_of_the_weights_as_they_are_now",
    ),
    "frsf": (
        "B has the signs of W as they are now, with magnitudes that stay",
        "test_feedback.py::test_sign_symmetry_keeps_the_signs_of_the_weights_as_they_are_now",
    ),
    "kolen-pollack": (
        "W and B get the same update, and decay makes them one",
        "test_feedback.py::test_kolen_pollack_teaches_feedback_and_weights_alike_and_decay_makes_them_one",
    ),
    "weight-mirror": (
        "B becomes W' up to the sampling error of the noise",
        "test_feedback.py::test_weight_mirror_becomes_the_weights_up_to_its_sampling_error",
    ),
    "dfa": (
        "written out; with the transposed weights above it is backprop where these are linear",
        "test_feedback.py::"
        "test_deep_direct_feedback_by_the_product_of_the_weights_above_is_backprop_where_these_are_linear",
    ),
    "pred": (
        "a block's update is autograd of its own loss, bit for bit whatever lies above",
        "test_local.py::test_the_update_of_a_block_is_autograd_of_its_own_loss_alone",
    ),
    "sim": (
        "the loss equals a loop over pairs; a block's update is autograd of it alone",
        "test_local.py::test_similarity_matching_against_a_loop",
    ),
    "predsim": (
        "a block's update is autograd of its own loss, bit for bit whatever lies above",
        "test_local.py::test_the_update_of_a_block_is_autograd_of_its_own_loss_alone",
    ),
    "mono-forward": (
        "a block's update is autograd of its own loss alone; the sum of goodness predicts",
        "test_local.py::test_mono_forward_predicts_by_the_sum_of_goodness_with_a_whole_path_to_the_input",
    ),
    "forward-forward": (
        "written out sample by sample; a false label is never the true one",
        "test_local.py::test_forward_forward_written_out_sample_by_sample",
    ),
    "clapp": (
        "the contrastive hinge equals a loop over pairs; no label is looked at",
        "test_local.py::test_the_contrastive_hinge_against_a_loop",
    ),
    "pc": (
        "linear nets settle at the closed form; backprop as precision goes to 0, with an error linear in it",
        "test_predictive.py::test_strict_coding_nears_backprop_as_the_output_weighs_less_and_only_then",
    ),
    "pc-fixed": (
        "equals backprop after one step a hidden block",
        "test_predictive.py::test_fixed_prediction_is_backprop_after_one_step_a_hidden_block",
    ),
    "eqprop": (
        "error against backprop through time of slope 1 in beta (one-sided) and 2 (symmetric)",
        "test_equilibrium.py::test_the_error_against_backprop_through_time_falls_with_beta",
    ),
    "dtp": (
        "with exact inverses it is backprop for orthogonal weights, and not for others",
        "test_target.py::test_it_is_backprop_for_orthogonal_weights_and_not_for_others",
    ),
    "weight-perturbation": (
        "unbiased, with a relative error of sqrt((P + 1) / n)",
        "test_perturbation.py::test_weight_perturbation_is_off_by_the_root_of_parameters_over_draws",
    ),
    "node-perturbation": (
        "the gradient on average; written out",
        "test_perturbation.py::test_node_perturbation_is_the_gradient_on_average",
    ),
    "three-factor": (
        "climbs the expected reward of a bandit; reward 1 leaves the two-factor rule exactly",
        "test_perturbation.py::test_reward_modulation_climbs_the_expected_reward_of_a_bandit",
    ),
    "stdp": (
        "traces equal the double sum over spike pairs",
        "test_spiking.py::test_traces_are_the_double_sum_over_pairs",
    ),
    "rstdp": (
        "the change by the spikes within, times the reward less its mean",
        "test_spiking.py::test_the_gradient_is_minus_the_change_by_the_spikes_within",
    ),
    "rflo": (
        "is backprop through time where the truncation is exact; without a recurrent cell it is dfa",
        "test_recurrent.py::test_it_is_backprop_through_time_where_the_truncation_is_exact",
    ),
}
"""For each rule, the theory that it is held against, and a test that does so."""

_COPIES = "by theory all units learn one and the same feature, the first component (or the mean)"
_PROTOTYPES = (
    "units compete by their distance to the input, but hand on w x, without the -|w|²/2 that makes it a "
    "distance; and units that never win stay where they began"
)
_NOISE = (
    "its error grows with the root of the number of {}, and 1,900 steps (950 on images) are few "
    "against that; it learns small nets well"
)
_FEEDBACK = (
    "random feedback is known to fail at convolutions, whose error all places share (Moskovitz et al. 2018); "
    "on the perceptron it is well above"
)
REASONS = {
    "hebb": _COPIES,
    "covariance": _COPIES,
    "oja": _COPIES,
    "subspace": "it finds the space of the first components, which a linear readout knows already",
    "sanger": (
        "components are learned one after the other: after 1,900 steps the cosine of unit and component was "
        "above .9 for 4 units of 500"
    ),
    "hpca": "as sanger's, with relu",
    "bcm": "units answer few samples each, many of them the same ones, for nothing keeps them apart",
    "instar": _PROTOTYPES,
    "soft-instar": f"{_PROTOTYPES}; at temperature 1 in 784 dimensions it is as hard as instar",
    "foldiak": "inhibition keeps units apart in learning only; the model hands on the plain currents",
    "krotov": (
        "its step is normalised, so it needs many: it is published with hundreds of epochs, and at 500 units "
        "random features are strong; with 100 units and 40 epochs it is well above them"
    ),
    "softhebb": (
        "published with a Triangle activation, many more kernels and rates by norm; here it has relu and 16 "
        "and 32 kernels"
    ),
    "fa": _FEEDBACK,
    "dfa": _FEEDBACK,
    "rflo": f"without a recurrent cell it is dfa: {_FEEDBACK}",
    "sim": (
        "a batch of 32 has few pairs of one class; the embedding looks at 16 and 32 channels where it is "
        "published with hundreds"
    ),
    "predsim": "as sim, which is 99 % of its loss",
    "forward-forward": (
        "the label is written over ten pixels of one corner, which a 5 x 5 kernel sees at few places: the "
        "goodness of a map is that of the image; it was published for perceptrons"
    ),
    "clapp": "two random halves of a digit stand for the successive patches that the paper contrasts",
    "pc": "on images it settles for 6 steps only, far from equilibrium, to keep within the time",
    "eqprop": "on images it settles for 6 steps only, far from equilibrium, to keep within the time",
    "dtp": "the inverses of pooled maps are learned at the same time, in 950 steps",
    "weight-perturbation": _NOISE.format("parameters (397,510 on the perceptron)"),
    "node-perturbation": _NOISE.format("noisy units (510 on the perceptron, 11,274 on images)"),
    "three-factor": (
        _NOISE.format("noisy units (510 on the perceptron, 11,274 on images)")
        + ". Unlike node perturbation it does not take the noiseless loss away, so that the difference "
        "between samples drowns what the noise did: at chance on images, also with tenfold smaller steps"
    ),
    "stdp": "one spike a place and step, 10 steps on the perceptron and 2 on images: the counts are noisy",
    "rstdp": "as stdp; the reward is one bit a sample, and nearly always 1 once most are right",
}
"""Why a rule stays behind random features, where it does: inferred, and for sanger looked into."""


def page(entries: Sequence[Entry], measured: Measured, published: Sequence[Mapping[str, Any]]) -> str:
    """Return the whole page as Markdown."""
    blocks = [
        "# The rules",
        "Generated from the registry and from `benchmarks/results`: do not edit this page, run `make docs`.",
        _OF_ALL,
        _table(entries, measured),
        _PUBLISHED,
        "\n".join(_published_table(published)),
        *(_section(entry, measured) for entry in entries),
    ]
    return "\n\n".join(blocks) + "\n"


_OF_ALL = """\
## All of them

Accuracy is in per cent on the 10,000 test images of MNIST after training on the first 10,000 training
images: the mean over seeds with its 95 % t-interval. Nets: 784-500-10, and two convolutions of 16 and 32
kernels with pooling. Every rule has the same epochs and batches (`benchmarks/rules.py`), which are few:
the figures compare rules, they are not the best that each can do. Seconds are those of one processor
core. Rules without labels are followed by a readout that learns by backprop, as is the control, `frozen`
random features."""

_PUBLISHED = """\
## Published recipes

Each on its own net (`benchmarks/published.py`), all of MNIST, one seed. A run that is shorter than the
published one is to be held against backprop on the same net at the same length, which stands beside it,
and not against the published figure."""


def _table(entries: Sequence[Entry], measured: Measured) -> str:
    rows = [
        (
            f"[{e.name}](#{e.name})",
            e.family,
            e.source,
            e.needs,
            "yes" if e.supervised else "no",
            ", ".join(sorted(e.traits)) or "–",
            *(_short(measured.get((e.name, net))) for net in NETS),
        )
        for e in entries
    ]
    head = ("rule", "family", "source", "needs", "labels", "traits", "MLP, %", "conv, %")
    return "\n".join(_rows(head, rows))


def _short(summary: Summary | None) -> str:
    text = cell(summary)
    return text if summary is None or summary.accuracy is not None else text.split(":")[0]


def _published_table(published: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = []
    for found in published:
        own, control = found["curves"][found["rule"]], found["curves"]["backprop"]
        rows.append(
            (
                found["rule"],
                found["recipe"]["shape"],
                f"{found['epochs']} of {found['recipe']['phase']['epochs']}",
                _final(own),
                _final(control),
                found["recipe"]["figure"],
            )
        )
    head = ("rule", "net", "epochs", "accuracy, % (seconds)", "backprop, % (seconds)", "published")
    return _rows(head, rows)


def _final(curve: Mapping[str, Sequence[float]]) -> str:
    return f"{100 * curve['accuracy'][-1]:.2f} ({curve['seconds'][-1]:.0f})"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"


def _section(entry: Entry, measured: Measured) -> str:
    theory, test = ORACLES[entry.name]
    lines = [
        f"## {entry.name}",
        "",
        f"    {entry.equation}",
        "",
        f"- Source: {entry.source}",
        f"- Needs: {entry.needs}",
        f"- Held against: {theory} (`tests/{test}`)",
    ]
    for net, title in zip(NETS, ("784-500-10", "two convolutions"), strict=True):
        lines.append(f"- On {title}: {_told(measured.get((entry.name, net)))}")
    if behind(entry.name, measured):
        lines.append(f"- Behind random features; the likely reason: {REASONS[entry.name]}.")
    return "\n".join(lines)


def behind(name: str, measured: Measured) -> list[str]:
    """Return the nets on which a rule reaches less than frozen random features."""
    found = []
    for net in NETS:
        rule, control = measured.get((name, net)), measured.get(("frozen", net))
        if rule and control and rule.accuracy is not None and control.accuracy is not None:
            found += [net] if rule.accuracy < control.accuracy else []
    return found


def _told(summary: Summary | None) -> str:
    if summary is None or summary.accuracy is None:
        return cell(summary)
    return f"{cell(summary)} %, {summary.seeds} seeds, {summary.seconds:.0f} s ({summary.settings})"


def current() -> str:
    """Return the page as it is to be today."""
    published = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(journal.PUBLISHED.glob("*.json"))
    ]
    return page(BUILT_IN, journal.summarise(journal.read(journal.RULES)), published)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
