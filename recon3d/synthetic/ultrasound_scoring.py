"""Hazy RF of a second style, for scoring: written apart from `operators.ultrasound.drawn_rf`, which trains.

Speckle is a complex Gaussian field with a spectrum cut out of white noise, in which a chamber, its wall and a vessel
are darkened or brightened, not a sum of point echoes with Gaussian kernels. Haze is a sum of some hundred wavefronts,
each with its curvature, tilt, width and echoes of its own, not filtered noise.
The pulse has a raised-cosine band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.grid import BeamGrid

SOUND_M_S = 1540.0
CENTRE_HZ = 3.2e6
STEP_MM = 0.03
"""Eight samples per period."""
PITCH_MM = 0.35
FIRST_MM = 6.0
REGION_MM = 1.0
"""Kept clear between the edge of the chamber and the regions that are scored."""

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HazyFrames:
    """Truth of a hazy cine, all (frame, beam, depth).

    Parameters
    ----------
    tissue : RF, background speckle of unit root mean square
    haze : RF, of unit root mean square over the frame
    chamber, muscle : (frame, beam, depth), the dark inside and the tissue around it
    """

    tissue: Array
    haze: Array
    chamber: Mask
    muscle: Mask

    def measured(self, strength: float, seed: int = 0, noise: float = 0.003) -> Array:
        """``tissue + strength haze + noise``."""
        rng = np.random.default_rng([0x0153, seed])
        return self.tissue + strength * self.haze + noise * rng.standard_normal(self.tissue.shape)

    @property
    def grid(self) -> BeamGrid:
        return BeamGrid((1, *self.tissue.shape[1:]), (0.0, 0.0), (FIRST_MM, STEP_MM), pitch_mm=PITCH_MM)


def hazy_frames(seed: int, frames: int = 1, beams: int = 112, samples: int = 1024) -> HazyFrames:
    """A chamber that widens and narrows over the frames, with muscle about it, behind quasi-static haze."""
    rng = np.random.default_rng([0x5C02E, seed])
    x = (np.arange(beams) - 0.5 * beams)[:, None] * PITCH_MM
    z = np.arange(samples) * STEP_MM
    middle = rng.uniform(-3, 3), 0.5 * z[-1] + rng.uniform(-2, 2)
    radii, angle = (rng.uniform(5, 7), rng.uniform(5, 8)), rng.uniform(0, math.pi)
    texture = _noise((beams, samples), rng)
    muscle_field = _speckle(texture, width_mm=rng.uniform(0.9, 1.4))
    inner_field = _speckle(_noise((beams, samples), rng), width_mm=1.0)
    shade = 0.35 * _waves(x, z, rng)
    vessel = x - rng.uniform(8, 14) * rng.choice((-1, 1)), z - rng.uniform(8, 24)
    tissue, chamber, muscle = (np.empty((frames, beams, samples), kind) for kind in (float, bool, bool))
    haze = _wavefronts(x, z, rng)
    for frame in range(frames):
        beat = 1 - 0.15 * math.sin(math.pi * frame / max(frames - 1, 1)) ** 2 if frames > 1 else 1.0
        across, along = x - middle[0], z - middle[1]
        u = math.cos(angle) * across + math.sin(angle) * along
        v = math.cos(angle) * along - math.sin(angle) * across
        rim = np.hypot(u / radii[0], v / radii[1]) / beat
        pull = 0.8 * (beat - 1) * np.exp(-(np.hypot(across, along) ** 2) / 150)  # muscle follows the wall
        field = _moved(muscle_field, pull * along / STEP_MM)
        level = np.exp(shade) * (1 + 1.5 * np.exp(-(((rim - 1.08) / 0.05) ** 2)))
        level = np.where(np.hypot(*vessel) < 2.2, 0.05, level)
        inside = 1 / (1 + np.exp(-(1 - rim) / 0.02))
        tissue[frame] = _rf((1 - inside) * level * field + 0.02 * inside * inner_field, z)
        gap = REGION_MM / min(radii)
        chamber[frame] = rim < 1 - gap
        muscle[frame] = (rim > 1.2 + gap) & (rim < 2.2) & (np.hypot(*vessel) > 4)
    front = np.stack([haze * (1 + 0.03 * rng.standard_normal()) for _ in range(frames)])
    slow = np.stack([_rf(_moved(front[k], np.full((beams, samples), 0.15 * k)), z) for k in range(frames)])
    return HazyFrames(tissue, slow / np.sqrt(np.mean(slow**2)), chamber, muscle)


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def _speckle(white: NDArray[np.complex128], width_mm: float) -> NDArray[np.complex128]:
    """A baseband field of unit mean square (of its RF): a raised cosine in depth, a triangle (a boxcar aperture there
    and back) across, of which `width_mm` is about the width at half maximum."""
    across = np.fft.fftfreq(white.shape[0], PITCH_MM)[:, None]
    along = np.fft.fftfreq(white.shape[1], STEP_MM)
    carrier = 2 * CENTRE_HZ / (SOUND_M_S * 1e3)
    band = np.where(np.abs(along) < 0.4 * carrier, np.cos(0.5 * np.pi * along / (0.4 * carrier)) ** 2, 0.0)
    aperture = np.clip(1 - np.abs(across) * width_mm / 1.2, 0, None)
    field = np.fft.ifft2(np.fft.fft2(white) * band * aperture)
    return np.asarray(field * math.sqrt(2 / np.mean(np.abs(field) ** 2)))


def _wavefronts(x: Array, z: Array, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Baseband: slightly curved fronts, each followed by its echoes, weaker with depth."""
    out = np.zeros((len(x), len(z)), complex)
    turns = 2 * 0.92 * CENTRE_HZ / (SOUND_M_S * 1e3)  # of the haze per mm of depth; high frequencies are lost first
    for _ in range(240):
        start, period, loss = rng.uniform(-8, z[-1]), rng.uniform(2.5, 9), rng.uniform(0.25, 0.6)
        middle, reach, length = rng.uniform(-20, 20), rng.uniform(6, 25), rng.uniform(0.4, 0.9)
        from_middle = x - middle
        bend = from_middle**2 / (2 * rng.uniform(300, 1500)) * rng.choice((-1, 1)) + rng.normal(0, 0.004) * from_middle
        window = np.exp(-((from_middle / reach) ** 2))
        strength = rng.standard_normal() + 1j * rng.standard_normal()
        for order in range(4):
            depth = start + period * order
            near = np.abs(z - depth) < 4 * length
            echo = strength * (-loss) ** order * math.exp(-(start + 8 + period * order) / 22)
            pulse = np.exp(-(((z[near] - depth - bend) / length) ** 2) - 2j * np.pi * turns * bend)
            out[:, near] += echo * window * pulse
    return out * np.exp(2j * np.pi * (turns - 2 * CENTRE_HZ / (SOUND_M_S * 1e3)) * z)


def _moved(field: NDArray[np.complex128], samples: Array) -> NDArray[np.complex128]:
    """Baseband drawn from places a few samples deeper, its carrier turned accordingly."""
    place = np.arange(field.shape[1]) + samples
    low = np.clip(np.floor(place).astype(int), 0, field.shape[1] - 2)
    share = np.clip(place - low, 0, 1)
    rows = np.arange(len(field))[:, None]
    turned = np.exp(4j * np.pi * CENTRE_HZ / (SOUND_M_S * 1e3) * STEP_MM * samples)
    return np.asarray(((1 - share) * field[rows, low] + share * field[rows, low + 1]) * turned)


def _rf(baseband: NDArray[np.complex128], z: Array) -> Array:
    return np.asarray((baseband * np.exp(4j * np.pi * CENTRE_HZ / (SOUND_M_S * 1e3) * z)).real)


def _waves(x: Array, z: Array, rng: np.random.Generator) -> Array:
    out = np.zeros(np.broadcast_shapes(x.shape, z.shape))
    for _ in range(4):
        k = rng.normal(0, 1 / 12, 2)
        out += np.sin(2 * np.pi * (k[0] * x + k[1] * z) + rng.uniform(0, 2 * np.pi)) / 2
    return out
