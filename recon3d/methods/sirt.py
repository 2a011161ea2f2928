"""SIRT: simultaneous iterative reconstruction, stopped early as regularisation; OS-SIRT in ordered subsets of views."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from operators.linear import LinearOperator
from operators.space import Space
from recon3d.errors import ConfigError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.solvers.sirt import sirt


class SIRT(Method):
    """x <- x + C A^T R (y - A x) with the inverse row and column sums R and C (Gregor and Benson, 2008).

    With subsets, each pass makes that many updates from every n-th view (Hudson and Larkin, 1994): about as many times
    faster at first, without a limit to converge to unless the relaxation is lowered.
    """

    name: ClassVar[str] = "sirt"
    summary: ClassVar[str] = "weighted gradient steps, stopped early; robust for noise and few views"

    iterations: int = Field(100, ge=1, description="passes over the data")
    subsets: int = Field(1, ge=1, description="ordered subsets of views (OS-SIRT), each followed by an update")
    relaxation: float = Field(1.0, gt=0, lt=2, description="step length")
    nonnegative: bool = Field(True, description="set negative values to zero after each step")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"iterations": (5, 500)}

    @property
    def separable(self) -> bool:
        return True

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        operators, parts = self._subsets(task)
        first, state = run.begin(self.iterations, {"x": task.A.H(task.y) * 0})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(first + step - 1, {"x": x}, {"residual": float(residual)})

        x = cast(Tensor, state["x"])
        if first < self.iterations:
            x = sirt(
                operators,
                parts,
                x,
                max_steps=self.iterations - first,
                relaxation=self.relaxation,
                nonnegative=self.nonnegative and not problem.signed,
                callback=report,
            ).x
        return finish(problem, task.physical(x), residual=task.residual(x))

    def _subsets(self, task: Normalised) -> tuple[list[LinearOperator], list[Any]]:
        """Every n-th view, those farthest from the ones before first."""
        if self.subsets == 1:
            return [task.A], [task.y]
        space = task.A.range
        if not isinstance(space, Space) or "view" not in space.axes:
            raise ConfigError("method.subsets are subsets of views, this scan has none: leave it out.")
        axis = space.axes.index("view")
        views = space.shape[axis]
        if self.subsets > views:
            raise ConfigError(f"method.subsets={self.subsets} is more than the {views} views: choose fewer.")
        operators, parts = [], []
        for first in _scattered(self.subsets):
            index = np.arange(first, views, self.subsets)
            operators.append(cast(LinearOperator, task.A.subset("view", index.tolist())))
            parts.append(task.y.index_select(axis, torch.from_numpy(index).to(task.y.device)))
        return operators, parts


def _scattered(count: int) -> list[int]:
    """0 to count - 1 so that neighbours in the list lie about a golden section of the whole apart."""
    return sorted(range(count), key=lambda k: (k * 0.6180339887498949) % 1.0)
