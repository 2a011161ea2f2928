"""Two sources in one measurement, y = x + gamma h + n: how its misfit is shared between two denoised estimates.

Networks see each source in coordinates u of their own (companded RF), the sum is one of signals v. Given the noisy
states, each source is Gaussian about its denoised estimate and stationary: smooth haze is uncertain in its few
components and sure in all others, so that a misfit in them is laid to haze, and any other to tissue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from operators.ultrasound.companding import compand, expand, slope
from recon3d.sampling.ddim import ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import Step

__all__ = ["Belief", "Companded", "Coordinates", "Plain", "joint_sample", "joint_step", "pigdm_step"]

Covariance = Callable[[Tensor], Tensor]


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


@dataclass(frozen=True)
class Belief:
    """A source as it is known before the measurement: Gaussian, independent in its components over the last two axes.

    Parameters
    ----------
    v : mean of the signal
    power : variance of each component of it, in the order of ``rfft2``
    gain : by which an error of the coordinates moves the signal, root mean square over the samples
    """

    v: Tensor
    power: Tensor
    gain: float = 1.0

    @classmethod
    def after(cls, u: Tensor, power: Tensor, sigma: float, where: Coordinates) -> Belief:
        """A denoiser's estimate u at noise sigma, left as open as by a Gaussian of its spectrum: ``S s^2 / (S + s^2)``.

        Parameters
        ----------
        power : S, of the coordinates
        """
        left = power * sigma**2 / (power + sigma**2)
        variance = float(left.mean())
        v, spread = where.moments(u, variance)
        squared = float(spread.mean()) / variance
        return cls(v, squared * left, math.sqrt(squared))

    def covariance(self, z: Tensor) -> Tensor:
        return filtered(z, self.power)


def filtered(z: Tensor, power: Tensor) -> Tensor:
    """Each component over the last two axes times a number."""
    return torch.fft.irfft2(power * torch.fft.rfft2(z), s=z.shape[-2:])


def misfit_shared(y: Tensor, x: Belief, h: Belief, strength: float, noise: float) -> Tensor:
    """``e = (y - x0 - gamma h0) / (rx^2 + gamma^2 rh^2 + s^2)``, component by component."""
    return filtered(y - x.v - strength * h.v, 1 / (x.power + strength**2 * h.power + noise**2))


def joint_step(
    y: Tensor, x: Belief, h: Belief, strength: float, noise: float, where: Coordinates
) -> tuple[Tensor, Tensor]:
    """E[x0, h0 | x_t, h_t, y], closed form: ``x0 + rx^2 e`` and ``h0 + gamma rh^2 e``, in coordinates.

    The source whose prior is less certain of a component takes more of its misfit.

    Parameters
    ----------
    strength, noise : gamma, and the standard deviation s of the noise of y
    """
    e = misfit_shared(y, x, h, strength, noise)
    return where.of_signal(x.v + x.covariance(e)), where.of_signal(h.v + strength * h.covariance(e))


def pigdm_step(
    y: Tensor,
    x: Belief,
    h: Belief,
    pulled: tuple[Covariance, Covariance],
    strength: float,
    noise: float,
    where: Coordinates,
) -> tuple[Tensor, Tensor]:
    """PiGDM (Song, Vahdat, Mardani, Kautz, ICLR 2023) for two sources: the misfit pulled back through each denoiser.

    As a correction of the denoised estimates, ``sigma^2 (du0/du_t)^T e``: weighting by ``g^2 dt`` in the reverse SDE
    follows from the step to the next level, without a factor to choose.

    Parameters
    ----------
    pulled : z -> sigma^2 (du0/du_t)^T z of each denoiser, as `recon3d.sampling.posterior.tweedie` gives it
    """
    e = misfit_shared(y, x, h, strength, noise)
    moved_x, moved_h = (source.gain**2 * pull(e) for source, pull in zip((x, h), pulled, strict=True))
    return where.of_signal(x.v + moved_x), where.of_signal(h.v + strength * moved_h)
