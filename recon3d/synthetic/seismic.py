"""Random seismic cubes by warping one reflection series: layers, folds, faults, diffractions; training data.

A series of reflections is convolved with its wavelet on a fine axis *before* it is warped: bare spikes that are warped
and convolved afterwards would sample an impulse train, and neighbouring traces would no longer agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, zoom

from recon3d.errors import ConfigError
from recon3d.grid import SurveyGrid
from recon3d.volume import Volume

FAMILIES: tuple[str, ...] = ("layers", "folded", "faulted", "events", "diffractions")
"""What a cube shows above all: gently dipping layers, folds, folds cut by faults, crossing plane waves, hyperbolas."""
SAMPLE_S = 0.004
BIN_M = 25.0
FINE = 4
"""Samples of the reflection series per sample of the cube."""

Field = NDArray[np.float64]


def layered_cube(shape: tuple[int, int, int], seed: int, *, family: str | None = None) -> Volume:
    """One random cube of unit root mean square, without unit.

    Parameters
    ----------
    shape : (crossline, inline, sample), bins of 25 m and samples of 4 ms
    family : one of `FAMILIES`, or None for a random one
    """
    rng = np.random.default_rng([seed, 0x5E15])
    if family is None:
        family = FAMILIES[rng.choice(len(FAMILIES), p=(0.15, 0.3, 0.3, 0.1, 0.15))]
    if family not in FAMILIES:
        raise ConfigError(f"Unknown family of cubes '{family}': expected one of {', '.join(FAMILIES)}.")
    frequency = float(np.exp(rng.uniform(*np.log((0.05, 0.17)))))  # cycles a sample: 12 to 42 Hz
    cube = np.zeros(shape)
    if family != "events":
        cube = _warped(shape, family, frequency, rng)
        if rng.random() < 0.25:  # an unconformity: other layers above an old surface
            surface = shape[2] * rng.uniform(0.2, 0.8) + _relief(shape, rng, 0.15 * shape[2])
            above = _warped(shape, "layers", frequency, rng)
            cube = np.where(np.arange(shape[2]) < surface[..., None], above, cube)
        cube *= np.exp(0.35 * _smooth_field(shape, rng))
        cube /= _rms(cube)
    extra = rng.random() < 0.2
    if family == "events" or extra:
        cube += (1.0 if family == "events" else 0.5) * _plane_waves(shape, frequency, rng)
    if family == "diffractions" or rng.random() < 0.2:
        cube += rng.uniform(0.4, 1.0) * _diffractions(shape, frequency, rng)
    if rng.random() < 0.3:
        cube *= np.exp(-rng.uniform(0, 2) * np.arange(shape[2]) / shape[2])
    if rng.random() < 0.5:
        noise = gaussian_filter1d(rng.standard_normal(shape), 0.3 / frequency / np.pi, axis=2)
        cube += rng.uniform(0.0, 0.12) * _rms(cube) / _rms(noise) * noise
    if rng.random() < 0.1:  # an outer mute
        start = rng.uniform(0, 0.3) * shape[2] * np.abs(_smooth_field((*shape[:2], 1), rng))[..., 0]
        cube[np.arange(shape[2]) < start[..., None]] = 0.0
    return Volume((cube / _rms(cube)).astype(np.float32), survey(shape), tags={"modality": "seismic", "family": family})


def survey(shape: tuple[int, int, int]) -> SurveyGrid:
    """The grid of a drawn cube."""
    return SurveyGrid(shape, (1, 1), (1, 1), (0.0, 0.0), (0.0, BIN_M), (BIN_M, 0.0), 0.0, SAMPLE_S)


def neighbour_correlation(cube: NDArray[np.floating]) -> float:
    """Mean correlation of traces with their neighbours in both directions; above 0.9 where events can be followed."""
    means = []
    for axis in (0, 1):
        moved = np.moveaxis(cube, axis, 0)
        a, b = moved[:-1], moved[1:]
        means.append(np.sum(a * b, -1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12))
    return float(np.mean(np.concatenate([m.ravel() for m in means])))


def _warped(shape: tuple[int, int, int], family: str, frequency: float, rng: np.random.Generator) -> Field:
    """s(depth) with depth = z + relief growing with z + throws of faults."""
    z = np.arange(shape[2], dtype=float)
    steep = {"layers": 0.25, "folded": 0.8, "faulted": 0.5, "diffractions": 0.3}[family]
    heights = {"layers": 2.0, "folded": 14.0, "faulted": 6.0, "diffractions": 3.0}[family]
    relief = _plane(shape, rng, steep) + _relief(shape, rng, heights)
    growth = np.linspace(rng.uniform(0.3, 1.0), rng.uniform(1.0, 1.5), shape[2])
    depth = z + relief[..., None] * growth
    if family == "faulted":
        for _ in range(int(rng.integers(1, 4))):
            depth += _throw(shape, rng)
    depth -= depth.min()
    series = _series(int(np.ceil(depth.max())) + 2, frequency, rng)
    position = FINE * depth
    below = position.astype(np.intp)
    share = position - below
    cube: Field = (1 - share) * series[below] + share * series[below + 1]
    return cube


def _series(samples: int, frequency: float, rng: np.random.Generator) -> Field:
    """Reflections on the fine axis, convolved with a Ricker wavelet of random phase; unit root mean square."""
    count = FINE * samples
    spikes = rng.laplace(size=count) * (rng.random(count) < np.exp(rng.uniform(*np.log((0.01, 0.08)))))
    if rng.random() < 0.4:  # fine layering between the strong reflections
        spikes += rng.uniform(0.02, 0.15) * rng.standard_normal(count)
    f = np.fft.rfftfreq(2 * count, 1 / FINE)
    ricker = (f / frequency) ** 2 * np.exp(-((f / frequency) ** 2))
    phase = rng.uniform(-np.pi, np.pi) if rng.random() < 0.5 else 0.0
    series = np.fft.irfft(np.fft.rfft(spikes, 2 * count) * ricker * np.exp(1j * phase), 2 * count)[:count]
    return series / max(_rms(series), 1e-12)


def _plane(shape: tuple[int, int, int], rng: np.random.Generator, steepest: float) -> Field:
    """A dipping plane in samples, up to `steepest` samples a trace."""
    x, y = _axes(shape)
    dip, azimuth = steepest * rng.uniform(0, 1), rng.uniform(0, 2 * np.pi)
    return dip * (np.cos(azimuth) * x + np.sin(azimuth) * y)


def _relief(shape: tuple[int, int, int], rng: np.random.Generator, height: float) -> Field:
    """Domes, basins and waves of at most about `height` samples."""
    x, y = _axes(shape)
    extent = max(shape[:2])
    out = np.zeros(shape[:2])
    for _ in range(int(rng.integers(1, 5))):
        angle, squeeze = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
        width = extent * rng.uniform(0.15, 0.6)
        dx, dy = x - rng.uniform(0, shape[0]), y - rng.uniform(0, shape[1])
        u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        if rng.random() < 0.5:
            bump = np.exp(-(u**2 + (squeeze * v) ** 2) / (2 * width**2))
        else:
            bump = 0.5 * np.cos(2 * np.pi * u / (2.5 * width) + rng.uniform(0, 2 * np.pi))
        out += rng.uniform(-1, 1) * height * bump
    return out


def _throw(shape: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """The shift on one side of a dipping, slightly curved fault; it may die out along the strike."""
    x, y = _axes(shape)
    angle = rng.uniform(0, 2 * np.pi)
    centre = [rng.uniform(0.15, 0.85) * n for n in shape[:2]]
    along = -np.sin(angle) * (x - centre[0]) + np.cos(angle) * (y - centre[1])
    across = np.cos(angle) * (x - centre[0]) + np.sin(angle) * (y - centre[1])
    across += rng.uniform(0, 3) * np.sin(2 * np.pi * along / (max(shape[:2]) * rng.uniform(0.7, 2)))
    lean = rng.uniform(0.05, 0.5) * (np.arange(shape[2]) - shape[2] / 2)
    reach = max(shape[:2]) * rng.uniform(0.4, 3)
    size = rng.uniform(3, 10) * rng.choice((-1, 1)) * np.exp(-((along / reach) ** 2))
    return size[..., None] * (across[..., None] > lean)


def _plane_waves(shape: tuple[int, int, int], frequency: float, rng: np.random.Generator) -> Field:
    x, y = _axes(shape)
    t = np.arange(shape[2], dtype=float)
    cube = np.zeros(shape)
    steepest = min(1.2, 0.4 / (2.5 * frequency))  # below the spatial alias of the highest frequency
    for _ in range(int(rng.integers(2, 7))):
        p, q = rng.uniform(-steepest, steepest, 2)
        delay = rng.uniform(0, shape[2]) + p * (x - shape[0] / 2) + q * (y - shape[1] / 2)
        cube += rng.uniform(0.3, 1) * rng.choice((-1, 1)) * _ricker(t - delay[..., None], frequency)
    return cube / max(_rms(cube), 1e-3)


def _diffractions(shape: tuple[int, int, int], frequency: float, rng: np.random.Generator) -> Field:
    x, y = _axes(shape)
    t = np.arange(shape[2], dtype=float)
    cube = np.zeros(shape)
    for _ in range(int(rng.integers(2, 9))):
        top = rng.uniform(0.05, 0.95) * shape[2]
        slowness = rng.uniform(0.3, 1.1)  # samples a trace, far from the apex
        apex = [rng.uniform(-0.1, 1.1) * n for n in shape[:2]]
        delay = np.sqrt(top**2 + slowness**2 * ((x - apex[0]) ** 2 + (y - apex[1]) ** 2))
        strength = rng.uniform(0.3, 1) * rng.choice((-1, 1)) * top / delay
        cube += strength[..., None] * _ricker(t - delay[..., None], frequency)
    return cube / max(_rms(cube), 1e-3)


def _ricker(t: Field, frequency: float) -> Field:
    b = (np.pi * frequency * t) ** 2
    return (1 - 2 * b) * np.exp(-b)


def _smooth_field(shape: tuple[int, int, int], rng: np.random.Generator) -> Field:
    coarse = rng.standard_normal(tuple(min(n, 4) for n in shape))
    out: Field = zoom(coarse, [n / c for n, c in zip(shape, coarse.shape, strict=True)], order=1)
    return out


def _axes(shape: tuple[int, int, int]) -> tuple[Field, Field]:
    x, y = np.meshgrid(np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float), indexing="ij")
    return x, y


def _rms(cube: Field) -> float:
    return float(np.sqrt(np.mean(cube**2)))
