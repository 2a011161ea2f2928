"""Simulated scans of series: each view, spoke or set of lines sees the frame of its own instant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from operators.tomography import TomographyGeometry
from operators.tomography.orders import view_angles
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan
from recon3d.synthetic.mri import centred_half_voxel, coil_sensitivities, smooth_phase
from recon3d.synthetic.simulate import refined, simulate_ct
from recon3d.volume import Volume


def simulate_ct_series(
    volume: Volume,
    *,
    views_per_frame: int = 1,
    order: str = "bit-reversed",
    photons: float | None = None,
    noise_std: float | None = None,
    n_columns: int | None = None,
    column_mm: float | None = None,
    water_per_mm: float | None = None,
    seed: int = 0,
    finer: int = 2,
) -> Scan:
    """Parallel-beam projections of a series: `views_per_frame` views of each frame, one after the other.

    Parameters
    ----------
    volume : (t, z, y, x) in HU or 1/mm, with times
    views_per_frame : views that are taken of a frame, spread evenly over the time until the next one
    order : see `operators.tomography.orders.view_angles`
    photons : as `simulate_ct` has them; or
    noise_std : Gaussian noise of this part of the largest line integral, as RED-PSM's published data have (5e-3)
    n_columns, column_mm, water_per_mm, seed, finer : as `simulate_ct` has them
    """
    frames, times = _frames(volume)
    if photons is not None and noise_std is not None:
        raise ConfigError("The noise is stated once, by photons or by noise_std.")
    views = frames * views_per_frame
    angles = view_angles(views, order, seed=seed)
    slices = volume.data.shape[1]
    seen = []
    for t in range(frames):
        still = replace(volume, data=volume.data[t], times_s=None)
        for k in range(t * views_per_frame, (t + 1) * views_per_frame):
            seen.append(
                simulate_ct(
                    still,
                    views=1,
                    start_deg=math.degrees(angles[k]),
                    photons=photons,
                    n_columns=n_columns,
                    column_mm=column_mm,
                    water_per_mm=water_per_mm,
                    seed=seed,
                    finer=finer,
                    first_slice=k * slices,
                )
            )
    first = seen[0]
    data = np.concatenate([scan.data for scan in seen])
    noise = dict(first.noise)
    if noise_std is not None:
        std = noise_std * float(data.max())
        data = data + std * np.random.default_rng(seed).standard_normal(data.shape).astype(np.float32)
        noise = {"std": std}
    geometry = TomographyGeometry(
        "parallel",
        np.concatenate([np.asarray(scan.acquisition["vectors"]) for scan in seen]),
        int(first.acquisition["n_rows"]),  # type: ignore[arg-type]
        int(first.acquisition["n_columns"]),  # type: ignore[arg-type]
    )
    acquisition: dict[str, Any] = geometry.to_dict() | {"times_s": _stamps(times, views_per_frame)}
    if views_per_frame > 1:
        acquisition["views_per_frame"] = views_per_frame
    return replace(
        first, data=data.astype(np.float32), acquisition=acquisition, noise=noise, name="simulated ct series"
    )


def simulate_mri_series(
    volume: Volume,
    *,
    coils: int = 8,
    sampling: Literal["cartesian", "radial"] = "cartesian",
    acceleration: float = 8.0,
    centre_lines: int = 4,
    spokes: int = 8,
    snr: float | None = 40.0,
    seed: int = 0,
    finer: int = 2,
) -> Scan:
    """Multi-coil k-t data of a series of magnitudes, with a phase that is made up and at rest: the scan says so.

    Parameters
    ----------
    volume : real and not negative, (t, z, y, x), with times
    coils : receive coils around the volume
    sampling : "cartesian", columns of k-space drawn anew for each frame, denser towards the centre; or "radial", spokes
        that turn by the golden angle from one to the next
    acceleration, centre_lines : Cartesian: all columns over those measured, and how many in the middle are always so
    spokes : radial: of each frame
    snr : bright tissue over the standard deviation of a coil image's noise, per real channel; None for no noise
    seed : of phase, coils, sampling and noise
    finer : how many times finer than the volume the truth is represented in the plane; 1 is the inverse crime
    """
    frames, times = _frames(volume)
    data = np.asarray(volume.data)
    if np.iscomplexobj(data) or data.min() < 0 or not data.max() > 0:
        raise InputError("MRI is simulated from magnitudes, real and not negative, some above 0: check the volume.")
    if sampling not in ("cartesian", "radial"):
        raise ConfigError(f"The sampling is cartesian or radial, got '{sampling}'.")
    rng = np.random.default_rng(seed)
    slices, rows, columns = data.shape[1:]
    fine = (slices, rows * finer, columns * finer)
    maps = coil_sensitivities(coils, fine, rng)  # (coil, z, y, x), of unit sum of squares: the volume is the image
    weights = smooth_phase(fine, rng) * maps / np.sqrt((np.abs(maps) ** 2).sum(0))
    radial = sampling == "radial"
    trajectory = _spokes(frames * spokes, rows) if radial else None
    masks = None if radial else _column_masks(frames, columns, acceleration, centre_lines, rng)
    shape = (coils, slices, frames * spokes, rows) if radial else (frames, coils, slices, rows, columns)
    kspace = np.zeros(shape, np.complex64)
    bright = float(np.quantile(data[data > 0.1 * data.max()], 0.9)) * coils**-0.5
    std = 0.0 if snr is None else bright / snr
    for t in range(frames):
        image = refined(data[t].astype(np.float32), finer) * weights
        if trajectory is not None:
            part = slice(t * spokes, (t + 1) * spokes)
            kspace[:, :, part] = _on_spokes(image, trajectory[part], finer)
        else:
            kspace[t] = _on_grid(image, (rows, columns), finer)
    if std:
        drawn = np.random.default_rng([seed, 1]).standard_normal((*kspace.shape, 2), dtype=np.float32)
        kspace += std * drawn.view(np.complex64)[..., 0]
    acquisition: dict[str, Any] = {"prepared": f"simulated {sampling} cine MRI: {coils} coils, seed {seed}\n"
                                   "the phase is synthetic: the volume held magnitudes only"}  # fmt: skip
    axes: tuple[str, ...]
    if trajectory is not None:
        acquisition |= {"trajectory": trajectory, "times_s": _stamps(times, spokes), "views_per_frame": spokes}
        axes = ("coil", "z", "spoke", "sample")
    else:
        assert masks is not None
        kspace *= masks[:, None, None, None]
        acquisition |= {"encoding": "2d", "mask": masks[:, None, None], "times_s": np.asarray(times)}
        axes = ("t", "coil", "kz", "ky", "kx")
    noise = {"std": std} if std else {}
    return Scan("mri", kspace, axes, acquisition, volume.grid, noise, name=f"simulated {sampling} cine")


SERIES: dict[str, Callable[..., Scan]] = {"ct-series": simulate_ct_series, "mri-series": simulate_mri_series}
"""What `recon3d.simulate` knows by these kinds; the scans themselves are of kind "ct" and "mri"."""


def _frames(volume: Volume) -> tuple[int, tuple[float, ...]]:
    if volume.data.ndim != 4 or not isinstance(volume.grid, AffineGrid):
        raise InputError(
            f"A series (t, z, y, x) on an AffineGrid is needed, got {volume!r}: see `recon3d draw series`."
        )
    if volume.times_s is None:
        raise InputError("The series has no times: give the volume times_s, one for each frame.")
    return len(volume.times_s), volume.times_s


def _stamps(times: tuple[float, ...], per_frame: int) -> NDArray[np.float64]:
    """Times of the views of each frame, evenly until the next frame."""
    starts = np.asarray(times)
    steps = np.diff(starts, append=2 * starts[-1] - starts[-2] if len(starts) > 1 else starts[-1] + 1.0)
    return (starts[:, None] + steps[:, None] * np.arange(per_frame) / per_frame).ravel()


def _column_masks(
    frames: int, columns: int, acceleration: float, centre_lines: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(t, kx): the middle always, elsewhere at random with a density that falls with the distance."""
    count = round(columns / acceleration)
    if not 0 <= centre_lines <= count <= columns:
        raise ConfigError(
            f"An acceleration of {acceleration:g} leaves {count} of {columns} columns: not fewer than centre_lines = "
            f"{centre_lines}."
        )
    distance = np.abs(np.arange(columns) - columns // 2) / (columns / 2)
    middle = slice(columns // 2 - centre_lines // 2, columns // 2 - centre_lines // 2 + centre_lines)
    density = (1 - distance) ** 2 + 0.05
    density[middle] = 0
    masks = np.zeros((frames, columns), bool)
    masks[:, middle] = True
    for mask in masks if count > centre_lines else ():
        mask[rng.choice(columns, count - centre_lines, replace=False, p=density / density.sum())] = True
    return masks


def _spokes(count: int, samples: int) -> NDArray[np.float64]:
    """(spoke, sample, 2) as (ky, kx), cycles per voxel: diameters of k-space."""
    angles = view_angles(count, "golden")
    radius = (np.arange(samples) - samples // 2) / samples
    return np.stack([np.sin(angles)[:, None] * radius, np.cos(angles)[:, None] * radius], axis=-1)


def _on_grid(image: NDArray[Any], shape: tuple[int, int], finer: int) -> NDArray[np.complex64]:
    """Orthonormal k-space of the coarse grid, cut out of that of the fine one (..., y, x)."""
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(-2, -1))), axes=(-2, -1))
    for axis, n in zip((-2, -1), shape, strict=True):
        start = full.shape[axis] // 2 - n // 2
        full = np.take(full, np.arange(start, start + n), axis=axis)
    full *= centred_half_voxel(shape[0], finer)[:, None] * centred_half_voxel(shape[1], finer)
    return (full * (math.sqrt(math.prod(shape)) / math.prod(image.shape[-2:]))).astype(np.complex64)


def _on_spokes(image: NDArray[Any], trajectory: NDArray[np.float64], finer: int) -> NDArray[np.complex64]:
    """The same at the positions of `trajectory` (cycles per coarse voxel)."""
    from operators.nufft import Nufft

    flat = torch.from_numpy(trajectory.reshape(-1, 2) / finer)
    transform = Nufft(flat, (image.shape[-2], image.shape[-1]), torch.complex64)
    samples = transform.forward(torch.from_numpy(np.ascontiguousarray(image.reshape(-1, *image.shape[-2:]))))
    shift = np.exp(2j * math.pi * (finer - 1) / (2 * finer) * trajectory.sum(-1))
    return (samples.numpy().reshape(*image.shape[:-2], *trajectory.shape[:-1]) * (shift / finer)).astype(np.complex64)
