"""Values of diagnosis, sex and age in tables of participants."""

GROUPS = {"epilepsy": 1, "epileptic": 1, "control": 0, "healthy": 0}
"""Label by group, in lower case."""

GROUP_NAMES = {1: "epilepsy", 0: "control", None: "unknown"}
"""Group by label, for output."""

_OLDEST = 130  # years


def sex_of(row: dict[str, str]) -> str | None:
    """Return "F" or "M" from the column ``sex``, None if it holds neither."""
    return {"f": "F", "female": "F", "m": "M", "male": "M"}.get(row.get("sex", "").lower())


def age_of(row: dict[str, str]) -> float | None:
    """Return years from the column ``age``, None if it holds no age of a person."""
    try:
        age = float(row.get("age", ""))
    except ValueError:
        return None
    return age if 0 <= age <= _OLDEST else None
