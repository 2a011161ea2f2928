"""A denoiser that knows where nothing is: outside the object, and where no coil of an MRI scan sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Bounded:
    """E[x0 | x] of images that are `vacuum` outside a region: there it is the vacuum, whatever x is.

    Where the data see nothing a sampler draws from the prior alone, step after step, and what a learned prior makes of
    values that it was not trained on can grow without bound. A value that is known needs no drawing.

    Parameters
    ----------
    prior : any denoiser with `card` and `normalization`
    inside : bool tensor that broadcasts to the image: where it can differ from the vacuum
    vacuum : its value in the range of the prior
    """

    def __init__(self, prior: Any, inside: Tensor, vacuum: float) -> None:
        self.prior, self.inside, self.vacuum = prior, inside, vacuum
        self.card, self.normalization = prior.card, prior.normalization

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x0 + sigma n] for x (..., z, y, x)."""
        return torch.where(self.inside, self.prior.denoise(x, sigma), self.vacuum)
