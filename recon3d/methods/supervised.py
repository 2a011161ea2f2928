"""Supervised: one pass of a network that was trained on pairs of undersampled and full data."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recon3d.errors import ModelError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem
from recon3d.run import Run


class Supervised(Method):
    """RecurrentVarNet, VarNet, U-Net: the image is what the network makes of the data, slice by slice.

    Nothing holds the result to the data but the network's own steps; the residual says how far it went from them.
    """

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = "MRI: one pass of a network trained on pairs (RecurrentVarNet, VarNet, U-Net); seconds"
    roles: ClassVar[dict[str, str]] = {"reconstructor": "feed-forward network for multi-coil MRI"}
    kinds: ClassVar[dict[str, str]] = {"reconstructor": "reconstructor"}

    combine: Literal["rss", "sense"] = Field(
        "rss", description="magnitude: root sum of squares, as trained, or by the scan's own sensitivities"
    )

    @property
    def separable(self) -> bool:
        return True

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        network = reconstructor_of(self.name, models)
        run.begin(1, {})
        image = network(problem, self.combine)
        run.step(0, {}, {})
        task = problem.normalised()
        return finish(problem, image, residual=task.residual(task.normalization.apply(image)))


def reconstructor_of(method: str, models: Models, role: str = "reconstructor") -> Reconstructor:
    """The reconstructor of a role."""
    model = models.get(role)
    if not isinstance(model, Reconstructor):
        got = "none" if model is None else f"a {type(model).__name__}"
        raise ModelError(
            f"Method '{method}' needs a reconstructor: give models={{'{role}': ...}}, got {got}; see `recon3d models`."
        )
    return model
