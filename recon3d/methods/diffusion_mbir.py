"""DiffusionMBIR: reverse diffusion of 2D slices that meets data and total variation between slices at each level."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.samples import (
    Samples,
    bounded,
    denoised,
    denoiser_of,
    first_state,
    parts_of,
    stacked,
    step_noise,
)
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.grids import Step, lambda_grid, reverse_sde_grid
from recon3d.sampling.langevin import langevin, reverse_diffusion, score
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.parts import WHOLE, Part, Parts

PUBLISHED = {"ct": (10.0, 0.04), "mri": (0.01, 0.005)}
"""rho and weight of the paper's experiments, for images in [0, 1]."""
SIGMA_MAX = 378.0
"""Noise at the start of the published schedule; a prior that was trained for less starts at what it knows."""
PUBLIC_CHUNK = {"ct": 12, "mri": 20}
"""Slices in a batch of the public code, which share the step size of the corrector."""


class DiffusionMBIR(Method):
    """Predictor, corrector, one ADMM sweep for data and TV between slices; z and u are shared by all levels.

    Chung, Ryu, McCann, Klasky, Ye, "Solving 3D inverse problems using pre-trained 2D diffusion models", CVPR 2023. The
    sweep acts on the noisy image; DDS (`recon3d.methods.dds`) moved it to the denoised one and needs far fewer calls.
    """

    name: ClassVar[str] = "diffusion_mbir"
    summary: ClassVar[str] = "score-based prior with TV between slices at each of 2000 levels; few views, hours"
    roles: ClassVar[dict[str, str]] = {"prior": "denoiser of 2D slices"}

    steps: int = Field(2000, ge=1, description="noise levels; each costs 1 + corrector_steps network calls")
    samples: int = Field(1, ge=1, description="runs; their mean is the result, their spread the uncertainty")
    sigma_max: float | None = Field(
        None, gt=0, description="noise at the start, at most the prior's largest; 378 or that by default"
    )
    sigma_min: float = Field(0.01, gt=0, description="noise at the end; the prior's smallest if that is more")
    corrector_steps: int = Field(1, ge=0, description="Langevin steps per level")
    snr: float = Field(0.16, ge=0, description="size of a Langevin step")
    sweeps: int = Field(1, ge=1, description="ADMM sweeps per level")
    cg_steps: int = Field(1, ge=1, description="conjugate gradient steps per sweep")
    shared: bool = Field(True, description="z and u go on from level to level; false begins each level anew")
    rho: float | None = Field(None, gt=0, description="ADMM penalty; the published one of CT or MRI by default")
    weight: float | None = Field(None, ge=0, description="of TV between slices (lambda), with rho")
    scale: Literal["published", "unit"] = Field(
        "published", description="of rho and weight: for the published back-projection, or for an operator of norm 1"
    )
    mode: Literal["exact", "public"] = Field(
        "exact", description="public: levels, chunks, circular slices and end of the public code, for comparison"
    )

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        return {"weight": (1e-4, 1.0), "rho": (1e-3, 100.0)}

    @property
    def volumes(self) -> float:
        return 10.0 if self.samples == 1 else 12.0

    def spillable(self, problem: Problem) -> float:
        return 6.0 if self.samples == 1 and self.mode == "exact" and stacked(problem) else 0.0

    def calls(self, problem: Problem) -> tuple[float, float]:
        steps = float(self.steps * self.samples)
        return steps * self.sweeps * (self.cg_steps + 1), steps * (1 + self.corrector_steps)

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        prior = denoiser_of(self.name, models, run.micro_batch)
        task = problem.normalised(problem.normalization_from(prior.normalization, prior.card.units))
        prior = bounded(prior, problem, task)
        parts = parts_of(problem, run) if self.spillable(problem) else WHOLE
        levels, tv = self._levels(prior.card), self._data_step(problem, task, parts)
        chunk = _public_chunk(problem) if self.mode == "public" else 1
        samples = Samples(problem, self.samples, levels)
        tv.state = samples.begin(run)
        x = tv.state.pop("x", torch.empty(0))

        for index, sample, level in samples:
            noise = partial(step_noise, problem, run, sample)
            if level.index == 0:
                x, tv.state = parts.each(partial(self._start, level, prior.card, noise)), {}
            sigma = level.sigma if self.mode == "public" or level.last else level.sigma_next
            x = parts.each(partial(self._drawn, prior, level, sigma, noise, chunk), x)
            for _ in range(self.sweeps):
                x = tv(x)
            if not self.shared:
                tv.state = {}
            if level.last:
                x = self._end(problem, task, prior, x, tv, sigma, parts)
                samples.add(x)
            metrics = {"residual": tv.residual, "sigma": level.sigma}
            if not run.step(index, {"x": x, **tv.state, **samples.state}, metrics):
                x = parts.each(partial(denoised, prior, sigma), x)
                break
        return samples.finish(task, x, self, prior.card, parts)

    def _levels(self, card: Any) -> list[Step]:
        sigma_max = min(self.sigma_max or SIGMA_MAX, card.sigma_max)
        make = reverse_sde_grid if self.mode == "public" else lambda_grid
        return make(self.steps, sigma_max, min(sigma_max, max(self.sigma_min, card.sigma_min)))

    def _data_step(self, problem: Problem, task: Normalised, parts: Parts) -> SliceTV:
        rho, weight = self._relative_weights(problem)
        tv = SliceTV(task.A, task.y, weight=weight, rho=rho, cg_steps=self.cg_steps, z_init="zeros", parts=parts)
        tv.boundary = "circular" if self.mode == "public" else "neumann"
        return tv

    def _relative_weights(self, problem: Problem) -> tuple[float, float]:
        """rho and weight for an operator of norm 1; the threshold weight / rho, in units of the image, is unchanged.

        The published CT code solves with B A, B being pi / (2 V) times the adjoint for V views and pixels of side 1;
        its norm is 1.52 W for slices of W pixels a side, whatever V (3 %; measured for W = 64 and 256). The B A of the
        published MRI code is a projection.
        """
        if problem.kind not in PUBLISHED and (self.rho is None or self.weight is None):
            raise ConfigError(
                f"DiffusionMBIR publishes no settings for scans of kind '{problem.kind}': give method.rho, "
                "method.weight and method.scale=unit."
            )
        published_rho, published_weight = PUBLISHED.get(problem.kind, (0.0, 0.0))
        rho = published_rho if self.rho is None else self.rho
        weight = published_weight if self.weight is None else self.weight
        norm = 1.52 * max(problem.domain.shape[-2:]) if self.scale == "published" and problem.kind == "ct" else 1.0
        return rho / norm, weight / norm

    def _start(self, level: Step, card: Any, noise: Any, part: Part) -> Tensor:
        mean, std = (0.0, 0.0) if self.mode == "public" else (card.mean, card.sigma_data)
        return first_state(level, noise(-1, part=part), mean, std)

    def _drawn(self, prior: Any, level: Step, sigma: float, noise: Any, chunk: int, part: Part, x: Tensor) -> Tensor:
        """Predictor and correctors, slices by themselves."""
        s = score(x, denoised(prior, level.sigma, part, x), level.sigma)
        x = reverse_diffusion(x, s, level.b**2 - level.b_next**2, noise(level.index, part=part))
        for stage in range(1, self.corrector_steps + 1):
            s = score(x, denoised(prior, sigma, part, x), sigma)
            x = langevin(x, s, noise(level.index, stage, part=part), self.snr, chunk)
        return x

    def _end(
        self, problem: Problem, task: Normalised, prior: Any, x: Tensor, tv: SliceTV, sigma: float, parts: Parts
    ) -> Tensor:
        """The last level leaves noise of sigma_min: it is taken out, and the data are met once more."""
        if self.mode == "exact":
            return tv(parts.each(partial(denoised, prior, sigma), x))
        if problem.kind != "ct":
            return x
        columns = task.A.gram(torch.ones_like(x))  # public CT ends with x + B (y - A x) / (B A 1), noise and all
        smallest = torch.finfo(columns.dtype).eps * columns.abs().max()
        return x + torch.where(columns > smallest, task.A.H(task.y - task.A(x)) / columns, 0.0)


def _public_chunk(problem: Problem) -> int:
    """The public code splits n slices into n // 12 + 1 batches for CT, n // 20 + 1 for MRI."""
    slices = problem.domain.shape[-3]
    return -(-slices // (slices // PUBLIC_CHUNK.get(problem.kind, 12) + 1))
