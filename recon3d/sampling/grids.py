"""Time grids as data: the noise levels that a sampler visits, and how it ends.

The state of a sampler is ``x = a x0 + b n`` and ``sigma = b / a``. A grid is a list of `Step`; each costs one network
call. Every grid ends at a sigma above zero; `Final` says what happens there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from recon3d.errors import ConfigError

__all__ = [
    "Final",
    "Spacing",
    "Step",
    "angle_grid",
    "karras_grid",
    "lambda_grid",
    "reverse_sde_grid",
    "vp_alpha_bar",
    "vp_grid",
    "vp_times",
]

Spacing = Literal["leading_int", "linspace", "trailing"]
"""Which of the training times are visited: multiples of ``length // count`` from 0 (public DDS; may give more than
`count`), evenly from the last to 0, or evenly from the last without 0."""

Final = Literal["public", "denoise", "none"]
"""How a grid ends. "denoise": noise is added down to the last sigma, whose clean estimate is the result. "public": as
DDS's code, the last call sees the clean estimate without noise. "none": the result keeps noise of the last sigma."""


@dataclass(frozen=True)
class Step:
    """One step of a sampler, from ``a x0 + b n`` to ``a_next x0 + b_next n``.

    Parameters
    ----------
    index : 0 for the noisiest
    sigma, sigma_next : b / a; sigma_next is 0 where the step ends on the clean estimate. `reverse_sde_grid` alone asks
        the network at a sigma that is not quite b / a.
    last : the last step of the grid
    """

    index: int
    a: float
    b: float
    sigma: float
    a_next: float
    b_next: float
    sigma_next: float
    last: bool


def vp_alpha_bar(length: int = 1000, first: float = 1e-4, last: float = 2e-2) -> NDArray[np.float64]:
    """``abar_t = a_t^2`` of the linear DDPM schedule, t = 0 .. length - 1 (Ho, Jain, Abbeel 2020)."""
    return np.cumprod(1.0 - np.linspace(first, last, length, dtype=np.float64), dtype=np.float64)


def vp_times(count: int, spacing: Spacing = "leading_int", length: int = 1000) -> list[int]:
    """Integer training times, noisiest first; see `Spacing`."""
    if not 1 <= count <= length:
        raise ConfigError(f"A grid on {length} training times has 1 to {length} steps, got {count}.")
    if spacing == "leading_int":
        return list(range(0, length, length // count))[::-1]
    if spacing == "linspace":
        return [round(t) for t in np.linspace(length - 1, 0, count)]
    return [round(length - length * k / count) - 1 for k in range(count)]


def vp_grid(
    count: int, *, spacing: Spacing = "leading_int", final: Final = "public", sigma_max: float = math.inf
) -> list[Step]:
    """Steps on the linear VP schedule of 1000 times (DDS, section 3 of its paper and its code).

    Parameters
    ----------
    count : steps; "leading_int" may give more
    sigma_max : noisier times are left out: the network's limit, or a late start
    """
    abar = vp_alpha_bar()
    allowed = int(np.sum(np.sqrt((1 - abar) / abar) <= sigma_max))
    times = vp_times(count + (final == "none"), spacing, allowed)
    return _pair([(math.sqrt(abar[t]), math.sqrt(1 - abar[t])) for t in times], final)


def lambda_grid(
    count: int, sigma_max: float, sigma_min: float, *, final: Final = "denoise", preserving: bool = False
) -> list[Step]:
    """Steps evenly spaced in ``lambda = -log sigma``; with a = 1, or variance `preserving`: a^2 + b^2 = 1."""
    _check_range(count, sigma_max, sigma_min)
    sigmas = np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), count + (final == "none")))
    sizes = np.hypot(1.0, sigmas) if preserving else np.ones_like(sigmas)
    return _pair([(float(1 / n), float(sigma / n)) for sigma, n in zip(sigmas, sizes, strict=True)], final)


def angle_grid(count: int) -> list[Step]:
    """The cosine schedule of Active Diffusion Subsampling: a = cos t, b = sin t, t from arccos 0.02 to arccos 0.95.

    Times are 1, 1 - 1/count ... 1/count of the way; it ends on the clean estimate at a noise of about a third of the
    signal (Nolan et al., TMLR 2025, and their code).
    """
    _check_range(count, 1.0, 1.0)
    low, high = math.acos(0.95), math.acos(0.02)
    angles = [low + (high - low) * (1 - s / count) for s in range(count)]
    return _pair([(math.cos(t), math.sin(t)) for t in angles], "denoise")


def karras_grid(
    count: int, sigma_max: float, sigma_min: float, *, rho: float = 7.0, final: Final = "denoise"
) -> list[Step]:
    """Steps with a = 1, evenly spaced in ``sigma^(1/rho)`` (Karras et al. 2022, Eq. 5)."""
    _check_range(count, sigma_max, sigma_min)
    roots = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), count + (final == "none"))
    return _pair([(1.0, float(root) ** rho) for root in roots], final)


def reverse_sde_grid(count: int, sigma_max: float, sigma_min: float) -> list[Step]:
    """The levels that score_sde's VE sampler visits, as public DiffusionMBIR runs it: for parity, not for quality.

    Its times are ``linspace(1, 1e-10, count)`` in float32; the network is asked at ``sigma(t)``, the predictor steps
    from ``sigma_i`` to ``sigma_(i-1)`` with ``i = floor(t (count - 1))``, which rounding makes repeat some levels and
    skip others. `lambda_grid` visits each once.
    """
    _check_range(count, sigma_max, sigma_min)
    ratio = math.log(sigma_max / sigma_min)
    levels = [0.0, *np.exp(np.linspace(math.log(sigma_min), math.log(sigma_max), count))]
    times = torch.linspace(1.0, 1e-10, count)  # its rounding is what matters
    steps = []
    for k, (t, i) in enumerate(zip(times.tolist(), (times * (count - 1)).long().tolist(), strict=True)):
        high, low = float(levels[i + 1]), float(levels[i])
        steps.append(Step(k, 1.0, high, sigma_min * math.exp(ratio * t), 1.0, low, low, k == count - 1))
    return steps


def _check_range(count: int, sigma_max: float, sigma_min: float) -> None:
    if count < 1:
        raise ConfigError(f"A grid has at least one step, got {count}.")
    if not 0 < sigma_min <= sigma_max < math.inf:
        raise ConfigError(f"A grid needs 0 < sigma_min <= sigma_max, got {sigma_min} and {sigma_max}.")


def _pair(nodes: Sequence[tuple[float, float]], final: Final) -> list[Step]:
    """Each node with its successor; the clean image (1, 0) follows the last one."""
    ends = [*nodes[1:], (1.0, 0.0)]
    if final == "none":
        nodes, ends = nodes[:-1], ends[:-1]
    elif final == "public" and len(nodes) > 1:
        ends[-2] = (1.0, 0.0)
    return [
        Step(k, a, b, b / a, a_next, b_next, b_next / a_next, k == len(nodes) - 1)
        for k, ((a, b), (a_next, b_next)) in enumerate(zip(nodes, ends, strict=True))
    ]
