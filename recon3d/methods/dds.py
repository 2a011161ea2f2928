"""DDS: decomposed diffusion sampling, a 2D denoiser and a few conjugate gradient steps make a 3D volume."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.methods.base import Models, Reconstruction
from recon3d.methods.dds_settings import DDSSettings
from recon3d.methods.samples import (
    Samples,
    bounded,
    denoised,
    denoiser_of,
    first_state,
    next_state,
    parts_of,
    starting_image,
    step_noise,
)
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.ddim import fresh_fraction
from recon3d.sampling.grids import Step, karras_grid, lambda_grid, vp_grid
from recon3d.sampling.multistep import extrapolate
from recon3d.sampling.posterior import tweedie
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.data_step import CovarianceStep, LeastSquaresStep
from recon3d.solvers.parts import WHOLE, Part, Parts

SIGMA_MAX = 0.7
"""Noise at the start, in the prior's range: the data fix what is coarser, so steps above it are better spent below."""


class DDS(DDSSettings):
    """Denoise, fit the data, add noise of the next level (Chung, Lee, Ye, ICLR 2024). It is no posterior sampler.

    Weights are relative to an operator of norm 1; images are in the range of the prior.
    """

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
