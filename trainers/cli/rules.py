"""The output of `hebbian rules`."""

from __future__ import annotations

from hebbian import registry
from hebbian.rule_info import RuleInfo
from trainers.comparison.table import text


def format_rules() -> str:
    """Return one line for each rule, and for what learns locally and is not a rule."""
    infos = (*registry.list_rules().values(), *registry.list_modules().values())
    return text(
        [("rule", "family", "source", "needs"), *((i.name, i.family, i.source, i.needs) for i in infos)]
    )


def format_rule(name: str) -> str:
    """Return the description of the rule called ``name``.

    Raises
    ------
    ValueError
        If there is no such rule; the message names the closest ones.
    """
    info = registry.describe_rule(name)
    lines = [
        f"{info.name} ({info.family})",
        f"  equation  {info.equation}",
        f"  source    {info.source}",
        f"  needs     {info.needs}",
    ]
    if isinstance(info, RuleInfo):
        lines.append(
            f"  training  {'supervised' if info.supervised else 'unsupervised, followed by a readout'}"
        )
        if "own readout" in info.traits:
            lines.append(
                "  predicts  by its own readout, rule.predict(x); model(x) alone is not the trained predictor"
            )
    return "\n".join(lines)
