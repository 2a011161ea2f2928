"""Operators whose slices are problems of their own: which they are, and their norm, the largest of theirs."""

from __future__ import annotations

from typing import cast

import torch

from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Space

__all__ = ["largest_slice_norm", "slice_axis"]


@torch.no_grad()
def largest_slice_norm(A: LinearOperator, seed: int = 0, max_steps: int = 50, rtol: float = 1e-4) -> float:
    """The largest singular value among the slices of A, from below, to about `rtol`.

    Each slice has a power iteration of its own, from one start, and rests once it has settled. Its number depends on no
    other slice: the largest over the slabs of A is that of A, bit for bit.

    Parameters
    ----------
    A : its domain is (z, y, x), and slices share no data (`slice_axis`)
    """
    space = cast(Space, A.domain)
    start = space.resized("z", 1).random(torch.Generator().manual_seed(seed)).to(A.device)
    x = start.expand(space.shape).contiguous()
    estimate = torch.zeros(space.shape[0], dtype=torch.float64, device=A.device)
    active = torch.ones_like(estimate, dtype=torch.bool)
    for _ in range(max_steps):
        length = norm(x, 1)
        scale = torch.where(length > 0, 1.0 / length, 0.0).to(x.real.dtype)
        x = A.gram(x.mul_(scale.reshape(-1, 1, 1)))
        found = norm(x, 1).sqrt()
        settled = (found - estimate).abs() <= rtol * found
        estimate = torch.where(active, found, estimate)
        active = active & ~settled
        if not bool(active.any()):
            break
    return float(estimate.max())


def slice_axis(A: LinearOperator) -> int | None:
    """The axis of the data that counts slices, where each slice of (z, y, x) is a problem of its own; else None."""
    domain, data = A.domain, A.range
    if not isinstance(domain, Space) or not isinstance(data, Space) or domain.axes[0] != "z":
        return None
    slab = A.restrict("z", 0, 1)
    if slab is None or data.shape[data.axes.index(slab.range_axis)] != domain.shape[0]:
        return None
    return data.axes.index(slab.range_axis)
