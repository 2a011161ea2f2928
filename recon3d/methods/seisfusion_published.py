"""The sampler of SeisFusion's released code: ancestral steps, recorded traces noised and put back, RePaint's walk."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from recon3d.methods.samples import step_noise
from recon3d.methods.tiles import TiledDenoiser
from recon3d.priors.noise import vp_cosine
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.sampling.repaint import repaint_walk

LEVELS = 250
"""Of the 1000 of the cosine schedule."""


def published_walk(
    denoiser: TiledDenoiser, data: Tensor, live: Tensor, problem: Problem, run: Run, jump: int, repeats: int
) -> Tensor:
    """One sample as the released code draws it; a parity mode, since putting traces back is no posterior sampling.

    The variance is the learned one of a model of the published form, of others that of the posterior
    ``q(x_{t-1} | x_t, x0)``; the clip is at the peak of the recorded traces, since that of the truth is not known.
    """
    schedule = vp_cosine()
    abar = [schedule.abar(t) for t in np.linspace(0, 999, LEVELS).round()]
    walk = repaint_walk(LEVELS, jump, repeats)
    peak = float(data.abs().max())
    first, state = run.begin(len(walk) - 1, {"x": step_noise(problem, run, 0, -1)})
    x = cast(Tensor, state["x"])
    for move in range(first, len(walk) - 1):
        t, following = walk[move], walk[move + 1]
        noise = step_noise(problem, run, 0, move)
        metrics: dict[str, float] = {}
        if following < t:
            if move > 0:
                known = math.sqrt(abar[t]) * data + math.sqrt(1 - abar[t]) * step_noise(problem, run, 0, move, stage=1)
                x = torch.where(live > 0, known, x)
            sigma = math.sqrt((1 - abar[t]) / abar[t])
            x0, share = denoiser.ancestral(x / math.sqrt(abar[t]), sigma)
            x0 = x0.clamp(-peak, peak)
            before = abar[t - 1] if t > 0 else 1.0
            x, variance = _posterior(x, x0, abar[t], before)
            if t > 0:  # between the posterior's and beta, in logarithms (Nichol, Dhariwal 2021, Eq. 15)
                x = (
                    x
                    + (share * math.log(1 - abar[t] / before) + (1 - share) * math.log(variance)).mul(0.5).exp() * noise
                )
            metrics = {"misfit": float((live * (x0 - data)).norm() / data.norm()), "sigma": sigma}
        else:
            kept = abar[following] / abar[t]  # 1 - beta of the level that is climbed to
            x = math.sqrt(kept) * x + math.sqrt(1 - kept) * noise
        if not run.step(move, {"x": x}, metrics):
            break
    return torch.where(live > 0, data, x)


def _posterior(x: Tensor, x0: Tensor, abar: float, before: float) -> tuple[Tensor, float]:
    """Mean and variance of ``q(x_{t-1} | x_t, x0)`` (Ho, Jain, Abbeel 2020, Eq. 7); the variance is 0 at the end."""
    beta = 1 - abar / before
    mean = (math.sqrt(before) * beta * x0 + math.sqrt(1 - beta) * (1 - before) * x) / (1 - abar)
    return mean, beta * (1 - before) / (1 - abar)
