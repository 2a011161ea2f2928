"""Two sources in one measurement, y = x + gamma h + n: how its misfit is shared between two denoised estimates.

Networks see each source in coordinates u of their own (companded RF), the sum is one of signals v. Given the noisy
states, each source is taken as Gaussian about its denoised estimate, independent from sample to sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from operators.ultrasound.companding import compand, expand, slope
from recon3d.sampling.ddim import ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import Step

__all__ = ["Companded", "Coordinates", "Plain", "joint_sample", "joint_step", "pigdm_step", "posterior_variance"]

Covariance = Callable[[Tensor], Tensor]
"""v -> Cov[u0 | u_t] v, as `recon3d.sampling.posterior.tweedie` gives it."""


class Coordinates(Protocol):
    """What stands between a signal v and the coordinates u that a network sees."""

    def moments(self, u: Tensor, variance: float) -> tuple[Tensor, Tensor]:
        """Mean and variance of the signal where its coordinates are Gaussian about u."""
        ...

    def of_signal(self, v: Tensor) -> Tensor: ...

    def gain(self, u: Tensor) -> Tensor:
        """d v / d u."""
        ...


class Plain:
    """u = v."""

    def moments(self, u: Tensor, variance: float) -> tuple[Tensor, Tensor]:
        return u, torch.full_like(u, variance)

    def of_signal(self, v: Tensor) -> Tensor:
        return v

    def gain(self, u: Tensor) -> Tensor:
        return torch.ones_like(u)


class Companded:
    """u = C(v), mu-law. Moments by Gauss-Hermite quadrature: C is too bent for a slope while the noise is strong."""

    def __init__(self, nodes: int = 7) -> None:
        places, weights = np.polynomial.hermite_e.hermegauss(nodes)
        self._nodes = list(zip(places.tolist(), (weights / math.sqrt(2 * math.pi)).tolist(), strict=True))

    def moments(self, u: Tensor, variance: float) -> tuple[Tensor, Tensor]:
        mean, square = torch.zeros_like(u), torch.zeros_like(u)
        for place, weight in self._nodes:
            v = expand(u + math.sqrt(variance) * place)
            mean += weight * v
            square += weight * v.square()
        return mean, (square - mean.square()).clamp_min_(1e-12)

    def of_signal(self, v: Tensor) -> Tensor:
        return compand(v)

    def gain(self, u: Tensor) -> Tensor:
        return slope(expand(u)).reciprocal()


def joint_sample(
    state: Tensor,
    grid: Sequence[Step],
    guided: Callable[[Tensor, float], Tensor],
    eta: float,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Ancestral (eta = 1) or deterministic (0) steps of both sources down to the clean estimate.

    With ``E[x0, h0 | x_t, h_t, y]`` in place of each prior's own estimate, the score is that of the joint posterior.

    Parameters
    ----------
    state : (source, ...), at the noise of the first step
    guided : (state, sigma) -> that expectation
    noise : step -> unit noise like the state
    """
    for step in grid:
        clean = guided(state, step.sigma)
        fraction = fresh_fraction(step, eta, "ddim")
        fresh = noise(step.index) if fraction and not step.last else None
        state = ddim(clean, noise_in(state, clean, step), step, fraction, fresh)
    return state


def joint_step(
    y: Tensor, x: Tensor, h: Tensor, variances: tuple[float, float], strength: float, noise: float, where: Coordinates
) -> tuple[Tensor, Tensor]:
    """E[x0, h0 | x_t, h_t, y], closed form: the source whose prior is less certain takes more of the misfit.

    ``e = (y - x0 - gamma h0) / (rx^2 + gamma^2 rh^2 + s^2)``, then ``x0 + rx^2 e`` and ``h0 + gamma rh^2 e``.

    Parameters
    ----------
    x, h : denoised estimates in their coordinates
    variances : of these, per sample
    strength, noise : gamma, and the standard deviation s of the noise of y
    """
    mean_x, spread_x = where.moments(x, variances[0])
    mean_h, spread_h = where.moments(h, variances[1])
    e = (y - mean_x - strength * mean_h) / (spread_x + strength**2 * spread_h + noise**2)
    return where.of_signal(mean_x + spread_x * e), where.of_signal(mean_h + strength * spread_h * e)


def pigdm_step(
    y: Tensor,
    x: tuple[Tensor, Covariance],
    h: tuple[Tensor, Covariance],
    variances: tuple[float, float],
    strength: float,
    noise: float,
    where: Coordinates,
) -> tuple[Tensor, Tensor]:
    """PiGDM (Song, Vahdat, Mardani, Kautz, ICLR 2023) for two sources: the misfit pulled back through each denoiser.

    As a correction of the denoised estimates, ``x0 + sigma^2 (dx0/dx_t)^T J_x e``: weighting by ``g^2 dt`` in the
    reverse SDE follows from the step to the next level, without a factor to choose. `x` and `h` are the estimates with
    their covariances; e is that of `joint_step`.
    """
    mean_x, spread_x = where.moments(x[0], variances[0])
    mean_h, spread_h = where.moments(h[0], variances[1])
    e = (y - mean_x - strength * mean_h) / (spread_x + strength**2 * spread_h + noise**2)
    return x[0] + x[1](where.gain(x[0]) * e), h[0] + h[1](strength * where.gain(h[0]) * e)


def posterior_variance(card: Any, sigma: float) -> float:
    """Var[u0 | u0 + sigma n] per sample: as measured on held-out images by the training, else a white Gaussian's."""
    white = 1.0 / (1.0 / card.sigma_data**2 + 1.0 / sigma**2)
    measured = getattr(card, "training", {}).get("held_out_psnr_db")
    if not measured:
        return white
    levels = sorted((float(level), float(psnr)) for level, psnr in measured.items())
    psnr = np.interp(math.log(sigma), [math.log(level) for level, _ in levels], [psnr for _, psnr in levels])
    return min(white, 10 ** (-float(psnr) / 10))
