"""Total variation: least squares with a penalty on edges, the classical choice for few views and short arcs."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from operators.slices import SliceSampling
from recon3d.grid import AffineGrid
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.primal_dual import tv_primal_dual
from recon3d.solvers.total_variation import ALL_AXES, IN_PLANE, SLICE_AXIS
from recon3d.solvers.tv import tv_least_squares

_AXES = {"3d": ALL_AXES, "in-plane": IN_PLANE, "slices": SLICE_AXIS}


class TV(Method):
    """Minimise 1/2 |A x - y|^2 + weight TV(x) with |A| = 1 and x in units of a typical value (CT: of water).

    Rudin, Osher and Fatemi (1992); solved by FISTA with restarts (Beck and Teboulle, 2009) or by the primal-dual method
    of Chambolle and Pock (2011). Denoising wants a weight that follows the noise, which `noise_weight` adds.
    """

    name: ClassVar[str] = "tv"
    summary: ClassVar[str] = "total variation; few views, short arcs, noise; any operator"

    weight: float = Field(
        1e-3, ge=0, description="strength of the penalty; does not depend on units, views or voxel size"
    )
    noise_weight: float = Field(0.0, ge=0, description="adds this multiple of the known noise to the weight; denoising")
    huber: float = Field(
        0.0, ge=0, description="smaller steps between voxels, in typical values, count by their squares: no staircases"
    )
    axes: Literal["3d", "in-plane", "slices"] = Field("3d", description="along which axes edges are penalised")
    nonnegative: bool = Field(
        True, description="minimise over images >= 0; ignored for images that are signed or complex"
    )
    solver: Literal["fista", "pdhg"] = Field("fista", description="two ways to the same image")
    iterations: int = Field(200, ge=1, description="steps at most")
    rtol: float = Field(1e-4, ge=0, description="stop when the optimality residual is this small")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-5, 1e-1)}

    @property
    def separable(self) -> bool:
        return False  # steps stop by a norm over the whole volume

    @property
    def volumes(self) -> float:
        return (6.0 if self.solver == "fista" else 7.0) + 2 * len(_AXES[self.axes])

    @property
    def data_arrays(self) -> float:
        return 5.0

    def spillable(self, problem: Problem) -> float:
        return 2.0 * len(_AXES[self.axes]) if self.solver == "fista" else 0.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        axes = _AXES[self.axes]
        spacing = None
        if isinstance(problem.grid, AffineGrid):
            edge = problem.grid.voxel_mm
            spacing = [edge[axis] / min(edge[a] for a in axes) for axis in axes]
        start = None
        if isinstance(problem.A, SliceSampling):  # nothing in the data moves a missing slice away from zero
            start = task.normalization.apply(problem.A.interpolated(problem.y))
        run.begin(self.iterations, {})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(step - 1, {}, {"optimality": float(residual)})

        solve = partial(tv_least_squares, allocate=run.allocate) if self.solver == "fista" else tv_primal_dual
        found = solve(
            task.A,
            task.y,
            self.weight + self.noise_weight * (task.noise_std or 0.0),
            start,
            axes=axes,
            spacing=spacing,
            nonnegative=self.nonnegative and not problem.signed,
            huber=self.huber,
            max_steps=self.iterations,
            rtol=self.rtol,
            callback=report,
        )
        if self.noise_weight and task.noise_std is None:
            run.note("The noise of the scan is not known, so noise_weight adds nothing: state it by scan.noise_std.")
        return finish(problem, task.physical(found.x), residual=task.residual(found.x), stopped_by=found.stopped_by)
