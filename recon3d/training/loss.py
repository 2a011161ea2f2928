"""Noise levels, noise pairing and the EDM-weighted squared error."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from recon3d.priors.edm import EDMDenoiser
from recon3d.training.config import Noise


def draw_sigma(config: Noise, count: int, random: np.random.Generator) -> Tensor:
    """Log-uniform over the whole range, or with probability `middle_share` over the middle; (count,) float32."""
    whole = random.uniform(np.log(config.sigma_min), np.log(config.sigma_max), count)
    middle = random.uniform(np.log(config.middle[0]), np.log(config.middle[1]), count)
    chosen = np.where(random.random(count) < config.middle_share, middle, whole)
    return torch.from_numpy(np.exp(chosen).astype(np.float32))


def pair_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Reorder the noise of a batch so that the summed squared distance to the images is least.

    Li, Jiang, Feng et al.: Immiscible diffusion (2024). Trajectories of different images then mix less; the marginal
    law of the noise over many batches stays Gaussian.
    """
    gain = images.flatten(1) @ noise.flatten(1).T
    _, columns = linear_sum_assignment(gain.cpu().numpy(), maximize=True)
    return noise[torch.from_numpy(columns).to(noise.device)]


def denoising_loss(denoiser: EDMDenoiser, images: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Mean of ``|D(x0 + sigma n, sigma) - x0|^2 / c_out(sigma)^2``; 1 for a network that answers zero."""
    answer = denoiser(images + sigma[:, None, None, None] * noise, sigma)
    return (denoiser.loss_weight(sigma) * (answer - images).square()).mean()
