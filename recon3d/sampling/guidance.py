"""Gradient guidance (DPS): how the state of a sampler would have to move for its clean estimate to fit the data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["misfit_gradient"]


def misfit_gradient(
    denoise: Callable[[Tensor], Tensor], misfit: Callable[[Tensor], Tensor], x: Tensor, joint: bool = False
) -> tuple[Tensor, Tensor]:
    """The clean estimates of states x (particle, ...) and the gradient of ``|misfit(estimate)|`` in x, not squared.

    One backward pass through the network; its weights get no gradient if they are frozen. A particle whose misfit is
    zero gets the gradient zero.

    Parameters
    ----------
    denoise : state -> clean estimate, differentiable, each particle on its own
    misfit : estimate -> M (A estimate - y), (particle, ...)
    joint : one norm over all particles, as the code of Active Diffusion Subsampling has it, which makes the gradient of
        each smaller by about the root of their number; by default one norm for each

    References
    ----------
    Chung et al., "Diffusion posterior sampling for general noisy inverse problems", ICLR 2023, algorithm 1.
    """
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        estimate = denoise(leaf)
        gap = misfit(estimate)
        squared = gap.abs().square().flatten(0 if joint else 1).sum(-1)
        norms = torch.where(squared > 0, squared, 1.0).sqrt()
        total = torch.where(squared > 0, norms, 0.0).sum()
        (gradient,) = torch.autograd.grad(total, leaf)
    return estimate.detach(), gradient
