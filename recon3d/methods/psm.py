"""PSM: a series as few basis images times few time functions, fitted to the data, plain or with total variation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.series import Start, carried_rank, rank_and_knots, series_in, start_factors
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.solvers.partially_separable import Factors, Prox, Splitting, basis_step, latent_step, misfit
from recon3d.solvers.total_variation import ALL_AXES, IN_PLANE, tv_prox

XI = CHI = 1e-6
"""Weights of |L|^2 and |Psi|^2, as published: they only keep the factors bounded."""
BALANCE_EVERY = 5
"""Sweeps from one look at beta to the next, in the first half of the run."""


class PartiallySeparable(Method):
    """What methods share that fit f = L (U Z)^T (Liang, ISBI 2007): settings of the factors, loop of the splitting."""

    rank: int | None = Field(None, ge=1, description="basis images; by default 0.65 sqrt(frames), or what coils bear")
    knots: int | None = Field(
        None, ge=2, description="of the time functions; rank + 2, or every frame with a navigator"
    )
    start: Start = Field("auto", description="auto: a navigator where k-space has one, else windows; prosep; cosines")
    window: int | None = Field(None, ge=1, description="frames of each image of the start 'windows'; a quarter of all")
    iterations: int = Field(25, ge=1, description="sweeps over both factors and the series at most")
    cg_steps: int = Field(8, ge=1, description="conjugate gradient steps of each solve for the basis images")
    tol: float = Field(2e-3, ge=0, description="stop where the residuals primal, dual and change are this small")
    nonnegative: bool = Field(True, description="series >= 0 in the method's range; ignored for complex images")
    result: Literal["series", "factors"] = Field("series", description="what is kept: f, or its partially separable F")

    @property
    def volumes(self) -> float:
        return 4.5

    @property
    def unaided(self) -> bool:
        """Whether nothing but the data and the rank decides."""
        return False

    def _factors(self, problem: Problem, task: Normalised, run: Run) -> Factors:
        rank, knots = rank_and_knots(problem, self.rank, self.knots, run, unaided=self.unaided)
        return start_factors(problem, task, rank, knots, self.start, self.window)

    def _split(
        self,
        splitting: Splitting,
        run: Run,
        prox: Prox,
        solve: Callable[[], None] | None = None,
        watched: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Sweeps until the residuals are small; goes on where an interrupted run stopped."""
        first, splitting.state = run.begin(self.iterations, splitting.state)
        for i in range(first, self.iterations):
            splitting.sweep(prox, solve)
            done = max(splitting.residuals[name] for name in ("primal", "dual", "change")) <= self.tol
            metrics = {**splitting.residuals, **watched(), "beta": splitting.beta}
            if i % BALANCE_EVERY == BALANCE_EVERY - 1 and i < self.iterations // 2:  # then beta rests
                splitting.balance()
            if not run.step(i, splitting.state, metrics) or done:
                break
        splitting.gamma = splitting.gamma.new_empty(0)  # not needed any more

    def _finished(
        self, problem: Problem, task: Normalised, factors: Factors, x: Tensor, **facts: float
    ) -> Reconstruction:
        image = x.mul_(task.normalization.scale).add_(task.normalization.offset)  # in place: a series is large
        told: dict[str, Any] = {
            "rank": factors.basis.shape[0],
            "knots": factors.interpolator.shape[1],
            "rank_carried": round(carried_rank(problem), 2),
        }
        return finish(problem, image, **told, **facts)  # type: ignore[arg-type]


class PSM(PartiallySeparable):
    """Minimise |A F - y|^2 + weight sum_t TV(f_t) over F = L (U Z)^T = f, with |A| = 1, f in typical values.

    Without a penalty both factors are solved in turn. Zhao et al., IEEE Trans. Med. Imaging 31 (2012) 1809.
    """

    name: ClassVar[str] = "psm"
    summary: ClassVar[str] = "series as few basis images times time functions; one view per instant, plain or with TV"

    regulariser: Literal["none", "tv"] = Field("tv", description="penalty on each frame")
    weight: float = Field(3e-3, ge=0, description="of total variation, relative to |A|^2 and a typical value")
    beta: float = Field(3e-2, gt=0, description="coupling of factors and series at the start, relative to |A|^2")
    prox_iterations: int = Field(20, ge=1, description="of each total variation step")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-5, 1e-1)} if self.regulariser == "tv" else {}

    @property
    def unaided(self) -> bool:
        return self.regulariser == "none"

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        series_in(problem, self.name)
        task = problem.normalised()
        factors = self._factors(problem, task, run)
        if self.regulariser == "none":
            return self._plain(problem, task, factors, run)
        splitting = Splitting(task.A, task.y, factors, beta=self.beta, xi=XI, chi=CHI, cg_steps=self.cg_steps)
        axes = IN_PLANE if problem.domain.shape[-3] == 1 else ALL_AXES
        positive = self.nonnegative and not problem.domain.is_complex

        def prox(raised: Tensor, f: Tensor, gamma: Tensor) -> Tensor:
            return tv_prox(raised, self.weight / splitting.beta, axes, self.prox_iterations, nonnegative=positive)

        self._split(splitting, run, prox)
        x = splitting.f if self.result == "series" else splitting.factors.frames()
        return self._finished(problem, task, splitting.factors, x, residual=splitting.residuals["data"])

    def _plain(self, problem: Problem, task: Normalised, factors: Factors, run: Run) -> Reconstruction:
        """Alternating least squares, stopped early as regularisation."""
        first, state = run.begin(self.iterations, {"basis": factors.basis, "latent": factors.latent})
        factors = Factors(cast(Tensor, state["basis"]), cast(Tensor, state["latent"]), factors.interpolator)
        for i in range(first, self.iterations):
            before = factors
            factors = basis_step(task.A, task.y, factors, xi=XI, steps=self.cg_steps)
            factors = latent_step(task.A, task.y, factors, chi=CHI).orthonormal()
            metrics = {"data": misfit(task.A, task.y, factors), "change": factors.change_from(before)}
            state = {"basis": factors.basis, "latent": factors.latent}
            if not run.step(i, state, metrics) or metrics["change"] <= self.tol:
                break
        residual = misfit(task.A, task.y, factors)
        return self._finished(problem, task, factors, factors.frames(), residual=residual)
