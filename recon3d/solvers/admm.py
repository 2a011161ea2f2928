"""ADMM sweeps for data that meet total variation along the slice axis, as a step inside a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, cast

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from operators.differences import Boundary, difference, difference_adjoint
from operators.errors import ShapeError
from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Element, Space
from recon3d.solvers.cg import conjugate_gradient
from recon3d.solvers.proximal import soft_threshold

__all__ = ["SliceTV"]


class SliceTV:
    """One ADMM sweep for 1/2 ||A x - y||^2 + weight ||D x||_1, D the difference along the first image axis::

        x = CG(A^H A + rho D^H D + damping I, A^H y + rho D^H (z - u) + damping xhat, start xhat)
        z = shrink(D x + u, weight / rho)
        u = u + D x - z

    `state` = {"z", "u"} is carried from sweep to sweep; it may be saved and set to resume. Many sweeps from their own
    result minimise the objective. Holds z and u; while it solves, u and five volumes more.

    Parameters
    ----------
    A : operator
    y : data, a tensor or Blocks
    weight : float
        At least 0. Complex differences lose modulus and keep their phase.
    rho : float
        Above 0, in the units of A^H A; the threshold weight / rho is in the units of the image.
    cg_steps, cg_rtol
        Bounds of the inner solve: steps, and the residual relative to the one at xhat.
    boundary : "neumann", or "circular": the last slice meets the first
    z_init : "Dx" (z = D xhat at the first sweep) or "zeros" (as published; pulls slices together whatever the weight)
    damping : float
        At least 0, in the units of A^H A: keeps x near xhat where the data are noisy. May be set before each sweep.
    adjoint : callable, optional
        What stands for A^H in the equations (a published back-projection that is no exact adjoint); A.H by default.

    References
    ----------
    Chung et al., "Solving 3D inverse problems using pre-trained 2D diffusion models", CVPR 2023, Eq. (12) to (14).
    """

    def __init__(
        self,
        A: LinearOperator,
        y: Element,
        *,
        weight: float,
        rho: float,
        cg_steps: int = 5,
        cg_rtol: float = 1e-6,
        boundary: Boundary = "neumann",
        z_init: Literal["Dx", "zeros"] = "Dx",
        damping: float = 0.0,
        adjoint: Callable[[Element], Tensor] | None = None,
    ) -> None:
        if not (rho > 0 and weight >= 0):
            raise ShapeError(f"ADMM needs rho > 0 and weight >= 0, got rho = {rho} and weight = {weight}.")
        self.A, self.y, self.weight, self.rho = A, y, weight, rho
        self.cg_steps, self.cg_rtol, self.boundary, self.z_init = cg_steps, cg_rtol, boundary, z_init
        self.damping = damping
        self.adjoint: Callable[[Element], Tensor] = A.H if adjoint is None else adjoint
        self._dim = -len(cast(Space, A.domain).shape)  # the first image axis, behind any batch
        self.state: dict[str, Tensor] = {}
        self.residual = float("nan")
        """||A xhat - y|| / ||y|| at the start of the last sweep."""
        self._y_norm = float(norm(y)) or 1.0

    @torch.no_grad()
    def __call__(self, xhat: Tensor) -> Tensor:
        """The image after one sweep from `xhat`; `state` and `residual` are renewed, `xhat` is kept."""
        slope = self._d(xhat)
        z, u = self.state.get("z"), self.state.get("u")
        if z is None or u is None:
            z = slope if self.z_init == "Dx" else torch.zeros_like(slope)
            u = torch.zeros_like(slope)
        misfit = self.A(xhat) - self.y
        self.residual = float(norm(misfit)) / self._y_norm
        residual = self._dh(z - u - slope).mul_(self.rho).sub_(self.adjoint(misfit))
        self.state = {}  # z is not needed any more
        del z, misfit, slope
        x = conjugate_gradient(self._normal, residual, max_steps=self.cg_steps, rtol=self.cg_rtol).x.add_(xhat)
        del residual
        raised = self._d(x).add_(u)
        z = soft_threshold(raised, self.weight / self.rho)
        self.state = {"z": z, "u": raised.sub_(z)}
        return x

    def _normal(self, x: Tensor) -> Tensor:
        image = self.adjoint(self.A(x))
        if image.data_ptr() == x.data_ptr():  # the identity gives x itself
            image = image.clone()
        if image.device.type != "cpu":
            image.add_(self._dh(self._d(x)), alpha=self.rho)
            return image.add_(x, alpha=self.damping) if self.damping else image
        image = image.contiguous()
        shape = (-1, x.shape[self._dim], math.prod(x.shape[x.ndim + self._dim + 1 :]) * (2 if x.is_complex() else 1))
        flat = [
            (torch.view_as_real(t) if t.is_complex() else t).reshape(shape).numpy() for t in (x.contiguous(), image)
        ]
        _couple(*flat, self.rho, self.damping, self.boundary == "circular")
        return image

    def _d(self, x: Tensor) -> Tensor:
        return difference(x, self._dim, self.boundary)

    def _dh(self, d: Tensor) -> Tensor:
        return difference_adjoint(d, self._dim, self.boundary)


@njit(parallel=True, cache=True)
def _couple(x: np.ndarray, image: np.ndarray, rho: float, damping: float, circular: bool) -> None:
    """image += (rho D^H D + damping I) x in place; axes (batch, slice, values)."""
    batch, slices, values = x.shape
    weight, keep = x.dtype.type(rho), x.dtype.type(damping)
    for task in prange(batch * slices):
        b, k = task // slices, task % slices
        below, above = k - 1, k + 1
        if circular:
            below, above = below % slices, above % slices
        below, above = max(below, 0), min(above, slices - 1)  # Neumann: no difference beyond the ends
        for i in range(values):
            here = x[b, k, i]
            image[b, k, i] += weight * ((here - x[b, below, i]) + (here - x[b, above, i])) + keep * here
