"""Projection onto convex sets: Fourier coefficients above a falling threshold and known samples in turn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fourier_fill"]


def fourier_fill(
    data: Tensor,
    live: Tensor,
    *,
    iterations: int = 100,
    highest: float = 0.99,
    lowest: float = 1e-3,
    pad: int = 8,
    alpha: float = 1.0,
    start: Tensor | None = None,
) -> Tensor:
    """A real cube whose unknown samples are filled by what is sparse in Fourier space.

    Parameters
    ----------
    data, live : known samples with zeros elsewhere, and their mask, 1 or 0, of the same shape
    iterations : thresholds, falling exponentially
    highest, lowest : first and last of them, as shares of the largest coefficient
    pad : unknown cells on every side, so that the two ends of an axis are no neighbours
    alpha : 1 keeps the known samples, less lets noise on them go
    start : values of the unknown samples to begin with, zero by default; thresholds are then shares of its peak
    """
    if not data.any():
        return torch.zeros_like(data)
    shape = data.shape
    data, live = F.pad(data, [pad] * 6), F.pad(live, [pad] * 6)
    x = data if start is None else torch.where(live > 0, data, F.pad(start, [pad] * 6))
    largest = float(torch.fft.rfftn(x).abs().max())
    ratio = lowest / highest
    for k in range(iterations):
        threshold = largest * highest * ratio ** (k / max(1, iterations - 1))
        spectrum = torch.fft.rfftn(x)
        spectrum[spectrum.abs() < threshold] = 0
        z = torch.fft.irfftn(spectrum, x.shape)
        x = alpha * data + (1 - alpha * live) * z
    return x[pad : pad + shape[0], pad : pad + shape[1], pad : pad + shape[2]]
