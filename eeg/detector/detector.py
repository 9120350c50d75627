"""The detector: a network with the preprocessing and the calibration that its use needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import mne
import numpy as np
import torch
from scipy.special import expit
from torch import nn

from eeg import large_arrays
from eeg.detector import novelty
from eeg.detector.calibration import UNCALIBRATED, Calibration, score_interval
from eeg.detector.conformal import ALPHA, Answer
from eeg.detector.novelty import Gate
from eeg.detector.prototypes import Prototypes
from eeg.detector.provenance import Provenance
from eeg.labels import LABEL_MODES, Labels, check_name
from eeg.models.local_readout import has_own_readout
from eeg.models.pooling import POOLINGS, pool_logits
from eeg.preprocessing.loading import Prepared, prepare
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from eeg.preprocessing.recording import Recording, open_recording
from eeg.preprocessing.windows import Windows
from trainers.errors import DataError

_LARGEST = 10_000_000  # values of a window


@dataclass(frozen=True)
class Decision:
    """The answer for one recording.

    ``window_onset`` (N,) in seconds and ``window_logit`` (N,) are the network's raw evidence;
    ``logit`` is the recording's calibrated logit at ``prevalence`` and ``score`` its sigmoid;
    ``answer`` is the group that the recording resembles, if any; ``interval`` holds the 95 % interval of the
    score over calibration subjects, None where the calibration stores none.
    """

    score: float
    prevalence: float
    logit: float
    window_onset: np.ndarray
    window_logit: np.ndarray
    window_length: float  # s
    answer: Answer
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """Everything of a detector but its arrays: the JSON header of its file.

    Parameters
    ----------
    model
        Name of the network in `eeg.models.registry`, or ``package.module:function``.
    preprocessing, window, quality
        What the network sees: filters and channels, seconds of a window, and the flaws that exclude one.
    labels, aggregation
        What it learned, and how window scores become the score of a recording.
    calibration
        From that score to a probability; see `eeg.detector.calibration.UNCALIBRATED`.
    training
        What it was trained on.
    gate
        The range of the training recordings, None if unknown.
    readout
        The rule whose own readout makes the scores (`eeg.models.local_readout.OwnReadout`), None for most.
    """

    model: str
    preprocessing: Preprocessing
    window: float
    labels: Labels
    aggregation: str
    calibration: Calibration
    training: Provenance = field(default_factory=Provenance)
    gate: Gate | None = None
    quality: Policy = "exclude"
    readout: str | None = None

    def __post_init__(self) -> None:
        check_name("labels", self.labels, LABEL_MODES)
        check_name("aggregation", self.aggregation, POOLINGS)
        channels, times = self.shape
        if times < 1 or channels * times > _LARGEST:
            raise ValueError(f"window: expected a length of 1 to {_LARGEST // channels} samples")
        if self.gate is not None and set(self.gate.centre) != set(novelty.STATISTICS):
            raise ValueError(f"gate: expected the statistics {', '.join(novelty.STATISTICS)}")
        if self.readout is not None and not has_own_readout(self.readout):
            raise ValueError(
                f"readout: {self.readout!r} has no readout of its own; expected such a rule or None"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples of a window."""
        samples = self.window * self.preprocessing.sfreq
        return len(self.preprocessing.inputs), round(samples) if math.isfinite(samples) else 0


