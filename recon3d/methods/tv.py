"""Total variation: least squares with a penalty on edges, the classical choice for few views and short arcs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from recon3d.grid import AffineGrid
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.tv import ALL_AXES, IN_PLANE, SLICE_AXIS, tv_least_squares

_AXES = {"3d": ALL_AXES, "in-plane": IN_PLANE, "slices": SLICE_AXIS}


class TV(Method):
    """Minimise 1/2 |A x - y|^2 + weight TV(x) with |A| = 1 and x in units of a typical value (CT: of water).

    Rudin, Osher and Fatemi (1992); solved by FISTA with restarts (Beck and Teboulle, 2009).
    """

    name: ClassVar[str] = "tv"
    summary: ClassVar[str] = "total variation; few views, short arcs, noise; any operator"

    weight: float = Field(
        1e-3, ge=0, description="strength of the penalty; does not depend on units, views or voxel size"
    )
    axes: Literal["3d", "in-plane", "slices"] = Field("3d", description="along which axes edges are penalised")
    nonnegative: bool = Field(True, description="minimise over images >= 0; ignored for complex images")
    iterations: int = Field(200, ge=1, description="steps at most")
    rtol: float = Field(1e-4, ge=0, description="stop when the optimality residual is this small")

    @property
    def separable(self) -> bool:
        return False  # steps stop by a norm over the whole volume

    @property
    def volumes(self) -> float:
        return 5.0 + 2 * len(_AXES[self.axes])

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        axes = _AXES[self.axes]
        spacing = None
        if isinstance(problem.grid, AffineGrid):
            edge = problem.grid.voxel_mm
            spacing = [edge[axis] / min(edge[a] for a in axes) for axis in axes]
        run.begin(self.iterations, {})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(step - 1, {}, {"optimality": float(residual)})

        found = tv_least_squares(
            task.A,
            task.y,
            self.weight,
            axes=axes,
            spacing=spacing,
            nonnegative=self.nonnegative and not problem.domain.is_complex,
            max_steps=self.iterations,
            rtol=self.rtol,
            callback=report,
        )
        return finish(problem, task.physical(found.x), residual=task.residual(found.x), stopped_by=found.stopped_by)
