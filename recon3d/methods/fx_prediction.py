"""f-x prediction: filters that predict a trace from its neighbours, learned at low frequencies, fill regular gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor

from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.seismic import finish_cube, sampling_of
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.windows import Window, in_windows

RIDGE = 1e-6
"""Of the mean diagonal, added to normal equations."""


class FXPrediction(Method):
    """Spitz, Geophysics 56 (1991) 785: the filter of lines k apart at f / k is the filter of adjacent lines at f.

    For lines missing in a regular pattern along one axis, or along both in turn: the mask where POCS gains nothing.
    """

    name: ClassVar[str] = "fx_prediction"
    summary: ClassVar[str] = "seismic: prediction from low frequencies; regularly decimated lines, aliased dips"

    length: int = Field(5, ge=1, description="taps of the filters; at least the dips in a window")
    window: tuple[int, int, int] = Field((32, 16, 64), description="(along, across, sample) of windows")
    overlap: float = Field(0.5, ge=0, lt=1, description="share of neighbouring windows in common")

    @property
    def volumes(self) -> float:
        return 8.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        live = A.live[..., 0] > 0
        kept = [live.any(dim=1 - axis) for axis in (0, 1)]
        periods = [regular_period(lines) for lines in kept]
        if None in periods or not torch.equal(live, kept[0][:, None] & kept[1]):
            raise InputError(
                "Method 'fx_prediction' fills lines that are missing in a regular pattern, "
                f"those of '{problem.name}' are not: choose pocs, mssa or seisfusion."
            )
        first, state = run.begin(2, {"cube": A.gridded(problem.y)})
        cube = cast(Tensor, state["cube"])
        for axis in range(first, 2):
            cube = self._along(cube.movedim(axis, 0), kept[axis], cast(int, periods[axis])).movedim(0, axis)
            if not run.step(axis, {"cube": cube}, {}):
                break
        return finish_cube(problem, cube)

    def _along(self, cube: Tensor, lines: Tensor, period: int) -> Tensor:
        """The cube with its missing `~lines` of the first axis filled."""
        if lines.all():
            return cube
        solve: Callable[[Window], Tensor] = lambda part: self._solve(cube[part], lines[part[0]], period)  # noqa: E731
        return torch.where(lines[:, None, None], cube, in_windows(cube, self.window, self.overlap, solve))

    def _solve(self, data: Tensor, lines: Tensor, period: int) -> Tensor:
        """A window (along, across, sample) whose lines `~lines` are missing, filled by frequency."""
        kept = torch.nonzero(lines).flatten()
        combs = [c for c in range(period) if lines[c::period].all() and len(lines[c::period]) > self.length]
        if not combs or len(kept) == len(lines):
            return data
        length = 2 * data.shape[2]
        fine = torch.fft.rfft(data.double(), length).permute(2, 0, 1)
        # Bin j of a transform `period` times as long is the frequency f_j / period.
        coarse = torch.fft.rfft(data.double(), period * length).permute(2, 0, 1)[: len(fine)]
        filters = self._filters([coarse[:, comb::period] for comb in combs])
        system = self._error_filter(filters, len(lines))
        missing = torch.nonzero(~lines).flatten()
        left = system[:, :, missing]
        right = -(system[:, :, kept] @ fine[:, kept])
        normal = _ridged(left.mH @ left)
        filled = fine.clone()
        filled[:, missing] = torch.linalg.solve(normal, left.mH @ right)
        return torch.fft.irfft(filled.permute(1, 2, 0), length)[..., : data.shape[2]].to(data.dtype)

    def _filters(self, combs: list[Tensor]) -> Tensor:
        """Least squares a with d[n] = sum_l a[l] d[n - l] forward and, conjugated, backward; (frequency, tap)."""
        L, rows, targets = self.length, [], []
        for d in combs:
            past = d.unfold(1, L + 1, 1).flatten(1, 2)  # (frequency, position, L + 1), earliest first
            rows += [past[..., :-1].flip(-1), past[..., 1:].conj()]
            targets += [past[..., -1], past[..., 0].conj()]
        M, t = torch.cat(rows, 1), torch.cat(targets, 1)
        return torch.linalg.solve(_ridged(M.mH @ M), (M.mH @ t[..., None]))[..., 0]

    def _error_filter(self, filters: Tensor, count: int) -> Tensor:
        """Rows of d[n] - sum_l a[l] d[n - l] and of the backward errors, (frequency, row, line)."""
        L = self.length
        taps = torch.cat([torch.ones_like(filters[:, :1]), -filters], 1)
        forward = taps.new_zeros((len(taps), count - L, count))
        backward = torch.zeros_like(forward)
        for n in range(count - L):
            forward[:, n, n : n + L + 1] = taps.flip(1)
            backward[:, n, n : n + L + 1] = taps.conj()
        return torch.cat([forward, backward], 1)


def regular_period(lines: Tensor) -> int | None:
    """The smallest period, up to a third of the axis, of a pattern of lines that are kept, or None."""
    for period in range(1, len(lines) // 3 + 1):
        if torch.equal(lines[period:], lines[:-period]):
            return period
    return None


def _ridged(normal: Tensor) -> Tensor:
    size = normal.diagonal(dim1=-2, dim2=-1).real.mean(-1).clamp(min=1e-30)
    return normal + RIDGE * size[:, None, None] * torch.eye(normal.shape[-1], dtype=normal.dtype, device=normal.device)
