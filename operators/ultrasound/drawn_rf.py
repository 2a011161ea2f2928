"""Random beamformed RF: speckle with cysts, layers, targets and arcs; haze with reverberations; both as cine.

In beam space (frame, beam, depth). Scatterers are points, so they can move by any share of a wavelength from frame to
frame. Tissue and haze are drawn apart and never meet here; the mean spectra of both say what tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

from operators.ultrasound.companding import compand

TISSUE_LEVEL = HAZE_LEVEL = 0.06
"""Root mean square of RF where one is the clip level: of speckle, and of haze of strength one over its top 50 mm."""
HAZE_DEPTH_MM = 50.0
SCATTERERS = 12
"""Per resolution cell: speckle is fully developed from about ten on."""
FINE, BETWEEN = 4, 2
"""Samples of the scatterer map per sample in depth and per beam."""
ECHOES = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BeamSpace:
    """Parallel beams of a pulse-echo system.

    Parameters
    ----------
    centre_hz, bandwidth : of the echo's amplitude spectrum; the bandwidth is fractional, full width at -6 dB
    depth_step_mm, pitch_mm : between samples and between beams
    aperture_mm, f_number : the receive aperture, and the least ratio of depth to it that is used
    first_depth_mm : of the first sample
    """

    centre_hz: float
    bandwidth: float
    depth_step_mm: float
    pitch_mm: float
    aperture_mm: float
    f_number: float
    first_depth_mm: float = 2.0
    sound_speed_m_s: float = 1540.0

    @classmethod
    def random(cls, depth_step_mm: float, rng: np.random.Generator) -> BeamSpace:
        """Five to ten samples per period, from cardiac to linear probes."""
        centre_hz = 1540e3 / (2 * depth_step_mm * log_uniform(rng, 5, 10))
        wavelength = 1540e3 / centre_hz
        return cls(
            centre_hz,
            rng.uniform(0.4, 0.8),
            depth_step_mm,
            wavelength * log_uniform(rng, 0.4, 1.5),
            rng.uniform(10, 25),
            rng.uniform(1.2, 2.0),
            rng.uniform(1, 30),
        )

    @classmethod
    def of(cls, turns: float, depth_step_mm: float, pitch_mm: float) -> BeamSpace:
        """A usual system whose carrier turns so many times a sample."""
        return cls(1540e3 * turns / (2 * depth_step_mm), 0.6, depth_step_mm, pitch_mm, 20.0, 1.5)

    @property
    def wavelength_mm(self) -> float:
        return 1e3 * self.sound_speed_m_s / self.centre_hz

    @property
    def turns(self) -> float:
        """Periods of the carrier per sample in depth, there and back."""
        return 2 * self.depth_step_mm / self.wavelength_mm

    def depth_mm(self, samples: int) -> Array:
        return np.asarray(self.first_depth_mm + self.depth_step_mm * np.arange(samples, dtype=float))

    def beam_width_mm(self, depth_mm: Array) -> Array:
        """Full width at half maximum, ``1.206 lambda z / D``, of a boxcar receive aperture."""
        return np.asarray(1.206 * self.wavelength_mm * np.maximum(self.f_number, depth_mm / self.aperture_mm))

    def pulse_spectrum(self, samples: int, step: float = 1.0, bandwidth: float = 1.0, centre: float = 1.0) -> Array:
        """Amplitude at the frequencies of ``rfft``, of unit energy; `bandwidth` and `centre` are factors."""
        turns = np.fft.rfftfreq(samples, step)
        carrier, width = centre * self.turns, bandwidth * self.bandwidth * self.turns
        spectrum = np.exp(-math.log(2.0) * ((turns - carrier) / (width / 2)) ** 2)
        energy = 2 * np.sum(spectrum**2) / samples
        return np.asarray(spectrum / math.sqrt(energy))


def tissue_rf(space: BeamSpace, shape: tuple[int, int, int], rng: np.random.Generator, motion_mm: float = 0.0) -> Array:
    """Tissue over one beat: (frame, beam, depth), its background speckle of unit root mean square.

    Parameters
    ----------
    motion_mm : largest displacement of the scatterers over the frames
    """
    frames, beams, samples = shape
    margin = int(3 * float(space.beam_width_mm(space.depth_mm(samples)).max()) / space.pitch_mm), int(3 / space.turns)
    around = replace(space, first_depth_mm=space.first_depth_mm - margin[1] * space.depth_step_mm)
    plane = beams + 2 * margin[0], samples + 2 * margin[1]
    width = around.beam_width_mm(around.depth_mm(plane[1])) / space.pitch_mm / 2.355
    beam, sample, strength = _scatterers(around, plane, float(width.min()), rng)
    place = tuple(np.clip(v.astype(np.intp), 0, n - 1) for v, n in zip((beam, sample), plane, strict=True))
    across = 0.5 * _smooth(rng, plane)[place] / space.pitch_mm
    along = _smooth(rng, plane)[place] / space.depth_step_mm
    rf = np.empty(shape)
    for frame in range(frames):
        moved = 0.5 * motion_mm * (1 - math.cos(2 * math.pi * frame / max(frames, 2)))
        echoes = _echoes(around, plane, beam + moved * across, sample + moved * along, strength, width)
        rf[frame] = echoes[margin[0] : margin[0] + beams, margin[1] : margin[1] + samples]
    gain = 10 ** (rng.uniform(-6, 6) / 20 * np.linspace(-1, 1, samples))
    noise = 10 ** (rng.uniform(-60, -40) / 20)
    return rf * gain + noise * rng.standard_normal(shape)


def haze_rf(space: BeamSpace, shape: tuple[int, int, int], rng: np.random.Generator, renewal: float = 1.0) -> Array:
    """Multipath clutter (frame, beam, depth), wide across beams and strongest near the probe.

    Its root mean square over the top 50 mm is one on average.

    Parameters
    ----------
    renewal : b in ``h_k = sqrt(1 - b^2) h_(k-1) + b w_k``; 1 makes the frames independent
    """
    frames, beams, samples = shape
    layer = rng.uniform(3, 15) / space.depth_step_mm
    above = int(1.1 * ECHOES * layer)
    width = rng.uniform(8, 15) / space.pitch_mm / 2.355
    beside = int(3 * width)
    longer = above + samples
    response = space.pulse_spectrum(longer, 1.0, rng.uniform(0.3, 0.5), rng.uniform(0.85, 0.95)).astype(complex)
    response *= _train(longer, layer, rng)
    weak = _decay(space, rng, samples) * _window(rng, beams)[:, None]
    speckled = np.exp(rng.uniform(0, 0.5) * _smooth(rng, (beams, samples), coarse=8))
    weak *= speckled / math.sqrt(np.mean(speckled**2))
    haze = np.empty(shape)
    state = np.zeros((beams + 2 * beside, longer))
    for frame in range(frames):
        b = 1.0 if frame == 0 else renewal
        state = math.sqrt(1 - b**2) * state + b * rng.standard_normal(state.shape)
        wide = gaussian_filter1d(state, width, axis=0, truncate=3)[beside : beside + beams]
        wide *= (4 * math.pi) ** 0.25 * math.sqrt(width)
        haze[frame] = weak * np.fft.irfft(np.fft.rfft(wide) * response, longer)[:, above:]
    return haze


@dataclass(frozen=True)
class Spectra:
    """Mean power of tissue and of haze as they are drawn for training, in the order of ``rfft2`` of (beam, depth).

    Parameters
    ----------
    rf : variance of each component where the root mean square is one
    companded : variance of each component of companded RF at the levels of training
    """

    rf: tuple[Array, Array]
    companded: tuple[Array, Array]

    @classmethod
    def drawn(cls, space: BeamSpace, shape: tuple[int, int], draws: int) -> Spectra:
        """Of frames with the carrier and the steps of `space`; all else is drawn anew each time, as for training."""
        plain, companded = np.zeros((2, *shape)), np.zeros((2, *shape))
        sources = ((tissue_rf, TISSUE_LEVEL), (haze_rf, HAZE_LEVEL))
        for draw in range(draws):
            rng = np.random.default_rng([0x5BEC, draw])
            other = BeamSpace.random(space.depth_step_mm, rng)
            drawn = replace(other, centre_hz=space.centre_hz, pitch_mm=space.pitch_mm)
            for k, (make, level) in enumerate(sources):
                rf = make(drawn, (1, *shape), rng)[0]
                plain[k] += np.abs(np.fft.fft2(rf / np.sqrt(np.mean(rf**2)))) ** 2
                companded[k] += np.abs(np.fft.fft2(compand(torch.from_numpy(level * rf)).numpy())) ** 2
        half, count = shape[1] // 2 + 1, draws * math.prod(shape)
        means = [[gaussian_filter(p, 1.5, mode="wrap")[:, :half] / count for p in pair] for pair in (plain, companded)]
        return cls(*(tuple(pair) for pair in means))  # type: ignore[arg-type]


def _echoes(
    space: BeamSpace, shape: tuple[int, int], beam: Array, sample: Array, strength: Array, width: Array
) -> Array:
    """Points put on a fine map, each echo a pulse in depth and a Gaussian across beams that widens with depth."""
    beams, samples = shape
    fine = (BETWEEN * beams, FINE * samples)
    u, v = BETWEEN * beam, FINE * sample
    below = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    parts = u - below[0], v - below[1]
    points = np.zeros(fine[0] * fine[1])
    for du in (0, 1):
        for dv in (0, 1):
            row, column = below[0] + du, below[1] + dv
            weight = strength * np.where(du, parts[0], 1 - parts[0]) * np.where(dv, parts[1], 1 - parts[1])
            inside = (row >= 0) & (row < fine[0]) & (column >= 0) & (column < fine[1])
            points += np.bincount((row * fine[1] + column)[inside], weight[inside], points.size)
    spectrum = np.fft.rfft(points.reshape(fine))
    # Every FINE-th sample of the filtered map: the spectrum folded, of which only the band of the pulse is not zero.
    kept = spectrum[:, : samples // 2 + 1] * space.pulse_spectrum(samples)
    rf = np.fft.irfft(kept, samples)
    knots = np.linspace(width.min(), width.max() + 1e-6, 4)
    out = np.zeros(shape)
    for knot in knots:
        share = np.clip(1 - np.abs(width - knot) / (knots[1] - knots[0]), 0, 1)
        if share.any():
            blurred = gaussian_filter1d(rf, BETWEEN * knot, axis=0, mode="constant")[::BETWEEN]
            out += share * blurred * (4 * math.pi) ** 0.25 * math.sqrt(BETWEEN * knot)
    return out


def _scatterers(
    space: BeamSpace, shape: tuple[int, int], narrowest: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """(beam, sample, strength) of speckle and of bright reflectors."""
    beams, samples = shape
    length = 4 * math.log(2) / math.pi / (space.bandwidth * space.turns)  # of the pulse's envelope, half maximum
    density = min(1.0, SCATTERERS / (2.355 * narrowest * length))
    count = rng.poisson(density * beams * samples)
    beam, sample = rng.uniform(0, beams, count), rng.uniform(0, samples, count)
    scene = _echogenicity(space, shape, rng)
    strength = rng.standard_normal(count) * scene[beam.astype(np.intp), sample.astype(np.intp)]
    speckle = beam, sample, strength / math.sqrt(density / BETWEEN)
    beam, sample, strength = (
        np.concatenate(pair) for pair in zip(speckle, _reflectors(space, shape, rng), strict=True)
    )
    return beam, sample, strength


def _echogenicity(space: BeamSpace, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Layers, cysts with walls, bright and dark masses on a smooth background about one."""
    beams, samples = shape
    x = (np.arange(beams)[:, None] - 0.5 * beams) * space.pitch_mm
    z = np.arange(samples) * space.depth_step_mm
    high, wide = float(z[-1]), beams * space.pitch_mm
    scene = np.exp(rng.uniform(0.1, 0.4) * _smooth(rng, shape))
    if rng.random() < 0.5:
        tilt = rng.uniform(-0.2, 0.2)
        for _ in range(int(rng.integers(1, 5))):
            top = rng.uniform(0, high) + tilt * x + rng.uniform(0, 1.5) * _smooth(rng, (beams, 1))
            thickness = rng.uniform(0.5, 6)
            scene = np.where((z > top) & (z < top + thickness), scene * log_uniform(rng, 0.2, 3), scene)
    for _ in range(int(rng.integers(0, 5))):
        radius = log_uniform(rng, 1, 12)
        squeeze, turn = rng.uniform(0.4, 1), rng.uniform(0, math.pi)
        dx, dz = x - rng.uniform(-0.5, 0.5) * wide, z - rng.uniform(0, high)
        u, v = math.cos(turn) * dx + math.sin(turn) * dz, math.cos(turn) * dz - math.sin(turn) * dx
        rim = np.hypot(u, v / squeeze) / radius
        if rng.random() < 0.6:  # a cyst or chamber, some with a wall
            wall = rng.uniform(0, 0.25) if rng.random() < 0.5 else 0.0
            scene = np.where(rim < 1 + wall, rng.uniform(1, 2), scene)
            scene = np.where(rim < 1, log_uniform(rng, 0.01, 0.05), scene)
        else:
            scene = np.where(rim < 1, scene * log_uniform(rng, 0.25, 4), scene)
    return np.asarray(scene)


