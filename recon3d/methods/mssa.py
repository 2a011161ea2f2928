"""MSSA (Cadzow filtering): each frequency slice as a block-Hankel matrix of low rank."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.seismic import finish_cube, sampling_of, windowed
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.rank_reduction import low_rank_fill


class MSSA(Method):
    """Oropeza and Sacchi, Geophysics 76 (2011) V25: rank reduction and the recorded traces in turn, by frequency.

    Exact for a few plane waves; a window should be so small that its events are.
    """

    name: ClassVar[str] = "mssa"
    summary: ClassVar[str] = "seismic: low rank in each frequency slice; few dips, noisy data, random gaps"

    rank: int = Field(6, ge=1, description="dips in a window")
    iterations: int = Field(15, ge=1, description="per frequency")
    damping: float | None = Field(None, gt=0, description="exponent that weakens noise, 2 to 4; none by default")
    band: float = Field(
        1e-3, ge=0, lt=1, description="frequencies below this share of the strongest one's amplitude stay empty"
    )
    alpha: float = Field(1.0, gt=0, le=1, description="1 keeps recorded traces; less lets noise on them go")
    window: tuple[int, int, int] | None = Field((32, 32, 128), description="(crossline, inline, sample) of windows")
    overlap: float = Field(0.5, ge=0, lt=1, description="share of neighbouring windows in common")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"rank": (1, 30)}

    @property
    def volumes(self) -> float:
        return 8.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        data, live = A.gridded(problem.y), A.live
        cube = windowed(run, data, self.window, self.overlap, lambda part: self._solve(data[part], live[part[:2]]))
        return finish_cube(problem, cube, exact=self.alpha == 1)

    def _solve(self, data: Tensor, live: Tensor) -> Tensor:
        return low_rank_fill(
            data,
            live,
            rank=self.rank,
            iterations=self.iterations,
            damping=self.damping,
            band=self.band,
            alpha=self.alpha,
        )
