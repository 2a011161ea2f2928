"""ADMM sweeps for data that meet total variation along the slice axis, as a step inside a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
from recon3d.solvers.parts import WHOLE, Part, Parts
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
    parts
        How volumes are walked over, for those that lie on disk: images are (z, y, x), each slice has data of its own,
        and no `adjoint` is given. `residual` is summed in another order then.

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
        parts: Parts = WHOLE,
    ) -> None:
        if not (rho > 0 and weight >= 0):
            raise ShapeError(f"ADMM needs rho > 0 and weight >= 0, got rho = {rho} and weight = {weight}.")
        self.A, self.y, self.weight, self.rho = A, y, weight, rho
        self.cg_steps, self.cg_rtol, self.boundary, self.z_init = cg_steps, cg_rtol, boundary, z_init
        self.damping = damping
        self.adjoint, self.parts = adjoint, parts
        self._dim = -len(cast(Space, A.domain).shape)  # the first image axis, behind any batch
        self.state: dict[str, Tensor] = {}
        self.residual = float("nan")
        """||A xhat - y|| / ||y|| at the start of the last sweep."""
        self._y_norm = float(norm(y)) or 1.0
        self._slabs = {} if parts.whole else dict(self._restricted())

    @torch.no_grad()
    def __call__(self, xhat: Tensor) -> Tensor:
        """The image after one sweep from `xhat`; `state` and `residual` are renewed, `xhat` is kept."""
        parts, halo = self.parts, self.boundary
        slope = parts.each(lambda part, x: self._d(x)[part.inner], xhat, halo=halo)
        z, u = self.state.get("z"), self.state.get("u")
        if z is None or u is None:
            z = slope if self.z_init == "Dx" else parts.each(lambda _, d: torch.zeros_like(d), slope)
            u = parts.each(lambda _, d: torch.zeros_like(d), slope)

        def pulled(part: Part, z: Tensor, u: Tensor, slope: Tensor) -> Tensor:
            return self._dh(z - u - slope)[part.inner].mul_(self.rho)

        misfit2 = 0.0

        def fitted(part: Part, x: Tensor, residual: Tensor) -> None:
            nonlocal misfit2
            A, y = self._data_of(part)
            misfit = A(x) - y
            misfit2 += float(norm(misfit)) ** 2
            residual.sub_(self._adjoint(A, misfit))

        residual = parts.each(pulled, z, u, slope, halo=halo)
        self.state = {}  # z is not needed any more
        del z, slope
        parts.change(fitted, xhat, residual)
        self.residual = math.sqrt(misfit2) / self._y_norm
        x = conjugate_gradient(
            lambda p: parts.each(self._normal, p, halo=halo),
            residual,
            max_steps=self.cg_steps,
            rtol=self.cg_rtol,
            parts=parts,
        ).x
        del residual
        parts.change(lambda _, x, xhat: x.add_(xhat), x, xhat)
        raised = parts.each(lambda part, x, u: self._d(x)[part.inner].add_(u[part.inner]), x, u, halo=halo)
        z = parts.each(lambda _, raised: soft_threshold(raised, self.weight / self.rho), raised)
        parts.change(lambda _, raised, z: raised.sub_(z), raised, z)
        self.state = {"z": z, "u": raised}
        return x

    def _restricted(self) -> Iterator[tuple[int, tuple[LinearOperator, Element]]]:
        for part in self.parts:
            slab = self.A.restrict("z", part.start, cast(int, part.stop))
            if slab is None or self.adjoint is not None:
                raise ShapeError("Volumes on disk need slices with data of their own, and the exact adjoint.")
            yield part.start, (slab.operator, slab.select(cast(Tensor, self.y), cast(Space, self.A.range)))

    def _data_of(self, part: Part) -> tuple[LinearOperator, Element]:
        """Operator and data of some slices, or of all."""
        if part.stop is None:
            return self.A, self.y
        return self._slabs[part.start]

    def _normal(self, part: Part, x: Tensor) -> Tensor:
        """(A^H A + rho D^H D + damping I) x of the part's slices; x has their neighbours, too."""
        own = x[part.inner]
        A = self._data_of(part)[0]
        image = self._adjoint(A, A(own))
        if image.data_ptr() == own.data_ptr():  # the identity gives x itself
            image = image.clone()
        if image.device.type != "cpu":
            image.add_(self._dh(self._d(x))[part.inner], alpha=self.rho)
            return image.add_(own, alpha=self.damping) if self.damping else image
        image = image.contiguous()
        values = math.prod(x.shape[x.ndim + self._dim + 1 :]) * (2 if x.is_complex() else 1)
        flat = [
            (torch.view_as_real(t) if t.is_complex() else t).reshape(-1, t.shape[self._dim], values).numpy()
            for t in (x.contiguous(), image)
        ]
        _couple(*flat, part.before, self.rho, self.damping, self.boundary == "circular")
        return image

    def _adjoint(self, A: LinearOperator, y: Element) -> Tensor:
        return cast(Tensor, A.H(y)) if self.adjoint is None else self.adjoint(y)

    def _d(self, x: Tensor) -> Tensor:
        return difference(x, self._dim, self.boundary)

    def _dh(self, d: Tensor) -> Tensor:
        return difference_adjoint(d, self._dim, self.boundary)


@njit(parallel=True, cache=True)
def _couple(x: np.ndarray, image: np.ndarray, first: int, rho: float, damping: float, circular: bool) -> None:
    """image += (rho D^H D + damping I) x in place; axes (batch, slice, values), slice 0 of image is `first` of x."""
    batch, count, values = image.shape
    slices = x.shape[1]
    weight, keep = x.dtype.type(rho), x.dtype.type(damping)
    for task in prange(batch * count):
        b, own = task // count, task % count
        k = own + first
        below, above = k - 1, k + 1
        if circular:
            below, above = below % slices, above % slices
        below, above = max(below, 0), min(above, slices - 1)  # Neumann: no difference beyond the ends
        for i in range(values):
            here = x[b, k, i]
            image[b, own, i] += weight * ((here - x[b, below, i]) + (here - x[b, above, i])) + keep * here
