"""Two sources in one measurement, y = x + gamma h + n: how its misfit is shared between two denoised estimates.

Networks see each source in coordinates u of their own (companded RF), the sum is one of signals v. Given the noisy
states, each source is Gaussian about its denoised estimate: smooth haze is uncertain in its few components and sure in
all others, so that a misfit in them is laid to haze, and any other to tissue; where tissue is dark it is surer still,
and the misfit there is haze.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from operators.ultrasound.companding import compand, expand, slope
from recon3d.solvers.cg import conjugate_gradient

__all__ = ["Belief", "Companded", "Coordinates", "Plain", "joint_step", "pigdm_step"]

Covariance = Callable[[Tensor], Tensor]
NEAR = (1.5, 5.0)
"""Beams and samples (standard deviations) over which the level of a source is taken as one."""
STEPS, ACCURACY = (15, 200), (2e-2, 1e-3)
"""Of conjugate gradients on the misfit, on the way and where signals must add up; the first step is exact where levels
do not vary."""


class Coordinates(Protocol):
    """What stands between a signal v and the coordinates u that a network sees."""

    def signal(self, u: Tensor) -> Tensor: ...

    def of_signal(self, v: Tensor) -> Tensor: ...

    def gain(self, u: Tensor) -> Tensor:
        """d v / d u."""
        ...


class Plain:
    """u = v."""

    def signal(self, u: Tensor) -> Tensor:
        return u

    def of_signal(self, v: Tensor) -> Tensor:
        return v

    def gain(self, u: Tensor) -> Tensor:
        return torch.ones_like(u)


class Companded:
    """u = C(v), mu-law."""

    def signal(self, u: Tensor) -> Tensor:
        return expand(u)

    def of_signal(self, v: Tensor) -> Tensor:
        return compand(v)

    def gain(self, u: Tensor) -> Tensor:
        return slope(expand(u)).reciprocal()


@dataclass(frozen=True)
class Belief:
    """A source as it is known before the measurement: Gaussian in its coordinates, with the signal linear about them.

    The covariance of the coordinates is ``a F^H diag(power) F a``: that of a stationary field, times an amplitude.

    Parameters
    ----------
    u : the denoised estimate, in coordinates (beam, depth)
    v : its signal
    power : variance of each component of the coordinates, in the order of ``rfft2`` of an even number of samples; of a
        grid like u, or a larger one, so that what leaves at one side does not come in at the other
    gain : by which an error of the coordinates moves the signal
    amplitude : a, one where the source is as open as on average
    """

    u: Tensor
    v: Tensor
    power: Tensor
    gain: Tensor | float = 1.0
    amplitude: Tensor | float = 1.0

    @classmethod
    def after(cls, u: Tensor, power: Tensor, sigma: float, where: Coordinates, local: bool = False) -> Belief:
        """A denoiser's estimate u at noise sigma, left as open as by a Gaussian of its spectrum: ``S s^2 / (S + s^2)``.

        Parameters
        ----------
        power : S, of the coordinates
        local : whether the source has dark and bright places, each with a level of its own; else one level for all
        """
        left = power * sigma**2 / (power + sigma**2)
        level, variance = component_mean(power), component_mean(left)
        if not local:
            return cls(u, where.signal(u), left, where.gain(torch.full_like(u, math.sqrt(level))))
        near, near_variance = local_level(u, power, sigma)
        known = 1 - variance / level  # at strong noise the estimate tells no level
        near, near_variance = level * (near / level) ** known, variance * (near_variance / variance) ** known
        return cls(u, where.signal(u), left, where.gain(near.sqrt()), (near_variance / variance).sqrt())

    def covariance(self, z: Tensor) -> Tensor:
        """Of the signal."""
        return self.gain * self.moved(z)

    def moved(self, z: Tensor) -> Tensor:
        """Covariance of coordinates and signal: how far a misfit z of the signal moves the coordinates."""
        return self.amplitude * filtered(self.amplitude * self.gain * z, self.power)

    @property
    def mean_power(self) -> Tensor:
        """Variance of each component of the signal if the mean gain held everywhere."""
        scale = torch.as_tensor(self.gain * self.amplitude, dtype=self.power.dtype)
        return scale.square().mean() * self.power


def local_level(u: Tensor, power: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean square L of a source near each sample, and the part of it that noise sigma leaves open.

    L is where what is seen and what is left add up: ``L = mean of u^2 + m(L)``, m of the spectrum scaled to that level.
    """
    ratios = torch.logspace(-4, 1, 60, dtype=power.dtype)
    left = torch.tensor([component_mean(r * power * sigma**2 / (r * power + sigma**2)) for r in ratios])
    level = component_mean(power) * ratios
    seen = np.log((level - left).clamp_min(1e-12).numpy())
    energy = np.log(np.maximum(gaussian_filter(u.square().numpy(), NEAR, mode="nearest"), 1e-12))
    near, variance = (
        torch.from_numpy(np.exp(np.interp(energy, seen, np.log(values.numpy())))).to(u.dtype)
        for values in (level, left)
    )
    return near, variance


