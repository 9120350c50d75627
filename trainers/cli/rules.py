"""What `hebbian rules` prints."""

from __future__ import annotations

from hebbian import registry
from trainers.comparison.table import text


def format_rules() -> str:
    """Return one line for each rule, and for what learns locally and is not a rule."""
    cards = (*registry.rules().values(), *registry.MODULES)
    return text(
        [("rule", "family", "source", "needs"), *((c.name, c.family, c.source, c.needs) for c in cards)]
    )


def format_rule(name: str) -> str:
    """Return the description of the rule called ``name``.

    Raises
    ------
    ValueError
        If there is no such rule; the message names the closest ones.
    """
    card = registry.card(name)
    lines = [
        f"{card.name} ({card.family})",
        f"  equation  {card.equation}",
        f"  source    {card.source}",
        f"  needs     {card.needs}",
        f"  oracle    {card.oracle}",
    ]
    if isinstance(card, registry.Entry):
        lines.append(
            f"  training  {'supervised' if card.supervised else 'unsupervised, followed by a readout'}"
        )
    return "\n".join(lines)
