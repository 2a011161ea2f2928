"""Denoisers trained by regression at one noise level, at a range of them unseen, or told by an image of sigma."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon3d.errors import ModelError

ROUNDING = 1e-3
"""Relative slack at the ends of the range of sigma: 25/255 may be written as 0.098."""


class BlindDenoiser(nn.Module):
    """``D(x) = x - F(x)`` (residual) or ``F(x)``: the network is not told sigma, so it answers in its own range alone.

    Parameters
    ----------
    sigma_min, sigma_max : the range it was trained for; equal for a network of one noise level
    """

    def __init__(self, network: nn.Module, residual: bool, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.network = network
        self.residual = residual
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, channel, y, x), sigma (batch,) -> E[x0 | x].

        Raises
        ------
        ModelError
            For a sigma outside the range.
        """
        low, high = float(sigma.min()), float(sigma.max())
        if low < self.sigma_min * (1 - ROUNDING) or high > self.sigma_max * (1 + ROUNDING):
            raise ModelError(
                f"This denoiser was trained for sigma {_span(self.sigma_min, self.sigma_max)} and is not told which, "
                f"asked at {_span(low, high)}: ask within its range, or choose another model."
            )
        answer = self.network(x)
        return x - answer if self.residual else answer


class NoiseMapDenoiser(nn.Module):
    """``D(x, sigma) = F([x, sigma])``, or x minus that (residual): the network is told sigma by a constant channel."""

    def __init__(self, network: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.network = network
        self.residual = residual

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, channel, y, x), sigma (batch,) -> E[x0 | x]."""
        level = sigma.to(x.dtype)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        answer = self.network(torch.cat([x, level], dim=1))
        return x - answer if self.residual else answer


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
