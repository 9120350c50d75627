"""A simulated cohort: scalp EEG through a forward model, with every discharge known.

Each signal is a time course times the pattern of its source on the 19 electrodes of the 10-20 system (see
`eeg.simulation.head_model`).  The reference is the average of the electrodes.

A subject's background, the transients common to all subjects and the discharges come from three independent
random streams, and only the last depends on the label: the same subject with and without epilepsy differs
only by the discharges.  The numbers below are fixed by the design of the benchmark; do not tune them to a
detector.  Research use only.

A cohort's files are identical on every processor: signals are computed in float64 without BLAS and LAPACK, so
that two processors differ by about 1e-14 of a signal, and the files round them to a far coarser step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import scipy.fft

from eeg.simulation.head_model import (
    CHANNELS,
    distance,
    focal,
    generalised,
    head,
    patch_near,
    pattern_of,
    surface,
)

# Events per minute, drawn log-uniformly for each subject.
DISCHARGE_RATE = (1.0, 15.0)
INNOCENT_RATE = (0.5, 6.0)
BLINK_RATE = (2.0, 12.0)
MUSCLE_RATE = (0.3, 3.0)
POP_RATE = (0.1, 1.0)

# Peaks at the best electrode in units of the background's rms, drawn uniformly for each event.
DISCHARGE_AMPLITUDE = (3.0, 8.0)
INNOCENT_AMPLITUDE = (2.0, 6.0)
BLINK_AMPLITUDE = (4.0, 12.0)
MUSCLE_AMPLITUDE = (3.0, 10.0)
POP_AMPLITUDE = (4.0, 15.0)

MIN_SECONDS = 10.0  # s; in less, the events of the densest subjects do not fit
MIN_SIMULATED_SFREQ = 128.0  # Hz; below, the 50 Hz line and the shortest spikes are badly sampled
LINE = 50.0  # Hz


@dataclass(frozen=True)
class Event:
    """An event of a simulated recording.

    Attributes
    ----------
    onset, duration
        Of its time course, s.
    kind
        ``"discharge"``; ``"wicket"``, ``"small_sharp_spike"`` or ``"vertex_wave"``, which are benign
        variants; or ``"blink"``, ``"muscle"`` or ``"electrode_pop"``, which are artefacts.
    channels
        Electrodes with a peak of at least half of the largest, strongest first.
    amplitude
        Peak at the best electrode, relative to the rms of the subject's background.
    """

    onset: float
    duration: float
    kind: str
    channels: tuple[str, ...]
    amplitude: float


@dataclass(frozen=True)
class Simulated:
    """One simulated subject.

    Attributes
    ----------
    subject
        Three digits, counted from 001.
    label
        1 epilepsy, 0 control.
    data
        (19, T) float32 in volts, referenced to the average of the electrodes.
    sfreq
        Hz.
    channels
        The 19 electrodes, in the order of `data`.
    events
        All events, sorted by onset.
    """

    subject: str
    label: int
    data: np.ndarray
    sfreq: float
    channels: tuple[str, ...]
    events: tuple[Event, ...]


# ---------------------------------------------------------------------------------------------------------
# Time courses, each (n,) with a peak of 1


def _length(rng: np.random.Generator, shortest: float, longest: float, sfreq: float) -> int:
    """Draw a number of samples between `shortest` and `longest` seconds."""
    return int(rng.integers(np.ceil(shortest * sfreq), np.floor(longest * sfreq), endpoint=True))


def _peak_one(wave: np.ndarray) -> np.ndarray:
    """Scale a time course to an absolute peak of 1."""
    return wave / float(np.abs(wave).max())


def _hump(n: int, summit: float = 0.5) -> np.ndarray:
    """Rise to 1 and fall again over n samples, with the peak at the fraction `summit`."""
    phase = ((np.arange(n) + 0.5) / n) ** (np.log(0.5) / np.log(summit))
    return _peak_one(np.sin(np.pi * phase) ** 2)


def _spike_and_wave(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a spike or sharp wave of 60-200 ms, every other one with a slow wave of 200-400 ms.

    The spike rises faster than it falls; the slow wave has the opposite polarity.
    """
    spike = _hump(_length(rng, 0.06, 0.2, sfreq), rng.uniform(0.3, 0.5))
    slow = rng.uniform(0.3, 0.8) * _hump(_length(rng, 0.2, 0.4, sfreq))
    return np.concatenate([spike, -slow]) if rng.uniform() < 0.5 else spike