def _reflectors(space: BeamSpace, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Bright points, and specular arcs of points of one sign; (beam, sample, strength)."""
    beams, samples = shape
    groups = [(np.zeros(0), np.zeros(0), np.zeros(0))]
    for _ in range(int(rng.integers(0, 6)) if rng.random() < 0.5 else 0):
        groups.append(tuple(np.array([v]) for v in (rng.uniform(0, beams), rng.uniform(0, samples), _bright(rng, 60))))  # type: ignore[arg-type]
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
        beam = np.arange(0, beams, 0.25)
        reach = beams * rng.uniform(0.1, 0.6)
        from_middle = beam - rng.uniform(0, beams)
        curve = rng.uniform(-1, 1) * 8 / space.depth_step_mm * (from_middle / beams) ** 2
        slant = rng.uniform(-0.3, 0.3) * space.pitch_mm / space.depth_step_mm
        sample = rng.uniform(0, samples) + curve + slant * from_middle
        taper = np.exp(-0.5 * (from_middle / reach) ** 2)
        groups.append((beam, sample, _bright(rng, 4) * taper))
    beam, sample, strength = (np.concatenate(parts) for parts in zip(*groups, strict=True))
    return beam, sample, strength


def _bright(rng: np.random.Generator, largest: float) -> float:
    return log_uniform(rng, largest / 4, largest) * float(rng.choice((-1.0, 1.0)))


def _train(samples: int, layer: float, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Spectrum of an echo and its reverberations in a layer, of unit energy; they come later and later."""
    rho = rng.uniform(0.3, 0.7)
    turns = np.fft.rfftfreq(samples)
    train, energy = np.ones(len(turns), complex), 1.0
    for m in range(1, ECHOES + 1):
        delay = m * layer * rng.uniform(0.9, 1.1)
        train += rho**m * rng.choice((-1.0, 1.0)) * np.exp(-2j * np.pi * turns * delay)
        energy += rho ** (2 * m)
    return np.asarray(train / math.sqrt(energy))


def _decay(space: BeamSpace, rng: np.random.Generator, samples: int) -> Array:
    """exp(-z / L), its mean square over the top 50 mm one."""
    length = rng.uniform(15, 40)
    energy = length / (2 * HAZE_DEPTH_MM) * (1 - math.exp(-2 * HAZE_DEPTH_MM / length))
    return np.asarray(np.exp(-space.depth_mm(samples) / length) / math.sqrt(energy))


def _window(rng: np.random.Generator, beams: int) -> Array:
    """How the acoustic window weakens some beams: a low order, unit mean square."""
    across = np.linspace(0, 1, beams)
    wave = sum(rng.normal(0, 0.3) * np.cos(math.pi * k * across) for k in range(1, 4))
    window = np.exp(wave)
    return np.asarray(window / math.sqrt(np.mean(window**2)))


def _smooth(rng: np.random.Generator, shape: tuple[int, int], coarse: int = 5) -> Array:
    """A field of about unit variance that varies over a few parts of the frame."""
    knots = rng.standard_normal(tuple(min(n, coarse) for n in shape))
    out: Array = zoom(knots, [n / k for n, k in zip(shape, knots.shape, strict=True)], order=1)
    return out


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two positive ones whose logarithm is uniform."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))
