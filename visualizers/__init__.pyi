from .curves import (
    confusion as confusion,
    ranking as ranking,
    reliability as reliability,
    removal as removal,
    risk_coverage as risk_coverage,
    standing as standing,
)
from .tensorboard import TensorBoard as TensorBoard
from .topography import topographies as topographies
from .traces import Span as Span, eeg_page as eeg_page, strip as strip
from .weights import receptive_fields as receptive_fields
