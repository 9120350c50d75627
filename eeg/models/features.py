"""What a network must beat: classifiers of spectral features, each fitted in seconds.

A feature model judges a recording as a whole.  It is fitted on recordings, each the windows (N, C, T) that a
network would see, and their labels; it has nothing to choose, so that plain cross-validation is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Self

import numpy as np
from pyriemann.tangentspace import TangentSpace
from scipy.special import logit
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

Band = tuple[float, float]
"""Lowest frequency, Hz, and the one below which it ends."""

BUETTNER: tuple[Band, ...] = ((1.5, 2.0), (10.5, 11.0), (11.0, 11.5), (11.5, 12.0))
"""Buettner et al. 2019, as Uyttenhove et al. 2020 used them."""

RHYTHMS: tuple[Band, ...] = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))
"""Delta, theta, alpha, beta, gamma."""

WHOLE: Band = (1, 45)

_QUIETEST = 0.8  # share of the windows: the rest of a recording at rest is movement
_SHRINKAGE = 0.01  # an average reference leaves one direction without power
_CERTAIN = 1e-3  # a mean probability of 0 has no logit
_COMPONENTS = 300  # of the kernel, by Rahimi & Recht 2007: an exact one takes the square of the windows


def band_covariances(x: np.ndarray, sfreq: float, band: Band) -> np.ndarray:
    """Return the covariance of the channels within ``band``, from the Fourier transform under a Hann window.

    Parameters
    ----------
    x
        Windows (N, C, T).
    sfreq
        Hz.
    band
        Its end is left out.

    Returns
    -------
    (N, C, C), the real part of the cross-spectrum, averaged over the band's frequencies.

    Raises
    ------
    ValueError
        If the windows are too short for a frequency to fall into the band.
    """
    times = x.shape[-1]
    frequency = np.fft.rfftfreq(times, 1 / sfreq)
    inside = (frequency >= band[0]) & (frequency < band[1])
    if not inside.any():
        raise ValueError(
            f"windows of {times / sfreq:g} s tell no frequency from {band[0]:g} to {band[1]:g} Hz; take "
            f"windows of {1 / (band[1] - band[0]):g} s or more"
        )
    spectrum = np.fft.rfft(x * np.hanning(times + 1)[:-1])[..., inside]
    return np.asarray((spectrum @ spectrum.conj().swapaxes(-1, -2)).real / inside.sum())


def band_power(x: np.ndarray, sfreq: float, bands: Sequence[Band]) -> np.ndarray:
    """Return the logarithm of each channel's power in each band, (N, C, T) -> (N, bands * C)."""
    powers = [np.diagonal(band_covariances(x, sfreq, band), axis1=-2, axis2=-1) for band in bands]
    return np.log(np.maximum(np.concatenate(powers, -1), np.finfo(np.float32).tiny))


def steady_covariances(x: np.ndarray, sfreq: float, bands: Sequence[Band]) -> np.ndarray:
    """Return a recording's covariance in each band, (N, C, T) -> (1, bands, C, C).

    The mean over the quieter windows of that band, a little towards a multiple of the identity so that
    none is singular.
    """
    found = []
    for band in bands:
        each = band_covariances(x, sfreq, band)
        power = np.trace(each, axis1=-2, axis2=-1)
        mean = each[power <= np.quantile(power, _QUIETEST)].mean(0)
        found.append(mean + _SHRINKAGE * np.trace(mean) / len(mean) * np.eye(len(mean)))
    return np.stack(found)[None]


@dataclass(frozen=True)
class FeatureModel:
    """A recording's windows (N, C, T) -> its score, higher for epilepsy, 0 where both are as likely.

    Parameters
    ----------
    features
        Windows (N, C, T) -> rows (M, ...), one for each window or one for all.
    classifier
        Of the rows; the score is the mean of its decisions, or the log odds of its mean probability.
    """

    features: Callable[[np.ndarray], np.ndarray]
    classifier: Pipeline

    def __call__(self, windows: np.ndarray) -> float:
        """Return the score of a recording."""
        rows = self.features(windows)
        if hasattr(self.classifier, "decision_function"):
            return float(self.classifier.decision_function(rows).mean())
        share = self.classifier.predict_proba(rows)[:, 1].mean()
        return float(logit(np.clip(share, _CERTAIN, 1 - _CERTAIN)))

    def fit(self, recordings: Sequence[np.ndarray], labels: np.ndarray) -> Self:
        """Fit the classifier; all recordings weigh the same in their class, and both classes the same."""
        rows = [self.features(windows) for windows in recordings]
        lengths = [len(row) for row in rows]
        weight = np.repeat(1 / np.array(lengths), lengths) * np.mean(lengths)
        last = self.classifier.steps[-1][0]
        self.classifier.fit(
            np.concatenate(rows), np.repeat(labels, lengths), **{f"{last}__sample_weight": weight}
        )
        return self


def forest(sfreq: float, seed: int) -> FeatureModel:
    """Return the random forest of Buettner et al. 2019 on the power of four narrow bands."""
    trees = RandomForestClassifier(300, min_samples_leaf=5, class_weight="balanced", random_state=seed)
    return FeatureModel(partial(band_power, sfreq=sfreq, bands=BUETTNER), make_pipeline(trees))


def machine(sfreq: float, seed: int) -> FeatureModel:
    """Return a support vector machine on the same bands, its Gaussian kernel by random features."""
    return FeatureModel(
        partial(band_power, sfreq=sfreq, bands=BUETTNER),
        make_pipeline(
            StandardScaler(),
            RBFSampler(gamma="scale", n_components=_COMPONENTS, random_state=seed),
            LinearSVC(class_weight="balanced", random_state=seed),
        ),
    )


def tangent(sfreq: float, seed: int, bands: tuple[Band, ...]) -> FeatureModel:
    """Return a logistic regression in the tangent space of each band's covariances.

    The space touches at the log-Euclidean mean of the training recordings (Barachant et al. 2013); nothing
    is drawn.
    """
    spaces = [
        (str(i), make_pipeline(FunctionTransformer(itemgetter((slice(None), i))), TangentSpace("logeuclid")))
        for i in range(len(bands))
    ]
    return FeatureModel(
        partial(steady_covariances, sfreq=sfreq, bands=bands),
        make_pipeline(
            FeatureUnion(spaces),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=10_000),
        ),
    )


FEATURES: Mapping[str, Callable[[float, int], FeatureModel]] = {
    "svm": machine,
    "rf": forest,
    "tangent": partial(tangent, bands=(WHOLE,)),
    "tangent-bands": partial(tangent, bands=RHYTHMS),
}
"""Names on the command line -> makes a model that is not yet fitted, from the sampling rate and a seed."""
