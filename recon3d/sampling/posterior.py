"""Tweedie's second moment: the covariance of the clean image given the noisy one, as an operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["tweedie"]


def tweedie(
    denoise: Callable[[Tensor, float], Tensor], x: Tensor, sigma: float
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The denoised image and v -> C v, where ``C = Cov[x0 | x] = sigma^2 dD/dx``.

    Exact for an exact denoiser, whose Jacobian is symmetric. Each C v is one backward pass; the graph of the whole
    volume is held, so this is for small problems.

    References
    ----------
    Rozet et al., "Learning diffusion priors from observations by expectation maximization", NeurIPS 2024, section 4.
    """
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        denoised = denoise(leaf, sigma)

    def covariance(v: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(denoised, leaf, v, retain_graph=True)
        return product * sigma**2

    return denoised.detach(), covariance