def component_mean(power: Tensor) -> float:
    """Mean over all components of a real field of which `power` holds half; its variance."""
    whole = 2 * power.sum() - power[:, 0].sum() - power[:, -1].sum()
    return float(whole) / (2 * power.shape[0] * (power.shape[1] - 1))


def filtered(z: Tensor, power: Tensor) -> Tensor:
    """Each component over the last two axes times a number, on the grid of `power`, zero beyond z."""
    shape = power.shape[0], 2 * (power.shape[1] - 1)
    beams, samples = z.shape[-2:]
    padded = F.pad(z, (0, shape[1] - samples, 0, shape[0] - beams))
    return torch.fft.irfft2(power * torch.fft.rfft2(padded), s=shape)[..., :beams, :samples]


def misfit_shared(y: Tensor, x: Belief, h: Belief, strength: float, noise: float, exact: bool = False) -> Tensor:
    """e of ``(Cx + gamma^2 Ch + s^2) e = y - x0 - gamma h0``.

    By conjugate gradients between two halves of the inverse for mean gains, which is exact where gains do not vary.
    """
    half = (x.mean_power + strength**2 * h.mean_power + noise**2).rsqrt()

    def halved(z: Tensor) -> Tensor:
        e = filtered(z, half)
        return filtered(x.covariance(e) + strength**2 * h.covariance(e) + noise**2 * e, half)

    misfit = filtered(y - x.v - strength * h.v, half)
    return filtered(conjugate_gradient(halved, misfit, max_steps=STEPS[exact], rtol=ACCURACY[exact]).x, half)


def joint_step(
    y: Tensor, x: Belief, h: Belief, strength: float, noise: float, where: Coordinates, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """E[x0, h0 | x_t, h_t, y], closed form: ``x0 + Cx e`` and ``h0 + gamma Ch e``, in coordinates.

    The source whose prior is less certain of a component, at a place, takes more of its misfit.

    Parameters
    ----------
    strength, noise : gamma, and the standard deviation s of the noise of y
    exact : move the signals, so that they add up, not the coordinates. The expectation of bent coordinates is not that
        of the signal bent: while much is open this would take faint echoes for strong ones.
    """
    e = misfit_shared(y, x, h, strength, noise, exact)
    if exact:
        return where.of_signal(x.v + x.covariance(e)), where.of_signal(h.v + strength * h.covariance(e))
    return x.u + x.moved(e), h.u + strength * h.moved(e)


def pigdm_step(
    y: Tensor, x: Belief, h: Belief, pulled: tuple[Covariance, Covariance], strength: float, noise: float
) -> tuple[Tensor, Tensor]:
    """PiGDM (Song, Vahdat, Mardani, Kautz, ICLR 2023) for two sources: the misfit pulled back through each denoiser.

    As a correction of the denoised estimates, ``sigma^2 (du0/du_t)^T e``: weighting by ``g^2 dt`` in the reverse SDE
    follows from the step to the next level, without a factor to choose.

    Parameters
    ----------
    pulled : z -> sigma^2 (du0/du_t)^T z of each denoiser, as `recon3d.sampling.posterior.tweedie` gives it
    """
    e = misfit_shared(y, x, h, strength, noise)
    return x.u + pulled[0](x.gain * e), h.u + strength * pulled[1](h.gain * e)
