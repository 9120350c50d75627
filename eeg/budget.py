"""How long a training will still take, in words."""


def lasting(seconds: float) -> str:
    """Return a time as roughly as it is known: about 40 s, about 12 min, about 2.5 h."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