@dataclass(frozen=True, kw_only=True)
class Detector(DetectorSettings):
    """A trained network with everything that its use on a new recording needs.

    Parameters
    ----------
    network
        Windows (N, C, T) -> one logit per window (N, 1) or one score per class (N, 2).
    prototypes
        Training windows to compare segments with, None if the training kept none.
    """

    network: nn.Module
    prototypes: Prototypes | None = None

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        *,
        preprocessing: Preprocessing,
        window: float,
        name: str | None = None,
        labels: Labels = "recording",
        aggregation: str = "mean",
        calibration: Calibration = UNCALIBRATED,
    ) -> Detector:
        """Make a detector of a network that was trained elsewhere.

        Without a calibration its scores are sigmoids of the raw logits, and no recording is assigned to a
        group.

        Parameters
        ----------
        network
            Windows (N, C, T) float32 -> logits (N, 1) or scores per class (N, 2); put into evaluation mode.
        preprocessing
            The channels, rate, filters and unit that the network was trained with.
        window
            Length of a window in seconds.
        name
            The name in reports; ``package.module:function`` if the detector is to be saved and loaded.
        labels
            What the network learned; see `eeg.labels.LABEL_MODES`.
        aggregation
            How window scores become the score of a recording; see `eeg.models.pooling.POOLINGS`.
        calibration
            `eeg.detector.calibration.fit_calibration` of scores of subjects outside the training data.

        Raises
        ------
        TypeError
            If ``network`` is not a module.
        ValueError
            If a setting is invalid, or the network does not return one or two finite scores per window.

        Examples
        --------
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 128, 1))
        >>> settings = Preprocessing(("Cz", "O2"), sfreq=128.0)
        >>> Detector.from_network(network, preprocessing=settings, window=1.0).is_calibrated
        False
        """
        if not isinstance(network, nn.Module):
            raise TypeError(f"network is a {type(network).__name__}; expected a torch.nn.Module")
        if not 1 / preprocessing.sfreq <= window < math.inf:
            raise ValueError(f"window is {window} s; expected a positive length of at least one sample")
        detector = cls(
            network=network if isinstance(network, nn.Sequential) else nn.Sequential(network),
            model=name or type(network).__name__,
            preprocessing=preprocessing,
            window=window,
            labels=labels,
            aggregation=aggregation,
            calibration=calibration,
        )
        with torch.no_grad():
            scores = network.eval()(torch.zeros(2, *detector.shape))
        if tuple(scores.shape) not in ((2, 1), (2, 2)) or not scores.isfinite().all():
            raise ValueError(
                f"the network maps windows {(2, *detector.shape)} to {tuple(scores.shape)}; "
                "expected finite logits (2, 1) or scores per class (2, 2)"
            )
        return detector

    @property
    def is_calibrated(self) -> bool:
        """Whether scores are calibrated probabilities."""
        return self.calibration.n > 0

    def open(self, source: str | Path | mne.io.BaseRaw) -> Recording:
        """Open a recording, with the electrodes that its reference needs."""
        return open_recording(source, ears=self.preprocessing.reference == "mastoids")

    def prepare(self, recording: Recording) -> Prepared:
        """Return a recording as it is cleaned, and the windows of it that the network scores."""
        return prepare(recording, self.preprocessing, self.window, policy=self.quality)

    def logits(self, windows: np.ndarray, batch: int = 64) -> np.ndarray:
        """Return the network's logit of each window (N, C, T) -> (N,), ``batch`` windows at once."""
        return network_logits(self.network, windows, batch)

    def score(self, window_logits: np.ndarray) -> np.ndarray:
        """Return the raw logit of a recording from those of its windows (..., N) -> (...)."""
        return pool_logits(self.aggregation, window_logits)

    def probability(self, window_logits: np.ndarray, prevalence: float | None = None) -> np.ndarray:
        """Return the calibrated probability from the windows' logits (..., N) -> (...)."""
        return np.asarray(expit(self.calibration.logit(self.score(window_logits), prevalence)))

    def decide(
        self,
        windows: Windows,
        logits: np.ndarray,
        prevalence: float | None = None,
        alpha: float = ALPHA,
    ) -> Decision:
        """Return the decision for one recording.

        Parameters
        ----------
        windows
            The recording's windows.
        logits
            (N,) the network's logits of these windows.
        prevalence
            The prevalence that the score assumes; that of the training subjects by default.
        alpha
            At most this fraction of each group is assigned to the other group.
        """
        score = float(self.score(logits))
        calibrated = float(self.calibration.logit(score, prevalence))
        stated = self.calibration.prevalence if prevalence is None else prevalence
        return Decision(
            score=float(expit(calibrated)),
            prevalence=stated,
            logit=calibrated,
            window_onset=windows.onset,
            window_logit=logits,
            window_length=self.window,
            answer=self._answer(windows.data, score, stated, alpha),
            interval=score_interval(self.calibration, score, stated)
            if self.calibration.conformal.n
            else None,
        )

    def _answer(self, windows: np.ndarray, score: float, prevalence: float, alpha: float) -> Answer:
        conformal = self.calibration.conformal
        if not self.is_calibrated:
            return Answer(
                None, alpha, 0, why="the detector is not calibrated; its score is not a probability"
            )
        found = self.gate and self.gate.describe_novelty(
            novelty.statistics(windows, self.preprocessing.sfreq)
        )
        if found:
            return Answer(None, alpha, conformal.n, why=f"the recording is unlike the training data: {found}")
        return conformal.answer(score, prevalence, alpha)


def network_logits(network: nn.Module, windows: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return one logit a window, (N, C, T) -> (N,) float64, in eval mode.

    Two scores a window become the log odds of the second class.

    Raises
    ------
    DataError
        If the network returns anything but one or two finite scores per window.
    """
    network.eval()
    logits = np.empty(len(windows))  # filled in place: small results that stay would fragment the heap
    with torch.inference_mode():
        for part, some in zip(
            large_arrays.row_blocks(logits, batch), large_arrays.row_blocks(windows, batch), strict=True
        ):
            scores = network(torch.from_numpy(some))
            if scores.shape not in ((len(some), 1), (len(some), 2)) or not scores.isfinite().all():
                raise DataError(
                    f"the network returns scores of shape {tuple(scores.shape)} for {len(some)} windows, or "
                    "scores that are not finite; expected one or two finite scores per window"
                )
            part[:] = (scores[:, -1] - (scores[:, 0] if scores.shape[1] == 2 else 0)).numpy()
    return logits
