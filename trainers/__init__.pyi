from .cached_features import Cache as Cache
from .callbacks import (
    Clip as Clip,
    Progress as Progress,
    Schedule as Schedule,
    max_normalise as max_normalise,
    unit_norm as unit_norm,
)
from .checkpoint import Checkpoint as Checkpoint
from .comparison.compare import Comparison as Comparison, compare_rules as compare_rules
from .data import load_data as load_data
from .data.batches import (
    Batches as Batches,
    Split as Split,
    TrainingData as TrainingData,
    from_datasets as from_datasets,
)
from .data.images import load_images as load_images
from .errors import DataError as DataError
from .networks import mlp as mlp
from .phases import RunOptions as RunOptions, train_rule as train_rule
from .prediction import accuracy as accuracy, predict as predict
from .recipes import Phase as Phase, Recipe as Recipe, recommended as recommended
from .trainer import Trainer as Trainer
