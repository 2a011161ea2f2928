"""Simulated multi-coil MRI: phase, coils and noise around an image that is finer than what is measured of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Plain, Scan
from recon3d.volume import Volume


def simulate_mri(
    volume: Volume,
    *,
    coils: int = 8,
    acceleration: float = 4.0,
    centre_fraction: float = 0.08,
    pattern: str = "equispaced_fraction",
    snr: float | None = 40.0,
    seed: int = 0,
    finer: int = 2,
) -> Scan:
    """A multi-coil scan of a volume; to magnitudes a phase is made up, and the scan says so.

    Parameters
    ----------
    volume : complex, or real and not negative, (z, y, x); its first axis counts slices, its last the phase encodes
    coils : receive coils around the volume
    acceleration, centre_fraction, pattern : of the columns that are kept
    snr : bright tissue over the standard deviation of a coil image's noise; None for no noise
    seed : of phase, coils, pattern and noise
    finer : how many times finer than the volume the truth is represented in the plane; 1 is the inverse crime
    """
    data, grid = _checked_truth(volume)
    if int(finer) != finer or finer < 1:
        raise ConfigError(f"'finer' is a whole number from 1, got {finer}.")
    from recon3d.synthetic.simulate import refined

    rng = np.random.default_rng(seed)
    if np.iscomplexobj(data):
        image = refined(data.real, int(finer)) + 1j * refined(data.imag, int(finer))
    else:
        phase = smooth_phase((data.shape[0], *(n * finer for n in data.shape[1:])), rng)
        image = refined(data.astype(np.float32), int(finer)) * phase
    kspace, _, std = measured(image, data.shape, coils, snr, rng, seed, oversampling=1)
    notes = [
        f"simulated MRI: {coils} coils, acceleration {acceleration:g} ({pattern}, {centre_fraction:g} in the full "
        f"centre), {'no noise' if snr is None else f'signal to noise {snr:g}'}, seed {seed}"
    ]
    if not np.iscomplexobj(data):
        notes.append("the phase is synthetic: the volume held magnitudes only")
    mask = _columns(data.shape[2], acceleration, centre_fraction, pattern, seed)
    return _scan(kspace, mask, std, grid, "\n".join(notes))


def scan_mri(
    truth: Volume,
    shape: tuple[int, int],
    *,
    coils: int = 8,
    acceleration: float = 1.0,
    centre_fraction: float = 0.08,
    pattern: str = "equispaced_fraction",
    snr: float | None = 40.0,
    seed: int = 0,
) -> tuple[Scan, NDArray[np.float32]]:
    """A multi-coil scan of a complex volume that was drawn on a finer grid than it is measured on, and its target.

    Parameters
    ----------
    truth : complex (z, y, x), a whole number of times finer than the scan in y and in x
    shape : (y, x) of the scan; its last axis counts the phase encodes
    coils, acceleration, centre_fraction, pattern, snr, seed : as of `simulate_mri`; everything is sampled by default

    Returns
    -------
    scan, target : the target is the root sum of squares of the noise-free coil images, float32 (z, *shape)
    """
    data, grid = _checked_truth(truth)
    times = [fine / n for fine, n in zip(data.shape[1:], shape, strict=True)]
    if any(t < 1 or t != int(t) for t in times):
        raise InputError(
            f"The truth is drawn a whole number of times finer than the scan, got {data.shape[1:]} for {shape}."
        )
    rng = np.random.default_rng(seed)
    kspace, target, std = measured(
        data.astype(np.complex64), (data.shape[0], *shape), coils, snr, rng, seed, oversampling=1
    )
    mask = _columns(shape[1], acceleration, centre_fraction, pattern, seed)
    note = f"scanned drawing: {coils} coils, acceleration {acceleration:g}, signal to noise {snr}, seed {seed}"
    return _scan(kspace, mask, std, grid.resampled((data.shape[0], *shape)), note), target


def _checked_truth(volume: Volume) -> tuple[NDArray[Any], AffineGrid]:
    """Values and grid of a volume that can be measured: finite, not all zero, and magnitudes where real."""
    data = np.asarray(volume.data)
    if data.ndim != 3 or not isinstance(volume.grid, AffineGrid):
        raise InputError(f"MRI is simulated from one volume (z, y, x) on an AffineGrid, got {volume!r}.")
    if not np.isfinite(data).all() or not np.abs(data).max() > 0:
        raise InputError("MRI is simulated from finite values, some of them not 0: check the volume.")
    if not np.iscomplexobj(data) and data.min() < 0:
        raise InputError("MRI is simulated from magnitudes, finite and not negative, or from complex values.")
    return data, volume.grid


def _columns(n: int, acceleration: float, centre_fraction: float, pattern: str, seed: int) -> NDArray[np.bool_]:
    from operators.mri.sampling import column_mask

    return column_mask(n, acceleration, centre_fraction, pattern, seed % 2**32)


def _scan(kspace: NDArray[np.complex64], mask: NDArray[np.bool_], std: float, grid: AffineGrid, note: str) -> Scan:
    sampled = np.ascontiguousarray(np.where(mask, kspace, np.complex64(0)).transpose(1, 0, 2, 3))
    acquisition: dict[str, Plain] = {"encoding": "2d", "mask": mask, "prepared": note}
    noise: dict[str, Plain] = {"std": std} if std > 0 else {}
    return Scan("mri", sampled, ("coil", "kz", "ky", "kx"), acquisition, grid, noise, name="simulated mri")


def coordinates(shape: tuple[int, ...]) -> tuple[NDArray[np.float32], ...]:
    """(z, y, x) from -1 to 1 over the field of view, at voxel centres."""
    axes = [((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32) for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def smooth_field(
    shape: tuple[int, ...], cells: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth noise of unit standard deviation with about so many cells along each axis, the same at any resolution."""
    coarse = rng.standard_normal(tuple(math.ceil(c) + 3 for c in cells)).astype(np.float32)
    axes = [np.linspace(1, 1 + c, n, dtype=np.float32) for c, n in zip(cells, shape, strict=True)]
    smooth = ndimage.spline_filter(coarse, 3, output=np.float32)
    for axis, positions in enumerate(axes):  # separable: one axis after the other
        smooth = _along(smooth, positions, axis)
    return smooth / max(float(smooth.std()), 1e-6)


