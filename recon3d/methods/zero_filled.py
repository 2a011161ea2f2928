"""Zero filling: the image of what was measured, with nothing in the place of what was not."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from operators.mri import Encoding
from operators.mri.coils import rss
from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run


class ZeroFilled(Method):
    """The inverse Fourier transform (or gridding) of the data, coils joined by sensitivities or by sum of squares."""

    name: ClassVar[str] = "zero_filled"
    summary: ClassVar[str] = "MRI: plain inverse Fourier transform, coils combined; shows what undersampling does"

    combine: Literal["sense", "rss"] = Field("sense", description="sense keeps the phase; rss needs no sensitivities")

    @property
    def separable(self) -> bool:
        return True

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = problem.A
        if not isinstance(A, Encoding):
            raise InputError(f"Method 'zero_filled' is for MRI, '{problem.name}' is another scan: choose fbp or cgls.")
        run.begin(1, {})
        if self.combine == "rss":
            image = rss(A.coil_images(problem.y)).to(problem.domain.dtype)
            if "set" in problem.domain.axes:
                image = image.unsqueeze(problem.domain.axes.index("set") - len(problem.domain.axes))
        else:
            image = A.gridded(problem.y)
        run.step(0, {}, {})
        return finish(problem, image)
