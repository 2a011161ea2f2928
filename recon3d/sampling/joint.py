"""Sampling of several sources at once, each with noise of its own, by what is expected of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from recon3d.sampling.ddim import ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import Step

__all__ = ["joint_sample"]


def joint_sample(
    state: Tensor,
    grid: Sequence[Step],
    guided: Callable[[Tensor, float], Tensor],
    eta: float,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Ancestral (eta = 1) or deterministic (0) steps of both sources down to the clean estimate.

    With ``E[x0, h0 | x_t, h_t, y]`` in place of each prior's own estimate, the score is that of the joint posterior.

    Parameters
    ----------
    state : (source, ...), at the noise of the first step
    guided : (state, sigma) -> that expectation
    noise : step -> unit noise like the state
    """
    for step in grid:
        clean = guided(state, step.sigma)
        fraction = fresh_fraction(step, eta, "ddim")
        fresh = noise(step.index) if fraction and not step.last else None
        state = ddim(clean, noise_in(state, clean, step), step, fraction, fresh)
    return state
