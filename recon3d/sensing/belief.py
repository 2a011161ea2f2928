"""Belief about the next measurement: a mixture with one Gaussian per particle; its spread and its entropy by unit."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from recon3d.sensing.units import Units

__all__ = ["mixture_entropy", "pairwise", "pooled_width", "published_score", "variance"]


def variance(units: Units, predictions: Tensor) -> Tensor:
    """Summed variance of each unit over the particles (normalised by their number): (slices, units), float64.

    `predictions` are the data that each particle expects, (particle, *data).
    """
    return units.sum((predictions - predictions.mean(0)).abs().square()).mean(0)


def pairwise(units: Units, predictions: Tensor) -> Tensor:
    """Squared distances of the particles' predictions, (particle, particle, slices, units), float64."""
    count = len(predictions)
    found = torch.zeros(count, count, units.slices, units.count, dtype=torch.float64, device=predictions.device)
    for i, j in combinations(range(count), 2):
        found[i, j] = found[j, i] = units.sum((predictions[i] - predictions[j]).abs().square())
    return found


def pooled_width(squared: Tensor, candidates: Tensor) -> float:
    """A kernel width: the root of the median squared distance of pairs (i < j) over all candidate units."""
    i, j = torch.triu_indices(len(squared), len(squared), offset=1)
    pooled = squared[i, j][:, candidates]
    return math.sqrt(float(pooled.median())) if pooled.numel() and float(pooled.median()) > 0 else 1.0


def mixture_entropy(squared: Tensor, width: float, values: int, share: float = 1.0) -> Tensor:
    """A bound on the entropy of an equal mixture of N(mu_i, width^2) in `values` real dimensions.

    ``values/2 log(2 pi e width^2) - mean_i log mean_j exp(-share D_ij)`` with ``D_ij = |mu_i - mu_j|^2 / (2 width^2)``.

    Parameters
    ----------
    squared : |mu_i - mu_j|^2, (particle, particle, ...)
    width : standard deviation of each component per real value
    values : real numbers of a unit
    share : 1 for the upper bound (Kullback-Leibler), 1/4 for the lower one (Bhattacharyya)

    References
    ----------
    Kolchinsky and Tracey, Entropy 19 (2017) 361.
    """
    count = len(squared)
    overlap = torch.logsumexp(-share * squared / (2 * width**2), dim=1) - math.log(count)
    return values / 2 * math.log(2 * math.pi * math.e * width**2) - overlap.mean(0)


def published_score(squared: Tensor, width: float) -> Tensor:
    """``sum_i log sum_j exp(+D_ij)``: what the code of the ADS paper ranks by, kept for comparison; no entropy."""
    return torch.logsumexp(squared / (2 * width**2), dim=1).sum(0)
