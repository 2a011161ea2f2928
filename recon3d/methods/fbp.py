"""Filtered backprojection: the direct inversion of parallel and fan beam CT, and FDK for cone beams."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from operators.series import Series
from operators.tomography import RayTransform, filtered_backprojection
from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run


class FBP(Method):
    """Filter each view, project back, weight by angle: exact for dense, noise-free views.

    Kak and Slaney, Principles of Computerized Tomographic Imaging, chapter 3; short scans after Parker (1982). Circular
    cone beams after Feldkamp, Davis and Kress (1984), exact in the plane of the source.
    """

    name: ClassVar[str] = "fbp"
    summary: ClassVar[str] = "filtered backprojection; CT only, seconds, wants many views"

    filter: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] = Field(
        "ram-lak", description="window on the ramp filter"
    )
    cutoff: float = Field(1.0, gt=0, le=1, description="where the window ends, as a share of the Nyquist frequency")

    @property
    def separable(self) -> bool:
        return True

    @property
    def volumes(self) -> float:
        return 1.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        if isinstance(problem.A, Series):
            raise InputError(
                f"Method 'fbp' makes one image, '{problem.name}' is a series: choose sliding_window, or set "
                "scan.series.still."
            )
        if not isinstance(problem.A, RayTransform):
            raise InputError(f"Method 'fbp' needs a CT scan, '{problem.name}' is not one: choose sirt or tv.")
        image = filtered_backprojection(problem.A, problem.y, filter=self.filter, cutoff=self.cutoff)
        return finish(problem, image)
