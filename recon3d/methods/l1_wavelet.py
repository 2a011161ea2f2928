"""L1-wavelet: compressed sensing, least squares with a penalty on wavelet coefficients."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from operators.wavelet import inverse_wavelet, wavelet
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.proximal import soft_threshold


class L1Wavelet(Method):
    """Minimise 1/2 |A x - y|^2 + weight |W x|_1 with |A| = 1 and x in units of a typical value, slice by slice.

    FISTA (Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009) 183). The wavelet's lattice moves by a fixed sequence of
    shifts, so that no blocks show (Coifman and Donoho, 1995). Lustig et al., Magn. Reson. Med. 58 (2007) 1182.
    """

    name: ClassVar[str] = "l1_wavelet"
    summary: ClassVar[str] = "compressed sensing with wavelets; MRI with any sampling, complex images"

    weight: float = Field(2e-3, ge=0, description="strength of the penalty; does not depend on units or acceleration")
    wavelet: str = Field("db4", description="an orthogonal wavelet, e.g. haar, db4, sym8")
    levels: int = Field(4, ge=1, le=8, description="scales; fewer for small images")
    iterations: int = Field(60, ge=1, description="steps")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-5, 1e-1)}

    @property
    def separable(self) -> bool:
        return True

    @property
    def volumes(self) -> float:
        return 7.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        gram, back = task.A.gram, task.A.H(task.y)
        ny, nx = back.shape[-2:]
        levels = max(1, min(self.levels, int(math.log2(max(2, min(ny, nx) / 8)))))
        first, state = run.begin(
            self.iterations, {"x": torch.zeros_like(back), "ahead": torch.zeros_like(back), "t": 1.0}
        )
        x, ahead, t = state["x"], state["ahead"], float(state["t"])  # type: ignore[arg-type]
        assert isinstance(x, Tensor)
        assert isinstance(ahead, Tensor)
        for i in range(first, self.iterations):
            step = ahead - (gram(ahead) - back)
            new = self._shrink(step, levels, i)
            t, previous = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
            ahead = new + (new - x) * ((previous - 1) / t)
            x = new
            if not run.step(i, {"x": x, "ahead": ahead, "t": t}, {}):
                break
        return finish(problem, task.physical(x), residual=task.residual(x))

    def _shrink(self, x: Tensor, levels: int, i: int) -> Tensor:
        """The proximal map of the penalty on a lattice that moves with the step."""
        ny, nx = x.shape[-2:]
        multiple = 2**levels
        shift = (5 * i) % multiple, (3 * i) % multiple
        padded = torch.nn.functional.pad(x, (0, -nx % multiple, 0, -ny % multiple))
        moved = torch.roll(padded, shift, (-2, -1))
        coefficients = wavelet(moved, levels, self.wavelet)
        coarse = coefficients[..., : moved.shape[-2] >> levels, : moved.shape[-1] >> levels].clone()
        coefficients = soft_threshold(coefficients, self.weight)
        coefficients[..., : coarse.shape[-2], : coarse.shape[-1]] = coarse  # the coarsest scale is no detail
        back = torch.roll(inverse_wavelet(coefficients, levels, self.wavelet), (-shift[0], -shift[1]), (-2, -1))
        return back[..., :ny, :nx]
