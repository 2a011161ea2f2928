"""Conjugate gradients for Hermitian systems and for least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Element
from recon3d.solvers.parts import WHOLE, Part, Parts

__all__ = ["CGResult", "Callback", "cgls", "conjugate_gradient"]

Callback = Callable[[int, Tensor, Tensor], bool | None]
"""`callback(step, x, relative_residual)` after each step; False stops. `x` is the live array: copy it to keep it."""


@dataclass(frozen=True)
class CGResult:
    """What the solver found and why it stopped.

    Parameters
    ----------
    x : the solution
    steps : steps taken (of the slowest problem in a batch)
    relative_residual : float64 tensor, one number per problem: the residual that decides, over the right-hand side
    stopped_by : "rtol" (every problem), "breakdown" (any problem met <p, Kp> <= 0 or a value that is not a number),
        "discrepancy" (`cgls`: the data are fitted well enough), "callback" or "max_steps"
    """

    x: Tensor
    steps: int
    relative_residual: Tensor
    stopped_by: str


@torch.no_grad()
def conjugate_gradient(
    K: Callable[[Tensor], Tensor],
    b: Tensor,
    x: Tensor | None = None,
    *,
    max_steps: int = 50,
    rtol: float = 1e-6,
    batch_ndim: int = 0,
    residual: Tensor | None = None,
    callback: Callback | None = None,
    parts: Parts = WHOLE,
) -> CGResult:
    """Solve K x = b for a Hermitian positive semidefinite K.

    Each index of the first `batch_ndim` axes is a problem of its own, with its own step sizes, and rests once it has
    converged; its numbers do not depend on its neighbours. Holds x, r, p and K p; no input is overwritten.

    Parameters
    ----------
    K : callable
        Keeps shape and dtype; with `batch_ndim`, acts on each problem alone.
    b : real or complex tensor
    x : start, zero by default
    max_steps, rtol
        Stop after `max_steps`, or at ||b - K x|| <= rtol ||b||. On an accelerator each eighth step asks whether all
        have converged, none with rtol = 0; until then those that have rest.
    batch_ndim : int
        How many leading axes count problems.
    residual : tensor, optional
        b - K x, where the caller has it already; saves one application of K.
    callback
        See `Callback`.
    parts
        How the vectors are walked over, for those that lie on disk (with no `batch_ndim`).

    References
    ----------
    Hestenes and Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409.
    """
    if x is not None and x.shape != b.shape:
        raise ShapeError(f"The start needs the shape of the right-hand side {tuple(b.shape)}, got {tuple(x.shape)}.")
    b_squared = parts.norm(b, batch_ndim).square()
    if residual is None:
        residual = b if x is None else parts.each(lambda _, b, Kx: b - Kx, b, K(x))
    r = parts.each(_copied, residual)
    x = parts.each(lambda _, r: torch.zeros_like(r), r) if x is None else parts.each(_copied, x)
    rr = parts.norm(r, batch_ndim).square()
    scale = torch.where(b_squared > 0, b_squared, rr)
    p, broken, steps, stopped_by = parts.each(_copied, r), torch.zeros_like(rr, dtype=torch.bool), 0, "max_steps"
    active = rr > rtol**2 * scale
    while steps < max_steps and not (_may_wait(b, rtol, steps) and not bool(active.any())):
        Kp = K(p)
        curvature = parts.inner(p, Kp, batch_ndim).real
        broken = broken | active & ~(curvature > 0)
        active = active & ~broken
        alpha = torch.where(active, rr / curvature, 0.0)
        parts.change(partial(_descend, alpha=alpha), x, r, p, Kp)
        previous, rr = rr, parts.norm(r, batch_ndim).square()
        active = active & (rr > rtol**2 * scale)
        parts.change(partial(_turn, beta=torch.where(active, rr / previous, 0.0), active=active), p, r)
        del Kp  # before the next one is made
        steps += 1
        if callback is not None and callback(steps, x, _ratio(rr, scale)) is False:
            stopped_by = "callback"
            break
    if stopped_by != "callback" and _may_wait(b, rtol, steps) and not bool(active.any()):
        stopped_by = "breakdown" if bool(broken.any()) else "rtol"
    return CGResult(x, steps, _ratio(rr, scale), stopped_by)


def _may_wait(b: Tensor, rtol: float, steps: int) -> bool:
    """Whether to read if any problem is still active: an accelerator has to wait for that."""
    return b.device.type == "cpu" or (rtol > 0 and steps > 0 and steps % 8 == 0)


@torch.no_grad()
def cgls(
    A: LinearOperator,
    y: Element,
    x: Tensor | None = None,
    *,
    max_steps: int = 50,
    rtol: float = 1e-6,
    data_rtol: float = 0.0,
    damping: float = 0.0,
    callback: Callback | None = None,
) -> CGResult:
    """Minimise ||A x - y||^2 + damping ||x||^2 without forming A^H A; stopped early, it regularises by itself.

    Parameters
    ----------
    A : operator with an exact adjoint
    y : data, a tensor or Blocks
    x : start, zero by default
    max_steps, rtol
        Stop after `max_steps`, or where the gradient A^H (y - A x) - damping x is at most `rtol` times that at x = 0;
        `relative_residual` is this ratio.
    data_rtol : float
        Stop at ||A x - y|| <= data_rtol ||y||: the discrepancy principle with tau sigma sqrt(m) / ||y||.
    damping : float
        At least 0, in the units of A^H A.
    callback
        Gets step, x and the relative data residual ||A x - y|| / ||y||; False stops.
    """
    y_norm = norm(y)
    r: Any = y if x is None else y - A(x)
    s: Tensor = A.H(r) if x is None else A.H(r) - damping * x
    scale = (norm(s) if x is None else norm(A.H(y))).square()
    x = torch.zeros_like(s) if x is None else x.clone()
    ss = norm(s).square()
    scale = torch.where(scale > 0, scale, ss)
    p, steps, stopped_by = s.clone(), 0, "max_steps"
    while True:
        if float(ss) <= rtol**2 * float(scale):
            stopped_by = "rtol"
        elif data_rtol > 0 and float(norm(r)) <= data_rtol * float(y_norm):
            stopped_by = "discrepancy"
        if stopped_by != "max_steps" or steps == max_steps:
            break
        q = A(p)
        curvature = norm(q).square() + damping * norm(p).square()
        if not float(curvature) > 0:
            stopped_by = "breakdown"
            break
        alpha = float(ss / curvature)
        x.add_(p, alpha=alpha)
        r = r - q * alpha
        s = A.H(r) if damping == 0 else A.H(r).sub(x, alpha=damping)
        previous, ss = ss, norm(s).square()
        p.mul_(float(ss / previous)).add_(s)
        steps += 1
        if callback is not None and callback(steps, x, norm(r) / y_norm) is False:
            stopped_by = "callback"
    return CGResult(x, steps, _ratio(ss, scale), stopped_by)


def _ratio(squared: Tensor, scale: Tensor) -> Tensor:
    """sqrt(squared / scale), 0 where there was nothing to solve."""
    return torch.where(scale > 0, squared / scale, 0.0).sqrt()


def _copied(_: Part, x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def _descend(_: Part, x: Tensor, r: Tensor, p: Tensor, Kp: Tensor, alpha: Tensor) -> None:
    """x += alpha p and r -= alpha Kp in place, for problems with alpha other than 0."""
    if _fused(x):
        flat = [_per_problem(t, alpha) for t in (x, r, p, Kp)]
        _descend_rows(*flat, alpha.numpy().reshape(-1))
    else:
        weight = _spread(alpha, x)
        x.copy_(torch.where(weight != 0, x + weight * p, x))
        r.copy_(torch.where(weight != 0, r - weight * Kp, r))


def _turn(_: Part, p: Tensor, r: Tensor, beta: Tensor, active: Tensor) -> None:
    """p = r + beta p in place, for active problems."""
    if _fused(p):
        _turn_rows(_per_problem(p, beta), _per_problem(r, beta), beta.numpy().reshape(-1), active.numpy().reshape(-1))
    else:
        p.copy_(torch.where(_spread(active, p), r + _spread(beta, p) * p, p))


def _fused(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)


def _per_problem(t: Tensor, scalars: Tensor) -> np.ndarray:
    """A real, writable view (problem, values)."""
    t = t.resolve_conj().contiguous()
    t = torch.view_as_real(t) if t.is_complex() else t
    return t.reshape(scalars.numel(), -1).numpy()


def _spread(scalars: Tensor, like: Tensor) -> Tensor:
    """One number per problem, ready to multiply `like` in its own precision."""
    dtype = scalars.dtype if scalars.dtype == torch.bool else like.real.dtype
    return scalars.to(dtype).reshape(*scalars.shape, *[1] * (like.ndim - scalars.ndim))


_CHUNK = 1 << 14  # values per parallel task


@njit(parallel=True, cache=True)
def _descend_rows(x: np.ndarray, r: np.ndarray, p: np.ndarray, Kp: np.ndarray, alpha: np.ndarray) -> None:
    problems, values = x.shape
    chunks = (values + _CHUNK - 1) // _CHUNK
    for task in prange(problems * chunks):
        k, start = task // chunks, (task % chunks) * _CHUNK
        step, stop = x.dtype.type(alpha[k]), min(start + _CHUNK, values)
        if step != 0:
            _add_scaled(x[k, start:stop], step, p[k, start:stop])
            _add_scaled(r[k, start:stop], -step, Kp[k, start:stop])


@njit(parallel=True, cache=True)
def _turn_rows(p: np.ndarray, r: np.ndarray, beta: np.ndarray, active: np.ndarray) -> None:
    problems, values = p.shape
    chunks = (values + _CHUNK - 1) // _CHUNK
    for task in prange(problems * chunks):
        k, start = task // chunks, (task % chunks) * _CHUNK
        stop = min(start + _CHUNK, values)
        if active[k]:
            _scale_add(p[k, start:stop], p.dtype.type(beta[k]), r[k, start:stop])


@njit  # short loops over two arrays of their own: the compiler vectorises them
def _add_scaled(a: np.ndarray, factor: float, b: np.ndarray) -> None:
    for i in range(len(a)):
        a[i] += factor * b[i]


@njit
def _scale_add(a: np.ndarray, factor: float, b: np.ndarray) -> None:
    for i in range(len(a)):
        a[i] = b[i] + factor * a[i]
