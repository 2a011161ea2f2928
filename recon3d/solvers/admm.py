"""ADMM sweeps for data that meet total variation along the slice axis, as a step inside a sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
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
    result minimise the objective. Holds A^H y, z and u, and four volumes more while it solves.

    Parameters
    ----------
    A : operator
    y : data, a tensor or Blocks
    weight : float
        At least 0. Complex differences lose modulus and keep their phase.
    rho : float
        Above 0, in the units of A^H A; the threshold weight / rho is in the units of the image.
    cg_steps, cg_rtol
        Bounds of the inner solve.
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
        self.adjoint_data = self.adjoint(y)
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
        target = z - u
        misfit = self.A(xhat) - self.y
        self.residual = float(norm(misfit)) / self._y_norm
        right = self.adjoint_data.add(self._dh(target), alpha=self.rho)
        if self.damping:
            right.add_(xhat, alpha=self.damping)
        residual = self._dh(target - slope).mul_(self.rho).sub_(self.adjoint(misfit))
        del target, misfit, slope
        x = conjugate_gradient(
            self._normal, right, xhat, max_steps=self.cg_steps, rtol=self.cg_rtol, residual=residual
        ).x
        raised = self._d(x).add_(u)
        z = soft_threshold(raised, self.weight / self.rho)
        self.state = {"z": z, "u": raised.sub_(z)}
        return x

    def _normal(self, x: Tensor) -> Tensor:
        image = self.adjoint(self.A(x)).add(self._dh(self._d(x)), alpha=self.rho)
        return image.add_(x, alpha=self.damping) if self.damping else image

    def _d(self, x: Tensor) -> Tensor:
        return difference(x, self._dim, self.boundary)

    def _dh(self, d: Tensor) -> Tensor:
        return difference_adjoint(d, self._dim, self.boundary)
