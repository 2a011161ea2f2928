"""Denoisers with closed-form answers, for proofs: a perfect one, Gaussians, a Gaussian mixture; any precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operators.errors import ShapeError


class PerfectDenoiser:
    """Knows the truth: E[x0 | x] for a prior that is one image."""

    def __init__(self, truth: Tensor) -> None:
        self.truth = truth

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        return self.truth.to(x).expand_as(x)


class StationaryGaussian:
    """Gaussian whose covariance is diagonal in the Fourier basis of the last axes: a Wiener filter.

    Parameters
    ----------
    power : eigenvalues of the covariance (variance per real channel) in the order of ``fftn``; its number of axes says
        over how many of the last axes the images are stationary. Real images need ``power[k] == power[-k]``.
    mean : anything that broadcasts with the images
    """

    def __init__(self, power: Tensor, mean: float | Tensor = 0.0) -> None:
        self.power = power
        self.mean = mean

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        if x.shape[-self.power.ndim :] != self.power.shape:
            raise ShapeError(f"Expected images ending in {tuple(self.power.shape)}, got {tuple(x.shape)}.")
        axes = tuple(range(-self.power.ndim, 0))
        power = self.power.to(x.real.dtype)
        variance = torch.as_tensor(sigma, dtype=power.dtype) ** 2
        variance = variance.reshape(variance.shape + (1,) * (x.ndim - variance.ndim)) if variance.ndim else variance
        filtered = torch.fft.ifftn(power / (power + variance) * torch.fft.fftn(x - self.mean, dim=axes), dim=axes)
        return self.mean + (filtered if x.is_complex() else filtered.real)


class DenseGaussian:
    """N(mean, covariance) over the last axes of the images, which have the shape of `mean`.

    Parameters
    ----------
    mean : any shape, n values in all
    covariance : (n, n), positive semi-definite
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean = mean
        self.covariance = covariance
        values, self._vectors = torch.linalg.eigh(covariance)
        self._values = values.clamp_min(0)

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        offset = _flat(x, self.mean) - self.mean.flatten()
        gain = self._values / (self._values + float(sigma) ** 2)
        return (self.mean.flatten() + offset @ (self._vectors * gain) @ self._vectors.T).reshape(x.shape)

    def posterior_covariance(self, sigma: float) -> Tensor:
        """Covariance of x0 given x0 + sigma n: ``sigma^2 C (C + sigma^2)^-1``, (n, n)."""
        gain = sigma**2 * self._values / (self._values + sigma**2)
        return (self._vectors * gain) @ self._vectors.T

    def log_density(self, x: Tensor, sigma: float) -> Tensor:
        """log N(x; mean, C + sigma^2), one number an image."""
        variance = self._values + sigma**2
        whitened = (_flat(x, self.mean) - self.mean.flatten()) @ self._vectors
        return -0.5 * ((whitened.square() / variance) + (2 * math.pi * variance).log()).sum(-1)


class GaussianMixture:
    """Sum of `DenseGaussian` components: several modes, still exact.

    Parameters
    ----------
    weights : (k,), positive; scaled to sum to 1
    """

    def __init__(self, weights: Tensor, components: list[DenseGaussian]) -> None:
        self.weights = weights / weights.sum()
        self.components = components

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        odds = torch.stack([component.log_density(x, float(sigma)) for component in self.components])
        share = torch.softmax(odds + self.weights.log()[(...,) + (None,) * (odds.ndim - 1)], dim=0)
        answers = torch.stack([component.denoise(x, sigma) for component in self.components])
        return (share.reshape(*share.shape, *(1,) * (answers.ndim - share.ndim)) * answers).sum(0)


def _flat(x: Tensor, mean: Tensor) -> Tensor:
    if x.shape[x.ndim - mean.ndim :] != mean.shape:
        raise ShapeError(f"Expected images ending in {tuple(mean.shape)}, got {tuple(x.shape)}.")
    return x.reshape(*x.shape[: x.ndim - mean.ndim], mean.numel())
