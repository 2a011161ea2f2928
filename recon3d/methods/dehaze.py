"""Dehaze: tissue and multipath haze in beamformed RF, drawn together from two diffusion priors."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from operators.ultrasound.drawn_rf import HAZE_LEVEL, TISSUE_LEVEL, BeamSpace, Spectra
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.beamformed import Beamformed, Image
from recon3d.methods.dehaze_published import published_draw
from recon3d.methods.samples import denoiser_in
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.sampling.grids import Step, lambda_grid
from recon3d.sampling.joint import joint_sample
from recon3d.sampling.noise import counter_noise
from recon3d.sampling.posterior import tweedie
from recon3d.solvers.clutter import levels
from recon3d.solvers.two_sources import Belief, Companded, joint_step, pigdm_step
from recon3d.solvers.windows import add_window, total_weight, windows

TISSUE, HAZE, STATES = 0, 1, 2
DRAWN = 8
"""Frames of the training generator whose mean spectra say how sure a denoiser is of which component."""
LEAST_STRENGTH = 0.02
"""Haze this weak beside tissue is no more than the estimate of it can tell from none."""
SURER = (0.7, 1.0)
"""A network errs as a Gaussian of the mean spectrum at this share of the noise would; of tissue, measured on draws."""
FINE = 0.1
"""Noise below which tissue and haze are made to add up to the measurement."""
PULLED = 0.8
"""Noise above which PiGDM leaves Jacobians of networks alone: they are too rough there to share a large misfit."""
MARGIN = (40, 32)
"""Beams and samples beyond the frame, about as far as haze correlates."""


class Dehaze(Method):
    """p(x, h | y) of tissue x and haze h in ``y = x + gamma h + n``, two priors trained apart on companded RF.

    Stevens, Meral, Yu, Apostolakis, Robert, van Sloun, IEEE TMI 43 (2024) 3546 (arXiv 2307.11204). The misfit is taken
    in RF, where sources add, and shared by what the priors leave uncertain; `guidance=published` is their projection,
    which halves it whatever the priors say.
    """

    name: ClassVar[str] = "dehaze"
    summary: ClassVar[str] = "ultrasound: haze taken out of RF by two diffusion priors; samples, spread and the haze"
    roles: ClassVar[dict[str, str]] = {
        "tissue": "denoiser of companded RF of tissue",
        "haze": "denoiser of companded RF of haze",
    }
    defaults: ClassVar[dict[str, str]] = {"tissue": "ultrasound-tissue", "haze": "ultrasound-haze"}
    prepares: ClassVar[bool] = True

    guidance: Literal["joint", "pigdm", "published"] = Field(
        "joint", description="closed form, PiGDM through the networks (3 x slower), or the published projection"
    )
    strength: float | None = Field(None, ge=0, description="gamma, haze over tissue; by default estimated from the RF")
    samples: int = Field(8, ge=1, description="draws; their mean is the result, their spread the uncertainty")
    steps: int = Field(20, ge=1, description="noise levels of a draw, each a call of both networks")
    sigma_max: float = Field(30.0, gt=0, description="noise at the start, which hides both sources; companded")
    sigma_min: float = Field(0.05, gt=0, description="noise at the end")
    warm_start: float | None = Field(0.3, gt=0, description="noise on the frame before, where the next begins; or none")
    eta: float = Field(1.0, ge=0, le=1, description="share of the noise of the ancestral sampler that is drawn anew")
    noise: float = Field(0.01, gt=0, description="of the RF, relative to the tissue")
    patch: tuple[int, int] = Field((128, 128), description="(beams, samples) seen at once")
    overlap: float = Field(0.15, ge=0, lt=1, description="least share of neighbouring patches in common")
    image: Image = Field("rf", description="rf: as it came in, with a B-mode beside it; or iq, envelope, decibel alone")

    @property
    def volumes(self) -> float:
        return 40.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        priors = [denoiser_in(role, self.name, models, run.micro_batch) for role in self.roles]
        beams = Beamformed.of(problem)
        tissue, haze = levels(beams.analytic)
        strength = max(haze / max(tissue, 1e-30), LEAST_STRENGTH) if self.strength is None else self.strength
        scale = TISSUE_LEVEL / (tissue or haze)
        strength *= TISSUE_LEVEL / HAZE_LEVEL
        measured = beams.rf * scale
        y = measured.clamp(-1.0, 1.0)  # what priors know; what a bright target has beyond is tissue
        space = BeamSpace.of(beams.turns_of_rf, beams.depth_step_mm, beams.pitch_mm)
        beyond = y.shape[-2] + MARGIN[0], y.shape[-1] + y.shape[-1] % 2 + MARGIN[1]
        spectra = Spectra.drawn(space, beyond, DRAWN)
        draw = Draw(self, priors, spectra, strength)

        count, kept = len(y), {"mean": torch.zeros(STATES, *y.shape), "deviation": torch.zeros_like(y)}
        first, saved = run.begin(self.samples * count, dict(kept))
        state = cast("dict[str, Tensor]", dict(saved))
        for index in range(first, self.samples * count):
            sample, frame = divmod(index, count)
            before = state.get("before") if frame % beams.frames else None
            seed = {"seed": run.seed, "sample": sample}  # the same for all frames: what stands still does not flicker
            found = draw.published(y[frame], seed) if self.guidance == "published" else draw(y[frame], before, seed)
            signals = torch.stack([draw.where.signal(u) for u in found])
            signals[HAZE] *= strength
            signals[TISSUE] += measured[frame] - y[frame]
            away = signals - state["mean"][:, frame]
            state["mean"][:, frame] += away / (sample + 1)
            state["deviation"][frame] += (away * (signals - state["mean"][:, frame]))[TISSUE]
            state["before"] = found
            misfit = float((measured[frame] - signals.sum(0)).norm() / measured[frame].norm())
            told = {"residual": misfit, "haze": float(signals[HAZE].std() / measured[frame].std())}
            if not run.step(index, state, told):
                break
        x, h = state["mean"] / scale
        facts = {"strength": strength, "haze_share": float(h.norm() / beams.rf.norm())}
        others = {"haze": beams.volume(h, self.image)}
        if self.image == "rf":
            others["b-mode"] = beams.volume(x, "decibel")
        spread = None
        if self.samples > 1 and self.image == "rf":
            spread = beams.spread((state["deviation"] / (self.samples - 1)).sqrt() / scale)
        return Reconstruction(beams.volume(x, self.image), spread, facts, others)


class Draw:
    """One joint sample of tissue and haze in a frame: companded states (2, beam, depth), seen in blended patches."""

    def __init__(self, method: Dehaze, priors: list[Any], spectra: Spectra, strength: float) -> None:
        self.method, self.priors, self.strength = method, priors, strength
        self.where = Companded()
        self.noise = method.noise * TISSUE_LEVEL
        self._most = min(prior.card.sigma_max for prior in priors)
        self._powers = [torch.from_numpy(power).float() for power in spectra.companded]

    def __call__(self, y: Tensor, before: Tensor | None, seed: dict[str, Any]) -> Tensor:
        """From noise alone, or from the frame `before` with noise ("come closer, diffuse faster")."""
        grid = self._grid(before is not None)
        fresh = partial(counter_noise, (STATES, *y.shape), **seed)
        state = grid[0].sigma * fresh(step=-1)
        if before is not None:
            state += before
        return joint_sample(state, grid, partial(self._guided, y), self.method.eta, lambda step: fresh(step=step))

    def published(self, y: Tensor, seed: dict[str, Any]) -> Tensor:
        return published_draw(y, self.strength, self.denoised, self.where, seed, self._most)

    def denoised(self, source: int, u: Tensor, sigma: float) -> Tensor:
        """The prior's answer to a whole frame: patches that overlap, blended by weights that sum to one."""
        card, patches = self.priors[source].card, windows(u.shape, self.method.patch, self.method.overlap)
        seen = torch.stack([u[patch] for patch in patches])
        device = getattr(self.priors[source], "device", u.device)  # networks may compute beside the rest
        answers = self.priors[source].denoise(seen.to(device), max(sigma, card.sigma_min)).to(u.device)
        out = torch.zeros_like(u)
        for patch, answer in zip(patches, answers, strict=True):
            add_window(out, patch, answer)
        return out / total_weight(u.shape, patches, u.device)

    def _guided(self, y: Tensor, state: Tensor, sigma: float) -> Tensor:
        """E[x0, h0 | x_t, h_t, y]."""
        if self.method.guidance == "pigdm" and FINE < sigma <= PULLED:
            pairs = [tweedie(partial(self.denoised, k), state[k], sigma) for k in range(STATES)]
            estimates, pulled = zip(*pairs, strict=True)
        else:
            estimates, pulled = tuple(self.denoised(k, state[k], sigma) for k in range(STATES)), ()
        x, h = (
            Belief.after(u, power, share * sigma, self.where, local=k == TISSUE)
            for k, (u, power, share) in enumerate(zip(estimates, self._powers, SURER, strict=True))
        )
        if pulled:
            return torch.stack(pigdm_step(y, x, h, pulled, self.strength, self.noise))
        return torch.stack(joint_step(y, x, h, self.strength, self.noise, self.where, exact=sigma <= FINE))

    def _grid(self, warm: bool) -> list[Step]:
        method, start = self.method, self.method.warm_start
        grid = lambda_grid(method.steps, min(method.sigma_max, self._most), method.sigma_min)
        return [step for step in grid if start is None or step.sigma <= start or step.last] if warm else grid
