"""Policies: who chooses the next unit. Fixed ones know their choice before the first measurement, others believe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.sensing.belief import mixture_entropy, pairwise, pooled_width, published_score, variance
from recon3d.sensing.units import Unit, Units, distances

__all__ = ["ADAPTIVE", "FIXED", "Belief", "Policy", "choose", "planned", "scores"]

Adaptive = Literal["variance", "entropy", "published", "truth"]
"""Policies that look at the particles before each choice; "truth" looks at the answer too and is a reference only."""
Fixed = Literal["random", "variable_density", "equispaced", "centre", "listed"]
Policy = Literal[Adaptive, Fixed]
ADAPTIVE, FIXED = get_args(Adaptive), get_args(Fixed)
DENSITY_POWER = 3.0
"""Variable density: p(k) ~ (1 - |k| / kmax)^3."""


@dataclass(frozen=True)
class Belief:
    """What a policy may look at.

    Parameters
    ----------
    predictions : the data that each particle expects, (particle, *data), scaled to the data's noise
    closed : units that cannot be chosen: measured already or out of reach, (slices, units)
    noise_std : of the data, per real channel; 0 where unknown
    truth : all data, for the policy "truth" alone
    """

    units: Units
    predictions: Tensor
    closed: Tensor
    noise_std: float = 0.0
    truth: Tensor | None = None


def scores(policy: str, belief: Belief, width: float | None = None) -> Tensor:
    """How much each unit is wanted, (slices, units): -inf where it is closed.

    Parameters
    ----------
    policy : "variance": the particles' summed variance; "entropy": the entropy of their mixture; "published": what
        the paper's code computes; "truth": the energy of what the particles' mean gets wrong
    width : of the mixture's kernel; by default the pooled median distance, at least the noise
    """
    units, predictions = belief.units, belief.predictions
    if policy == "variance":
        found = variance(units, predictions)
    elif policy == "truth":
        if belief.truth is None:
            raise ConfigError("The policy 'truth' needs complete data: it is for simulated sources.")
        found = units.sum((predictions.mean(0) - belief.truth).abs().square())
    else:
        squared = pairwise(units, predictions)
        width = width or max(belief.noise_std, pooled_width(squared, ~belief.closed))
        values = (2 if predictions.is_complex() else 1) * units.space.size // (units.slices * units.count)
        found = mixture_entropy(squared, width, values) if policy == "entropy" else published_score(squared, width)
    return torch.where(belief.closed, -torch.inf, found)


def choose(units: Units, wanted: Tensor, count: int, coverage: float = 0.0) -> list[Unit]:
    """The `count` best units of each slice, one after the other.

    With `coverage` > 0, neighbours of what was chosen just now are wanted less, by 1 - exp(-d^2 / (2 coverage^2)) at a
    distance of d units: several units at once should not measure the same twice. Ties go to the first unit.
    """
    chosen: list[Unit] = []
    for s, row in enumerate(wanted):
        left = row.clone()
        low = left[torch.isfinite(left)].min() if count > 1 and coverage > 0 else 0.0
        for _ in range(count):
            unit = Unit(int(np.argmax(left.cpu().numpy())), s if units.slice_axis else None)
            chosen.append(unit)
            if count > 1 and coverage > 0:
                away = distances(units, unit, range(units.count)).to(left)
                left = low + (left - low) * (1 - torch.exp(-(away**2) / (2 * coverage**2)))
            left[unit.index] = -torch.inf
    return chosen


def planned(
    policy: str, units: Units, closed: Tensor, count: int, seed: int, listed: Sequence[int] = (), first: int = 0
) -> list[Unit]:
    """All units that a fixed policy adds, `count` in each slice.

    Parameters
    ----------
    policy : "random": uniform; "variable_density": dense in the middle; "equispaced": evenly, at a random offset;
        "centre": nearest the middle; "listed": those given, in their order
    closed : units that cannot be chosen, (slices, units)
    seed, first : random numbers are keyed by the seed and the global index of the slice, of which `first` is the first
    """
    chosen: list[Unit] = []
    for s in range(units.slices):
        rng = np.random.default_rng((seed, 77, first + s))
        own = s if units.slice_axis else None
        rest = np.flatnonzero(~closed[s].cpu().numpy())
        picks = _PLANS[policy](units, rest, count, rng, listed)
        chosen += [Unit(int(index), own) for index in picks]
    return chosen


def _random(
    units: Units, rest: NDArray[np.int_], count: int, rng: np.random.Generator, listed: Sequence[int]
) -> NDArray[np.int_]:
    return rng.choice(rest, count, replace=False)


def _variable_density(
    units: Units, rest: NDArray[np.int_], count: int, rng: np.random.Generator, listed: Sequence[int]
) -> NDArray[np.int_]:
    places = np.stack(np.unravel_index(rest, units.shape))
    sides = np.array(units.shape)[:, None]
    radius = np.sqrt((((places - sides // 2) / (sides / 2)) ** 2).mean(axis=0))
    weight = np.clip(1 - radius, 1e-3, None) ** DENSITY_POWER
    return rng.choice(rest, count, replace=False, p=weight / weight.sum())


def _equispaced(
    units: Units, rest: NDArray[np.int_], count: int, rng: np.random.Generator, listed: Sequence[int]
) -> NDArray[np.int_]:
    """Evenly over what is not measured yet, so that the number is exact."""
    return rest[((np.arange(count) + rng.random()) * len(rest) / max(count, 1)).astype(int)]


def _centre(
    units: Units, rest: NDArray[np.int_], count: int, rng: np.random.Generator, listed: Sequence[int]
) -> NDArray[np.int_]:
    open_units = set(rest.tolist())
    return np.array([index for index in units.nearest() if index in open_units][:count], dtype=int)


def _listed(
    units: Units, rest: NDArray[np.int_], count: int, rng: np.random.Generator, listed: Sequence[int]
) -> NDArray[np.int_]:
    wrong = sorted(set(listed) - set(range(units.count)))
    if wrong or len(set(listed)) < len(listed):
        raise ConfigError(f"method.listed names units from 0 to {units.count - 1}, each once, got {list(listed)}.")
    new = np.array([index for index in listed if index in set(rest.tolist())], dtype=int)
    if len(new) != count:
        raise ConfigError(
            f"method.listed gives {len(new)} units beyond the start, the budget asks for {count}: they must agree."
        )
    return new


_PLANS: dict[str, Callable[..., NDArray[np.int_]]] = {
    "random": _random,
    "variable_density": _variable_density,
    "equispaced": _equispaced,
    "centre": _centre,
    "listed": _listed,
}
