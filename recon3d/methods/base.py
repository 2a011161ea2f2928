"""Method and Reconstruction: what every reconstruction method is and what it returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.volume import Volume

Models = Mapping[str, Any]
"""Models by role, e.g. {"prior": denoiser}."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a method found.

    Parameters
    ----------
    volume : the image, in the unit in which it leaves
    uncertainty : standard deviation per voxel, or None
    facts : numbers about the result, e.g. {"residual": 0.02}
    others : further volumes on the same grid, by the names they get in the report and in files beside the output
    details : plain values for the record, e.g. {"acquisition": {"order": ...}}
    history : what a slice looked like after each iteration, (iteration, y, x), or None
    """

    volume: Volume
    uncertainty: Volume | None = None
    facts: Mapping[str, float | str] = field(default_factory=dict)
    others: Mapping[str, Volume] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    history: NDArray[np.float32] | None = None


class Method(BaseModel):
    """A reconstruction method: validated settings and one function.

    Attributes
    ----------
    name : how configurations and the command line call it
    summary : one line for `recon3d methods`
    roles : the models it needs, role -> what it is for
    kinds : role -> kind of its model (`recon3d.priors.cards.KINDS`), where that is no denoiser
    defaults : role -> name of the shipped model that is taken where none is given, instead of the first that fits
    prepares : whether it makes what its models see from the scan itself, so that the scan's own image need not fit them
    separable : whether slabs of slices are problems of their own wherever the operator allows it
    volumes : how many image volumes it holds at its peak, for the memory plan
    data_arrays : how many arrays of the size of the data it holds beside them
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    summary: ClassVar[str]
    roles: ClassVar[Mapping[str, str]] = {}
    kinds: ClassVar[Mapping[str, str]] = {}
    defaults: ClassVar[Mapping[str, str]] = {}
    prepares: ClassVar[bool] = False

    @property
    def needed(self) -> Mapping[str, str]:
        """The roles that these settings need; all of `roles` where settings do not matter."""
        return self.roles

    @property
    def tunable(self) -> Mapping[str, tuple[float, float]]:
        """Settings that `recon3d tune` may choose and the ends of their ranges (both int: whole numbers); under these
        settings, the one that matters most first."""
        return {}

    @property
    def separable(self) -> bool:
        return False

    @property
    def volumes(self) -> float:
        return 4.0

    @property
    def data_arrays(self) -> float:
        return 2.0

    def spillable(self, problem: Problem) -> float:
        """How many of its volumes it takes from `Run.allocate`, which may lie on disk."""
        return 0.0

    def calls(self, problem: Problem) -> tuple[float, float]:
        """About how often it applies A^H A, and passes all slices through its networks: for forecasts of time."""
        return float(getattr(self, "iterations", 1)), 0.0

    def settle(
        self, problem: Problem, given: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> tuple[Method, str]:
        """The method that will run, and why where that was a choice ("" where it is this one).

        `given` and `force` are as for `recon3d.methods.roles.models_for`.
        """
        return self, ""

    @abstractmethod
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        """Solve the problem. Never touches files, progress bars or the command line: `run` does."""


def finish(problem: Problem, image: Tensor, uncertainty: Tensor | None = None, **facts: float | str) -> Reconstruction:
    """The reconstruction of an image in the problem's units; `uncertainty` is a standard deviation in the same."""
    volume = problem.volume(image)
    spread = None
    if uncertainty is not None:
        units, output = problem.output
        spread = Volume((uncertainty / output.scale).cpu().numpy(), problem.grid, units=units, times_s=problem.times_s)
    return Reconstruction(volume, spread, facts)
