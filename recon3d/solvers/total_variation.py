"""Total variation: its value and its proximal map, fused in numba on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from operators.differences import difference, difference_adjoint
from operators.errors import ShapeError
from operators.reduce import ordered_sum

__all__ = ["ALL_AXES", "IN_PLANE", "SLICE_AXIS", "TVProx", "total_variation", "tv_prox"]

IN_PLANE = (-2, -1)
SLICE_AXIS = (-3,)
ALL_AXES = (-3, -2, -1)

Allocate = Callable[[Sequence[int], Tensor], Tensor]
"""Zeros of a shape, on the device and of the type of a tensor."""

_FAST = {"contract", "reassoc", "nsz", "arcp"}


def total_variation(
    x: Tensor, axes: Sequence[int] = ALL_AXES, spacing: Sequence[float] | None = None, huber: float = 0.0
) -> Tensor:
    """Isotropic total variation: the sum over voxels of the length t of the forward difference (Neumann ends).

    Parameters
    ----------
    x : real or complex tensor, shape (..., z, y, x)
    axes : which of the last three axes: (-2, -1) in-plane, (-3, -2, -1) in 3D, (-3,) along the slice axis alone
    spacing : one number per axis by which its differences are divided, 1 by default. With the voxel size divided by
        its smallest entry the penalty is that of the object and stays in the units of `x`.
    huber : with a value h above 0, Huber's function of t instead of t: t^2 / (2 h) up to h, t - h / 2 beyond

    Returns
    -------
    float64 tensor without axes
    """
    prox = TVProx(axes, spacing, huber=huber)
    if not _fused(x):
        squared = torch.zeros_like(x.real)
        for axis, c in zip(prox.axes, prox.inverse_spacing, strict=True):
            d = difference(x, axis).mul_(c)
            squared += torch.view_as_real(d).square_().sum(-1) if d.is_complex() else d.square_()
        length = squared.sqrt_()
        if huber > 0:
            length = torch.where(length <= huber, length.square() / (2 * huber), length - huber / 2)
        return ordered_sum(length)
    x = x.detach().resolve_conj().contiguous()
    axes_, factors, dims = _kernel_arguments(x, prox)
    partials = np.empty((math.prod(x.shape) // (dims[1] * dims[2]), 1, 1))
    _length_kernel(x.numpy().reshape(-1), axes_, factors, dims, float(huber), partials[:, 0, 0])
    return ordered_sum(torch.from_numpy(partials))


def tv_prox(
    x: Tensor,
    weight: float,
    axes: Sequence[int] = ALL_AXES,
    iterations: int = 50,
    spacing: Sequence[float] | None = None,
    nonnegative: bool = False,
    huber: float = 0.0,
) -> Tensor:
    """The proximal map of total variation: argmin over u of 1/2 ||u - x||^2 + weight TV(u).

    Parameters
    ----------
    x : real or complex tensor, shape (..., z, y, x) (the axes in use must exist); not overwritten
    weight : float
        At least 0, in the units of `x`; 0 returns `x` (its non-negative part).
    axes, spacing, huber
        As for `total_variation`.
    iterations : int
        Of the dual fast gradient projection.
    nonnegative : bool
        Minimise over u >= 0; real `x` only.

    Notes
    -----
    Fused in numba on the CPU, plain torch elsewhere. Holds the result and two volumes per axis.

    References
    ----------
    Beck and Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.
    """
    prox = TVProx(axes, spacing, nonnegative, huber)
    return prox(x, weight, iterations)


class TVProx:
    """The proximal map of total variation that starts where its last call ended, for use in outer iterations.

    Holds two dual volumes per axis from the first call on. Parameters as for `tv_prox`; `allocate` makes those volumes,
    where they are not to lie in memory.
    """

    def __init__(
        self,
        axes: Sequence[int] = ALL_AXES,
        spacing: Sequence[float] | None = None,
        nonnegative: bool = False,
        huber: float = 0.0,
        allocate: Allocate | None = None,
    ) -> None:
        if not (huber >= 0 and math.isfinite(huber)):
            raise ShapeError(f"Huber's threshold is a length of differences, at least 0, got {huber}.")
        if not axes or len(set(axes)) != len(axes) or not set(axes) <= set(ALL_AXES):
            raise ShapeError(f"Total variation takes some of the axes -3, -2, -1, each once, got {tuple(axes)}.")
        self.axes = tuple(axes)
        self.inverse_spacing = tuple(1.0 / distance for distance in _spacing(axes, spacing))
        self.nonnegative = nonnegative
        self.huber = float(huber)
        self.allocate = allocate or _in_memory
        self.dual: Tensor | None = None
        self._ahead: Tensor | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor, weight: float, iterations: int) -> Tensor:
        """argmin over u of 1/2 ||u - x||^2 + weight TV(u), after `iterations` steps from the last dual point."""
        if x.ndim < -min(self.axes):
            raise ShapeError(f"Total variation along axes {self.axes} needs as many axes, got shape {tuple(x.shape)}.")
        if self.nonnegative and x.is_complex():
            raise ShapeError("A non-negative image is real, got a complex one: leave non-negativity out.")
        x = x.resolve_conj().contiguous()
        if weight == 0:
            return x.clamp(min=0) if self.nonnegative else x.clone()
        if self.dual is None or self._ahead is None or self.dual.shape[1:] != x.shape:
            self.dual, self._ahead = (self.allocate((len(self.axes), *x.shape), x) for _ in range(2))
        self._ahead.copy_(self.dual)
        primal, dual_step = (_primal_fused, _dual_step_fused) if _fused(x) else (_primal, _dual_step)
        bound = self.bound(x)
        u, momentum = torch.empty_like(x), 1.0
        for _ in range(iterations if bound else 0):
            primal(u, x, self._ahead, self)
            momentum, previous = (1 + math.sqrt(1 + 4 * momentum**2)) / 2, momentum
            dual_step(self.dual, self._ahead, u, weight, 1 / bound, (previous - 1) / momentum, self)
        primal(u, x, self.dual, self)
        return u

    def primal(self, x: Tensor, dual: Tensor) -> Tensor:
        """x - D^H dual, not below 0 if asked."""
        u = torch.empty_like(x)
        (_primal_fused if _fused(x) else _primal)(u, x, dual, self)
        return u

    def raise_dual(self, dual: Tensor, u: Tensor, weight: float, step: float) -> None:
        """dual <- project(dual + step D u) in place, on vectors of length <= weight."""
        (_dual_step_fused if _fused(u) else _dual_step)(dual, dual, u, weight, step, 0.0, self)

    def bound(self, x: Tensor) -> float:
        """|D|^2 for images of the shape of x, from above; 0 where there is nothing to difference."""
        return 4 * sum(c * c for axis, c in zip(self.axes, self.inverse_spacing, strict=True) if x.shape[axis] > 1)


def _in_memory(shape: Sequence[int], like: Tensor) -> Tensor:
    return like.new_zeros(tuple(shape))


def _spacing(axes: Sequence[int], spacing: Sequence[float] | None) -> tuple[float, ...]:
    values = (1.0,) * len(axes) if spacing is None else tuple(float(s) for s in spacing)
    if len(values) != len(axes) or not all(s > 0 and math.isfinite(s) for s in values):
        raise ShapeError(f"Total variation needs one spacing above 0 for each of the axes {axes}, got {spacing}.")
    return values


def _fused(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)


def _primal(u: Tensor, x: Tensor, dual: Tensor, prox: TVProx) -> None:
    """u = x - D^H dual, non-negative if asked."""
    u.copy_(x)
    for component, axis, c in zip(dual, prox.axes, prox.inverse_spacing, strict=True):
        u.sub_(difference_adjoint(component, axis), alpha=c)
    if prox.nonnegative:
        u.clamp_(min=0)


def _dual_step(dual: Tensor, ahead: Tensor, u: Tensor, weight: float, step: float, push: float, prox: TVProx) -> None:
    """dual <- project(ahead + step D u) on vectors of length <= weight; ahead <- dual + push (dual - old dual).

    Huber's function pulls the dual towards 0 before it is projected: its conjugate is huber / (2 weight) |q|^2.
    """
    for component, axis, c in zip(ahead, prox.axes, prox.inverse_spacing, strict=True):
        component.add_(difference(u, axis), alpha=step * c)
    ahead.mul_(_shrink(step, weight, prox.huber))
    length = torch.linalg.vector_norm(ahead, dim=0)
    ahead.div_((length / weight).clamp_(min=1))
    new = ahead.clone()
    ahead.mul_(1 + push).sub_(dual, alpha=push)
    dual.copy_(new)


def _shrink(step: float, weight: float, huber: float) -> float:
    return 1.0 / (1.0 + step * huber / weight)


def _primal_fused(u: Tensor, x: Tensor, dual: Tensor, prox: TVProx) -> None:
    axes, factors, dims = _kernel_arguments(u, prox)
    arrays = u.numpy().reshape(-1), x.numpy().reshape(-1), dual.numpy().reshape(len(axes), -1)
    _primal_kernel(*arrays, axes, factors, dims, prox.nonnegative)


def _dual_step_fused(
    dual: Tensor, ahead: Tensor, u: Tensor, weight: float, step: float, push: float, prox: TVProx
) -> None:
    axes, factors, dims = _kernel_arguments(u, prox)
    real = factors.dtype.type
    arrays = [t.numpy().reshape(len(axes), -1) for t in (dual, ahead)]
    numbers = real(weight), real(push), real(_shrink(step, weight, prox.huber))
    _dual_kernel(*arrays, u.numpy().reshape(-1), axes, factors * real(step), dims, *numbers)


def _kernel_arguments(u: Tensor, prox: TVProx) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """Axes counted 0 (z), 1, 2; factors in the precision of `u`; dims (planes per volume, rows, columns)."""
    dims = (1, 1, 1, *u.shape)[-3:]
    real = np.float64 if u.dtype in (torch.float64, torch.complex128) else np.float32
    return np.array(prox.axes) + 3, np.array(prox.inverse_spacing, dtype=real), (dims[0], dims[1], dims[2])


@njit(parallel=True, cache=True, fastmath=_FAST)
def _primal_kernel(
    u: np.ndarray,
    x: np.ndarray,
    dual: np.ndarray,
    axes: np.ndarray,
    factors: np.ndarray,
    dims: tuple[int, int, int],
    nonnegative: bool,
) -> None:
    planes, rows, columns = dims
    for plane in prange(len(x) // (rows * columns)):
        for row in range(rows):
            start = (plane * rows + row) * columns
            out = u[start : start + columns]
            out[:] = x[start : start + columns]
            for d in range(len(axes)):
                c, q = factors[d], dual[d, start : start + columns]  # q is 0 at the far end of its axis
                for j in range(columns):
                    out[j] += c * q[j]
                if axes[d] == 2:
                    for j in range(1, columns):
                        out[j] -= c * q[j - 1]
                elif (axes[d] == 1 and row > 0) or (axes[d] == 0 and plane % planes > 0):
                    back = start - (columns if axes[d] == 1 else rows * columns)
                    q = dual[d, back : back + columns]
                    for j in range(columns):
                        out[j] -= c * q[j]
            if nonnegative:
                for j in range(columns):
                    if out[j].real < 0:
                        out[j] = 0


@njit(parallel=True, cache=True, fastmath=_FAST)
def _dual_kernel(
    dual: np.ndarray,
    ahead: np.ndarray,
    u: np.ndarray,
    axes: np.ndarray,
    steps: np.ndarray,
    dims: tuple[int, int, int],
    weight: float,
    push: float,
    shrink: float,
) -> None:
    planes, rows, columns = dims
    for plane in prange(len(u) // (rows * columns)):
        scale = np.empty(columns, steps.dtype)
        for row in range(rows):
            start = (plane * rows + row) * columns
            here = u[start : start + columns]
            scale[:] = 0
            for d in range(len(axes)):
                c, q = steps[d], ahead[d, start : start + columns]
                if axes[d] == 2:
                    for j in range(columns - 1):
                        q[j] += c * (here[j + 1] - here[j])
                elif (axes[d] == 1 and row < rows - 1) or (axes[d] == 0 and plane % planes < planes - 1):
                    next_start = start + (columns if axes[d] == 1 else rows * columns)
                    there = u[next_start : next_start + columns]
                    for j in range(columns):
                        q[j] += c * (there[j] - here[j])
                for j in range(columns):
                    scale[j] += q[j].real * q[j].real + q[j].imag * q[j].imag
            for j in range(columns):
                scale[j] = shrink * weight / max(weight, shrink * np.sqrt(scale[j]))
            for d in range(len(axes)):
                q, p = ahead[d, start : start + columns], dual[d, start : start + columns]
                for j in range(columns):
                    new = q[j] * scale[j]
                    q[j] = new + push * (new - p[j])
                    p[j] = new


@njit(parallel=True, cache=True, fastmath=_FAST)
def _length_kernel(
    u: np.ndarray,
    axes: np.ndarray,
    factors: np.ndarray,
    dims: tuple[int, int, int],
    huber: float,
    partials: np.ndarray,
) -> None:
    planes, rows, columns = dims
    for plane in prange(len(partials)):
        squared = np.empty(columns, factors.dtype)
        total = 0.0
        for row in range(rows):
            start = (plane * rows + row) * columns
            here = u[start : start + columns]
            squared[:] = 0
            for d in range(len(axes)):
                reach, forward = columns, columns if axes[d] == 1 else rows * columns
                if axes[d] == 2:
                    reach, forward = columns - 1, 1
                elif (axes[d] == 1 and row == rows - 1) or (axes[d] == 0 and plane % planes == planes - 1):
                    reach, forward = 0, 0
                there, c = u[start + forward : start + forward + reach], factors[d] * factors[d]
                for j in range(reach):
                    step = there[j] - here[j]
                    squared[j] += c * (step.real * step.real + step.imag * step.imag)
            for j in range(columns):
                length = np.sqrt(squared[j])
                total += length - 0.5 * huber if length >= huber else length * length / (2 * huber)
        partials[plane] = total