def _wicket(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw one to six arcs at 6-11 Hz, sharp on top and round below."""
    arcs = int(rng.integers(1, 6, endpoint=True))
    phase = np.linspace(0, 1, round(arcs * sfreq / rng.uniform(6, 11)))
    wave = (1 - np.abs(np.cos(np.pi * arcs * phase))) * np.sqrt(np.abs(np.sin(np.pi * phase)))
    return _peak_one(wave)


def _small_sharp_spike(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a spike of 40-70 ms without a slow wave."""
    return _hump(_length(rng, 0.04, 0.07, sfreq), rng.uniform(0.3, 0.5))


def _vertex_wave(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a sharp wave of 80-200 ms and a lower, opposite one of 100-250 ms."""
    sharp = _hump(_length(rng, 0.08, 0.2, sfreq), rng.uniform(0.4, 0.5))
    return np.concatenate([sharp, -rng.uniform(0.2, 0.5) * _hump(_length(rng, 0.1, 0.25, sfreq))])


def _blink(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a blink of 200-400 ms."""
    return _hump(_length(rng, 0.2, 0.4, sfreq), rng.uniform(0.35, 0.5))


def _muscle(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a burst of 20-100 Hz that rises and falls within 0.3-2 s."""
    n = _length(rng, 0.3, 2.0, sfreq)
    spectrum = scipy.fft.rfft(rng.normal(size=n))
    frequency = scipy.fft.rfftfreq(n, 1 / sfreq)
    burst = scipy.fft.irfft(spectrum * ((frequency >= 20) & (frequency <= 100)), n)
    return _peak_one(burst * _hump(n))


def _pop(rng: np.random.Generator, sfreq: float) -> np.ndarray:
    """Draw a jump that decays with a time constant of 50-200 ms."""
    decay = rng.uniform(0.05, 0.2)
    return np.exp(-np.arange(round(5 * decay * sfreq)) / (decay * sfreq))


# ---------------------------------------------------------------------------------------------------------
# Transients: events with a pattern, a time course and an amplitude


@dataclass(frozen=True)
class _Shape:
    kind: str
    pattern: np.ndarray  # (19,), peak 1
    wave: np.ndarray  # (n,), peak 1


@dataclass(frozen=True)
class _Transient:
    shape: _Shape
    start: int  # sample
    amplitude: float  # in units of the background's rms

    def event(self, sfreq: float) -> Event:
        size = np.abs(self.shape.pattern)
        best = [index for index in np.argsort(-size, kind="stable") if size[index] >= 0.5]
        return Event(
            onset=self.start / sfreq,
            duration=len(self.shape.wave) / sfreq,
            kind=self.shape.kind,
            channels=tuple(CHANNELS[index] for index in best),
            amplitude=self.amplitude,
        )


_Draw: TypeAlias = Callable[[np.random.Generator, float], _Shape]


def _discharge_of_subject(rng: np.random.Generator) -> _Draw:
    """Draw a subject's focus, or one time in four generalised discharges; return how to draw its shapes."""
    pattern = generalised() if rng.uniform() < 0.25 else focal(rng)
    return lambda rng, sfreq: _Shape("discharge", pattern, _spike_and_wave(rng, sfreq))


def _draw_innocent(rng: np.random.Generator, sfreq: float) -> _Shape:
    kind, wave, places = (
        ("wicket", _wicket, ("T7", "T8")),
        ("small_sharp_spike", _small_sharp_spike, ("F7", "F8", "T7", "T8")),
        ("vertex_wave", _vertex_wave, ("Cz",)),
    )[rng.integers(3)]
    return _Shape(kind, patch_near(str(rng.choice(places)), rng), wave(rng, sfreq))


def _draw_blink(rng: np.random.Generator, sfreq: float) -> _Shape:
    below = np.array([0, 0.01, -0.03])  # from the frontal poles to the eyes
    eyes = [head().at(name) + below for name in ("Fp1", "Fp2")]
    return _Shape("blink", surface(eyes, 0.03), _blink(rng, sfreq))


def _draw_muscle(rng: np.random.Generator, sfreq: float) -> _Shape:
    place = str(rng.choice(("Fp1", "Fp2", "F7", "F8", "T7", "T8", "P7", "P8", "O1", "O2")))
    return _Shape("muscle", surface([head().at(place)], 0.03), _muscle(rng, sfreq))


def _draw_pop(rng: np.random.Generator, sfreq: float) -> _Shape:
    one = np.zeros(len(CHANNELS))
    one[rng.integers(len(CHANNELS))] = rng.choice((-1, 1))
    return _Shape("electrode_pop", pattern_of(one), _pop(rng, sfreq))


def _draw_transients(
    rng: np.random.Generator,
    draw: _Draw,
    rate: tuple[float, float],
    amplitude: tuple[float, float],
    n_times: int,
    sfreq: float,
) -> list[_Transient]:
    """Draw one subject's transients of one kind, which do not overlap."""
    expected = _log_uniform(rng, rate) * n_times / sfreq / 60
    count = int(expected + rng.uniform())  # rounded up or down at random: unbiased
    shapes = [draw(rng, sfreq) for _ in range(count)]
    starts = _place([len(shape.wave) for shape in shapes], n_times, rng)
    return [
        _Transient(shape, start, rng.uniform(*amplitude)) for shape, start in zip(shapes, starts, strict=True)
    ]


def _place(lengths: Sequence[int], n_times: int, rng: np.random.Generator) -> list[int]:
    """Draw starts of non-overlapping spans of these lengths in n_times samples.

    The gaps between them are drawn: uniform points in the time that the spans leave free.
    """
    free = np.sort(rng.integers(n_times - sum(lengths), size=len(lengths), endpoint=True))
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if lengths else np.empty(0)
    return [int(start) for start in free + before]


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _common_transients(rng: np.random.Generator, n_times: int, sfreq: float) -> list[_Transient]:
    draw = partial(_draw_transients, rng, n_times=n_times, sfreq=sfreq)
    return [
        *draw(_draw_innocent, INNOCENT_RATE, INNOCENT_AMPLITUDE),
        *draw(_draw_blink, BLINK_RATE, BLINK_AMPLITUDE),
        *draw(_draw_muscle, MUSCLE_RATE, MUSCLE_AMPLITUDE),
        *draw(_draw_pop, POP_RATE, POP_AMPLITUDE),
    ]


def _discharges(rng: np.random.Generator, n_times: int, sfreq: float) -> list[_Transient]:
    draw = _discharge_of_subject(rng)
    return _draw_transients(rng, draw, DISCHARGE_RATE, DISCHARGE_AMPLITUDE, n_times, sfreq)


# ---------------------------------------------------------------------------------------------------------
# The ongoing activity


def _background(rng: np.random.Generator, n_times: int, sfreq: float) -> tuple[np.ndarray, float]:
    """Draw 1/f activity and an alpha rhythm: (19, n_times) in volts, and its rms in volts.

    The rms is over all electrodes and samples.  The sources are independent Gaussian processes, high-passed
    at 0.5 Hz as by an amplifier.
    """
    rms = _log_uniform(rng, (8e-6, 20e-6))
    frequency = np.maximum(scipy.fft.rfftfreq(n_times, 1 / sfreq), 1e-3)
    aperiodic = frequency ** -rng.uniform(0.5, 0.9) / (1 + (0.5 / frequency) ** 2)
    alpha = np.exp(-0.25 * ((frequency - rng.uniform(8.5, 12)) / rng.uniform(0.4, 0.8)) ** 2)
    occipital = np.exp(-distance(head().sources, head().at("O1") / 2 + head().at("O2") / 2) / 0.03)
    spectrum = np.zeros((len(CHANNELS), len(frequency)), complex)
    _add_noise(spectrum, rng, aperiodic, np.ones(len(head().sources)))
    _add_noise(spectrum, rng, alpha, occipital, _log_uniform(rng, (0.3, 1.2)))
    data = scipy.fft.irfft(spectrum, n_times, axis=1, overwrite_x=True)
    data *= rms / np.sqrt(np.mean(np.square(data)))
    return data, rms


def _add_noise(
    spectrum: np.ndarray,
    rng: np.random.Generator,
    shape: np.ndarray,
    strength: np.ndarray,
    amplitude: float = 1.0,
) -> None:
    """Add the spectra of Gaussian sources, of power `amplitude` squared, to `spectrum` (19, F) in place.

    All sources share the amplitude spectrum `shape` (F,); `strength` (S,) and the orientations vary by
    subject.  S independent Gaussian sources with leadfield L have the same distribution at 19 electrodes as
    18 sources with a triangular root of LL' (the average reference takes one degree of freedom), so only
    these are drawn.
    """
    lean = rng.uniform(-0.5, 0.5, (len(strength), 3))
    strength = strength * rng.lognormal(0, 0.5, len(strength))
    seen = np.einsum("csd,sd,s->cs", head().gain, lean - head().outward, strength)
    covariance = np.einsum("cs,ds->cd", seen, seen)
    shape = shape * (amplitude / np.sqrt(np.sum(shape**2)))
    for source in _triangular_root(covariance / np.trace(covariance)).T:
        white = rng.standard_normal(2 * len(shape)).view(complex) * shape
        for channel in np.flatnonzero(source):
            spectrum[channel] += source[channel] * white


def _triangular_root(covariance: np.ndarray) -> np.ndarray:
    """Return R (n, n - 1), lower triangular, with RR' = covariance (n, n) of rank n - 1."""
    rest, root = covariance.copy(), np.zeros((len(covariance), len(covariance) - 1))
    for k in range(root.shape[1]):
        root[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        rest -= np.outer(root[:, k], root[:, k])
    return root


def _line_noise(rng: np.random.Generator, n_times: int, sfreq: float) -> np.ndarray:
    """Draw power-line noise (19, n_times) in volts: one phase, an amplitude per electrode."""
    strength = _log_uniform(rng, (0.1e-6, 2e-6)) * rng.lognormal(0, 0.5, len(CHANNELS))
    wave = np.sin(2 * np.pi * (LINE * np.arange(n_times) / sfreq + rng.uniform()))
    return np.outer(strength - strength.mean(), wave)


# ---------------------------------------------------------------------------------------------------------
# Subjects and cohorts


def simulate_subject(
    index: int, label: int, *, seed: int, minutes: float = 5.0, sfreq: float = 256.0
) -> Simulated:
    """Simulate one subject; the label determines only the discharges.

    Parameters
    ----------
    index
        The subject's position in the cohort, from 0; with `seed` it determines everything random.
    label
        1 epilepsy, 0 control.
    seed
        Of the cohort.
    minutes
        Length, rounded to whole seconds, at least 10 s.
    sfreq
        Hz, an integer of at least 128.

    Returns
    -------
    Simulated
        Data (19, T) in volts and the ground truth.

    Raises
    ------
    ValueError
        The label is neither 0 nor 1, the recording too short or the sampling rate too low.
    """
    if label not in (0, 1):
        raise ValueError(f"label is {label}, expected 1 (epilepsy) or 0 (control)")
    check_settings(minutes, sfreq)
    background, common, epilepsy = map(np.random.default_rng, np.random.SeedSequence([seed, index]).spawn(3))
    n_times = round(minutes * 60) * int(sfreq)
    data, rms = _background(background, n_times, sfreq)
    data += _line_noise(background, n_times, sfreq)
    transients = _common_transients(common, n_times, sfreq)
    if label:
        transients += _discharges(epilepsy, n_times, sfreq)
    _add(data, transients, rms)
    data = data.astype(np.float32)
    events = sorted((transient.event(sfreq) for transient in transients), key=lambda event: event.onset)
    return Simulated(f"{index + 1:03d}", label, data, sfreq, CHANNELS, tuple(events))


def check_settings(minutes: float, sfreq: float) -> None:
    """Raise `ValueError` for a duration or a sampling rate that cannot be simulated."""
    if minutes * 60 < MIN_SECONDS:
        raise ValueError(
            f"minutes is {minutes:g}, expected at least {MIN_SECONDS / 60:.3f} ({MIN_SECONDS:g} s)"
        )
    if sfreq < MIN_SIMULATED_SFREQ or sfreq != int(sfreq):
        raise ValueError(f"sfreq is {sfreq:g} Hz, expected an integer of at least {MIN_SIMULATED_SFREQ:g} Hz")


def _add(data: np.ndarray, transients: Iterable[_Transient], rms: float) -> None:
    """Add the transients to data (19, T) in place."""
    for transient in transients:
        shape = transient.shape
        span = slice(transient.start, transient.start + len(shape.wave))
        data[:, span] += np.outer(transient.amplitude * rms * shape.pattern, shape.wave)


def draw_labels(subjects: int, seed: int) -> list[int]:
    """Draw the labels (1 epilepsy): one of every two consecutive subjects, at random.

    Both groups have the same size, and no label depends on the number of subjects.
    """
    coins = np.random.default_rng(seed).random((subjects + 1) // 2) < 0.5
    pairs = np.column_stack([coins, ~coins])
    return [int(epilepsy) for epilepsy in pairs.ravel()[:subjects]]
