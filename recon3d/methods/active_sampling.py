"""Active Diffusion Subsampling: particles of a diffusion prior disagree most about what should be measured next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.methods.acquiring import Acquiring
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.samples import bounded, denoiser_of, first_state, step_noise
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.ddim import ddim, noise_in
from recon3d.sampling.grids import Step, angle_grid, lambda_grid
from recon3d.sampling.guidance import misfit_gradient
from recon3d.sensing.policies import ADAPTIVE, Belief, Policy, choose, planned, scores
from recon3d.sensing.source import MeasurementSource, SimulatedSource
from recon3d.sensing.units import Units
from recon3d.solvers.data_step import LeastSquaresStep

Kind = Literal["lines", "points", "views", "spokes", "scan_lines", "pixels"]


class ActiveSampling(Method):
    """Choose measurements while reconstructing (Nolan, Stevens, van Nierop, van Sloun, TMLR 2025).

    A complete scan is handed out unit by unit, as a scanner would; `acquire` takes any other source.
    """

    name: ClassVar[str] = "active_sampling"
    summary: ClassVar[str] = "diffusion prior that chooses what is measured next; needs complete data or a live source"
    roles: ClassVar[dict[str, str]] = {"prior": "denoiser of 2D slices"}

    units: Kind = Field("lines", description="what is asked for")
    shared: bool = Field(True, description="one choice for all slices, or one for each")
    budget: float = Field(0.25, gt=0, description="units measured in all, or below 1 their share")
    start: int | None = Field(None, ge=0, description="units measured first: the middle of k-space ...")
    policy: Policy = Field("variance", description="who chooses: ADS by variance or entropy, or one to compare with")
    listed: list[int] = Field([], description="units of policy 'listed'")
    width: float | None = Field(None, gt=0, description="of the entropy's kernel; by default from the particles")
    coverage: float = Field(0.0, ge=0, description="units chosen at once keep about this many units apart")
    particles: int = Field(4, ge=1, description="samples that are drawn together; choosing takes two")
    steps: int = Field(50, ge=1, description="network calls per particle")
    window: tuple[float, float] = Field((0.0, 0.4), description="part of the steps in which units are chosen")
    restart: bool = Field(True, description="once all is measured, begin anew from noise with the steps that are left")
    grid: Literal["lambda", "angle"] = Field("lambda", description="noise levels: geometric, or the paper's")
    sigma_max: float = Field(0.5, gt=0, description="noise at the start, at most the prior's largest")
    sigma_min: float = Field(0.01, gt=0, description="noise at the end; the prior's smallest if that is more")
    eta: float = Field(0.85, ge=0, le=1, description="share of the noise drawn anew at each step; the paper: none")
    guidance: Literal["cg", "gradient"] = Field("cg", description="conjugate gradients (DDS), or the paper's (DPS)")
    cg_steps: int = Field(3, ge=1, description="per particle and step, and at the end")
    noise_weight: float = Field(5.0, ge=0, description="cg: factor on the noise variance, the trust in the prior")
    assumed_noise: float = Field(0.01, ge=0, description="of the data where theirs is unknown, in the prior's range")
    weight: float = Field(10.0, gt=0, description="of gradient guidance")
    joint_norm: bool = Field(False, description="gradient guidance by one norm over all particles, as the paper's code")
    consistent: bool = Field(False, description="fit the data at the end whatever their noise, as the paper")

    @property
    def volumes(self) -> float:
        return 6.0 * self.particles + (40.0 * self.particles if self.guidance == "gradient" else 0.0)

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        units = Units.of(problem.A, self.units, self.shared)
        return self.acquire(problem, SimulatedSource(units, problem.y), models, run)

    @torch.no_grad()
    def acquire(self, problem: Problem, source: MeasurementSource, models: Models, run: Run) -> Reconstruction:
        """Measure and reconstruct: of the data of `problem` nothing is read, but by the policy "truth"."""
        if self.policy in ADAPTIVE and self.particles < 2:
            raise ConfigError(f"Policy '{self.policy}' compares particles: method.particles is at least 2, got 1.")
        prior = denoiser_of(self.name, models, run.micro_batch)
        data = Acquiring(problem, source, self.budget, self.start, prior)
        first, last = (round(share * self.steps) for share in self.window)
        if not 0 <= first < last <= self.steps:
            raise ConfigError(f"method.window is a part of the steps between 0 and 1, got {list(self.window)}.")
        grid = self._grid(prior.card, last)
        begun, saved = run.begin(len(grid), {**data.state})
        data.state = cast("dict[str, Tensor]", dict(saved))
        x = data.state.pop("x", torch.empty(0))
        if begun == 0:
            data.begin()
            if self.policy not in ADAPTIVE:
                first_slice, units = problem.first_slice, data.units
                data.take(planned(self.policy, units, data.closed, data.left, run.seed, self.listed, first_slice))
        prior = bounded(prior, problem, data.task)
        quota, x0 = data.quota(first, last), x
        for step in grid[begun:]:
            if step.index == 0 or step.sigma > grid[step.index - 1].sigma:
                x = self._start(problem, step, prior.card, run)
            task = data.task
            xhat, x0, gradient = self._estimate(prior, task, x, step)
            eps = noise_in(x, xhat, step)
            fresh = self._noise(problem, run, step.index) if self.eta and step.b_next else None
            x = ddim(x0, eps, step, self.eta, fresh)
            if gradient is not None and not step.last:
                x = x - self.weight * gradient
            if count := quota(step.index):
                truth = data.truth if self.policy == "truth" else None
                belief = Belief(data.units, data.predict(x0), data.closed, task.noise_std or 0.0, truth)
                data.take(choose(data.units, scores(self.policy, belief, self.width), count, self.coverage), step.index)
            data.remember(x0)
            metrics = {"residual": task.residual(x0.mean(0)), "sigma": step.sigma, "measured": float(data.measured)}
            if not run.step(step.index, {"x": x, **data.state}, metrics):
                break
        return self._result(problem, data, x0)

    def _estimate(self, prior: Any, task: Normalised, x: Tensor, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tweedie's estimate, the estimate that fits the data, and the gradient of the misfit (gradient guidance)."""
        if self.guidance == "gradient":
            xhat, gradient = misfit_gradient(
                lambda state: prior.denoise(state / step.a, step.sigma),
                lambda z: task.A(z) - task.y,
                x,
                self.joint_norm,
            )
            return xhat, xhat, gradient
        xhat = prior.denoise(x / step.a, step.sigma)
        # Noise variance over Var[x0 | x] of a white Gaussian prior: how far the estimate is trusted against the data.
        noise_std = self.assumed_noise if task.noise_std is None else task.noise_std
        precision = 1.0 / prior.card.sigma_data**2 + 1.0 / step.sigma**2
        return xhat, self._fitted(task, xhat, self.noise_weight * noise_std**2 * precision), None

    def _fitted(self, task: Normalised, xhat: Tensor, damping: float = 0.0) -> Tensor:
        """A few conjugate gradient steps from each particle towards the data."""
        fit = LeastSquaresStep(task.A, task.y, cg_steps=self.cg_steps, damping=damping)
        return torch.stack([fit(particle) for particle in xhat])

    def _grid(self, card: Any, last: int) -> list[Step]:
        """One pass from noise to image, or, with a restart, one to choose and one to reconstruct."""
        largest = min(self.sigma_max, card.sigma_max)
        smallest = min(largest, max(self.sigma_min, card.sigma_min))
        again = self.restart and self.policy in ADAPTIVE and last < self.steps
        grids = [
            angle_grid(count)
            if self.grid == "angle"
            else lambda_grid(count, largest, smallest, preserving=self.guidance == "gradient")
            for count in ((last, self.steps - last) if again else (self.steps,))
        ]
        return [replace(step, index=k) for k, step in enumerate(step for grid in grids for step in grid)]

    def _start(self, problem: Problem, step: Step, card: Any, run: Run) -> Tensor:
        """What is known before the first measurement, with noise of the first level: the only source of diversity."""
        return first_state(step, self._noise(problem, run, step.index - 1), card.mean, card.sigma_data)

    def _noise(self, problem: Problem, run: Run, step: int) -> Tensor:
        """Keyed by the particle, so that none depends on how many there are."""
        return torch.stack([step_noise(problem, run, particle, step) for particle in range(self.particles)])

    def _result(self, problem: Problem, data: Acquiring, x: Tensor) -> Reconstruction:
        """The mean of the particles (of magnitudes, with the mean's phase, where complex) and their spread."""
        task = data.task
        if self.consistent:
            x = self._fitted(task, x)
        mean = x.mean(0)
        image = torch.polar(x.abs().mean(0), mean.angle()) if x.is_complex() else mean
        spread = x.sub(mean).abs().square().mean(0).sqrt() * task.normalization.scale if len(x) > 1 else None
        found = finish(problem, task.physical(image), spread, residual=task.residual(mean), measured=data.measured)
        samples = {f"sample {p + 1}": problem.volume(task.physical(each)) for p, each in enumerate(x) if len(x) > 1}
        history = (data.state["history"] * task.normalization.scale).numpy()
        return replace(found, others=samples, details={"acquisition": data.trace()}, history=history)
