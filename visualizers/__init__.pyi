from .confusion_matrix import confusion as confusion
from .curves import (
    plot_risk_coverage as plot_risk_coverage,
    ranking as ranking,
    reliability as reliability,
)
from .decision import plot_removal as plot_removal, score_distribution as score_distribution
from .drawing import Drawing as Drawing
from .tensorboard import TensorBoard as TensorBoard
from .topography import topographies as topographies
from .traces import MarkedSpan as MarkedSpan, eeg_page as eeg_page, overview as overview
from .weights import receptive_fields as receptive_fields
