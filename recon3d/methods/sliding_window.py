"""Sliding window: each frame is the image of the views around it, as if nothing moved meanwhile."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from operators.linear import LinearOperator
from operators.tomography import RayTransform, filtered_backprojection
from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.series import default_window, series_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.cg import cgls
from recon3d.solvers.sirt import sirt


class SlidingWindow(Method):
    """Frame t from the data of `window` frames about it (those at the ends share theirs), by a method for one image."""

    name: ClassVar[str] = "sliding_window"
    summary: ClassVar[str] = "series frame by frame from the views around each, by fbp, sirt or cg; blurs what moves"

    inner: Literal["auto", "fbp", "sirt", "cg"] = Field("auto", description="of one window; auto: fbp, or cg for MRI")
    window: int | None = Field(None, ge=1, description="frames that a window spans; a quarter of all by default")
    filter: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] = Field("hann", description="of fbp")
    iterations: int | None = Field(None, ge=1, description="of sirt (50) and cg (12); few regularise")
    nonnegative: bool = Field(True, description="of sirt")

    @property
    def separable(self) -> bool:
        return self.inner in ("auto", "fbp")

    @property
    def volumes(self) -> float:
        return 1.5

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = series_in(problem, self.name)
        width = min(self.window or default_window(A), A.frames)
        first, state = run.begin(A.frames, {"x": A.domain.zeros(A.device)})
        x = state["x"]
        assert isinstance(x, Tensor)
        for t in range(first, A.frames):
            start = min(max(0, t - (width - 1) // 2), A.frames - width)
            if t > first and start == min(max(0, t - 1 - (width - 1) // 2), A.frames - width):
                x[t] = x[t - 1]  # at the ends neighbours share their window
            else:
                x[t] = self._image(problem, *A.window(start, start + width, problem.y))
            if not run.step(t, {"x": x}, {}):
                break
        return finish(problem, x, window=width)

    def _image(self, problem: Problem, A: LinearOperator, y: Any) -> Tensor:
        if self.inner == "fbp" and not isinstance(A, RayTransform):
            raise InputError(f"'{problem.name}' is no CT scan: choose inner=cg for its windows.")
        if self.inner in ("auto", "fbp") and isinstance(A, RayTransform):
            return filtered_backprojection(A, y, filter=self.filter)
        if self.inner == "sirt":
            return sirt(A, y, max_steps=self.iterations or 50, nonnegative=self.nonnegative).x
        return cgls(A, y, max_steps=self.iterations or 12).x
