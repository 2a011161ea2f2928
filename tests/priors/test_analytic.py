"""The analytic denoisers against slow, independent answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operators.errors import ShapeError
from recon3d.priors.analytic import DenseGaussian, GaussianMixture, PerfectDenoiser, StationaryGaussian
from recon3d.priors.denoiser import Denoiser


def _covariance(n: int, seed: int) -> Tensor:
    half = torch.randn((n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return half @ half.T / n


def test_all_are_denoisers() -> None:
    one = DenseGaussian(torch.zeros(2), torch.eye(2))
    mixture = GaussianMixture(torch.ones(1), [one])
    for prior in (PerfectDenoiser(torch.zeros(2)), StationaryGaussian(torch.ones(2)), one, mixture):
        assert isinstance(prior, Denoiser)


def test_perfect_denoiser_ignores_what_it_sees() -> None:
    truth = torch.rand(2, 3, 4)
    assert torch.equal(PerfectDenoiser(truth).denoise(torch.rand(5, 2, 3, 4), 3.0), truth.expand(5, 2, 3, 4))


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_dense_gaussian_solves_the_normal_equations(sigma: float) -> None:
    covariance, mean = _covariance(6, 0), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    x = torch.randn((4, 2, 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    system = covariance + sigma**2 * torch.eye(6, dtype=torch.float64)
    expected = [mean + (covariance @ torch.linalg.solve(system, (one - mean).flatten())).reshape(2, 3) for one in x]
    prior = DenseGaussian(mean, covariance)
    torch.testing.assert_close(prior.denoise(x, sigma), torch.stack(expected))
    posterior = covariance - covariance @ torch.linalg.solve(system, covariance)
    torch.testing.assert_close(prior.posterior_covariance(sigma), posterior)


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_stationary_gaussian_is_the_dense_one_in_fourier_space(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    kernel = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    power = torch.fft.fftn(kernel).abs().square()
    n = power.numel()
    units = torch.eye(n, dtype=torch.float64).reshape(n, *shape)
    axes = tuple(range(-len(shape), 0))
    covariance = torch.fft.ifftn(power * torch.fft.fftn(units, dim=axes), dim=axes).real.reshape(n, n)
    dense = DenseGaussian(torch.full(shape, 0.3, dtype=torch.float64), covariance)
    x = torch.randn((2, *shape), generator=torch.Generator().manual_seed(4), dtype=dtype)
    got = StationaryGaussian(power, mean=0.3).denoise(x, 0.5)
    if x.is_complex():  # the channels are independent; the mean is real
        imaginary = DenseGaussian(torch.zeros(shape, dtype=torch.float64), covariance).denoise(x.imag, 0.5)
        torch.testing.assert_close(got, torch.complex(dense.denoise(x.real, 0.5), imaginary))
    else:
        torch.testing.assert_close(got, dense.denoise(x, 0.5))


def test_stationary_gaussian_takes_one_sigma_per_slice() -> None:
    prior = StationaryGaussian(torch.ones(4, 4, dtype=torch.float64))
    x = torch.randn((2, 4, 4), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    both = prior.denoise(x, torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(both, torch.stack([prior.denoise(x[0], 0.5), prior.denoise(x[1], 2.0)]))


@pytest.mark.parametrize("sigma", [0.1, 0.6, 3.0])
def test_mixture_satisfies_tweedie(sigma: float) -> None:
    """D(x) = x + sigma^2 grad log p_sigma(x), with the density by automatic differentiation."""
    means = torch.tensor([[0.0, 0.0, 1.0], [1.0, -1.0, 0.0]], dtype=torch.float64)
    components = [DenseGaussian(mean, _covariance(3, seed)) for seed, mean in enumerate(means)]
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    x = torch.randn((7, 3), generator=torch.Generator().manual_seed(6), dtype=torch.float64).requires_grad_()
    eye = sigma**2 * torch.eye(3, dtype=torch.float64)
    density = torch.stack(
        [
            torch.distributions.MultivariateNormal(mean, component.covariance + eye).log_prob(x)
            for mean, component in zip(means, components, strict=True)
        ]
    )
    (score,) = torch.autograd.grad(torch.logsumexp(density + (weights / 4).log()[:, None], 0).sum(), x)
    got = GaussianMixture(weights, components).denoise(x.detach(), sigma)
    torch.testing.assert_close(got, x.detach() + sigma**2 * score)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 4\)"):
        StationaryGaussian(torch.ones(4, 4)).denoise(torch.zeros(2, 3, 4), 1.0)
    with pytest.raises(ShapeError, match=r"\(6,\)"):
        DenseGaussian(torch.zeros(6), torch.eye(6)).denoise(torch.zeros(2, 3), 1.0)
