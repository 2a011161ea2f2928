"""DDS: decomposed diffusion sampling, a 2D denoiser and a few conjugate gradient steps make a 3D volume."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from operators.differences import Boundary
from operators.slices import SliceSampling
from operators.tomography import RayTransform, filtered_backprojection
from recon3d.errors import ConfigError, ModelError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.ddim import EtaMode, ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import Final, Spacing, Step, karras_grid, lambda_grid, vp_grid
from recon3d.sampling.noise import counter_noise
from recon3d.sampling.posterior import tweedie
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.cg import conjugate_gradient
from recon3d.solvers.data_step import CovarianceStep, LeastSquaresStep, slice_axis

SIGMA_MAX = 0.7
"""Noise at the start, in the prior's range: the data fix what is coarser, so steps above it are better spent below."""
START_STEPS = 10
"""Conjugate gradient steps of a start from the data; few, because they regularise."""


class DDS(Method):
    """Denoise, fit the data, add noise of the next level (Chung, Lee, Ye, ICLR 2024). It is no posterior sampler.

    Weights are relative to an operator of norm 1; images are in the range of the prior.
    """

    name: ClassVar[str] = "dds"
    summary: ClassVar[str] = "diffusion prior with conjugate gradients and TV between slices; few views, minutes"
    roles: ClassVar[dict[str, str]] = {"prior": "denoiser of 2D slices"}

    steps: int = Field(50, ge=1, description="network calls per sample")
    samples: int = Field(1, ge=1, description="runs; their mean is the result, their spread the uncertainty")
    grid: Literal["lambda", "karras", "vp"] = Field("lambda", description="noise levels: geometric, EDM, or DDS's own")
    sigma_max: float | None = Field(
        None, gt=0, description="noise at the start, at most the prior's largest; by default 0.7, or all of grid 'vp'"
    )
    sigma_min: float = Field(0.01, gt=0, description="noise at the end; the prior's smallest if that is more")
    spacing: Spacing = Field("leading_int", description="of the times of grid 'vp'; leading_int may give more steps")
    final: Final = Field("denoise", description="the end: a denoised image, as in DDS's code, or none")
    start: Literal["noise", "fbp", "cgls", "interpolation"] = Field(
        "noise", description="from noise, or late from an image of the data (interpolation: of measured slices)"
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

    @property
    def separable(self) -> bool:
        return self.data in ("cg", "proximal")

    @property
    def volumes(self) -> float:
        return 10.0 if self.samples == 1 else 12.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        prior = _prior(models, run.micro_batch)
        task = problem.normalised(problem.normalization_from(prior.normalization, prior.card.units))
        grid = self._grid(prior.card)
        data_step = self._data_step(task)
        moments: dict[str, Tensor] = {}
        if self.samples > 1:
            moments = {name: problem.domain.zeros(problem.A.device) for name in ("mean", "deviation")}
        first, saved = run.begin(self.samples * len(grid), dict(moments))
        state = cast("dict[str, Tensor]", saved)
        moments = {name: state[name] for name in moments}
        data_step.state = {name: state[name] for name in ("z", "u") if name in state}
        x, done = state.get("x", torch.empty(0)), first // len(grid)
        del saved, state

        for index in range(first, self.samples * len(grid)):
            sample, step = index // len(grid), grid[index % len(grid)]
            if step.index == 0:
                x, data_step.state = self._start(problem, task, step, prior.card, _noise(problem, run, sample, -1)), {}
            xhat = self._denoise(prior, x, step, data_step, task.noise_std)
            x0 = data_step(xhat)
            eps = noise_in(x, xhat if self.noise == "prior" else x0, step)
            fraction = fresh_fraction(step, self.eta, self.eta_mode)
            x = ddim(x0, eps, step, fraction, _noise(problem, run, sample, step.index) if fraction else None)
            del xhat, eps
            if step.last:
                x, done = x / step.a_next, sample + 1
                moments = _accumulate(moments, x, done)
            metrics = {"residual": data_step.residual, "sigma": step.sigma}
            if not run.step(index, {"x": x, **data_step.state, **moments}, metrics):
                x = x0
                break
        image, spread = (moments["mean"], None) if moments and done else (x, None)
        if moments and done > 1:
            spread = (moments["deviation"] / (done - 1)).sqrt() * task.normalization.scale
        return finish(problem, task.physical(image), spread, residual=task.residual(image))

    def _grid(self, card: Any) -> list[Step]:
        """Never noisier than the prior was trained for, nor than a late start wants."""
        largest = self.sigma_max or (math.inf if self.grid == "vp" else SIGMA_MAX)
        sigma_max = min(largest, card.sigma_max, math.inf if self.start == "noise" else self.sigma_start)
        if self.grid == "vp":
            return vp_grid(self.steps, spacing=self.spacing, final=self.final, sigma_max=sigma_max)
        make = karras_grid if self.grid == "karras" else lambda_grid
        return make(self.steps, sigma_max, min(sigma_max, max(self.sigma_min, card.sigma_min)), final=self.final)

    def _data_step(self, task: Normalised) -> SliceTV | LeastSquaresStep | CovarianceStep:
        if self.data == "admm_tv":
            tv = SliceTV(task.A, task.y, weight=self.threshold * self.rho, rho=self.rho, cg_steps=self.cg_steps)
            tv.boundary, tv.z_init = self.boundary, self.z_init
            return tv
        if self.data == "posterior":
            if task.noise_std is None:
                raise ConfigError("The data step 'posterior' needs the noise of the scan: state it, or choose 'cg'.")
            return CovarianceStep(task.A, task.y, noise_std=task.noise_std, cg_steps=self.cg_steps)
        noise_norm2 = 0.0
        if self.data == "cg" and task.noise_std is not None:
            noise_norm2 = (self.discrepancy * task.noise_std) ** 2 * (2 if task.A.range.is_complex else 1)
        return LeastSquaresStep(task.A, task.y, cg_steps=self.cg_steps, noise_norm2=noise_norm2)

    def _denoise(self, prior: Any, x: Tensor, step: Step, data_step: Any, noise_std: float | None) -> Tensor:
        """E[x0 | x] by Tweedie; tells the data step how far to trust it: v = Var[x0 | x] for a white Gaussian prior."""
        x = x / step.a if step.a != 1 else x
        if self.data == "posterior":
            xhat, data_step.covariance = tweedie(prior.denoise, x, step.sigma)
            return xhat
        if self.gamma is not None:
            data_step.damping = 1.0 / self.gamma if self.data != "cg" else 0.0
        elif noise_std is not None and self.data != "cg":
            variance = 1.0 / (1.0 / prior.card.sigma_data**2 + 1.0 / step.sigma**2)
            data_step.damping = self.noise_weight * noise_std**2 / variance
        return cast(Tensor, prior.denoise(x, step.sigma))

    def _start(self, problem: Problem, task: Normalised, step: Step, card: Any, noise: Tensor) -> Tensor:
        """The image, or what is known of it before the scan, with noise of the first level."""
        if self.start == "noise":
            mean, std = (0.0, 1.0) if self.grid == "vp" else (card.mean, card.sigma_data)  # DDS starts at N(0, 1)
            return noise.mul_(math.hypot(step.a * std, step.b)).add_(step.a * mean)
        if self.start == "fbp" and isinstance(problem.A, RayTransform):
            image = task.normalization.apply(filtered_backprojection(problem.A, problem.y, filter="hann"))
        elif self.start == "interpolation" and isinstance(problem.A, SliceSampling):
            image = task.normalization.apply(problem.A.interpolated(problem.y))
        else:
            batch_ndim = 0 if slice_axis(task.A) is None else 1
            image = conjugate_gradient(task.A.gram, task.A.H(task.y), max_steps=START_STEPS, batch_ndim=batch_ndim).x
        return noise.mul_(step.b).add_(image, alpha=step.a)


def _prior(models: Models, micro_batch: int) -> Any:
    if "prior" not in models:
        raise ModelError("Method 'dds' needs a denoiser: give models={'prior': ...}; see `recon3d models`.")
    prior = models["prior"]
    return prior.configured(micro_batch=micro_batch) if hasattr(prior, "configured") else prior


def _noise(problem: Problem, run: Run, sample: int, step: int) -> Tensor:
    space = problem.domain
    key = {"seed": run.seed, "sample": sample, "step": step, "first_slice": problem.first_slice}
    return counter_noise(space.shape, **key, dtype=space.dtype, device=problem.A.device)


def _accumulate(moments: dict[str, Tensor], x: Tensor, count: int) -> dict[str, Tensor]:
    """Mean and summed squared deviation of the samples so far (Welford 1962)."""
    if not moments:
        return {}
    away = x - moments["mean"]
    mean = moments["mean"].add(away, alpha=1.0 / count)
    return {"mean": mean, "deviation": moments["deviation"] + (away.conj() * (x - mean)).real}
