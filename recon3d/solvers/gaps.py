"""A first guess of missing traces, which learned interpolators refine: a blend of classical ways to fill gaps.

How much of each way is taken is what would have been best on recorded traces that are hidden for that: single ones for
narrow gaps, and for wide gaps holes of their shape at other places. This is stacking (Wolpert, Neural Networks 5 (1992)
241) with weights that are not negative (Breiman, Machine Learning 24 (1996) 49). The same hidden traces tell how
much of a network's correction of the guess to take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor

from recon3d.solvers.holes import punched_holes, wide_gaps
from recon3d.solvers.horizons import horizon_fill
from recon3d.solvers.pocs import fourier_fill
from recon3d.solvers.prediction import decimation, predicted_fill
from recon3d.solvers.rank_reduction import low_rank_fill
from recon3d.solvers.windows import Window, in_windows

__all__ = ["Trial", "first_guess", "trial", "tried_guess"]

ITERATIONS = (100, 25)
"""Of POCS: many suit smooth layers, few broken ones."""
WINDOW = (64, 64, 128)
"""(crossline, inline, sample) of POCS and of the trial, so that a survey of any size fits into memory."""
RANK, RANK_STEPS, RANK_WINDOW = 3, 6, (32, 32, 128)
"""Plane waves of MSSA, its iterations and its windows."""
POLISH, LOW = 10, 0.01
"""Iterations of POCS after wide gaps were filled along horizons, and their first threshold: low, so that this stays."""
OVERLAP = 0.25
"""Share that neighbouring windows have in common."""
SINGLES = 0.1
"""Share of the traces that are hidden one by one."""
LEAST = 0.01
"""Weight below which a way is not worth its time."""
SURE = 2.0
"""Standard errors by which a correction of the guess must help."""


@dataclass(frozen=True)
class Trial:
    """A window of a cube in which recorded traces are hidden, and the first guess of them.

    Attributes
    ----------
    data, shown : the traces (x, y, t), and the mask (x, y, 1) without those that are hidden
    hidden : those, (x, y), bool
    guess : what is shown, with the gaps filled
    narrow, wide : weights of each way to fill narrow and wide gaps
    """

    data: Tensor
    shown: Tensor
    hidden: Tensor
    guess: Tensor
    narrow: list[float]
    wide: list[float]

    def share(self, answer: Tensor) -> float:
        """How much of a correction of the guess to take, in [0, 1]: what suits the hidden traces, less what is unsure.

        Least squares, minus `SURE` standard errors as if hidden traces were independent; 0 where that is negative.
        """
        correction, missed = (cube[self.hidden] - self.guess[self.hidden] for cube in (answer, self.data))
        fits, sizes = ((correction * other).sum(-1).double() for other in (missed, correction))
        if len(sizes) < 2 or not sizes.any():
            return 0.0
        best = fits.sum() / sizes.sum()
        error = (fits - best * sizes).norm() / sizes.sum()
        return float((best - SURE * error).clamp(0, 1))


def first_guess(data: Tensor, live: Tensor) -> Tensor:
    """Recorded traces with the gaps between them filled.

    By f-x prediction where gaps are regular; else by a blend of POCS with many and with few iterations, MSSA of a low
    rank and what continues along horizons across wide gaps, joined to its surroundings.

    Parameters
    ----------
    data, live : recorded traces with zeros elsewhere, (x, y, t), and their mask, 1 or 0, (x, y, 1)
    """
    return tried_guess(data, live)[0]


def tried_guess(data: Tensor, live: Tensor) -> tuple[Tensor, Trial | None]:
    """The first guess, and how it does on hidden traces; of regular gaps None, since hiding would break the pattern."""
    axes = decimation(live[..., 0] > 0)
    if axes is not None:
        for axis, (lines, period) in enumerate(axes):
            moved = predicted_fill(data.movedim(axis, 0), lines, period, length=5, window=(32, 16, 64))
            data = moved.movedim(0, axis)
        return data, None
    gaps, tried = wide_gaps(live[..., 0] > 0), trial(data, live)
    blend = torch.zeros_like(data)
    for way, narrow, wide in zip(_ways(data, live, gaps), tried.narrow, tried.wide, strict=True):
        if narrow or wide:
            blend += torch.where(gaps, wide, narrow)[..., None] * way()
    return torch.where(live > 0, data, blend), tried


def _ways(data: Tensor, live: Tensor, gaps: Tensor) -> list[Callable[[], Tensor]]:
    """What gives the cubes that are blended; the last goes along horizons in wide `gaps`."""
    many, few = (cache(partial(_pocs, data, live, iterations=count)) for count in ITERATIONS)

    def low_rank() -> Tensor:
        def solve(part: Window) -> Tensor:
            return low_rank_fill(data[part], live[part[:2]], rank=RANK, iterations=RANK_STEPS)

        return in_windows(data, RANK_WINDOW, OVERLAP, solve)

    def along_horizons() -> Tensor:
        start = horizon_fill((many() + few()) / 2, ~gaps)
        return _pocs(data, live, start, iterations=POLISH, highest=LOW)

    return [many, few, low_rank, along_horizons]


def _pocs(data: Tensor, live: Tensor, start: Tensor | None = None, *, iterations: int, highest: float = 0.99) -> Tensor:
    def solve(part: Window) -> Tensor:
        known = live[part[:2]].expand_as(data[part])
        begin = None if start is None else start[part]
        return fourier_fill(data[part], known, iterations=iterations, highest=highest, start=begin)

    return in_windows(data, WINDOW, OVERLAP, solve)


def trial(data: Tensor, live: Tensor) -> Trial:
    """Traces of one window are hidden and found again, by the weights of each way that are best for them."""
    recorded = live[..., 0] > 0
    gaps = wide_gaps(recorded)
    part = _trial_window(gaps, recorded, data.shape)
    data, live, gaps, recorded = data[part], live[part[:2]], gaps[part[:2]], recorded[part[:2]]
    holes = punched_holes(recorded)
    singles = torch.rand(recorded.shape, generator=torch.Generator().manual_seed(0)).to(live.device) < SINGLES
    singles &= recorded & ~holes & (~recorded & ~gaps).any()
    shown = live * ~(holes | singles)[..., None]
    gaps = wide_gaps(shown[..., 0] > 0) & gaps.any()
    found = [way() for way in _ways(data * shown, shown, gaps)]
    alone = [0.0] * (len(found) - 1)
    narrow = _best_blend([cube[singles] for cube in found], data[singles]) or [1.0, *alone]
    wide = _best_blend([cube[holes] for cube in found], data[holes]) or [*alone, 1.0]
    blend = sum(torch.where(gaps, w, n)[..., None] * cube for n, w, cube in zip(narrow, wide, found, strict=True))
    guess = torch.where(shown > 0, data, blend)
    return Trial(data, shown, holes | singles, guess, narrow, wide)


def _trial_window(gaps: Tensor, recorded: Tensor, shape: Sequence[int]) -> Window:
    """A window with many traces in wide gaps and many recorded ones; the middle one where no gap is wide."""
    sides = [min(n, side) for n, side in zip(shape, WINDOW, strict=True)]
    starts = [(n - side) // 2 for n, side in zip(shape, sides, strict=True)]
    if gaps.any():
        missing, shown = (F.avg_pool2d(mask.double()[None], sides[:2], stride=1)[0] for mask in (gaps, recorded))
        starts[:2] = divmod(int((missing * shown).argmax()), missing.shape[1])
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def _best_blend(found: Sequence[Tensor], wanted: Tensor) -> list[float]:
    """Weights w >= 0 that minimise |sum_k w_k found_k - wanted|; none where none helps."""
    columns = torch.stack([values.flatten() for values in found], 1).double().cpu().numpy()
    weights, _ = nnls(columns, wanted.flatten().double().cpu().numpy())
    return [float(weight) if weight >= LEAST else 0.0 for weight in weights] if weights.any() else []
