"""L+S: a low-rank background and sparse changes upon it, the standard of accelerated cine and perfusion MRI."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor

from operators.reduce import norm
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.series import series_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.proximal import singular_value_threshold, soft_threshold


class LowRankPlusSparse(Method):
    """Minimise 1/2 |A (L + S) - y|^2 + low_rank |L|_* + sparse |T S|_1, |A| = 1, T the Fourier transform in time.

    Otazo, Candes and Sodickson, Magn. Reson. Med. 73 (2015) 1125, with Nesterov's momentum (FISTA on both parts). The
    weights are relative: `low_rank` to the largest singular value of the first image, `sparse` to a typical value.
    """

    name: ClassVar[str] = "lps"
    summary: ClassVar[str] = "series as low-rank background plus sparse changes (L+S); cine and perfusion MRI"

    low_rank: float = Field(0.01, ge=0, description="threshold of singular values, relative to the largest")
    sparse: float = Field(0.01, ge=0, description="threshold of temporal frequencies, relative to a typical value")
    iterations: int = Field(60, ge=1, description="steps at most")
    tol: float = Field(1e-4, ge=0, description="stop where a step changes the series by less, relatively")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"sparse": (1e-4, 0.3), "low_rank": (1e-4, 0.3)}

    @property
    def volumes(self) -> float:
        return 9.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        series_in(problem, self.name)
        task = problem.normalised()
        back, gram = task.A.H(task.y), task.A.gram
        zero = torch.zeros_like(back)
        first, state = run.begin(self.iterations, {"L": zero, "S": zero, "L ahead": zero, "S ahead": zero, "t": 1.0})
        L, S, L_ahead, S_ahead = (cast(Tensor, state[name]) for name in ("L", "S", "L ahead", "S ahead"))
        t = float(cast(float, state["t"]))
        largest = float(torch.linalg.matrix_norm(back.flatten(1), 2))
        for i in range(first, self.iterations):
            step = (gram(L_ahead + S_ahead) - back).mul_(0.5)  # two parts share the step: |[A, A]|^2 = 2
            L_new = singular_value_threshold((L_ahead - step).flatten(1), 0.5 * self.low_rank * largest).reshape(
                L.shape
            )
            S_new = _sparse_in_time(S_ahead - step, 0.5 * self.sparse)
            t, before = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
            push = (before - 1) / t
            change = float(norm(L_new + S_new - L - S)) / (float(norm(L_new + S_new)) or 1.0)
            L_ahead, S_ahead = L_new + (L_new - L) * push, S_new + (S_new - S) * push
            L, S = L_new, S_new
            state = {"L": L, "S": S, "L ahead": L_ahead, "S ahead": S_ahead, "t": t}
            if not run.step(i, state, {"change": change}) or change <= self.tol:
                break
        x = L + S
        return finish(problem, task.physical(x), residual=task.residual(x))


def _sparse_in_time(S: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold |T S|_1 with T orthonormal."""
    spectrum = soft_threshold(torch.fft.fft(S, dim=0, norm="ortho"), threshold)
    found = torch.fft.ifft(spectrum, dim=0, norm="ortho")
    return found if S.is_complex() else found.real
