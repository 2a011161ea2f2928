"""f-x prediction: filters that predict a trace from its neighbours, learned at low frequencies, fill regular gaps."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import Field
from torch import Tensor

from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.seismic import finish_cube, sampling_of
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.prediction import decimation, predicted_fill


class FXPrediction(Method):
    """Spitz, Geophysics 56 (1991) 785: the filter of lines k apart at f / k is the filter of adjacent lines at f.

    For lines missing in a regular pattern along one axis, or along both in turn: the mask where POCS gains nothing.
    """

    name: ClassVar[str] = "fx_prediction"
    summary: ClassVar[str] = "seismic: prediction from low frequencies; regularly decimated lines, aliased dips"

    length: int = Field(5, ge=1, description="taps of the filters; at least the dips in a window")
    window: tuple[int, int, int] = Field((32, 16, 64), description="(along, across, sample) of windows")
    overlap: float = Field(0.5, ge=0, lt=1, description="share of neighbouring windows in common")

    @property
    def volumes(self) -> float:
        return 8.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        axes = decimation(A.live[..., 0] > 0)
        if axes is None:
            raise InputError(
                "Method 'fx_prediction' fills lines that are missing in a regular pattern, "
                f"those of '{problem.name}' are not: choose pocs, mssa or seisfusion."
            )
        first, state = run.begin(2, {"cube": A.gridded(problem.y)})
        cube = cast(Tensor, state["cube"])
        for axis in range(first, 2):
            settings = {"length": self.length, "window": self.window, "overlap": self.overlap}
            cube = predicted_fill(cube.movedim(axis, 0), *axes[axis], **settings).movedim(0, axis)  # type: ignore[arg-type]
            if not run.step(axis, {"cube": cube}, {}):
                break
        return finish_cube(problem, cube)
