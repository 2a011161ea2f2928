from __future__ import annotations

import pytest
import torch

from recon3d.priors.analytic import DenseGaussian
from recon3d.sampling.posterior import tweedie


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_covariance_of_a_gaussian_prior(sigma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    prior = DenseGaussian(torch.randn(2, 3, dtype=torch.float64, generator=generator), root @ root.T)
    x = torch.randn(5, 2, 3, dtype=torch.float64, generator=generator)
    denoised, covariance = tweedie(prior.denoise, x, sigma)
    torch.testing.assert_close(denoised, prior.denoise(x, sigma))
    v = torch.randn(5, 2, 3, dtype=torch.float64, generator=generator)
    expected = v.reshape(5, 6) @ prior.posterior_covariance(sigma)
    torch.testing.assert_close(covariance(v).reshape(5, 6), expected, rtol=1e-10, atol=1e-12)
    assert not denoised.requires_grad