def _along(coefficients: NDArray[np.float32], positions: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Evaluate cubic B-splines along one axis."""
    index = np.floor(positions).astype(int)
    t = positions - index
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    moved = np.moveaxis(coefficients, axis, 0)
    total = np.zeros((len(positions), *moved.shape[1:]), np.float32)
    for k, weight in enumerate(weights):
        rows = np.clip(index + k - 1, 0, len(moved) - 1)
        total += weight.reshape(-1, *[1] * (moved.ndim - 1)) * moved[rows]
    return np.moveaxis(total, 0, axis)


def smooth_phase(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    """A smooth phase: constant, linear (echo off centre) and uneven field."""
    z, y, x = coordinates(shape)
    angle = rng.uniform(0, 2 * math.pi) + rng.uniform(-1.5, 1.5) * y + rng.uniform(-1.5, 1.5) * x
    angle = angle + rng.uniform(0.3, 0.9) * smooth_field(shape, (1, 3, 3), rng) + 0 * z
    return np.exp(1j * angle).astype(np.complex64)


def coil_sensitivities(coils: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    """Loops on a cylinder around the field of view, (coil, z, y, x), falling with the distance cubed, with phase."""
    z, y, x = coordinates(shape)
    maps = np.empty((coils, *shape), np.complex64)
    rows = 2 if coils >= 8 else 1
    for c in range(coils):
        row, place = c % rows, c // rows
        angle = 2 * math.pi * (place + 0.5 * row) / max(1, math.ceil(coils / rows)) + rng.uniform(-0.1, 0.1)
        height = (row - (rows - 1) / 2) * 1.1 + rng.uniform(-0.1, 0.1)
        distance = rng.uniform(1.05, 1.2)
        dy, dx = y - distance * math.sin(angle), x - distance * math.cos(angle)
        squared = (0.6 * (z - height)) ** 2 + dy**2 + dx**2
        phase = angle + rng.uniform(0, 2 * math.pi) + 0.8 * (dx * math.sin(angle) - dy * math.cos(angle))
        maps[c] = (0.45 + squared) ** -1.5 * np.exp(1j * phase)
    return maps


def measured(
    image: NDArray[np.complex64],
    shape: tuple[int, int, int],
    coils: int,
    snr: float | None,
    rng: np.random.Generator,
    seed: int,
    oversampling: int = 2,
) -> tuple[NDArray[np.complex64], NDArray[np.float32], float]:
    """K-space (slice, coil, rows x oversampling, columns) with correlated noise, the noise-free target, and the
    standard deviation of the noise per real channel of a coil."""
    if coils < 1:
        raise ConfigError(f"A scan has at least one coil, got {coils}.")
    if snr is not None and not snr > 0:
        raise ConfigError(f"'snr' is a positive number, or none for no noise, got {snr}.")
    slices, rows, columns = shape
    fine_rows, fine_columns = image.shape[1:]
    maps = coil_sensitivities(coils, image.shape, rng)
    coupled = rng.standard_normal((2, coils, coils)) * (0.25 / math.sqrt(coils))
    mixing = np.eye(coils) + coupled[0] + 1j * coupled[1]
    mixing = mixing / np.sqrt((np.abs(mixing) ** 2).sum(1, keepdims=True))
    kspace = np.empty((slices, coils, rows * oversampling, columns), np.complex64)
    target = np.empty(shape, np.float32)
    scale = math.sqrt(rows * oversampling * columns) / (fine_rows * fine_columns)
    for s in range(slices):
        padded = np.zeros((coils, fine_rows * oversampling, fine_columns), np.complex64)
        start = fine_rows * oversampling // 2 - fine_rows // 2
        padded[:, start : start + fine_rows] = maps[:, s] * image[s]
        # The fine and the coarse grid share their field of view, whose centre lies half a fine voxel aside.
        full: NDArray[Any] = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(padded, axes=(1, 2))), axes=(1, 2))
        full = _centre(_centre(full, 1, rows * oversampling), 2, columns) * np.float32(scale)
        full = (
            full
            * centred_half_voxel(rows * oversampling, fine_rows // rows)[:, None]
            * centred_half_voxel(columns, fine_columns // columns)
        )
        kspace[s] = full
        images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(full, axes=(1, 2)), norm="ortho"), axes=(1, 2))
        target[s] = np.sqrt((np.abs(_centre(images, 1, rows)) ** 2).sum(0))
    std = 0.0
    if snr is not None:
        bright = float(np.quantile(target[target > 0.1 * target.max()], 0.9)) / math.sqrt(coils)
        std = bright / snr
        for s in range(slices):
            own = np.random.Generator(np.random.Philox(key=np.array([seed % 2**63, s], dtype=np.uint64)))
            white = own.standard_normal((2, coils, *kspace.shape[2:]), dtype=np.float32)
            mixed = np.tensordot(mixing, white[0] + 1j * white[1], axes=1)
            kspace[s] += (std * mixed).astype(np.complex64)
    return kspace, target, std


def centred_half_voxel(n: int, finer: int) -> NDArray[np.complex64]:
    """The phase that moves the origin from the centre voxel of the fine grid to that of the coarse one."""
    shift = (finer - 1) / (2 * finer)  # in coarse voxels
    return np.exp(2j * math.pi * shift * (np.arange(n) - n // 2) / n).astype(np.complex64)


def _centre(a: NDArray[Any], axis: int, length: int) -> NDArray[Any]:
    start = a.shape[axis] // 2 - length // 2
    return np.take(a, np.arange(start, start + length), axis=axis)
