"""The primal-dual hybrid gradient method for reconstruction with total variation: the same minimiser as FISTA's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Element
from recon3d.solvers.cg import Callback
from recon3d.solvers.total_variation import ALL_AXES, TVProx, total_variation
from recon3d.solvers.tv import TVResult

__all__ = ["tv_primal_dual"]


@torch.no_grad()
def tv_primal_dual(
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
    callback: Callback | None = None,
) -> TVResult:
    """Minimise 1/2 ||A x - y||^2 + weight TV(x), over x >= 0 if asked, without any inner iteration.

    Each step applies A and A^H once and updates an image, a dual of the data (p) and one of the differences (q)::

        x' = max(0, x - tau (A^H p + D^H q))
        p  = (p + sigma (A (2 x' - x) - y)) / (1 + sigma)
        q  = project(q + s D (2 x' - x))          |q| <= weight

    The steps of image and duals are balanced while it runs, by less and less, so that it converges for any scale of
    the problem. Holds four volumes, three more per axis, and four data arrays beside y. Parameters are those of
    `recon3d.solvers.tv.tv_least_squares`; `relative_residual` is the largest change in two steps, of x / tau over
    A^H y and of p / sigma over y.

    References
    ----------
    Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120; Sidky, Jorgensen, Pan, Phys. Med. Biol. 57 (2012) 3065.
    Goldstein, Li, Yuan, "Adaptive primal-dual splitting methods", NIPS 2015 (the balance).
    """
    prox = TVProx(axes, spacing, nonnegative, huber)
    x = cast(Tensor, A.domain.zeros(A.device)) if x is None else x.clone()
    strength, steepness = A.norm(max_steps=12) * 1.02 or 1.0, math.sqrt(prox.bound(x))
    image_scale, data_scale = float(norm(A.H(y))) or 1.0, float(norm(y)) or 1.0
    # tau (sigma |A|^2 + s |D|^2) <= 1 with both terms equal; `balance` moves between tau and the duals' steps.
    balance, change_of_balance = 1.0, 0.5
    Ax: Any = A(x)
    p: Any = y * 0.0
    pulled, q = torch.zeros_like(x), x.new_zeros((len(prox.axes), *x.shape))
    changes, residual, stopped_by = (math.inf, math.inf), math.inf, "max_steps"
    objectives: list[float] = []
    while len(objectives) < max_steps and stopped_by == "max_steps":
        tau, sigma = balance / strength, 0.5 / (balance * strength)
        slope_step = 0.5 * strength / (balance * steepness**2) if steepness else 0.0
        new = prox.primal(x.sub(pulled, alpha=tau).div_(tau), q).mul_(tau)
        A_new = A(new)
        p_new = (p + (2.0 * A_new - Ax - y) * sigma) * (1.0 / (1.0 + sigma))
        if weight > 0 and steepness:
            prox.raise_dual(q, torch.sub(2 * new, x), weight, slope_step)
        pulled = A.H(p_new)
        before = changes
        changes = float(norm(new - x)) / (tau * image_scale), float(norm(p_new - p)) / (sigma * data_scale)
        x, Ax, p = new, A_new, p_new
        residual = max(*before, *changes)  # a change of q alone moves x one step later
        if max(changes) > 2 * min(changes):
            factor = 1.0 - change_of_balance
            balance *= 1 / factor if changes[0] > changes[1] else factor
            change_of_balance *= 0.95
        penalty = weight * float(total_variation(x, axes, spacing, huber)) if weight > 0 else 0.0
        objectives.append(0.5 * float(norm(Ax - y)) ** 2 + penalty)
        if callback is not None and callback(len(objectives), x, torch.tensor(residual)) is False:
            stopped_by = "callback"
        elif residual <= rtol:
            stopped_by = "rtol"
    return TVResult(x, len(objectives), residual, stopped_by, tuple(objectives))
