"""DPM-Solver++ 2M: second order in the step, from the clean estimates of two steps."""

from __future__ import annotations

import math

from torch import Tensor

from recon3d.sampling.grids import Step

__all__ = ["extrapolate"]


def extrapolate(clean: Tensor, previous: Tensor, step: Step, sigma_before: float) -> Tensor:
    """The clean estimate half a step ahead, D + (D - D_previous) h / (2 h_previous) with h = log(sigma / sigma_next).

    A `ddim` step on it instead of D is DPM-Solver++ 2M, midpoint form (Lu et al., arXiv 2211.01095, algorithm 2); with
    ``eta_mode="ddim"`` and eta = 1 it is SDE-DPM-Solver++ 2M. The weights sum to 1, so data that both estimates meet
    are met.

    Parameters
    ----------
    clean, previous : estimates at `step.sigma` and at `sigma_before`, which is larger
    step : ends at sigma_next > 0
    """
    h, before = math.log(step.sigma / step.sigma_next), math.log(sigma_before / step.sigma)
    return clean.lerp(previous, -0.5 * h / before)
