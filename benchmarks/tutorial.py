"""A recording scored and explained as in the tutorials of MNE and Captum: tutorial.py RECORDING NETWORK."""

import sys
from pathlib import Path

import mne
import torch
from captum.attr import Occlusion
from torch import nn


def explain(recording: Path, network: nn.Module) -> torch.Tensor:
    """Return the evidence over time of each window of 2 s, (N, 19, 256).

    What is removed, and where, is what `eeg detect` removes by default.
    """
    raw = mne.io.read_raw_edf(recording, preload=True, verbose="error")
    raw.set_eeg_reference("average", verbose="error")
    raw.filter(0.5, 45, h_trans_bandwidth=5, verbose="error").resample(128, method="fft", verbose="error")
    epochs = mne.make_fixed_length_epochs(raw, 2.0, preload=True, verbose="error")
    windows = torch.from_numpy(1e5 * epochs.get_data(copy=False)).float()
    occlusion = Occlusion(network)
    found = []
    with torch.no_grad():
        for some in windows.split(64):
            network(some)
            shape = {"sliding_window_shapes": (19, 32), "strides": (19, 8)}
            found.append(occlusion.attribute(some, target=0, **shape))
    return torch.cat(found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    explain(Path(sys.argv[1]), torch.load(sys.argv[2], weights_only=False))
