"""The published sampler of dehazing: reverse Euler-Maruyama steps, each projected onto a noised measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon3d.sampling.noise import counter_noise
from recon3d.solvers.two_sources import Coordinates

S, STEPS, LAST = 25.0, 200, 1e-3
WARM = 0.8
PULL = 0.5
"""lambda and kappa: each source takes half of the misfit, whatever its prior says."""
STEEPEST = 4.0
"""Limit of the Jacobian of mixing, which grows without bound where tissue and haze cancel."""

Denoise = Callable[[int, Tensor, float], Tensor]


def sigma_at(t: float) -> float:
    """Noise of the SDE ``dx = S^t dw``: ``sqrt((S^2t - 1) / (2 ln S))``, 9.8 at t = 1."""
    return math.sqrt((S ** (2 * t) - 1) / (2 * math.log(S)))


def published_draw(
    y: Tensor, strength: float, denoise: Denoise, where: Coordinates, seed: dict[str, Any], sigma_max: float = math.inf
) -> Tensor:
    """Tissue and haze (2, beam, depth) in their coordinates; a parity mode (IEEE TMI 43 (2024) 3546, section III).

    Both start at the measurement at t = 0.8, or as noisy as the priors can take, with steps as long as times are apart.

    Parameters
    ----------
    y : RF, one the clip level
    denoise : (source, state, sigma) -> E[u0 | u_t]
    """
    measured = where.of_signal(y)
    times = [t for t in np.linspace(1.0, LAST, STEPS) if t <= WARM and sigma_at(t) <= sigma_max]
    state = measured + sigma_at(times[0]) * counter_noise((2, *y.shape), step=-1, **seed)
    for k, (t, following) in enumerate(zip(times, [*times[1:], 0.0], strict=True)):
        sigma, g2 = sigma_at(t), S ** (2 * t) * (t - following)
        state = state + g2 / sigma**2 * (torch.stack([denoise(k, state[k], sigma) for k in (0, 1)]) - state)
        noise = counter_noise((3, *y.shape), step=k, **seed)
        if following > 0:
            state += math.sqrt(g2) * noise[:2]
        diffused = measured + sigma_at(following) * noise[2]
        state = state + torch.stack(projection(diffused, state[0], state[1], strength, where))
    return state


def projection(y: Tensor, x: Tensor, h: Tensor, strength: float, where: Coordinates) -> tuple[Tensor, Tensor]:
    """A gradient step on half the squared misfit of the mixture, in coordinates, for each source."""
    mixed = where.of_signal(where.signal(x) + strength * where.signal(h))
    steepness = where.gain(mixed)
    misfit = PULL * (y - mixed)
    jx, jh = where.gain(x) / steepness, strength * where.gain(h) / steepness
    return jx.clamp(max=STEEPEST) * misfit, jh.clamp(max=STEEPEST) * misfit
