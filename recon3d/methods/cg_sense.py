"""CG-SENSE: regularised least squares for parallel MRI by conjugate gradients."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.cg import conjugate_gradient


class CGSense(Method):
    """Solve (A^H A + weight) x = A^H y with |A| = 1 (Pruessmann et al., Magn. Reson. Med. 46 (2001) 638).

    Slices that are problems of their own converge on their own, so that slabs give the numbers of the whole.
    """

    name: ClassVar[str] = "cg_sense"
    summary: ClassVar[str] = "MRI: regularised least squares with coil sensitivities; any sampling"

    weight: float = Field(3e-3, ge=0, description="Tikhonov weight, relative to the largest eigenvalue of A^H A")
    iterations: int = Field(30, ge=1, description="conjugate gradient steps at most")
    rtol: float = Field(1e-4, ge=0, description="stop at this relative residual of the normal equations")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-6, 1.0)}

    @property
    def volumes(self) -> float:
        return 7.0  # b, x, r, p and K p, its sum over coils, and the result

    @property
    def separable(self) -> bool:
        return True

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        gram, weight = task.A.gram, self.weight
        axis = problem.domain.axes.index("z")  # slices first, for step sizes of their own
        separate = task.A.restrict("z", 0, 1) is not None

        def normal(x: Tensor) -> Tensor:
            image = x.movedim(0, axis) if separate else x
            result = gram(image).add_(image, alpha=weight)
            return result.movedim(axis, 0) if separate else result

        right = task.A.H(task.y)
        run.begin(self.iterations, {})

        def report(step: int, x: Tensor, residual: Tensor) -> bool:
            return run.step(step - 1, {}, {"normal residual": float(residual.max())})

        x = conjugate_gradient(
            normal,
            right.movedim(axis, 0) if separate else right,
            max_steps=self.iterations,
            rtol=self.rtol,
            batch_ndim=1 if separate else 0,
            callback=report,
        ).x
        x = x.movedim(0, axis) if separate else x
        return finish(problem, task.physical(x), residual=task.residual(x))
