"""A first guess of missing traces, which learned interpolators refine: the classical way that suits each gap."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.solvers.horizons import horizon_fill
from recon3d.solvers.pocs import fourier_fill
from recon3d.solvers.prediction import decimation, predicted_fill
from recon3d.solvers.windows import Window, in_windows

__all__ = ["first_guess", "wide_gaps"]

WIDE = 5
"""Traces: holes that hold a square of this side are filled along horizons, all others by POCS."""
ITERATIONS = (100, 25)
"""Of POCS in narrow gaps: many for smooth layers, few where they are broken; hidden traces decide."""
HIDDEN = 0.1
"""Share of the traces of one window that are hidden for that."""
POLISH, LOW = 10, 0.01
"""Iterations of POCS after wide gaps were filled, and their first threshold: low, so that what was filled stays."""
WINDOW = (64, 64, 128)
"""(crossline, inline, sample) of POCS, so that a survey of any size fits into memory."""


def first_guess(data: Tensor, live: Tensor) -> Tensor:
    """Recorded traces with the gaps between them filled.

    By f-x prediction where gaps are regular; else by POCS where they are narrow and along horizons where they are wide.

    Parameters
    ----------
    data, live : recorded traces with zeros elsewhere, (x, y, t), and their mask, 1 or 0, (x, y, 1)
    """
    axes = decimation(live[..., 0] > 0)
    if axes is not None:
        for axis, (lines, period) in enumerate(axes):
            moved = predicted_fill(data.movedim(axis, 0), lines, period, length=5, window=(32, 16, 64))
            data = moved.movedim(0, axis)
        return data
    known = live.expand_as(data)
    count = _iterations(data, live)
    filled = in_windows(data, WINDOW, 0.25, lambda part: fourier_fill(data[part], known[part], iterations=count))
    wide = wide_gaps(live[..., 0] > 0)
    if not wide.any():
        return filled
    start = horizon_fill(filled, ~wide)

    def polished(part: Window) -> Tensor:
        return fourier_fill(data[part], known[part], iterations=POLISH, highest=LOW, start=start[part])

    return in_windows(data, WINDOW, 0.25, polished)


def _iterations(data: Tensor, live: Tensor) -> int:
    """That of `ITERATIONS` with which POCS finds hidden traces best in a window in the middle of the cube."""
    part = tuple(slice(max(0, (n - side) // 2), (n + side) // 2) for n, side in zip(data.shape, WINDOW, strict=True))
    seen = live[part[:2]]
    hidden = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0)).to(seen.device) < HIDDEN
    shown = torch.where(hidden, 0.0, seen)
    wanted = (seen - shown) * data[part]
    if not wanted.any() or not (shown * data[part]).any():
        return ITERATIONS[0]

    def error(count: int) -> float:
        found = fourier_fill(shown * data[part], shown.expand_as(wanted), iterations=count)
        return float(((seen - shown) * found - wanted).square().sum())

    return min(ITERATIONS, key=error)


def wide_gaps(live: Tensor) -> Tensor:
    """Which traces of a mask (x, y) lie in a square of `WIDE` missing ones; what lies outside the survey is missing."""
    missing = (~live).float()[None, None]
    kept = F.pad(missing, [WIDE // 2] * 4, value=1.0)
    inner = 1 - F.max_pool2d(1 - kept, WIDE, stride=1)  # all of the square around a trace is missing
    return (F.max_pool2d(inner, WIDE, stride=1, padding=WIDE // 2)[0, 0] > 0) & ~live
