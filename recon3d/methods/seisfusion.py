"""SeisFusion: a conditional diffusion model of cubes fills the gaps between recorded traces."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field

from recon3d.errors import ModelError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.samples import Samples, step_noise
from recon3d.methods.seisfusion_published import published_walk
from recon3d.methods.seismic import finish_cube, sampling_of
from recon3d.methods.tiles import TiledDenoiser
from recon3d.priors.interpolator import FusedInterpolator
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.sampling.ddim import ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import Step, lambda_grid
from recon3d.sampling.posterior import tweedie
from recon3d.solvers.data_step import CovarianceStep

UNKNOWN_NOISE = 1e-2
"""Standard deviation of the noise, as a share of the root mean square of the traces, where a scan states none."""


class SeisFusion(Method):
    """Conditional diffusion of 3D cubes, after Wang et al., IEEE TGRS 2024 (arXiv 2403.11482).

    One network sees the noisy cube, the recorded traces and their mask. There is one state of the whole cube: at each
    level the answers of overlapping tiles are blended before the step is taken, so tiles cannot drift apart. The mean
    is E[x0 | traces], the answer to pure noise; one draw lies about 3 dB below it. Hidden recorded traces tell how much
    to take of what the network adds to the first guess; draws are moved by the rest, which leaves their spread.
    """

    name: ClassVar[str] = "seisfusion"
    summary: ClassVar[str] = "seismic: learned; wide gaps and faults, with samples and their spread; minutes"
    roles: ClassVar[dict[str, str]] = {"interpolator": "denoiser of cubes that sees the recorded traces"}
    kinds: ClassVar[dict[str, str]] = {"interpolator": "interpolator"}

    steps: int = Field(20, ge=1, description="network calls per tile and sample")
    samples: int = Field(1, ge=1, description="runs; the spread of several is the uncertainty")
    result: Literal["mean", "samples"] = Field(
        "mean",
        description="the cube that the model expects, or the mean of the samples: with one, a draw with its texture",
    )
    sigma_max: float | None = Field(None, gt=0, description="noise at the start; the model's largest by default")
    sigma_min: float = Field(0.03, gt=0, description="noise at the end, relative to the traces")
    eta: float = Field(0.0, ge=0, le=1, description="share of the noise of the ancestral sampler that is drawn anew")
    data: Literal["replace", "covariance"] = Field(
        "replace", description="traces put into the estimate, or a correction of the whole by their misfit"
    )
    cg_steps: int = Field(8, ge=1, description="of the covariance step; each is a backward pass of the network")
    tile: tuple[int, int, int] = Field((64, 64, 128), description="(crossline, inline, sample) seen at once")
    overlap: float = Field(0.25, ge=0, lt=1, description="least share of neighbouring tiles in common")
    mode: Literal["ddim", "published"] = Field("ddim", description="published: the released sampler, 2410 calls a tile")
    jump: int = Field(10, ge=1, description="levels of a climb, published mode")
    repeats: int = Field(10, ge=1, description="descents from each level, published mode; 1 is plain DDPM")

    @property
    def volumes(self) -> float:
        return 10.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        A = sampling_of(problem, self.name)
        task = problem.normalised()  # one is the root mean square of the recorded traces
        model = _interpolator(models)
        scale = task.normalization.scale
        if isinstance(model, FusedInterpolator):
            if self.mode != "published":
                raise ModelError(f"Model '{model.card.name}' has the published form: use method.mode=published.")
            scale = float(problem.y.abs().max())  # its networks were trained on cubes between -1 and 1
        data = A.gridded(problem.y) / scale
        if bool(A.live.all()):
            run.begin(1, {})
            run.step(0, {}, {})
            return finish_cube(problem, A.gridded(problem.y), calls=0)
        denoiser = TiledDenoiser(model, data, A.live, self.tile, self.overlap)
        for note in denoiser.notes():
            run.note(note)
        if self.mode == "published":
            x = published_walk(denoiser, data, A.live, problem, run, self.jump, self.repeats)
            return finish_cube(problem, scale * x, calls=denoiser.calls // len(denoiser.tiles))

        correct = CovarianceStep(task.A, task.y, noise_std=task.noise_std or UNKNOWN_NOISE, cg_steps=self.cg_steps)
        samples = Samples(problem, self.samples, self._grid(model.card))
        saved = samples.begin(run)
        x, expected = saved.get("x", torch.empty(0)), saved.get("expected", torch.zeros_like(data))
        for index, sample, step in samples:
            if step.index == 0:
                x = denoiser.start(step.sigma, step_noise(problem, run, sample, -1))
            if self.data == "covariance":
                estimate, correct.covariance = tweedie(denoiser, x, step.sigma)
                estimate = correct(estimate)
            else:
                estimate = denoiser(x, step.sigma)
            misfit = float((A.live * (estimate - data)).norm() / data.norm())
            x0 = torch.where(A.live > 0, data, estimate)
            if step.index == 0:
                expected = expected + (x0 - expected) / (sample + 1)
            fraction = fresh_fraction(step, self.eta, "ddim")
            fresh = step_noise(problem, run, sample, step.index) if fraction else None
            x = ddim(x0, noise_in(x, x0, step), step, fraction, fresh)
            if step.last:
                samples.add(x)
            state = {"x": x, "expected": expected, **samples.state}
            if not run.step(index, state, {"misfit": misfit, "sigma": step.sigma}):
                x = x0
                break
        cube = expected
        if self.result == "samples":
            cube = samples.state["mean"] if samples.state and samples.done else x
        spread = None
        if samples.state and samples.done > 1:
            spread = (samples.state["deviation"] / (samples.done - 1)).sqrt() * task.normalization.scale
        share = denoiser.share(samples.grid[0].sigma, run.seed)
        cube = cube - (1 - share) * (expected - denoiser.guess)
        calls = self.samples * len(samples.grid) + (denoiser.trial is not None)
        return finish_cube(problem, task.physical(cube), spread, calls=calls, network_share=round(share, 3))

    def _grid(self, card: Any) -> list[Step]:
        """Noise levels of a sample; of an expected cube without a spread the first alone matters."""
        largest = min(self.sigma_max or card.sigma_max, card.sigma_max)
        if self.result == "mean" and self.samples == 1:
            return lambda_grid(1, largest, largest)
        return lambda_grid(self.steps, largest, min(largest, max(self.sigma_min, card.sigma_min)))


def _interpolator(models: Models) -> Any:
    if "interpolator" not in models:
        raise ModelError("Method 'seisfusion' needs an interpolator: give models={'interpolator': ...}.")
    return cast(Any, models["interpolator"])
