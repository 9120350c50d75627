"""Bootstrap intervals and Monte Carlo tests over subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_TOLERANCE = 1e-9  # of a statistic, below which two values are equal


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    subjects: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> np.ndarray:
    """Return 95 % intervals by the percentile bootstrap over subjects.

    Parameters
    ----------
    statistic
        How often each row was drawn (n,) -> values (k,); NaN where undefined, which is left out.
    subjects
        (n,), of each row; all rows of a subject are drawn together.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    (2, k), the lower and the upper ends.

    Examples
    --------
    >>> heights = np.array([1.6, 1.7, 1.8, 1.9])
    >>> mean = lambda weights: np.array([np.average(heights, weights=weights)])
    >>> bootstrap_interval(mean, np.arange(4)).round(2).ravel().tolist()
    [1.65, 1.85]
    """
    names, which = np.unique(subjects, return_inverse=True)
    n, rng = len(names), np.random.default_rng(seed)
    values = [statistic(np.bincount(rng.integers(0, n, n), minlength=n)[which]) for _ in range(resamples)]
    return np.nanquantile(values, [0.025, 0.975], axis=0)


def monte_carlo_p(
    statistic: Callable[[np.ndarray], float],
    observed: np.ndarray,
    draw: Callable[[], np.ndarray],
    draws: int,
) -> float:
    """Return a one-sided p-value, at least 1 / (draws + 1) (Phipson & Smyth 2010).

    Parameters
    ----------
    statistic
        Of data; large values speak against the null hypothesis.
    observed
        The data.
    draw
        Returns data under the null hypothesis.
    draws
        How many.
    """
    threshold = statistic(observed) - _TOLERANCE
    exceeding = sum(statistic(draw()) >= threshold for _ in range(draws))
    return float((exceeding + 1) / (draws + 1))


def permute_within(values: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ``values`` (n,) permuted within each of ``groups`` (n,)."""
    permuted = values.copy()
    for group in np.unique(groups):
        rows = groups == group
        permuted[rows] = rng.permutation(values[rows])
    return permuted
