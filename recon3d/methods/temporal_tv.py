"""Temporal total variation: each frame is free, but what does not move is to stay as it is."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from operators.linear import FunctionOperator
from operators.space import Space
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.series import series_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.total_variation import SLICE_AXIS
from recon3d.solvers.tv import tv_least_squares


class TemporalTV(Method):
    """Minimise 1/2 |A f - y|^2 + weight sum_t |f_t+1 - f_t|_1 with |A| = 1 and f in units of a typical value.

    The model of XD-GRASP without sorting of its frames (Feng et al., Magn. Reson. Med. 75 (2016) 775), by FISTA.
    """

    name: ClassVar[str] = "temporal_tv"
    summary: ClassVar[str] = "series with total variation in time; many views per frame, steps and pauses"

    weight: float = Field(2e-3, ge=0, description="strength of the penalty; does not depend on units")
    nonnegative: bool = Field(True, description="minimise over series >= 0; ignored for complex images")
    iterations: int = Field(150, ge=1, description="steps at most")
    rtol: float = Field(1e-4, ge=0, description="stop when the optimality residual is this small")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-5, 1e-1)}

    @property
    def volumes(self) -> float:
        return 7.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        series_in(problem, self.name)
        task = problem.normalised()
        frames, *rest = problem.domain.shape
        shape = (frames, rest[0] * rest[1], rest[2])  # time where the solver has its slice axis

        def forward(f: Tensor) -> Any:
            return task.A(f.reshape(problem.domain.shape))

        def adjoint(y: Any) -> Tensor:
            return task.A.H(y).reshape(shape)

        flat = Space(("t", "row", "x"), shape, problem.domain.dtype)
        A = FunctionOperator(flat, task.A.range, forward, adjoint, task.A.device)
        run.begin(self.iterations, {})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(step - 1, {}, {"optimality": float(residual)})

        found = tv_least_squares(
            A,
            task.y,
            self.weight,
            axes=SLICE_AXIS,
            nonnegative=self.nonnegative and not problem.domain.is_complex,
            max_steps=self.iterations,
            rtol=self.rtol,
            callback=report,
        )
        x = found.x.reshape(problem.domain.shape)
        return finish(problem, task.physical(x), residual=task.residual(x), stopped_by=found.stopped_by)
