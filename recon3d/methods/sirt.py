"""SIRT: simultaneous iterative reconstruction, stopped early as regularisation."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.sirt import sirt


class SIRT(Method):
    """x <- x + C A^T R (y - A x) with the inverse row and column sums R and C (Gregor and Benson, 2008)."""

    name: ClassVar[str] = "sirt"
    summary: ClassVar[str] = "weighted gradient steps, stopped early; robust for noise and few views"

    iterations: int = Field(100, ge=1, description="passes over the data")
    relaxation: float = Field(1.0, gt=0, lt=2, description="step length")
    nonnegative: bool = Field(True, description="set negative values to zero after each step")

    @property
    def separable(self) -> bool:
        return True

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        first, state = run.begin(self.iterations, {"x": task.A.H(task.y) * 0})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(first + step - 1, {"x": x}, {"residual": float(residual)})

        x = cast(Tensor, state["x"])
        if first < self.iterations:
            x = sirt(
                task.A,
                task.y,
                x,
                max_steps=self.iterations - first,
                relaxation=self.relaxation,
                nonnegative=self.nonnegative,
                callback=report,
            ).x
        return finish(problem, task.physical(x), residual=task.residual(x))
