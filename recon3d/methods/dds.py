"""DDS: decomposed diffusion sampling, a 2D denoiser and a few conjugate gradient steps make a 3D volume."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from operators.differences import Boundary
from recon3d.errors import ConfigError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.samples import (
    Samples,
    bounded,
    denoised,
    denoiser_of,
    first_state,
    next_state,
    parts_of,
    stacked,
    starting_image,
    step_noise,
)
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.ddim import EtaMode, fresh_fraction
from recon3d.sampling.grids import Final, Spacing, Step, karras_grid, lambda_grid, vp_grid
from recon3d.sampling.multistep import extrapolate
from recon3d.sampling.posterior import tweedie
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.data_step import CovarianceStep, LeastSquaresStep
from recon3d.solvers.parts import WHOLE, Part, Parts

SIGMA_MAX = 0.7
"""Noise at the start, in the prior's range: the data fix what is coarser, so steps above it are better spent below."""


class DDS(Method):
    """Denoise, fit the data, add noise of the next level (Chung, Lee, Ye, ICLR 2024). It is no posterior sampler.

    Weights are relative to an operator of norm 1; images are in the range of the prior.
    """

    name: ClassVar[str] = "dds"
    summary: ClassVar[str] = "diffusion prior with conjugate gradients and TV between slices; few views, minutes"
    roles: ClassVar[dict[str, str]] = {
        "prior": "denoiser of 2D slices",
        "start": "network whose image is the start, for start=supervised (MRI)",
    }
    kinds: ClassVar[dict[str, str]] = {"start": "reconstructor"}

    steps: int = Field(50, ge=1, description="steps per sample, each with a network call unless it is held")
    hold: int = Field(1, ge=1, description="call the network at each n-th step and the last, else hold its answer (CT)")
    reuse: bool = Field(False, description="odd slices take the deep features of their neighbours (thin slices)")
    order: Literal[1, 2] = Field(1, description="of the step: DDIM, or DPM-Solver++ 2M (for 'posterior')")
    samples: int = Field(1, ge=1, description="runs; their mean is the result, their spread the uncertainty")
    grid: Literal["lambda", "karras", "vp"] = Field("lambda", description="noise levels: geometric, EDM, or DDS's own")
    sigma_max: float | None = Field(
        None, gt=0, description="noise at the start, at most the prior's largest; by default 0.7, or all of grid 'vp'"
    )
    sigma_min: float = Field(0.01, gt=0, description="noise at the end; the prior's smallest if that is more")
    spacing: Spacing = Field("leading_int", description="of the times of grid 'vp'; leading_int may give more steps")
    final: Final = Field("denoise", description="the end: a denoised image, as in DDS's code, or none")
    start: Literal["noise", "fbp", "cgls", "interpolation", "supervised"] = Field(
        "noise",
        description="from noise, or late from an image: of the data alone (interpolation: of measured slices), or of a "
        "network (models.start)",
    )
    sigma_start: float = Field(1.0, gt=0, description="noise on the image of a late start")
    eta: float = Field(0.85, ge=0, le=1, description="share of the noise drawn anew at each step")
    eta_mode: EtaMode = Field("public", description="as in DDS's code (amplitude), or as in the DDIM paper")
    noise: Literal["prior", "implied"] = Field("prior", description="noise kept: the network's, or what the data imply")
    data: Literal["admm_tv", "cg", "proximal", "posterior"] = Field(
        "admm_tv", description="data step: with TV between slices, plain, near the denoised image, or exact (small)"
    )
    cg_steps: int = Field(5, ge=1, description="conjugate gradient steps per data step")
    gamma: float | None = Field(None, gt=0, description="weight of the data against the denoised image, not for 'cg'")
    noise_weight: float = Field(
        0.0, ge=0, description="without gamma: factor on the known noise variance; 0: few steps regularise"
    )
    discrepancy: float = Field(1.0, ge=0, description="'cg' stops at this multiple of known noise; 0: never")
    rho: float = Field(0.02, gt=0, description="coupling of slices (admm_tv)")
    threshold: float = Field(0.01, ge=0, description="differences of slices that TV removes, in the prior's range")
    boundary: Boundary = Field("neumann", description="at the first and last slice; circular is DDS's code")
    z_init: Literal["Dx", "zeros"] = Field("Dx", description="first split variable; zeros is DDS's code")

    @model_validator(mode="after")
    def _posterior_is_exact(self) -> DDS:
        if self.data == "posterior" and (self.hold > 1 or self.reuse):
            raise ValueError("the data step 'posterior' needs the whole network at each step: leave hold and reuse out")
        return self

    @property
    def needed(self) -> dict[str, str]:
        return {role: purpose for role, purpose in self.roles.items() if role != "start" or self.start == "supervised"}

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        if self.data == "admm_tv":
            return {"threshold": (1e-3, 0.1), "rho": (2e-3, 0.5)}
        return {"gamma": (0.1, 1e4)} if self.data == "proximal" else {"cg_steps": (1, 30)}

    @property
    def separable(self) -> bool:
        return self.data in ("cg", "proximal") and not self.reuse

    @property
    def volumes(self) -> float:
        return 10.0 + 2 * (self.samples > 1) + (self.hold > 1) + (self.order == 2)

    def spillable(self, problem: Problem) -> float:
        plain = self.data == "admm_tv" and self.start == "noise" and self.samples == self.order == 1
        return 6.0 if plain and not self.reuse and stacked(problem) else 0.0

    def calls(self, problem: Problem) -> tuple[float, float]:
        steps = float(self.steps * self.samples)
        return steps * (self.cg_steps + 1), steps / self.hold

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        prior = denoiser_of(self.name, models, run.micro_batch, reuse=self.reuse)
        task = problem.normalised(problem.normalization_from(prior.normalization, prior.card.units))
        prior = bounded(prior, problem, task)
        parts = parts_of(problem, run) if self.spillable(problem) else WHOLE
        data_step = self._data_step(task, parts)
        samples = Samples(problem, self.samples, self._grid(prior.card))
        data_step.state = samples.begin(run)
        x = data_step.state.pop("x", torch.empty(0))
        kept = data_step.state
        past: dict[str, Tensor] = {name: kept.pop(name) for name in ("held", "previous") if name in kept}

        for index, sample, step in samples:
            noise = partial(step_noise, problem, run, sample)
            if step.index == 0:
                draw = partial(self._start, problem, task, step, prior.card, models, partial(noise, -1))
                x, past, data_step.state = parts.each(draw), {}, {}
            xhat = self._denoise(prior, x, step, data_step, past, parts)
            self._weigh(data_step, step, task.noise_std, prior.card.sigma_data)
            x0 = data_step(xhat)
            clean = xhat if self.noise == "prior" else x0  # whose noise goes on
            if self.order == 2:
                ahead = clean
                if "previous" in past and step.b_next:
                    ahead = extrapolate(clean, past["previous"], step, samples.grid[step.index - 1].sigma)
                x0, past["previous"], clean = x0 + (ahead - clean), clean, ahead
            fraction = fresh_fraction(step, self.eta, self.eta_mode)
            x = parts.each(partial(next_state, step, fraction, partial(noise, step.index)), x, x0, clean)
            del xhat, clean
            if step.last:
                samples.add(x)
            metrics = {"residual": data_step.residual, "sigma": step.sigma}
            if not run.step(index, {"x": x, **past, **data_step.state, **samples.state}, metrics):
                x = x0
                break
        return samples.finish(task, x, self, prior.card, parts)

    def _grid(self, card: Any) -> list[Step]:
        """Never noisier than the prior was trained for, nor than a late start wants."""
        largest = self.sigma_max or (math.inf if self.grid == "vp" else SIGMA_MAX)
        sigma_max = min(largest, card.sigma_max, math.inf if self.start == "noise" else self.sigma_start)
        if self.grid == "vp":
            return vp_grid(self.steps, spacing=self.spacing, final=self.final, sigma_max=sigma_max)
        make = karras_grid if self.grid == "karras" else lambda_grid
        return make(self.steps, sigma_max, min(sigma_max, max(self.sigma_min, card.sigma_min)), final=self.final)

    def _data_step(self, task: Normalised, parts: Parts) -> SliceTV | LeastSquaresStep | CovarianceStep:
        if self.data == "admm_tv":
            settings = self.model_dump(include={"rho", "cg_steps", "boundary", "z_init"})
            return SliceTV(task.A, task.y, weight=self.threshold * self.rho, parts=parts, **settings)
        if self.data == "posterior":
            if task.noise_std is None:
                raise ConfigError("The data step 'posterior' needs the noise of the scan: state it, or choose 'cg'.")
            return CovarianceStep(task.A, task.y, noise_std=task.noise_std, cg_steps=self.cg_steps)
        noise_norm2 = 0.0
        if self.data == "cg" and task.noise_std is not None:
            noise_norm2 = (self.discrepancy * task.noise_std) ** 2 * (2 if task.A.range.is_complex else 1)
        return LeastSquaresStep(task.A, task.y, cg_steps=self.cg_steps, noise_norm2=noise_norm2)

    def _denoise(
        self, prior: Any, x: Tensor, step: Step, data_step: Any, past: dict[str, Tensor], parts: Parts
    ) -> Tensor:
        """E[x0 | x] by Tweedie, or the last one again where it is held."""
        if "held" in past and step.index % self.hold and not step.last:
            return past["held"]
        if self.data == "posterior":
            xhat, data_step.covariance = tweedie(prior.denoise, x / step.a if step.a != 1 else x, step.sigma)
        else:
            xhat = parts.each(partial(denoised, prior, step.sigma, a=step.a), x)
        if self.hold > 1:
            past["held"] = xhat
        return xhat

    def _weigh(self, data_step: Any, step: Step, noise_std: float | None, sigma_data: float) -> None:
        """Tell the data step how far to trust the denoised image: v = Var[x0 | x] for a white Gaussian prior."""
        if self.data in ("cg", "posterior"):
            return
        if self.gamma is not None:
            data_step.damping = 1.0 / self.gamma
        elif noise_std is not None:
            variance = 1.0 / (1.0 / sigma_data**2 + 1.0 / step.sigma**2)
            data_step.damping = self.noise_weight * noise_std**2 / variance

    def _start(
        self, problem: Problem, task: Normalised, step: Step, card: Any, models: Models, noise: Any, part: Part
    ) -> Tensor:
        """The image, or what is known of it before the scan, with noise of the first level."""
        if self.start == "noise":
            mean, std = (0.0, 1.0) if self.grid == "vp" else (card.mean, card.sigma_data)  # DDS starts at N(0, 1)
            return first_state(step, noise(part=part), mean, std)
        image = starting_image(self.start, problem, task, models, self.name)
        return cast(Tensor, noise(part=part).mul_(step.b).add_(image, alpha=step.a))
