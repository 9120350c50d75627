"""A detection as files that other programs read.  Research use only."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eeg.export.bids import write_derivative as write_derivative
    from eeg.export.bids import write_events as write_events
    from eeg.export.document import ranked as ranked
    from eeg.export.document import result as result
    from eeg.export.document import schema as schema
    from eeg.export.document import write_json as write_json
    from eeg.export.edf import write_annotated_edf as write_annotated_edf
    from eeg.export.szcore import write_szcore as write_szcore

_HOME = {
    "ranked": "document",
    "result": "document",
    "schema": "document",
    "write_annotated_edf": "edf",
    "write_derivative": "bids",
    "write_events": "bids",
    "write_json": "document",
    "write_szcore": "szcore",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Import what is heavy only when something that needs it is asked for (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"eeg.export.{_HOME[name]}"), name)
    raise AttributeError(f"module 'eeg.export' has no attribute {name!r}")
