"""The simulated head: cortical sources, and their patterns at the electrodes.

Cortical sources project through a sphere model of brain, fluid, skull and scalp; other sources (eyes,
scalp muscle, electrodes) decrease with distance from their origin.

The electrodes and the equivalent dipoles of the sphere are constants, the values that `mne.make_sphere_model`
fits to the montage colin27_1020: the last digits of a fit depend on the processor.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

# mm from the centre of the sphere (x right, y front, z up)
ELECTRODES = {
    "Fp1": (-27.37, 90.17, -15.99),
    "Fp2": (26.63, 90.38, -16.03),
    "F7": (-72.71, 58.71, -20.07),
    "F3": (-52.07, 72.53, 34.11),
    "Fz": (-0.31, 76.86, 56.81),
    "F4": (52.25, 73.11, 32.55),
    "F8": (72.53, 58.84, -20.33),
    "T7": (-94.27, -1.04, -15.74),
    "C3": (-71.04, 8.10, 63.43),
    "Cz": (-0.45, 11.81, 94.85),
    "C4": (71.47, 8.37, 62.91),
    "T8": (94.21, -0.62, -16.12),
    "P7": (-75.01, -59.09, -4.19),
    "P3": (-53.06, -58.84, 53.46),
    "Pz": (-0.74, -57.38, 76.44),
    "P4": (53.13, -58.57, 53.69),
    "P8": (74.30, -59.97, -4.32),
    "O1": (-28.85, -90.69, 8.85),
    "O2": (27.10, -91.23, 8.86),
}
CHANNELS = tuple(ELECTRODES)
RADIUS = 0.09558  # m
# Shells of relative radius .90, .92, .97, 1 and conductivity .33, 1, .004, .33 S/m as three dipoles in a
# homogeneous sphere (Berg and Scherg 1994): their eccentricity relative to the source's, and their strength.
ECCENTRICITIES = (0.94507, 0.66800, -0.29158)
STRENGTHS = (0.41332, 2.07292, -0.03057)  # m/S


@dataclass(frozen=True)
class Head:
    """Electrodes, a shell of cortical sources and their leadfield.

    `electrodes` (19, 3) and `sources` (S, 3) are in metres from the centre of the sphere, `outward` (S, 3)
    are unit vectors, and `gain` (19, S, 3) is in V/(A m) against the average reference.
    """

    electrodes: np.ndarray
    sources: np.ndarray
    outward: np.ndarray
    gain: np.ndarray

    def at(self, name: str) -> np.ndarray:
        """Return the position (3,) of an electrode."""
        position: np.ndarray = self.electrodes[CHANNELS.index(name)]
        return position


@cache
def head() -> Head:
    """Solve the sphere model for the 10-20 electrodes and dipoles on a shell of cortex.

    The shell is at 85 % of the head's radius (the brain ends at 90 %) and extends to 0.3 radii below the
    centre; its 600 sources are about 10 mm apart, on a Fibonacci lattice.
    """
    electrodes = np.array(list(ELECTRODES.values()))
    electrodes *= RADIUS / np.linalg.norm(electrodes, axis=1, keepdims=True)
    outward = _lattice(600, lowest=-0.3)
    sources = 0.85 * RADIUS * outward
    gain = np.zeros((len(CHANNELS), len(sources), 3))
    for eccentricity, strength in zip(ECCENTRICITIES, STRENGTHS, strict=True):
        gain += strength * _homogeneous_gain(electrodes, eccentricity * sources)
    return Head(electrodes, sources, outward, gain - gain.mean(axis=0))


def _homogeneous_gain(electrodes: np.ndarray, dipoles: np.ndarray) -> np.ndarray:
    """Return the gain (E, D, 3) of dipoles (D, 3) in a sphere of conductivity 1, V/(A m) S/m.

    The closed form of Mosher, Leahy and Lewis 1999 (IEEE Trans. Biomed. Eng. 46), section II; positions are
    in metres from the centre.
    """
    electrodes, dipoles = electrodes[:, None], dipoles[None]
    between = electrodes - dipoles
    distance = np.linalg.norm(between, axis=2, keepdims=True)
    radius = np.linalg.norm(electrodes, axis=2, keepdims=True)
    inner = np.sum(electrodes * dipoles, axis=2, keepdims=True)
    square = np.sum(dipoles**2, axis=2, keepdims=True)
    f = distance * (radius * distance + radius**2 - inner)
    c1 = 2 * (inner - square) / distance**3 + 1 / distance - 1 / radius
    c2 = 2 / distance**3 + (distance + radius) / (radius * f)
    return ((c1 - c2 * inner) / square * dipoles + c2 * electrodes) / (4 * np.pi)


def _lattice(n: int, lowest: float) -> np.ndarray:
    """Spread n unit vectors (n, 3) evenly over the part of the sphere above z = `lowest`."""
    k = np.arange(n) + 0.5
    z = 1 - (1 - lowest) * k / n
    radius, angle = np.sqrt(1 - z**2), np.pi * (1 + np.sqrt(5)) * k
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


def patch(centre: np.ndarray, width: float, lean: np.ndarray) -> np.ndarray:
    """Return the pattern (19,) of a synchronous patch of cortex, with a peak of 1.

    Parameters
    ----------
    centre
        (3,) in metres.
    width
        Standard deviation of the patch in metres; the weights of its sources are Gaussian.
    lean
        (3,), shorter than 1: added to the inward dipoles to tilt them.  Inward dipoles are those of gyri,
        negative on the scalp above; those in the walls of sulci lean.
    """
    weight = np.exp(-0.5 * (distance(head().sources, centre) / width) ** 2)
    return pattern_of(np.einsum("csd,sd,s->c", head().gain, lean - head().outward, weight))


def pattern_of(potential: np.ndarray) -> np.ndarray:
    """Refer potentials (19,) to their average and scale the largest magnitude to 1."""
    referred: np.ndarray = potential - potential.mean()
    return referred / float(np.abs(referred).max())


def distance(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the distances (n,) of points (n, 3) from one point (3,)."""
    distance: np.ndarray = np.linalg.norm(points - point, axis=1)
    return distance


def random_lean(rng: np.random.Generator) -> np.ndarray:
    """Tilt a patch by up to about 50 degrees, in any direction (3,)."""
    direction = rng.normal(size=3)
    return direction * (0.75 * rng.uniform() / float(np.linalg.norm(direction)))


def patch_near(electrode: str, rng: np.random.Generator) -> np.ndarray:
    """Return the pattern (19,) of a small patch within 35 mm of an electrode."""
    near = np.flatnonzero(distance(head().sources, head().at(electrode)) < 0.035)
    return patch(head().sources[rng.choice(near)], 0.01, random_lean(rng))


def focal(rng: np.random.Generator) -> np.ndarray:
    """Return the pattern (19,) of a focus anywhere in the shell, of about 6 cm² of cortex."""
    return patch(head().sources[rng.integers(len(head().sources))], 0.01, random_lean(rng))


def generalised() -> np.ndarray:
    """Return the pattern (19,) of both hemispheres in synchrony, strongest over the frontal midline."""
    return patch(head().at("Fz"), 0.05, np.zeros(3))


def surface(origins: Iterable[np.ndarray], reach: float) -> np.ndarray:
    """Return the pattern (19,) of origins outside the skull that decreases over `reach` metres."""
    fading = [np.exp(-distance(head().electrodes, origin) / reach) for origin in origins]
    return pattern_of(np.sum(fading, axis=0))
