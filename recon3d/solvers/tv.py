"""Least squares with total variation as penalty, by accelerated proximal gradient steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Element
from recon3d.solvers.cg import Callback
from recon3d.solvers.total_variation import ALL_AXES, Allocate, TVProx, total_variation

__all__ = ["TVResult", "tv_least_squares"]


@dataclass(frozen=True)
class TVResult:
    """What the solver found and why it stopped.

    Parameters
    ----------
    x : the image
    steps : steps taken; each applied A and A^H once
    relative_residual : how far the last step was from the minimum: L ||x - q|| / ||A^H y||, 0 at the minimum
    stopped_by : "rtol", "callback" or "max_steps"
    objectives : 1/2 ||A x - y||^2 + weight TV(x) after each step
    """

    x: Tensor
    steps: int
    relative_residual: float
    stopped_by: str
    objectives: tuple[float, ...]


@torch.no_grad()
def tv_least_squares(
    A: LinearOperator,
    y: Element,
    weight: float,
    x: Tensor | None = None,
    *,
    axes: Sequence[int] = ALL_AXES,
    spacing: Sequence[float] | None = None,
    nonnegative: bool = False,
    huber: float = 0.0,
    max_steps: int = 200,
    rtol: float = 1e-4,
    prox_iterations: int = 10,
    callback: Callback | None = None,
    allocate: Allocate | None = None,
) -> TVResult:
    """Minimise 1/2 ||A x - y||^2 + weight TV(x), over x >= 0 if asked.

    Accelerated proximal gradient steps (FISTA): each applies A and A^H once, its proximal map goes on from the dual
    point of the step before, and momentum starts anew where the objective rises. The step is 1 / L, with L from a few
    steps of power iteration, raised where a step shows more curvature. Holds four volumes, two more per axis, and
    three data arrays beside y.

    Parameters
    ----------
    A : operator with an exact adjoint
    y : data, a tensor or Blocks
    weight : float
        At least 0, in the units of y^2 / x. A sensible scale is that of the largest entry of A^H y.
    x : start, zero by default; not overwritten
    axes, spacing, huber
        As for `total_variation`.
    nonnegative : bool
        Real images only.
    max_steps, rtol
        Stop after `max_steps`, or where `TVResult.relative_residual` is at most `rtol`.
    prox_iterations : int
        Dual iterations of each proximal map.
    callback
        See `recon3d.solvers.cg.Callback`.
    allocate
        Makes the dual volumes, two per axis, e.g. on disk.

    References
    ----------
    Beck and Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.
    O'Donoghue and Candes, Found. Comput. Math. 15 (2015) 715 (the restart).
    """
    prox = TVProx(axes, spacing, nonnegative, huber, allocate)
    curvature = A.norm(max_steps=12) ** 2 or 1.0
    scale = float(norm(A.H(y))) or 1.0
    x = cast(Tensor, A.domain.zeros(A.device)) if x is None else x.clone()
    ahead, Ax = x.clone(), A(x)
    A_ahead, momentum, residual, stopped_by = Ax, 1.0, math.inf, "max_steps"
    objectives: list[float] = []
    while len(objectives) < max_steps and stopped_by == "max_steps":
        point = A.H(A_ahead - y).mul_(-1 / curvature).add_(ahead)
        new = prox(point, weight / curvature, prox_iterations)
        A_new = A(new)
        change = float(norm(torch.sub(new, ahead, out=point)))
        seen = float(norm(A_new - A_ahead)) ** 2
        if seen > 1.001 * curvature * change**2 > 0:
            curvature = 1.05 * seen / change**2
            continue
        objectives.append(
            0.5 * float(norm(A_new - y)) ** 2 + weight * float(total_variation(new, axes, spacing, huber))
        )
        if len(objectives) > 1 and objectives[-1] > objectives[-2]:
            momentum = 1.0
        momentum, previous = (1 + math.sqrt(1 + 4 * momentum**2)) / 2, momentum
        push = (previous - 1) / momentum
        torch.sub(new, x, out=ahead).mul_(push).add_(new)
        A_ahead = A_new + (A_new - Ax) * push
        x, Ax = new, A_new
        residual = curvature * change / scale
        if callback is not None and callback(len(objectives), x, torch.tensor(residual)) is False:
            stopped_by = "callback"
        elif residual <= rtol:
            stopped_by = "rtol"
    return TVResult(x, len(objectives), residual, stopped_by, tuple(objectives))
