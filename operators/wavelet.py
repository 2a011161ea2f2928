"""Orthonormal wavelet transforms with periodic ends, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from operators.errors import ShapeError

__all__ = ["inverse_wavelet", "wavelet"]


@cache
def _filter(name: str) -> tuple[float, ...]:
    import pywt

    try:
        found = pywt.Wavelet(name)
    except ValueError:
        raise ShapeError(f"There is no wavelet '{name}': expected haar, db2 ... db20, sym2 ... or coif1 ...") from None
    if not found.orthogonal:
        raise ShapeError(f"The wavelet '{name}' is not orthogonal: choose haar, a db, a sym or a coif.")
    return tuple(found.rec_lo)


def wavelet(x: Tensor, levels: int, name: str = "db4", dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Wavelet coefficients in the shape of `x`, coarse ones first along each axis; |W x| = |x|.

    Parameters
    ----------
    x : real or complex tensor; the lengths along `dims` are multiples of 2 ** levels
    levels : how often the coarse part is split again
    name : an orthogonal wavelet of PyWavelets
    dims : axes to transform
    """
    _check(x, levels, dims)
    y = x.clone()
    for level in range(levels):
        corner = _corner(y, level, dims)
        part = corner
        for dim in dims:
            part = _split(part, _filter(name), dim)
        corner.copy_(part)
    return y


def inverse_wavelet(y: Tensor, levels: int, name: str = "db4", dims: Sequence[int] = (-2, -1)) -> Tensor:
    """The inverse, which is the adjoint, of `wavelet`."""
    _check(y, levels, dims)
    x = y.clone()
    for level in reversed(range(levels)):
        corner = _corner(x, level, dims)
        part = corner
        for dim in reversed(dims):
            part = _join(part, _filter(name), dim)
        corner.copy_(part)
    return x


def _check(x: Tensor, levels: int, dims: Sequence[int]) -> None:
    if levels < 1 or any(x.shape[d] % 2**levels for d in dims):
        raise ShapeError(
            f"{levels} wavelet levels need lengths that are multiples of {2 ** max(levels, 0)}, got "
            f"{tuple(x.shape[d] for d in dims)}."
        )


def _corner(x: Tensor, level: int, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        x = x.narrow(dim, 0, x.shape[dim] >> level)
    return x


def _high(low: tuple[float, ...]) -> list[float]:
    return [(-1) ** k * v for k, v in enumerate(reversed(low))]


def _split(x: Tensor, low: tuple[float, ...], dim: int) -> Tensor:
    """Low and high half bands, each of half the length: c_n = sum_k h_k x_{2n + k}."""
    n, taps = x.shape[dim], len(low)
    where = torch.arange(n + taps, device=x.device) % n
    periodic = x.index_select(dim, where).movedim(dim, -1)
    bands = []
    for band in (low, _high(low)):
        total = torch.zeros_like(periodic[..., :n:2])
        for k, weight in enumerate(band):
            total.add_(periodic[..., k : k + n : 2], alpha=weight)
        bands.append(total)
    return torch.cat(bands, dim=-1).movedim(-1, dim)


def _join(y: Tensor, low: tuple[float, ...], dim: int) -> Tensor:
    """The adjoint of `_split`."""
    n, taps = y.shape[dim], len(low)
    halves = y.movedim(dim, -1).split(n // 2, dim=-1)
    periods = (n + taps - 1) // n + 1
    wide = y.new_zeros((*halves[0].shape[:-1], periods * n))
    for band, half in zip((low, _high(low)), halves, strict=True):
        for k, weight in enumerate(band):
            wide[..., k : k + n : 2].add_(half, alpha=weight)
    return wide.reshape(*wide.shape[:-1], periods, n).sum(-2).movedim(-1, dim)
