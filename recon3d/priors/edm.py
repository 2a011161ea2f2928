"""EDM preconditioning: a network of unit-variance input and output as a denoiser at any sigma."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EDMDenoiser(nn.Module):
    """``D(x, sigma) = m + c_skip (x - m) + c_out F(c_in (x - m), log sigma)``.

    `sigma_data` and `mean` (m) are the standard deviation and mean of the normalised training images; `axes` counts
    those of an image: 3 for (channel, y, x), 4 for (channel, x, y, t).
    Karras, Aittala, Aila, Laine: Elucidating the design space of diffusion-based generative models (2022), table 1.
    """

    def __init__(self, network: nn.Module, sigma_data: float, mean: float = 0.0, axes: int = 3) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data
        self.mean = mean
        self.axes = axes

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None, **options: Any) -> Tensor:
        """x (batch, channel, y, x) float32, sigma (batch,) -> E[x0 | x], float32; options are the network's."""
        c_skip, c_out, c_in = self.coefficients(sigma)
        centred = x - self.mean
        inputs = c_in * centred
        if getattr(self.network, "detail", False):
            inputs = torch.cat([inputs, detail(x, sigma)], dim=1)
        if condition is not None:
            inputs = torch.cat([inputs, condition], dim=1)
        residual = self.network(inputs, sigma.log(), **options)
        return self.mean + c_skip * centred + c_out * residual.to(x.dtype)

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in for sigma (batch,), shaped (batch, 1, 1, ...)."""
        sigma = sigma[(..., *(None,) * self.axes)]
        total = sigma.square() + self.sigma_data**2
        return self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), total.rsqrt()

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """1 / c_out^2: every sigma asks the same of the network at the start."""
        return self.coefficients(sigma)[1].square().reciprocal()


def detail(x: Tensor, sigma: Tensor) -> Tensor:
    """What a 3 x 3 mean misses, in units of sigma, squashed to -8..8.

    At small sigma the noise is a hundredth of the image, so a network that sees the image alone learns it last.
    """
    smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return 8 * torch.tanh((x - smooth) / (8 * sigma[:, None, None, None]))
