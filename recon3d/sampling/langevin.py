"""Variance exploding predictor-corrector steps: the reverse diffusion down one level, and Langevin steps at a level."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operators.reduce import norm

__all__ = ["langevin", "reverse_diffusion", "score"]


def score(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """grad log p_sigma(x) = (E[x0 | x] - x) / sigma^2, per real channel (Tweedie's formula)."""
    return (denoised - x).div_(sigma**2)


def reverse_diffusion(x: Tensor, score: Tensor, variance: float, noise: Tensor) -> Tensor:
    """x + v s + sqrt(v) n, with v = sigma^2 - sigma_next^2: the predictor.

    Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021, algorithm 2.

    Parameters
    ----------
    x, score : state and its score at sigma
    variance : v, at least 0
    noise : unit variance per real channel; overwritten with the result
    """
    return noise.mul_(math.sqrt(variance)).add_(score, alpha=variance).add_(x)


def langevin(x: Tensor, score: Tensor, noise: Tensor, snr: float, chunk: int = 1) -> Tensor:
    """x + e s + sqrt(2 e) n with e = 2 (snr |n| / |s|)^2: the corrector, at an unchanged sigma (algorithm 4 there).

    Parameters
    ----------
    x, score : state (..., z, y, x) and its score
    noise : unit variance per real channel; overwritten with the result
    snr : r, at least 0
    chunk : slices that share a step size, from the means of their norms. 1 makes each slice independent of those around
        it; public codes use a batch of the network.
    """
    lengths = [norm(t, t.ndim - 2).split(chunk, dim=-1) for t in (noise, score)]
    n, s = (torch.cat([part.mean(-1, keepdim=True).expand_as(part) for part in parts], dim=-1) for parts in lengths)
    e = torch.where(s > 0, 2 * (snr * n / s).square(), 0.0)[..., None, None].to(x.real.dtype)
    return noise.mul_((2 * e).sqrt()).addcmul_(score, e).add_(x)
