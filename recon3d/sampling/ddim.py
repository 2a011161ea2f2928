"""The DDIM step: from a clean estimate back to the next, lower noise level."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from recon3d.sampling.grids import Step

__all__ = ["EtaMode", "ddim", "fresh_fraction", "noise_in"]

EtaMode = Literal["public", "ddim"]
"""What eta counts: the share of the noise amplitude that is drawn anew (DDS's code), or, as in the DDIM paper, the
share of the ancestral sampler's noise, which shrinks with the step."""


def fresh_fraction(step: Step, eta: float, mode: EtaMode = "public") -> float:
    """How much of the next noise amplitude is drawn anew, 0 to 1.

    "ddim" is Eq. (16) of Song, Meng, Ermon (2021): its standard deviation ``eta sqrt((1 - abar') / (1 - abar))
    sqrt(1 - abar / abar')`` is ``b' eta sqrt(1 - (sigma' / sigma)^2)``, a form that also holds where a = 1.
    """
    if mode == "public":
        return eta
    return eta * math.sqrt(max(0.0, 1.0 - (step.sigma_next / step.sigma) ** 2))


def noise_in(x: Tensor, x0: Tensor, step: Step) -> Tensor:
    """The noise that `x` holds if its image is `x0`: (x - a x0) / b.

    With the denoiser's x0 it is the network's own prediction ("prior" noise, DDS); with x0 after the data step it is
    the "implied" noise, for which the sampler is a discretised ODE.
    """
    return x.sub(x0, alpha=step.a).div_(step.b)


def ddim(x0: Tensor, eps: Tensor, step: Step, fraction: float = 0.0, noise: Tensor | None = None) -> Tensor:
    """a' x0 + b' (sqrt(1 - fraction^2) eps + fraction noise); x0 itself where b' = 0.

    Parameters
    ----------
    x0, eps : clean estimate and noise of the state
    fraction : see `fresh_fraction`
    noise : unit variance per real channel, where fraction > 0; overwritten with the result
    """
    if step.b_next == 0:
        return x0
    kept = step.b_next * math.sqrt(1.0 - fraction**2)
    if noise is None or fraction == 0:
        return eps.mul(kept).add_(x0, alpha=step.a_next)
    return noise.mul_(step.b_next * fraction).add_(eps, alpha=kept).add_(x0, alpha=step.a_next)
