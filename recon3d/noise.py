"""The noise of measured data: read from a scan, and what whitens the data and their operator once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.linear import Diagonal, LinearOperator, Slab
from operators.reduce import norm
from operators.space import Space
from recon3d.errors import InputError, ShapeError
from recon3d.scan import Scan

MODEL_ERROR = 0.01
"""What a discrete projector misses, relative to the root mean square line integral: edges inside pixels, wide rays.
Without it the air around a patient outweighs the patient by orders of magnitude and is all that few iterations fit."""


SLICES_AT_ONCE = 16
"""Slices whose data are put together for a sum."""


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Independent Gaussian noise of known standard deviation, or noise of which nothing is known.

    Parameters
    ----------
    std : tensor that broadcasts to the data (per real channel), one number, or None where the noise is unknown;
        unknown noise is weighted equally
    """

    std: Tensor | float | None = None

    @classmethod
    def from_scan(cls, scan: Scan, device: torch.device, dtype: torch.dtype) -> NoiseModel:
        """Read ``{"std": s}``, ``{"weights": inverse variances}`` or ``{"photons": n}``.

        Photons are unattenuated counts per detector pixel of line integrals: variance exp(y)/n, plus `MODEL_ERROR`
        times the mean of their squares, or times "mean_square" where the scan is a slab of another.
        """
        known = set(scan.noise) & {"std", "weights", "photons"}
        if not known:
            return cls()
        if len(known) > 1:
            raise InputError(f"The noise of a scan is stated once, got {sorted(known)}: keep one of them.")
        if isinstance(scan.data, tuple):
            if known != {"std"} or np.ndim(scan.noise["std"]):
                raise InputError("Ragged data take one noise 'std' for all blocks: give a single number.")
            return cls(float(cast(float, scan.noise["std"])))
        if "std" in known:
            std = np.asarray(scan.noise["std"], dtype=float)
        elif "weights" in known:
            weights = np.asarray(scan.noise["weights"], dtype=float)
            if not (weights >= 0).all() or not (weights > 0).any():
                raise InputError("Noise weights are inverse variances: expected numbers >= 0, some positive.")
            std = 1.0 / np.sqrt(np.where(weights > 0, weights, np.nan))
            std = np.where(np.isnan(std), np.inf, std)
        else:
            photons = np.asarray(scan.noise["photons"], dtype=float)
            if not (photons > 0).all():
                raise InputError(f"noise.photons must be positive counts, got a minimum of {photons.min()}.")
            std = _photon_noise(scan, photons)
        if not (std > 0).all():
            raise InputError("The noise standard deviation must be positive everywhere.")
        if std.ndim == 0:
            return cls(float(std))
        return cls(torch.from_numpy(std).to(device, dtype))

    @property
    def is_known(self) -> bool:
        return self.std is not None

    def narrow(self, slab: Slab, space: Space) -> NoiseModel:
        """The noise of a slab's part of the data."""
        axis = space.axes.index(slab.range_axis) - len(space.axes)
        std = self.std
        if isinstance(std, Tensor) and std.ndim >= -axis and std.shape[axis] > 1:
            std = std.narrow(axis, slab.start, slab.stop - slab.start)
        return NoiseModel(std)

    def whiten(self, A: LinearOperator, y: Any) -> tuple[LinearOperator, Any]:
        """(W A, W y) with W = 1/std, after which the noise has standard deviation 1 (where it is known)."""
        if self.std is None:
            return A, y
        if isinstance(self.std, float):
            return (1.0 / self.std) * A, y * (1.0 / self.std)
        if not isinstance(A.range, Space):
            raise ShapeError("Ragged data take one noise standard deviation, got an array of them.")
        W = Diagonal(1.0 / self.std, A.range)
        return W @ A, W(y)


def slice_energies(data: NDArray[Any], axis: int) -> Tensor:
    """Sum of squares for each index of an axis, float64, each by itself: those of a slab are those of the whole."""
    moved = np.moveaxis(data, axis, 0)
    parts = []
    for start in range(0, len(moved), SLICES_AT_ONCE):
        part = np.require(moved[start : start + SLICES_AT_ONCE], requirements=("C", "W"))  # a mapped file is read-only
        part = part if part.dtype in (np.float32, np.float64) else part.astype(np.float64)
        parts.append(norm(torch.from_numpy(part), 1).square())
    return torch.cat(parts)


def in_order(energies: Tensor) -> float:
    """Their sum, the first slice first."""
    return sum(energies.cpu().tolist())


def _photon_noise(scan: Scan, photons: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviation of line integrals, view by view, so that little more than itself is held."""
    y = cast("NDArray[Any]", scan.data)
    given = scan.noise.get("mean_square")
    square = float(cast(float, given)) if given is not None else in_order(slice_energies(y, -2)) / y.size
    counts = np.broadcast_to(photons, y.shape)
    std = np.empty(y.shape)
    for view, integrals in enumerate(y):
        std[view] = np.sqrt(np.exp(integrals.astype(float)) / counts[view] + MODEL_ERROR**2 * square)
    return std
