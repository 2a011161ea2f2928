"""SliceSampling: what thick, spaced or missing slices measure of a volume with thin, even ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator, Slab
from operators.space import Space

__all__ = ["SliceSampling", "slice_weights"]

LEAST_WEIGHT = 1e-4
"""Share of a slice's profile below which a thin slice does not count."""


class SliceSampling(LinearOperator):
    """Each measured slice is a weighted mean of slices of the volume: y_k = sum_z W_kz x_z, pixel by pixel.

    Thick slices have several weights, slices that are there as they are have one, missing slices have no row.

    Parameters
    ----------
    weights : (slice, z), from `slice_weights`; no row may be empty
    space : real or complex space (z, y, x) of the volume
    """

    def __init__(self, weights: ArrayLike, space: Space, device: torch.device | str = "cpu") -> None:
        matrix = np.asarray(weights, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != space.shape[0] or not matrix.shape[0]:
            raise ShapeError(f"Slice weights are (slice, z) with {space.shape[0]} columns, got {matrix.shape}.")
        if not np.isfinite(matrix).all() or not matrix.any(axis=1).all():
            raise ShapeError("Every measured slice needs a weight that is finite and not zero.")
        super().__init__(space, Space(("slice", *space.axes[1:]), (len(matrix), *space.shape[1:]), space.dtype), device)
        self.weights = matrix
        used = [np.flatnonzero(row) for row in matrix]
        self._bands = [(int(z[0]), int(z[-1]) + 1) for z in used]

    def _forward(self, x: Tensor) -> Tensor:
        y = x.new_empty((*x.shape[:-3], *self.range.shape))  # type: ignore[union-attr]
        for k, (start, stop) in enumerate(self._bands):
            torch.sum(self._row(k, x) * x[..., start:stop, :, :], dim=-3, out=y[..., k, :, :])
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        x = y.new_zeros((*y.shape[:-3], *self.domain.shape))  # type: ignore[union-attr]
        for k, (start, stop) in enumerate(self._bands):
            x[..., start:stop, :, :].addcmul_(self._row(k, y), y[..., k, None, :, :])
        return x

    def _row(self, k: int, like: Tensor) -> Tensor:
        start, stop = self._bands[k]
        return torch.as_tensor(self.weights[k, start:stop], dtype=like.dtype, device=like.device)[:, None, None]

    def interpolated(self, y: Tensor) -> Tensor:
        """Straight lines between the centres of the measured slices, the ends kept: a first image of them."""
        centres = (self.weights @ np.arange(self.weights.shape[1])) / self.weights.sum(axis=1)
        order = np.argsort(centres)
        z = np.arange(self.weights.shape[1])
        at = np.interp(z, centres[order], np.arange(len(order)))
        below = np.minimum(at.astype(int), max(len(order) - 2, 0))
        above = np.minimum(below + 1, len(order) - 1)
        share = torch.as_tensor(at - below, dtype=y.dtype, device=y.device)[:, None, None]
        lower, upper = (torch.as_tensor(order[k], device=y.device) for k in (below, above))
        return y.index_select(-3, lower) * (1 - share) + y.index_select(-3, upper) * share

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        """Slabs are problems of their own where every slice was measured, alone."""
        if axis != "z" or not np.array_equal(self.weights != 0, np.eye(*self.weights.shape, dtype=bool)):
            return None
        space = self.domain.resized("z", stop - start)  # type: ignore[union-attr]
        return Slab(SliceSampling(self.weights[start:stop, start:stop], space, self.device), "slice", start, stop)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return SliceSampling(self.weights, self.domain.astype(dtype), device)  # type: ignore[arg-type, union-attr]


def slice_weights(
    centres_mm: ArrayLike, thickness_mm: float, n_slices: int, slice_mm: float, profile: str = "box"
) -> NDArray[np.float64]:
    """Weights (slice, z) of measured slices on an even stack of thin ones; each row sums to 1.

    Parameters
    ----------
    centres_mm : (slice,) distances of the measured slices from the centre of thin slice 0, along the stack
    thickness_mm : width of a measured slice: of the box, or of the Gaussian at half its height
    n_slices, slice_mm : number and pitch of the thin slices
    profile : "box" or "gaussian"; integrated over each thin slice

    Raises
    ------
    ShapeError
        If a measured slice lies outside the stack, or the profile is unknown.
    """
    centres = np.asarray(centres_mm, dtype=np.float64)[:, None]
    faces = (np.arange(n_slices + 1) - 0.5) * slice_mm
    distance = (faces - centres) / thickness_mm
    if profile == "box":
        share = np.clip(distance + 0.5, 0.0, 1.0)
    elif profile == "gaussian":
        from scipy.special import ndtr

        share = ndtr(2.0 * np.sqrt(2.0 * np.log(2.0)) * distance)
    else:
        raise ShapeError(f"A slice profile is 'box' or 'gaussian', got {profile!r}.")
    weights = np.diff(share, axis=1)
    weights[weights < LEAST_WEIGHT] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    if (total < 0.25).any():
        k = int(np.argmin(total))
        raise ShapeError(f"Measured slice {k}, {centres[k, 0]:g} mm from the first thin one, lies outside the stack.")
    return np.asarray(weights / total)
