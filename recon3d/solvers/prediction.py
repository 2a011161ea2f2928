"""f-x prediction: filters that predict a trace from its neighbours, learned at low frequencies, fill regular gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from recon3d.solvers.windows import in_windows

__all__ = ["decimation", "predicted_fill", "regular_period"]

RIDGE = 1e-6
"""Of the mean diagonal, added to normal equations."""


def regular_period(lines: Tensor) -> int | None:
    """The smallest period, up to a third of the axis, of a pattern of lines that are kept, or None."""
    for period in range(1, len(lines) // 3 + 1):
        if torch.equal(lines[period:], lines[:-period]):
            return period
    return None


def decimation(live: Tensor) -> list[tuple[Tensor, int]] | None:
    """For each axis of a mask (x, y) the lines that are kept and their period; None where the mask is not regular."""
    kept = [live.any(dim=1 - axis) for axis in (0, 1)]
    found = [(lines, regular_period(lines)) for lines in kept]
    regular = [(lines, period) for lines, period in found if period is not None]
    return regular if len(regular) == 2 and torch.equal(live, kept[0][:, None] & kept[1]) else None


def predicted_fill(
    cube: Tensor, lines: Tensor, period: int, *, length: int, window: tuple[int, int, int], overlap: float = 0.5
) -> Tensor:
    """A cube with its missing lines of the first axis filled.

    Parameters
    ----------
    cube : (along, across, sample), zero in the missing lines
    lines, period : which lines of the first axis are kept, and the period of their pattern
    length : taps of the filters; at least the dips in a window
    window, overlap : windows with filters of their own
    """
    if lines.all():
        return cube
    filled = in_windows(cube, window, overlap, lambda part: _fill(cube[part], lines[part[0]], period, length))
    return torch.where(lines[:, None, None], cube, filled)


def _fill(data: Tensor, lines: Tensor, period: int, taps: int) -> Tensor:
    kept, missing = torch.nonzero(lines).flatten(), torch.nonzero(~lines).flatten()
    combs = [c for c in range(period) if lines[c::period].all() and len(lines[c::period]) > taps]
    if not combs or len(missing) == 0:
        return data
    length = 2 * data.shape[2]
    fine = torch.fft.rfft(data.double(), length).permute(2, 0, 1)
    # Bin j of a transform `period` times as long is the frequency f_j / period.
    coarse = torch.fft.rfft(data.double(), period * length).permute(2, 0, 1)[: len(fine)]
    system = _error_filter(_filters([coarse[:, comb::period] for comb in combs], taps), len(lines))
    left = system[:, :, missing]
    right = -(system[:, :, kept] @ fine[:, kept])
    filled = fine.clone()
    filled[:, missing] = torch.linalg.solve(_ridged(left.mH @ left), left.mH @ right)
    return torch.fft.irfft(filled.permute(1, 2, 0), length)[..., : data.shape[2]].to(data.dtype)


def _filters(combs: list[Tensor], taps: int) -> Tensor:
    """Least squares a with d[n] = sum_l a[l] d[n - l] forward and, conjugated, backward; (frequency, tap)."""
    rows, targets = [], []
    for d in combs:
        past = d.unfold(1, taps + 1, 1).flatten(1, 2)  # (frequency, position, taps + 1), earliest first
        rows += [past[..., :-1].flip(-1), past[..., 1:].conj()]
        targets += [past[..., -1], past[..., 0].conj()]
    M, t = torch.cat(rows, 1), torch.cat(targets, 1)
    return torch.linalg.solve(_ridged(M.mH @ M), M.mH @ t[..., None])[..., 0]


def _error_filter(filters: Tensor, count: int) -> Tensor:
    """Rows of d[n] - sum_l a[l] d[n - l] and of the backward errors, (frequency, row, line)."""
    taps = filters.shape[1]
    row = torch.cat([torch.ones_like(filters[:, :1]), -filters], 1)
    forward = row.new_zeros((len(row), count - taps, count))
    backward = torch.zeros_like(forward)
    for n in range(count - taps):
        forward[:, n, n : n + taps + 1] = row.flip(1)
        backward[:, n, n : n + taps + 1] = row.conj()
    return torch.cat([forward, backward], 1)


def _ridged(normal: Tensor) -> Tensor:
    size = normal.diagonal(dim1=-2, dim2=-1).real.mean(-1).clamp(min=1e-30)
    return normal + RIDGE * size[:, None, None] * torch.eye(normal.shape[-1], dtype=normal.dtype, device=normal.device)
