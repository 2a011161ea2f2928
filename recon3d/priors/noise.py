"""Noise coordinates ``x_t = a(t) x0 + b(t) n`` of the usual model families, and what their networks predict.

Every method speaks of ``sigma = b / a``; a schedule says at which time t a network of its family is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recon3d.errors import ModelError

Prediction = Literal["eps", "x0", "v", "velocity", "score"]


class Schedule(Protocol):
    """a(t), b(t) and the time at which b / a is a given sigma."""

    def a(self, t: float) -> float: ...

    def b(self, t: float) -> float: ...

    def time(self, sigma: float) -> float: ...


def sigma_at(schedule: Schedule, t: float) -> float:
    """b(t) / a(t): noise per unit of image."""
    return schedule.b(t) / schedule.a(t)


@dataclass(frozen=True)
class VE:
    """a = 1, sigma geometric from sigma_min (t = 0) to sigma_max (t = 1). Song et al. 2021, VE-SDE."""

    sigma_min: float = 0.01
    sigma_max: float = 378.0

    def a(self, t: float) -> float:
        return 1.0

    def b(self, t: float) -> float:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def time(self, sigma: float) -> float:
        return math.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM:
    """a = 1, b = t: time is sigma. Karras et al. 2022."""

    def a(self, t: float) -> float:
        return 1.0

    def b(self, t: float) -> float:
        return t

    def time(self, sigma: float) -> float:
        return sigma


@dataclass(frozen=True)
class FlowMatching:
    """a = 1 - t, b = t, t from 0 (image) to 1 (noise). Lipman et al. 2023; Liu et al. 2023."""

    def a(self, t: float) -> float:
        return 1.0 - t

    def b(self, t: float) -> float:
        return t

    def time(self, sigma: float) -> float:
        return sigma / (1.0 + sigma)


@dataclass(frozen=True)
class VP:
    """Variance-preserving steps 0 .. len(beta) - 1 with ``abar_t = prod_(s <= t) (1 - beta_s)``, and abar_-1 = 1.

    Between integer times log sigma is linear; below t = 0 abar is linear, down to sigma = 0 at t = -1.
    """

    beta: tuple[float, ...]
    _abar: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _log_sigma: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        abar = np.cumprod(1.0 - np.asarray(self.beta, dtype=np.float64))
        object.__setattr__(self, "_abar", abar)
        object.__setattr__(self, "_log_sigma", 0.5 * np.log((1.0 - abar) / abar))

    def abar(self, t: float) -> float:
        if t <= 0:
            return 1.0 - (1.0 + max(t, -1.0)) * (1.0 - float(self._abar[0]))
        log_sigma = float(np.interp(t, np.arange(len(self._abar)), self._log_sigma))
        return 1.0 / (1.0 + math.exp(2.0 * log_sigma))

    def a(self, t: float) -> float:
        return math.sqrt(self.abar(t))

    def b(self, t: float) -> float:
        return math.sqrt(1.0 - self.abar(t))

    def time(self, sigma: float) -> float:
        """The last time for any sigma above the schedule's largest."""
        abar = 1.0 / (1.0 + sigma**2)
        if abar >= self._abar[0]:
            return (1.0 - abar) / (1.0 - float(self._abar[0])) - 1.0
        return float(np.interp(math.log(sigma), self._log_sigma, np.arange(len(self._abar))))


def vp_linear(steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> VP:
    """beta linear in t. Ho, Jain, Abbeel 2020 (DDPM); also DDS."""
    return VP(tuple(np.linspace(first, last, steps).tolist()))


def vp_cosine(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> VP:
    """abar = cos^2, beta at most `largest`. Nichol, Dhariwal 2021."""
    t = np.arange(steps + 1) / steps
    abar = np.cos((t + offset) / (1 + offset) * np.pi / 2) ** 2
    return VP(tuple(np.minimum(1 - abar[1:] / abar[:-1], largest).tolist()))


def to_x0(kind: Prediction, prediction: Tensor, x: Tensor, a: float | Tensor, b: float | Tensor) -> Tensor:
    """E[x0 | x] from what a network predicted at ``x = a x0 + b n``.

    eps: n; v: a n - b x0 (Salimans, Ho 2022); velocity: n - x0 (flow matching); score: -(x - a x0) / b^2.
    """
    if kind == "x0":
        return prediction
    if kind == "eps":
        return (x - b * prediction) / a
    if kind == "v":
        return (a * x - b * prediction) / (a * a + b * b)
    if kind == "velocity":
        return (x - b * prediction) / (a + b)
    if kind == "score":
        return (x + b * b * prediction) / a
    raise ModelError(f"Expected a prediction of eps, x0, v, velocity or score, got {kind!r}.")


def from_x0(kind: Prediction, x0: Tensor, x: Tensor, a: float | Tensor, b: float | Tensor) -> Tensor:
    """The inverse of `to_x0`."""
    if kind == "x0":
        return x0
    eps = (x - a * x0) / b
    if kind == "eps":
        return eps
    if kind == "v":
        return a * eps - b * x0
    if kind == "velocity":
        return eps - x0
    if kind == "score":
        return -eps / b
    raise ModelError(f"Expected a prediction of eps, x0, v, velocity or score, got {kind!r}.")
