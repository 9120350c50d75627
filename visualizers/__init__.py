"""What people look at: figures and TensorBoard."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visualizers.curves import confusion as confusion
    from visualizers.curves import ranking as ranking
    from visualizers.curves import reliability as reliability
    from visualizers.curves import removal as removal
    from visualizers.curves import risk_coverage as risk_coverage
    from visualizers.curves import standing as standing
    from visualizers.tensorboard import TensorBoard as TensorBoard
    from visualizers.topography import topographies as topographies
    from visualizers.traces import Span as Span
    from visualizers.traces import eeg_page as eeg_page
    from visualizers.traces import strip as strip
    from visualizers.weights import receptive_fields as receptive_fields

_HOME = {
    "Span": "traces",
    "TensorBoard": "tensorboard",
    "confusion": "curves",
    "eeg_page": "traces",
    "ranking": "curves",
    "receptive_fields": "weights",
    "reliability": "curves",
    "removal": "curves",
    "risk_coverage": "curves",
    "standing": "curves",
    "strip": "traces",
    "topographies": "topography",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Import what is heavy only when something that needs it is asked for (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"visualizers.{_HOME[name]}"), name)
    raise AttributeError(f"module 'visualizers' has no attribute {name!r}")
