"""Event files of TensorBoard, with all that is logged at a step in one record, which takes the least time."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_BINS = 30  # of a histogram, as many as TensorBoard shows


def open_writer(folder: Path) -> SummaryWriter:
    """Open a run of TensorBoard, whose files do not have the name of the machine in theirs."""
    from torch.utils.tensorboard import SummaryWriter  # takes seconds

    with patch("socket.gethostname", return_value="local"):
        return SummaryWriter(str(folder))


class Record:
    """Values, histograms and images of one step; their tags begin with ``prefix``."""

    def __init__(self, prefix: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.prefix = prefix
        self._summary = Summary()

    def add_scalars(self, values: Mapping[str, float]) -> None:
        """Add values by tag."""
        for tag, value in values.items():
            self._summary.value.add(tag=self.prefix + tag, simple_value=value)

    def add_histogram(self, tag: str, values: Tensor) -> None:
        """Add a histogram of the finite ones of ``values`` (n,), if there are any."""
        values = values.cpu().double()
        if not values.sum().isfinite():
            values = values[values.isfinite()]
        if not len(values):
            return
        low, high = (end.item() for end in values.aminmax())
        # Of a part, so that the range times the bins, which histc computes, does not overflow.
        start, stop = low / 64, high / 64
        counts = (values / 64).histc(_BINS, start, stop) if start < stop else torch.tensor([len(values)])
        histogram = self._summary.value.add(tag=self.prefix + tag).histo
        histogram.min, histogram.max, histogram.num = low, high, len(values)
        histogram.sum, histogram.sum_squares = values.sum().item(), values.dot(values).item()
        histogram.bucket_limit.extend((64 * np.linspace(start, stop, len(counts) + 1)[1:]).tolist())
        histogram.bucket.extend(counts.tolist())

    def add_image(self, tag: str, image: Image.Image) -> None:
        """Add an image."""
        png = BytesIO()
        image.save(png, "PNG", compress_level=3)  # the fastest, together with the checksum of the record
        content = self._summary.value.add(tag=self.prefix + tag).image
        content.height, content.width, content.colorspace = image.height, image.width, 3
        content.encoded_image_string = png.getvalue()

    def write(self, writer: SummaryWriter, step: int) -> None:
        """Write the record."""
        writer._get_file_writer().add_summary(self._summary, step)
