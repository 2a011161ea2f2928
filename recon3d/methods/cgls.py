"""CGLS: least squares by conjugate gradients, stopped early as regularisation."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.cg import cgls


class CGLS(Method):
    """Minimise |W (A x - y)|^2 by conjugate gradients on the normal equations (Hestenes and Stiefel, 1952)."""

    name: ClassVar[str] = "cgls"
    summary: ClassVar[str] = "least squares by conjugate gradients, stopped early; any operator"

    iterations: int = Field(20, ge=1, description="conjugate gradient steps; few for noisy data")
    rtol: float = Field(1e-6, ge=0, description="stop at this relative residual of the normal equations")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"iterations": (2, 100)}

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        run.begin(self.iterations, {})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(step - 1, {}, {"normal residual": float(residual)})

        x = cgls(task.A, task.y, max_steps=self.iterations, rtol=self.rtol, callback=report).x
        return finish(problem, task.physical(x), residual=task.residual(x))
