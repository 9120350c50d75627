"""One loop for every learning rule."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.callbacks import Clip as Clip
    from trainers.callbacks import Progress as Progress
    from trainers.callbacks import Schedule as Schedule
    from trainers.callbacks import max_normalise as max_normalise
    from trainers.callbacks import unit_norm as unit_norm
    from trainers.catalogue import load_data as load_data
    from trainers.checkpoint import Checkpoint as Checkpoint
    from trainers.compare import Comparison as Comparison
    from trainers.data import Batches as Batches
    from trainers.data import Split as Split
    from trainers.data import from_datasets as from_datasets
    from trainers.errors import DataError as DataError
    from trainers.features import Cache as Cache
    from trainers.images import load_images as load_images
    from trainers.models import mlp as mlp
    from trainers.phases import train as train
    from trainers.recipes import Phase as Phase
    from trainers.recipes import Recipe as Recipe
    from trainers.recipes import recommended as recommended
    from trainers.trainer import Trainer as Trainer
    from trainers.trainer import accuracy as accuracy
    from trainers.trainer import predict as predict

_HOME = {
    "Batches": "data",
    "Cache": "features",
    "Checkpoint": "checkpoint",
    "Clip": "callbacks",
    "Comparison": "compare",
    "DataError": "errors",
    "Phase": "recipes",
    "Progress": "callbacks",
    "Recipe": "recipes",
    "Schedule": "callbacks",
    "Split": "data",
    "Trainer": "trainer",
    "accuracy": "trainer",
    "from_datasets": "data",
    "load_data": "catalogue",
    "load_images": "images",
    "max_normalise": "callbacks",
    "mlp": "models",
    "predict": "trainer",
    "recommended": "recipes",
    "train": "phases",
    "unit_norm": "callbacks",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Import what is heavy only when something that needs it is asked for (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"trainers.{_HOME[name]}"), name)
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")
