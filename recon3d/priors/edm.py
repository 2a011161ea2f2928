"""EDM preconditioning: a network of unit-variance input and output as a denoiser at any sigma."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EDMDenoiser(nn.Module):
    """``D(x, sigma) = m + c_skip (x - m) + c_out F(c_in (x - m), log sigma)``.

    `sigma_data` and `mean` (m) are the standard deviation and mean of the normalised training images.
    Karras, Aittala, Aila, Laine: Elucidating the design space of diffusion-based generative models (2022), table 1.
    """

    def __init__(self, network: nn.Module, sigma_data: float, mean: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data
        self.mean = mean

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, channel, y, x) float32, sigma (batch,) -> E[x0 | x], float32."""
        c_skip, c_out, c_in = self.coefficients(sigma)
        centred = x - self.mean
        inputs = c_in * centred if condition is None else torch.cat([c_in * centred, condition], dim=1)
        residual = self.network(inputs, sigma.log())
        return self.mean + c_skip * centred + c_out * residual.to(x.dtype)

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in for sigma (batch,), shaped (batch, 1, 1, 1)."""
        sigma = sigma[:, None, None, None]
        total = sigma.square() + self.sigma_data**2
        return self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), total.rsqrt()

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """1 / c_out^2: every sigma asks the same of the network at the start."""
        return self.coefficients(sigma)[1].square().reciprocal()
