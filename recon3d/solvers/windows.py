"""Overlapping windows over a cube, blended by weights that sum to one: each window a small problem of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

Window = tuple[slice, ...]


def starts(count: int, side: int, overlap: float) -> list[int]:
    """First samples of windows of `side` that cover `count` samples evenly and overlap by at least that share."""
    if side >= count:
        return [0]
    step = max(1, math.floor(side * (1 - overlap)))
    number = 1 + math.ceil((count - side) / step)
    return [round(k * (count - side) / (number - 1)) for k in range(number)]


def windows(shape: Sequence[int], sides: Sequence[int], overlap: float) -> list[Window]:
    """All windows of a cube, in order; a side beyond the cube is cut to it."""
    axes = [
        [slice(start, start + min(side, count)) for start in starts(count, side, overlap)]
        for count, side in zip(shape, sides, strict=True)
    ]
    return list(product(*axes))


def taper(shape: Sequence[int], window: Window, device: torch.device | str = "cpu") -> Tensor:
    """Hann weights of a window, positive everywhere; flat towards faces of the cube, where no neighbour joins in."""
    weight = torch.ones(1, device=device)
    for count, part in zip(shape, window, strict=True):
        side = part.stop - part.start
        ramp = torch.sin(math.pi * (torch.arange(side, device=device, dtype=torch.float64) + 0.5) / side).square()
        middle = side // 2
        if part.start == 0:
            ramp[:middle] = 1.0
        if part.stop == count:
            ramp[middle:] = 1.0
        weight = weight[..., None] * ramp.float()
    return weight[0]


def add_window(out: Tensor, window: Window, answer: Tensor) -> None:
    """Add a window's answer, weighted by its taper, to the cube `out`."""
    out[window] += taper(out.shape, window, out.device).to(answer.real.dtype) * answer


def in_windows(cube: Tensor, sides: Sequence[int], overlap: float, solve: Callable[[Window], Tensor]) -> Tensor:
    """The answers of all windows of a cube, blended."""
    parts = windows(cube.shape, sides, overlap)
    out = torch.zeros_like(cube)
    for window in parts:
        add_window(out, window, solve(window))
    return out / total_weight(cube.shape, parts, cube.device)


def total_weight(shape: Sequence[int], parts: Sequence[Window], device: torch.device) -> Tensor:
    """The sum of all tapers, by which the sum of weighted answers is divided; it factors into one sum per axis."""
    total = torch.ones(1, device=device)
    for axis, count in enumerate(shape):
        line = torch.zeros(count, device=device)
        for part in sorted({(window[axis].start, window[axis].stop) for window in parts}):
            line[slice(*part)] += taper((count,), (slice(*part),), device)
        total = total[..., None] * line
    return total[0]
