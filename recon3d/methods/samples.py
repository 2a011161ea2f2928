"""What methods that draw samples from a prior share: the prior, the noise of a step, the mean and spread of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from torch import Tensor

from operators.slice_norm import slice_axis
from operators.slices import SliceSampling
from operators.tomography import RayTransform, filtered_backprojection
from recon3d.errors import ModelError
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.methods.supervised import reconstructor_of
from recon3d.priors.bounded import Bounded
from recon3d.priors.calibration import error_bar
from recon3d.priors.reuse import SliceReuse
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.sampling.ddim import ddim, noise_in
from recon3d.sampling.grids import Step
from recon3d.sampling.noise import counter_noise
from recon3d.solvers.cg import conjugate_gradient
from recon3d.solvers.parts import ALL, WHOLE, Part, Parts

START_STEPS = 10
"""Conjugate gradient steps of an image of the data; few, because they regularise."""
LEAST_SLICES = 8
"""Of a part of volumes on disk."""


def denoiser_in(role: str, method: str, models: Models, micro_batch: int) -> Any:
    """The model in a role, which sees `micro_batch` slices at once."""
    if role not in models:
        which = "" if role == "prior" else f" as {role}"
        raise ModelError(
            f"Method '{method}' needs a denoiser{which}: give models={{'{role}': ...}}; see `recon3d models`."
        )
    model: Any = models[role]
    return model.configured(micro_batch=micro_batch) if hasattr(model, "configured") else model


def denoiser_of(method: str, models: Models, micro_batch: int, *, reuse: bool = False) -> Any:
    """The model in the role "prior", for a method that asks it at many levels of noise; `reuse` as of `SliceReuse`."""
    prior = denoiser_in("prior", method, models, micro_batch)
    card = getattr(prior, "card", None)
    if card is not None and card.sigma_max < 2 * card.sigma_min:
        raise ModelError(
            f"Method '{method}' asks its prior at many levels of noise, {card.name} answers at sigma "
            f"{card.sigma_max:.3g} only: choose a diffusion model; `recon3d models show NAME` tells the range of each."
        )
    return SliceReuse(prior) if reuse else prior


def bounded(prior: Any, problem: Problem, task: Normalised) -> Any:
    """The prior, which knows where the image of the problem cannot be."""
    if problem.inside is None:
        return prior
    return Bounded(prior, problem.inside, task.normalization.apply(0.0))


def stacked(problem: Problem) -> bool:
    """Whether its volumes can be worked on part by part: (z, y, x), and each slice has data of its own."""
    return len(problem.domain.shape) == 3 and problem.splits


def parts_of(problem: Problem, run: Run) -> Parts:
    """How to walk over the volumes of a run: where they lie on disk by as many slices as a network sees at once, or a
    multiple of it, so that it sees the batches of the whole."""
    if not run.on_disk:
        return WHOLE
    at_once = run.micro_batch * math.ceil(LEAST_SLICES / run.micro_batch)
    return Parts(problem.domain.shape[0], at_once, run.allocate, run.give_back)


def step_noise(problem: Problem, run: Run, sample: int, step: int, stage: int = 0, *, part: Part = ALL) -> Tensor:
    """Normal numbers for one draw of one step (-1: the start), the same for a slice in whatever slab it comes; of some
    slices alone where asked."""
    space, first = problem.domain, problem.first_slice + part.start
    key = {"seed": run.seed, "sample": sample, "step": step, "stage": stage, "first_slice": first}
    return counter_noise(part.shape(space.shape), **key, dtype=space.dtype, device=problem.A.device)


def first_state(step: Step, noise: Tensor, mean: float, std: float) -> Tensor:
    """``a x0 + b n`` for an image of which only mean and standard deviation are known; `noise` is overwritten."""
    return noise.mul_(math.hypot(step.a * std, step.b)).add_(step.a * mean)


def denoised(prior: Any, sigma: float, part: Part, x: Tensor, a: float = 1.0) -> Tensor:
    """E[x0 | a x0 + a sigma n = x] of some slices."""
    if isinstance(prior, Bounded):
        prior = Bounded(prior.prior, part.of(prior.inside), prior.vacuum)
    return cast(Tensor, prior.denoise(x / a if a != 1 else x, sigma))


def next_state(
    step: Step, fraction: float, noise: Callable[..., Tensor], part: Part, x: Tensor, x0: Tensor, clean: Tensor
) -> Tensor:
    """The state of the next step by DDIM, of some slices; after the last one the image. See `recon3d.sampling.ddim`."""
    x = ddim(x0, noise_in(x, clean, step), step, fraction, noise(part=part) if fraction else None)
    return x / step.a_next if step.last else x


def starting_image(start: str, problem: Problem, task: Normalised, models: Models, method: str) -> Tensor:
    """The image of a late start, in the range of the task: of a network, of measured slices, by FBP, or by default of a
    few conjugate gradients."""
    if start == "supervised":
        return task.normalization.apply(reconstructor_of(method, models, "start")(problem, "sense"))
    if start == "interpolation" and isinstance(problem.A, SliceSampling):
        return task.normalization.apply(problem.A.interpolated(problem.y))
    if start == "fbp" and isinstance(problem.A, RayTransform):
        return task.normalization.apply(filtered_backprojection(problem.A, problem.y, filter="hann"))
    batch_ndim = 0 if slice_axis(task.A) is None else 1
    return conjugate_gradient(task.A.gram, task.A.H(task.y), max_steps=START_STEPS, batch_ndim=batch_ndim).x


class Samples:
    """The steps of several samples, one sample after the other, and the mean and spread of those that are done.

    Iterating gives (iteration, sample, step). A run that was stopped goes on at the step it had got to.

    Parameters
    ----------
    count : samples
    grid : steps of each
    """

    def __init__(self, problem: Problem, count: int, grid: Sequence[Step]) -> None:
        self.problem, self.count, self.grid = problem, count, grid
        self.done = self._first = 0
        self.state: dict[str, Tensor] = {}
        """Mean and summed squared deviation (Welford 1962) of the samples that are done; empty for a single one."""

    def begin(self, run: Run) -> dict[str, Tensor]:
        """Announce the iterations; returns what a stopped run had saved of the sample it was drawing."""
        if self.count > 1:
            zeros, device = self.problem.domain.zeros, self.problem.A.device
            self.state = {name: zeros(device) for name in ("mean", "deviation")}
        self._first, saved = run.begin(self.count * len(self.grid), dict(self.state))
        state = cast("dict[str, Tensor]", dict(saved))
        self.state = {name: state.pop(name) for name in self.state}
        self.done = self._first // len(self.grid)
        return state

    def __iter__(self) -> Iterator[tuple[int, int, Step]]:
        for index in range(self._first, self.count * len(self.grid)):
            yield index, index // len(self.grid), self.grid[index % len(self.grid)]

    def add(self, x: Tensor) -> None:
        """One more sample is done."""
        self.done += 1
        if self.state:
            away = x - self.state["mean"]
            mean = self.state["mean"].add(away, alpha=1.0 / self.done)
            self.state = {"mean": mean, "deviation": self.state["deviation"] + (away.conj() * (x - mean)).real}

    def finish(self, task: Normalised, x: Tensor, method: Method, card: Any, parts: Parts = WHOLE) -> Reconstruction:
        """The mean of the samples that are done with their error bar; `x` where there is one or none.

        The error bar is the standard deviation of the samples, times the factor for this method and its settings where
        the card of the prior holds one; the fact "error_bar" says which.
        """
        image, spread = (self.state["mean"] if self.state and self.done else x), None
        facts: dict[str, float | str] = {"residual": task.residual(image)}
        if self.state and self.done > 1:
            known = getattr(card, "calibration", ())
            factor, facts["error_bar"] = error_bar(known, method.name, method.model_dump(), self.done)
            spread = (self.state["deviation"] / (self.done - 1)).sqrt() * (factor * task.normalization.scale)
        image = parts.each(lambda _, x: task.physical(x), image)
        return finish(self.problem, image, spread, **facts)
