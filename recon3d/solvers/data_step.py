"""Data steps of samplers: move a denoised image towards the data; made once per problem, called once per step."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.reduce import inner, norm
from operators.slice_norm import slice_axis
from operators.space import Element
from recon3d.solvers.cg import conjugate_gradient

__all__ = ["CovarianceStep", "LeastSquaresStep"]


class LeastSquaresStep:
    """A few conjugate gradient steps on 1/2 ||A x - y||^2 + damping/2 ||x - xhat||^2, started at xhat.

    Without damping the result differs from xhat in the Krylov space of A^H A and A^H (y - A xhat) alone. Where slices
    are problems of their own, each has its own step sizes, so that a slab of them gives the same numbers.

    Parameters
    ----------
    A, y : operator and data
    cg_steps : conjugate gradient steps, or fewer where they converge
    damping : at least 0, in the units of A^H A; the sheet's 1 / gamma. May be set before each call.
    noise_norm2 : the squared norm that noise alone gives one number of the data, or 0. The step is then shortened to
        where ||A x - y||^2 meets its sum: Morozov's discrepancy principle.

    References
    ----------
    Chung, Lee, Ye, "Decomposed diffusion sampler for accelerating large-scale inverse problems", ICLR 2024.
    """

    def __init__(
        self, A: LinearOperator, y: Element, *, cg_steps: int = 5, damping: float = 0.0, noise_norm2: float = 0.0
    ) -> None:
        self.A, self.y, self.cg_steps, self.damping, self.noise_norm2 = A, y, cg_steps, damping, noise_norm2
        self.state: dict[str, Tensor] = {}
        self.residual = float("nan")
        """||A xhat - y|| / ||y|| at the start of the last step."""
        self._slice_axis = slice_axis(A)
        self._y_norm = float(norm(y)) or 1.0

    @torch.no_grad()
    def __call__(self, xhat: Tensor) -> Tensor:
        misfit = self.y - self.A(xhat)
        self.residual = float(norm(misfit)) / self._y_norm
        right = self.A.H(misfit)
        batch_ndim = 0 if self._slice_axis is None else 1
        d = conjugate_gradient(self._normal, right, max_steps=self.cg_steps, batch_ndim=batch_ndim).x
        if self.noise_norm2 > 0:
            d.mul_(self._share(misfit, right, d, batch_ndim))
        return d.add_(xhat)

    def _normal(self, x: Tensor) -> Tensor:
        image = self.A.gram(x)
        return image.add(x, alpha=self.damping) if self.damping else image

    def _share(self, misfit: Element, right: Tensor, d: Tensor, batch_ndim: int) -> Tensor:
        """The smallest t in [0, 1] with ||misfit - t A d||^2 = noise; ||A d||^2 follows from Galerkin's condition."""
        if self._slice_axis is not None:
            misfit = cast(Tensor, misfit).movedim(self._slice_axis, 0)
        before = norm(misfit, batch_ndim).square()
        slope = inner(right, d, batch_ndim).real
        curvature = (slope - self.damping * norm(d, batch_ndim).square()).clamp(min=1e-300)
        excess = before - self.noise_norm2 * (self.A.range.size / max(1, before.numel()))
        t = (slope - (slope.square() - curvature * excess).clamp(min=0).sqrt()) / curvature
        return t.clamp(0, 1).to(d.real.dtype).reshape(*t.shape, *[1] * (d.ndim - t.ndim))


class CovarianceStep:
    """x = xhat + C A^H (A C A^H + noise_std^2 I)^-1 (y - A xhat): the posterior mean for a Gaussian N(xhat, C).

    Parameters
    ----------
    A, y : operator and data, a tensor
    noise_std : standard deviation of the noise per real channel, above 0
    cg_steps : conjugate gradient steps in the space of the data
    """

    def __init__(self, A: LinearOperator, y: Tensor, *, noise_std: float, cg_steps: int = 5) -> None:
        self.A, self.y, self.noise_std, self.cg_steps = A, y, noise_std, cg_steps
        self.covariance: Callable[[Tensor], Tensor] = lambda v: v
        """v -> C v; set before each call."""
        self.state: dict[str, Tensor] = {}
        self.residual = float("nan")
        self._y_norm = float(norm(y)) or 1.0

    @torch.no_grad()
    def __call__(self, xhat: Tensor) -> Tensor:
        misfit = self.y - self.A(xhat)
        self.residual = float(norm(misfit)) / self._y_norm
        w = conjugate_gradient(self._data_covariance, misfit, max_steps=self.cg_steps, rtol=1e-8).x
        return xhat + self.covariance(self.A.H(w))

    def _data_covariance(self, w: Tensor) -> Tensor:
        return self.A(self.covariance(self.A.H(w))).add(w, alpha=self.noise_std**2)
