"""POCS: projection onto convex sets, Fourier coefficients above a falling threshold and the recorded traces in turn."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.seismic import finish_cube, sampling_of, windowed
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.pocs import fourier_fill


class POCS(Method):
    """Abma and Kabir, Geophysics 71 (2006) E91; thresholds fall exponentially (Gao et al., Geophysics 75 (2010) WB229).

    Cells that nobody measured are added on every side, so that the two ends of an axis are not neighbours; of all the
    settings this one matters most (4 to 20 dB), but for regular decimation, where POCS gains nothing.
    """

    name: ClassVar[str] = "pocs"
    summary: ClassVar[str] = "seismic: sparse in Fourier space; irregular gaps, seconds; not for regular decimation"

    iterations: int = Field(100, ge=1, description="thresholds")
    highest: float = Field(0.99, gt=0, le=1, description="first threshold, as a share of the largest coefficient")
    lowest: float = Field(1e-3, gt=0, le=1, description="last threshold; the noise level of noisy data")
    pad: int = Field(8, ge=0, description="unknown cells on every side")
    alpha: float = Field(1.0, gt=0, le=1, description="1 keeps recorded traces; less lets noise on them go")
    window: tuple[int, int, int] | None = Field(
        None, description="(crossline, inline, sample) of windows; by default the whole"
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="share of neighbouring windows in common")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"lowest": (1e-4, 0.3)}

    @property
    def volumes(self) -> float:
        return 12.0  # of complex coefficients and of the padding

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        data, live = A.gridded(problem.y), A.live.expand(problem.domain.shape)
        cube = windowed(run, data, self.window, self.overlap, lambda part: self._solve(data[part], live[part]))
        return finish_cube(problem, cube, exact=self.alpha == 1)

    def _solve(self, data: Tensor, live: Tensor) -> Tensor:
        return fourier_fill(
            data,
            live,
            iterations=self.iterations,
            highest=self.highest,
            lowest=self.lowest,
            pad=self.pad,
            alpha=self.alpha,
        )
