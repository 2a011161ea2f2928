"""Seismic cubes of a second style for scoring: horizons deposited one above the other, then bent and broken.

Written apart from `recon3d.synthetic.seismic`, which trains: here a cube is a sum of events, each with a surface of its
own, an amplitude that varies along it, and a wavelet evaluated where the surface lies, so nothing is interpolated. The
wavelet is Ormsby's, beds thin out, faults are listric, and folds come from sums of plane waves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ConfigError
from recon3d.synthetic.seismic import survey
from recon3d.volume import Volume

SCORING_FAMILIES: tuple[str, ...] = ("linear", "folded", "faulted")

Array = NDArray[np.float64]

REACH = 48.0
"""Samples from its middle to where the wavelet has ended."""


def scoring_cube(family: str, shape: tuple[int, int, int], seed: int, *, noise: float = 0.0) -> Volume:
    """A cube of unit root mean square, without unit; bins of 25 m and samples of 4 ms.

    Parameters
    ----------
    family : "linear" (three plane waves), "folded" (layers) or "faulted" (the same, cut by two or three faults)
    shape : (crossline, inline, sample)
    noise : root mean square of white noise, as a share of the signal
    """
    if family not in SCORING_FAMILIES:
        raise ConfigError(f"Unknown family of cubes '{family}': expected one of {', '.join(SCORING_FAMILIES)}.")
    rng = np.random.default_rng([0xC0DE, SCORING_FAMILIES.index(family), seed])
    band = _band(rng)
    surfaces, strengths = _planes(shape, rng) if family == "linear" else _horizons(shape, rng)
    faults = [_Fault.random(shape, rng) for _ in range(int(rng.integers(2, 4)))] if family == "faulted" else []
    t = np.arange(shape[2], dtype=float)
    cube = np.zeros(shape)
    for surface, strength in zip(surfaces, strengths, strict=True):
        for fault in faults:
            surface = fault.moved(surface)
        reached = (t > surface.min() - REACH) & (t < surface.max() + REACH)
        cube[..., reached] += strength[..., None] * _ormsby(t[reached] - surface[..., None], band)
    cube /= np.sqrt(np.mean(cube**2))
    cube += noise * rng.standard_normal(shape)
    return Volume(cube.astype(np.float32), survey(shape), tags={"modality": "seismic", "family": family})


def _planes(shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    x, y = _axes(shape)
    surfaces, strengths = [], []
    for k in range(3):
        p, q = rng.uniform(-0.7, 0.7, 2)
        start = shape[2] * (0.25 + 0.25 * k) + rng.uniform(-5, 5)
        surfaces.append(start + p * (x - shape[0] / 2) + q * (y - shape[1] / 2))
        strengths.append(np.full(shape[:2], rng.uniform(0.6, 1.0) * rng.choice((-1.0, 1.0))))
    return surfaces, strengths


def _horizons(shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Beds from below the cube to above it; their thickness varies, so that folds are not parallel."""
    fold = _waves(shape, rng, count=4, shortest=0.6)
    height = rng.uniform(5, 12)
    dip = rng.uniform(-0.35, 0.35, 2)
    x, y = _axes(shape)
    base = dip[0] * (x - shape[0] / 2) + dip[1] * (y - shape[1] / 2)
    surfaces, strengths = [], []
    top = np.full(shape[:2], -2.0 * height - 25.0)
    while float((top + base - 3 * height).min()) < shape[2] + 45:
        thickness = rng.gamma(2.0, 2.6)
        top = top + thickness * np.clip(1 + 0.3 * _waves(shape, rng, count=2, shortest=0.8), 0.15, None)
        bend = height * fold * (0.7 + 0.6 * np.clip(top / shape[2], 0, 1))
        surfaces.append(top + base + bend)
        reflectivity = rng.normal() * (2.0 if rng.random() < 0.2 else 0.7)
        strengths.append(reflectivity * np.clip(1 + 0.35 * _waves(shape, rng, count=2, shortest=0.4), 0.1, None))
    return surfaces, strengths


class _Fault:
    """A listric fault: flatter with depth; the hanging wall drops and its throw dies out away from the middle."""

    def __init__(self, across: Array, along: Array, flatness: float, throw: float, reach: float) -> None:
        self.across, self.flatness = across, flatness
        self.throw = throw * np.exp(-0.5 * (along / reach) ** 2)

    @classmethod
    def random(cls, shape: tuple[int, int, int], rng: np.random.Generator) -> _Fault:
        x, y = _axes(shape)
        strike = rng.uniform(0, np.pi)
        cx, cy = (n * rng.uniform(0.2, 0.8) for n in shape[:2])
        across = np.cos(strike) * (x - cx) + np.sin(strike) * (y - cy)
        along = np.cos(strike) * (y - cy) - np.sin(strike) * (x - cx)
        reach = max(shape[:2]) * rng.uniform(0.5, 1.5)
        return cls(across, along, rng.uniform(0.02, 0.08), rng.uniform(4, 9) * rng.choice((-1.0, 1.0)), reach)

    def moved(self, surface: Array) -> Array:
        depth = np.clip(surface, 0, None)
        hanging = self.across > self.flatness * depth**1.2
        return surface + self.throw * hanging


def _waves(shape: tuple[int, int, int], rng: np.random.Generator, count: int, shortest: float) -> Array:
    """A smooth field of about unit range; `shortest` is its least wavelength as a share of the longer side."""
    x, y = _axes(shape)
    out = np.zeros(shape[:2])
    for _ in range(count):
        length = max(shape[:2]) * rng.uniform(shortest, 2.5 * shortest)
        angle = rng.uniform(0, 2 * np.pi)
        out += np.sin(2 * np.pi / length * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 2 * np.pi))
    return out / np.sqrt(count)


def _band(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Corners of the pass band in cycles a sample: about 3 to 50 Hz at 4 ms."""
    low, high = rng.uniform(0.012, 0.03), rng.uniform(0.10, 0.16)
    return low, low + rng.uniform(0.01, 0.03), high, high + rng.uniform(0.05, 0.08)


def _ormsby(t: Array, band: tuple[float, float, float, float]) -> Array:
    """Ormsby's zero-phase wavelet of unit peak (Ryan, CSEG Recorder, 1994), its spectrum a trapezium; tapered ends."""
    f1, f2, f3, f4 = band
    slopes = [np.pi * f**2 * np.sinc(f * t) ** 2 for f in band]
    wavelet: Array = (slopes[3] - slopes[2]) / (f4 - f3) - (slopes[1] - slopes[0]) / (f2 - f1)
    taper = np.where(np.abs(t) < REACH, np.cos(0.5 * np.pi * t / REACH) ** 2, 0.0)
    return taper * wavelet / (np.pi * (f4 + f3 - f2 - f1))


def _axes(shape: tuple[int, int, int]) -> tuple[Array, Array]:
    x, y = np.meshgrid(np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float), indexing="ij")
    return x, y
