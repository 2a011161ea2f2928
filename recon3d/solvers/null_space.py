"""What the data say about an image: the part of it that they determine, and the change that they still ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.slice_norm import slice_axis
from operators.space import Element
from recon3d.solvers.cg import conjugate_gradient

__all__ = ["least_squares_change", "undetermined"]


@torch.no_grad()
def undetermined(A: LinearOperator, x: Tensor, *, damping: float, max_steps: int = 20) -> Tensor:
    """The part of x in which the data have no say: ``x - (A^H A + damping I)^-1 A^H A x``.

    A component along a singular vector of A with value s keeps the share ``damping / (s^2 + damping)``: all of it in
    the null space, half of it where the data are as weak as the damping. What a method put there comes from its prior.

    Parameters
    ----------
    damping : above 0, in the units of A^H A: variance of the noise over that of the image, or a small number
    max_steps : conjugate gradient steps; with fewer than it takes, slow directions count as undetermined
    """
    return x - _solve(A, A.gram(x), damping, max_steps)


@torch.no_grad()
def least_squares_change(A: LinearOperator, y: Element, x: Tensor, *, damping: float, max_steps: int = 20) -> Tensor:
    """The smallest change of x that takes away its misfit: ``(A^H A + damping I)^-1 A^H (y - A x)``.

    The residual as an image in the units of x: noise where x explains the data, structure where it does not.
    """
    return _solve(A, A.H(y - A(x)), damping, max_steps)


def _solve(A: LinearOperator, right: Tensor, damping: float, max_steps: int) -> Tensor:
    batch_ndim = 0 if slice_axis(A) is None else 1
    normal = A.gram + damping
    return conjugate_gradient(normal, right, max_steps=max_steps, rtol=1e-3, batch_ndim=batch_ndim).x
