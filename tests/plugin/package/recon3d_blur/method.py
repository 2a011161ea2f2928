"""The method: Landweber's iteration, each step with a length of its own from a trained model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run


class LearnedLandweber(Method):
    """x <- max(x + s_i A^H (y - A x), 0) with |A| = 1 (Landweber, 1951) and learned steps s_i."""

    name: ClassVar[str] = "learned_landweber"
    summary: ClassVar[str] = "gradient steps whose lengths were trained; deblurring"
    roles: ClassVar[dict[str, str]] = {"steps": "lengths of the steps"}
    kinds: ClassVar[dict[str, str]] = {"steps": "step_lengths"}

    factor: float = Field(1.0, gt=0, description="of all step lengths")

    @property
    def separable(self) -> bool:
        return True

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"factor": (0.1, 2.0)}

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        lengths = models["steps"].lengths
        first, state = run.begin(len(lengths), {"x": task.A.H(task.y)})
        x = state["x"]
        for i in range(first, len(lengths)):
            x = (x + self.factor * lengths[i] * task.A.H(task.y - task.A(x))).clamp(min=0)
            if not run.step(i, {"x": x}, {}):
                break
        return finish(problem, task.physical(x), residual=task.residual(x))
