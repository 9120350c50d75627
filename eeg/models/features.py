"""Baselines for networks: classifiers of spectral features, each fitted in seconds.

A feature model scores whole recordings.  It is fitted on recordings, each given by the windows (N, C, T) that
a network would see, and their labels.  It has no hyperparameters to select, so that plain cross-validation is
unbiased.  scikit-learn, which takes half a second to import, is loaded when a model is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import logit

from eeg.models.registry import Registry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Band = tuple[float, float]
"""Lowest frequency (inclusive) and highest frequency (exclusive), Hz."""

BUETTNER: tuple[Band, ...] = ((1.5, 2.0), (10.5, 11.0), (11.0, 11.5), (11.5, 12.0))
"""Buettner et al. 2019, as Uyttenhove et al. 2020 used them."""

RHYTHMS: tuple[Band, ...] = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))
"""Delta, theta, alpha, beta, gamma."""

WHOLE: Band = (1, 45)

_QUIETEST = 0.8  # fraction of the windows; the others may hold movement
_SHRINKAGE = 0.01  # with an average reference one direction has no power
_MIN_PROBABILITY = 1e-3  # the logit of 0 is infinite
_KERNEL_FEATURES = 300  # Rahimi & Recht 2007; an exact kernel is quadratic in the number of windows


def band_covariances(x: np.ndarray, sfreq: float, band: Band) -> np.ndarray:
    """Return the covariance of the channels within ``band``, from the Fourier transform under a Hann window.

    Parameters
    ----------
    x
        Windows (N, C, T).
    sfreq
        Hz.
    band
        Hz; its end is excluded.

    Returns
    -------
    (N, C, C), the real part of the cross-spectrum, averaged over the band's frequencies.

    Raises
    ------
    ValueError
        If no frequency of windows of this length is in the band.
    """
    times = x.shape[-1]
    frequency = np.fft.rfftfreq(times, 1 / sfreq)
    inside = (frequency >= band[0]) & (frequency < band[1])
    if not inside.any():
        raise ValueError(
            f"windows of {times / sfreq:g} s resolve no frequency from {band[0]:g} to {band[1]:g} Hz; use "
            f"windows of {1 / (band[1] - band[0]):g} s or more"
        )
    spectrum = np.fft.rfft(x * np.hanning(times + 1)[:-1])[..., inside]
    return np.asarray((spectrum @ spectrum.conj().swapaxes(-1, -2)).real / inside.sum())


def band_power(x: np.ndarray, sfreq: float, bands: Sequence[Band]) -> np.ndarray:
    """Return the logarithm of each channel's power in each band, (N, C, T) -> (N, bands * C)."""
    powers = [np.diagonal(band_covariances(x, sfreq, band), axis1=-2, axis2=-1) for band in bands]
    return np.log(np.maximum(np.concatenate(powers, -1), np.finfo(np.float32).tiny))


def covariances_at_rest(x: np.ndarray, sfreq: float, bands: Sequence[Band]) -> np.ndarray:
    """Return a recording's covariance in each band, (N, C, T) -> (1, bands, C, C).

    The mean over the 80 % of the windows with the least power in that band, shrunk towards a multiple of the
    identity so that it is not singular.
    """
    covariances = []
    for band in bands:
        each = band_covariances(x, sfreq, band)
        power = np.trace(each, axis1=-2, axis2=-1)
        mean = each[power <= np.quantile(power, _QUIETEST)].mean(0)
        covariances.append(mean + _SHRINKAGE * np.trace(mean) / len(mean) * np.eye(len(mean)))
    return np.stack(covariances)[None]


@dataclass(frozen=True)
class FeatureModel:
    """Windows (N, C, T) of a recording -> its score: higher for epilepsy, 0 where both classes are as likely.

    Parameters
    ----------
    features
        Windows (N, C, T) -> rows (M, ...), one per window or one for all.
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
        probability = self.classifier.predict_proba(rows)[:, 1].mean()
        return float(logit(np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)))

    def fit(self, recordings: Sequence[np.ndarray], labels: np.ndarray) -> Self:
        """Fit the classifier; recordings have equal weights within a class, and so have the classes."""
        rows = [self.features(windows) for windows in recordings]
        lengths = [len(row) for row in rows]
        weight = np.repeat(1 / np.array(lengths), lengths) * np.mean(lengths)
        last = self.classifier.steps[-1][0]
        self.classifier.fit(
            np.concatenate(rows), np.repeat(labels, lengths), **{f"{last}__sample_weight": weight}
        )
        return self


FEATURES: Registry[Callable[[float, int], FeatureModel]] = Registry()
"""Names on the command line -> builds a model that is not fitted, from the sampling rate and a seed."""

register_features = FEATURES.register


@register_features("rf")
def random_forest(sfreq: float, seed: int) -> FeatureModel:
    """Return the random forest of Buettner et al. 2019 on the power of four narrow bands."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    trees = RandomForestClassifier(300, min_samples_leaf=5, class_weight="balanced", random_state=seed)
    return FeatureModel(partial(band_power, sfreq=sfreq, bands=BUETTNER), make_pipeline(trees))


@register_features("svm")
def support_vector_machine(sfreq: float, seed: int) -> FeatureModel:
    """Return a support vector machine on the same bands, its Gaussian kernel by random features."""
    from sklearn.kernel_approximation import RBFSampler
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    return FeatureModel(
        partial(band_power, sfreq=sfreq, bands=BUETTNER),
        make_pipeline(
            StandardScaler(),
            RBFSampler(gamma="scale", n_components=_KERNEL_FEATURES, random_state=seed),
            LinearSVC(class_weight="balanced", random_state=seed),
        ),
    )


def tangent_space(sfreq: float, seed: int, bands: tuple[Band, ...]) -> FeatureModel:
    """Return a logistic regression in the tangent space of each band's covariances.

    The reference point is the log-Euclidean mean of the training recordings (Barachant et al. 2013).

    Parameters
    ----------
    sfreq
        Hz.
    seed
        Not used: the fit is deterministic.
    bands
        A tangent space each.
    """
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    spaces = [
        (str(i), make_pipeline(FunctionTransformer(itemgetter((slice(None), i))), TangentSpace("logeuclid")))
        for i in range(len(bands))
    ]
    return FeatureModel(
        partial(covariances_at_rest, sfreq=sfreq, bands=bands),
        make_pipeline(
            FeatureUnion(spaces),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=10_000),
        ),
    )


register_features("tangent")(partial(tangent_space, bands=(WHOLE,)))
register_features("tangent-bands")(partial(tangent_space, bands=RHYTHMS))
