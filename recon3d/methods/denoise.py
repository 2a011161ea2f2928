"""Denoise: a volume with known white noise, smoothed between slices, then seen once by a 2D denoiser."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from operators.noise import noise_level
from operators.slices import SliceSampling
from recon3d.errors import ConfigError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.samples import denoiser_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.total_variation import SLICE_AXIS, tv_prox

TV_STEPS = 50


class Denoise(Method):
    """E[x0 | x0 + sigma n] by the prior, slice by slice, after total variation has joined neighbouring slices.

    The prior gives the posterior mean of white noise in one call (Tweedie's formula), so no sampler is needed. What
    neighbours know is taken first: TV along the slices, after which the level of the noise is estimated anew.
    """

    name: ClassVar[str] = "denoise"
    summary: ClassVar[str] = "one call of the prior for volumes that are only noisy; seconds"
    roles: ClassVar[dict[str, str]] = {"prior": "denoiser of 2D slices"}

    slices: float = Field(0.5, ge=0, description="weight of TV between slices, in units of the noise; 0: none")
    level: float = Field(0.85, gt=0, description="factor on the noise that the prior is told; more smooths more")

    @property
    def volumes(self) -> float:
        return 6.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        if not isinstance(problem.A, SliceSampling) or problem.A.restrict("z", 0, 1) is None:
            raise ConfigError(
                f"Method 'denoise' takes a volume with all its slices, '{problem.name}' is none: use dds."
            )
        prior = denoiser_in("prior", self.name, models, run.micro_batch)
        if not isinstance(problem.noise.std, float):
            raise ConfigError("Method 'denoise' needs the noise of the volume, one number: state scan.noise_std.")
        normalization = problem.normalization_from(prior.normalization, prior.card.units)
        run.begin(1, {})
        x = normalization.apply(problem.y)
        sigma = problem.noise.std / normalization.scale
        if self.slices and x.shape[0] > 1:
            body = float(x.median())
            before = noise_level(x, above=body)
            x = tv_prox(x, self.slices * sigma, axes=SLICE_AXIS, iterations=TV_STEPS)
            sigma *= min(1.0, noise_level(x, above=body) / before) if before else 1.0
        told = max(self.level * sigma, prior.card.sigma_min)
        image = normalization.invert(prior.denoise(x, told))
        run.step(0, {}, {"sigma": told})
        residual = float(torch.linalg.vector_norm(image - problem.y) / torch.linalg.vector_norm(problem.y))
        return finish(problem, image, residual=residual)
