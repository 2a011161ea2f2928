"""A first guess of missing traces, which learned interpolators refine: the classical way that suits the mask."""

from __future__ import annotations

from torch import Tensor

from recon3d.solvers.pocs import fourier_fill
from recon3d.solvers.prediction import decimation, predicted_fill
from recon3d.solvers.windows import in_windows

__all__ = ["first_guess"]

ITERATIONS = 20
"""Of POCS; more would add detail that the network adds anyway."""
WINDOW = (64, 64, 128)
"""(crossline, inline, sample) of POCS, so that a survey of any size fits into memory."""


def first_guess(data: Tensor, live: Tensor) -> Tensor:
    """Recorded traces with the gaps between them filled: by f-x prediction where these are regular, else by POCS.

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
    return in_windows(data, WINDOW, 0.25, lambda part: fourier_fill(data[part], known[part], iterations=ITERATIONS))
