"""The generated parts of the pages: tables of the registered rules and of the stored benchmark results.

The directive ``results`` of conf.py inserts them by their names in `TABLES`. Only means and intervals are
computed here; the commands that wrote the results are on the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tables_eeg as of_eeg
import tables_rules as of_rules
import tables_system as of_system

TABLES: Mapping[str, Callable[..., str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        of_rules.rules,
        of_rules.rule_controls,
        of_rules.rule_sections,
        of_rules.memories,
        of_rules.published,
        of_rules.published_costs,
        of_rules.any_net,
        of_rules.refusals,
        of_rules.sequences,
        of_rules.comparison,
        of_rules.comparison_versions,
        of_rules.continual,
        of_eeg.eeg_simulated,
        of_eeg.eeg_guinea_bissau,
        of_eeg.eeg_confounds,
        of_eeg.label_efficiency,
        of_eeg.bonn,
        of_eeg.recording_label_means,
        of_eeg.recording_label_seeds,
        of_eeg.explanations,
        of_eeg.explanation_errors,
        of_eeg.explanation_speed,
        of_system.robustness,
        of_system.killed_commands,
        of_system.archives,
        of_system.plan,
        of_system.speed,
        of_system.depth_memory,
    )
}
