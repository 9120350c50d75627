"""The simulated head: cortical sources, and their patterns at the electrodes.

Cortical sources project through MNE's sphere model of brain, fluid, skull and scalp; other sources (eyes,
scalp muscle, electrodes) decrease with distance from their origin.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import mne
import numpy as np

# fmt: off
CHANNELS = (
    "Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz",
    "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2",
)
# fmt: on


@dataclass(frozen=True)
class Head:
    """Electrodes, a shell of cortical sources and their leadfield.

    `electrodes` (19, 3) and `sources` (S, 3) are in metres in head coordinates (x right, y front, z up),
    `outward` (S, 3) are unit vectors, and `gain` (19, S, 3) is in V/(A m) against the average reference.
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
    """Solve MNE's sphere model for the 10-20 electrodes and dipoles on a shell of cortex.

    The shell is at 85 % of the head's radius (the brain ends at 90 %) and extends to 0.3 radii below the
    centre; its 600 sources are about 10 mm apart, on a Fibonacci lattice.
    """
    info = mne.create_info(list(CHANNELS), 1.0, "eeg")
    info.set_montage("colin27_1020")
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="error")
    electrodes = sphere["r0"] + sphere.radius * _directions(info, sphere["r0"])
    for channel, electrode in zip(info["chs"], electrodes, strict=True):
        channel["loc"][:3] = electrode  # MNE's series assumes electrodes on the sphere
    outward = _lattice(600, lowest=-0.3)
    sources = sphere["r0"] + 0.85 * sphere.radius * outward
    space = mne.setup_volume_source_space(pos={"rr": sources, "nn": outward}, verbose="error")
    forward = mne.make_forward_solution(info, trans=None, src=space, bem=sphere, meg=False, verbose="error")
    gain = forward["sol"]["data"].reshape(len(CHANNELS), len(sources), 3)
    return Head(electrodes, sources, outward, gain - gain.mean(axis=0))


def _directions(info: mne.Info, centre: np.ndarray) -> np.ndarray:
    """Return the unit vectors (19, 3) from the centre of the head to the electrodes."""
    outward = np.array([channel["loc"][:3] for channel in info["chs"]]) - centre
    return outward / np.linalg.norm(outward, axis=1, keepdims=True)


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
        (3,) in metres, in head coordinates.
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
