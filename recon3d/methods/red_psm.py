"""RED-PSM: a partially separable series whose frames a denoiser leaves as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from operators.reduce import norm
from recon3d.methods.base import Models, Reconstruction
from recon3d.methods.psm import CHI, XI, PartiallySeparable
from recon3d.methods.samples import denoiser_in
from recon3d.methods.series import series_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.partially_separable import Splitting

SIGMA = 0.06
ADAM_STEPS = 25
"""Joint steps on both factors in each sweep of the published mode."""


class RedPSM(PartiallySeparable):
    """Minimise |A F - y|^2 + weight/2 sum_t <f_t, f_t - D(f_t)> over F = L (U Z)^T = f, with |A| = 1.

    Iskender, Klasky and Bresler, IEEE Trans. Comput. Imaging 10 (2024) 832. ADMM: the factors are solved exactly in
    turn, then f <- (weight D(f) + beta (F + gamma)) / (weight + beta), then gamma <- gamma + F - f. For a network D is
    no gradient, so that no objective need fall: the sweeps seek a fixed point.
    """

    name: ClassVar[str] = "red_psm"
    summary: ClassVar[str] = "partially separable series with a denoiser on each frame; one view per instant, minutes"
    roles: ClassVar[dict[str, str]] = {"prior": "denoiser of single frames"}

    sigma: float | None = Field(
        None, gt=0, description="noise that the denoiser is told, in its range; 0.06, or the nearest its card allows"
    )
    weight: float = Field(2e-2, ge=0, description="of the denoiser, relative to |A|^2 and its range")
    beta: float = Field(2e-2, gt=0, description="coupling at the start; weight / (weight + beta) is D's share of f")
    complex_by: Literal["parts", "magnitude"] = Field(
        "parts", description="a real denoiser of complex frames: real and imaginary part, or magnitude (slow phase)"
    )
    solver: Literal["exact", "adam"] = Field("exact", description="of the factors; adam is the published one")
    rate: float = Field(5e-3, gt=0, description="step of adam")

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-3, 1.0), "sigma": (0.01, 0.3)}

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        series_in(problem, self.name)
        prior = denoiser_in("prior", self.name, models, run.micro_batch)
        task = problem.normalised(problem.normalization_from(prior.normalization, prior.card.units))
        factors = self._factors(problem, task, run)
        splitting = Splitting(task.A, task.y, factors, beta=self.beta, xi=XI, chi=CHI, cg_steps=self.cg_steps)
        denoise = self._frames_by(prior)
        positive = self.nonnegative and not problem.domain.is_complex
        away: list[float] = []

        def prox(raised: Tensor, f: Tensor, gamma: Tensor) -> Tensor:
            cleaned = denoise(f)
            gap = self.weight * (f - cleaned) - splitting.beta * gamma
            away.append(float(norm(gap * (f > 0) if positive else gap)) ** 2)  # a bound that holds needs no balance
            new = (self.weight * cleaned).add_(raised, alpha=splitting.beta).div_(self.weight + splitting.beta)
            return new.clamp_(min=0) if positive else new

        def stationarity() -> dict[str, float]:
            """|weight (f - D(f)) - beta gamma| / (weight |f|) of the f that the sweep began with."""
            total = sum(away) ** 0.5
            away.clear()
            return {"red": total / (self.weight * float(norm(splitting.f)) or 1.0)}

        solve = _adam(splitting, self.rate) if self.solver == "adam" else None
        self._split(splitting, run, prox, solve, stationarity)
        x = splitting.f if self.result == "series" else splitting.factors.frames()
        return self._finished(problem, task, splitting.factors, x, residual=splitting.residuals["data"])

    def _frames_by(self, prior: Any) -> Callable[[Tensor], Tensor]:
        """D on frames (t, z, y, x), also where it takes real images and they are complex."""
        sigma = self.sigma or min(max(SIGMA, prior.card.sigma_min), prior.card.sigma_max)

        def denoise(f: Tensor) -> Tensor:
            if not f.is_complex() or prior.card.complex_image:
                return cast(Tensor, prior.denoise(f, sigma))
            if self.complex_by == "magnitude":
                return torch.polar(prior.denoise(f.abs(), sigma), f.angle())
            parts = torch.stack([f.real, f.imag])
            return torch.complex(*prior.denoise(parts, sigma))

        return denoise


def _adam(splitting: Splitting, rate: float) -> Callable[[], None]:
    """The published solve of the factors: joint steps of Adam (Kingma and Ba, 2015) on basis images and latents."""
    moments: dict[str, list[Tensor]] = {}

    def solve() -> None:
        factors = splitting.factors
        for _ in range(ADAM_STEPS):
            gradients = splitting.gradients(factors)
            values = {"basis": factors.basis, "latent": factors.latent}
            factors = replace(factors, **{n: _adam_step(moments, n, values[n], gradients[n], rate) for n in values})
        splitting.factors = factors

    return solve


def _adam_step(moments: dict[str, list[Tensor]], name: str, value: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """One step from `value`; moments are kept by name: mean, mean square, and the number of steps."""
    mean, square, count = moments.setdefault(
        name, [torch.zeros_like(value), torch.zeros_like(value.real), torch.zeros(())]
    )
    count += 1
    mean.mul_(0.9).add_(gradient, alpha=0.1)
    square.mul_(0.999).add_(gradient.abs().square(), alpha=0.001)
    unbiased = square.div(1 - 0.999 ** float(count)).sqrt_().add_(1e-8)
    return value - (rate / (1 - 0.9 ** float(count))) * mean / unbiased
