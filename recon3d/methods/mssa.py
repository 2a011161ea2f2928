"""MSSA (Cadzow filtering): each frequency slice as a block-Hankel matrix of low rank."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.grid import SurveyGrid
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.seismic import finish_cube, sampling_of, windowed
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.hankel import PlaneHankel


class MSSA(Method):
    """Oropeza and Sacchi, Geophysics 76 (2011) V25: rank reduction and the recorded traces in turn, by frequency.

    Exact for a few plane waves; a window should be so small that its events are.
    """

    name: ClassVar[str] = "mssa"
    summary: ClassVar[str] = "seismic: low rank in each frequency slice; few dips, noisy data, random gaps"

    rank: int = Field(6, ge=1, description="dips in a window")
    iterations: int = Field(15, ge=1, description="per frequency")
    damping: float | None = Field(None, gt=0, description="exponent that weakens noise, 2 to 4; none by default")
    highest_hz: float | None = Field(None, gt=0, description="frequencies above stay empty; Nyquist by default")
    alpha: float = Field(1.0, gt=0, le=1, description="1 keeps recorded traces; less lets noise on them go")
    window: tuple[int, int, int] | None = Field((32, 32, 128), description="(crossline, inline, sample) of windows")
    overlap: float = Field(0.5, ge=0, lt=1, description="share of neighbouring windows in common")

    @property
    def volumes(self) -> float:
        return 8.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        share = 1.0
        if self.highest_hz is not None:
            grid = problem.grid
            if not isinstance(grid, SurveyGrid) or grid.sample_unit != "s":
                raise ConfigError("method.highest_hz is for samples in time, these are in depth: leave it out.")
            share = min(1.0, 2 * self.highest_hz * grid.sample_step)
        data, live = A.gridded(problem.y), A.live
        cube = windowed(
            run, data, self.window, self.overlap, lambda part: self._solve(data[part], live[part[:2]], share)
        )
        return finish_cube(problem, cube, exact=self.alpha == 1)

    def _solve(self, data: Tensor, live: Tensor, share: float) -> Tensor:
        """The window of `data` filled, up to a share of the Nyquist frequency."""
        length = 2 * data.shape[2]  # so that the end of a trace does not meet its beginning
        spectrum = torch.fft.rfft(data, length)
        kept = max(2, int(share * (spectrum.shape[2] - 1)) + 1)
        D = spectrum[..., :kept].permute(2, 0, 1)
        hankel = PlaneHankel((data.shape[0], data.shape[1]), data.device)
        mask = live[..., 0]
        s = D
        for _ in range(self.iterations):
            z = hankel.reduced(s, self.rank, self.damping)
            s = self.alpha * D + (1 - self.alpha * mask) * z
        filled = torch.zeros_like(spectrum)
        filled[..., :kept] = s.permute(1, 2, 0)
        return torch.fft.irfft(filled, length)[..., : data.shape[2]]
