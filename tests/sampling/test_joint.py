"""Two scalar Gaussians whose joint posterior is known: samplers that halve the misfit blindly must fail it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from recon3d.methods.dehaze_published import projection, published_draw, sigma_at
from recon3d.sampling.grids import lambda_grid
from recon3d.sampling.joint import Belief, Companded, Plain, joint_sample, joint_step, local_level, pigdm_step
from recon3d.sampling.noise import counter_noise

MEANS, VARIANCES, NOISE = (0.6, -0.4), (0.1, 2.0), 0.05**0.5
Y, COUNT = 1.5, 20000
EXACT = (0.6605, 0.0953, 0.8093, 0.1395)
"""Mean and variance of x, then of h: those of the 2 x 2 system solved by hand."""


def denoise(source: int, u: torch.Tensor, sigma: float) -> torch.Tensor:
    gain = VARIANCES[source] / (VARIANCES[source] + sigma**2)
    return MEANS[source] + gain * (u - MEANS[source])


def belief(source: int, u: torch.Tensor, sigma: float) -> Belief:
    """Of independent samples: the same variance in every component."""
    power = torch.full((u.shape[-2], u.shape[-1] // 2 + 1), VARIANCES[source], dtype=u.dtype)
    return Belief.after(u, power, sigma, Plain())


def moments(state: torch.Tensor) -> list[float]:
    return [float(v) for source in state for v in (source.mean(), source.var())]


@pytest.mark.parametrize("guidance", ["joint", "pigdm"])
def test_sampler_draws_from_the_joint_posterior(guidance: str) -> None:
    y = torch.full((1, 1, COUNT), Y, dtype=torch.float64)
    grid = lambda_grid(400, 30.0, 1e-3)

    def guided(state: torch.Tensor, sigma: float) -> torch.Tensor:
        clean = [denoise(k, state[k], sigma) for k in (0, 1)]
        x, h = (belief(k, clean[k], sigma) for k in (0, 1))
        if guidance == "joint":
            return torch.stack(joint_step(y, x, h, 1.0, NOISE, Plain()))
        pulled = (x.covariance, h.covariance)  # sigma^2 du0/du_t of a Gaussian is its covariance
        return torch.stack(pigdm_step(y, x, h, pulled, 1.0, NOISE))

    noise = partial(counter_noise, (2, *y.shape), seed=3, dtype=torch.float64)
    state = joint_sample(grid[0].sigma * noise(step=-1), grid, guided, 1.0, lambda k: noise(step=k))
    # The last estimate is a conditional mean: its variance lacks that of the last level, 1e-6.
    assert moments(state) == pytest.approx(EXACT, abs=0.01)


def test_published_projection_is_biased_by_unequal_priors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.methods.dehaze_published.STEPS", 1000)
    y = torch.full((1, COUNT), Y, dtype=torch.float64)
    state = published_draw(y, 1.0, denoise, Plain(), {"seed": 5})
    mean_x, variance_x, mean_h, variance_h = moments(state)
    assert (mean_x, mean_h) == pytest.approx((0.834, 0.666), abs=0.015)
    assert (variance_x, variance_h) == pytest.approx((0.159, 0.159), abs=0.015)
    assert float((state.sum(0) - y).abs().max()) < 1e-9  # it fits the noise, too


def test_published_schedule() -> None:
    assert [sigma_at(t) for t in (1.0, 0.8, 0.2, 0.001)] == pytest.approx([9.845, 5.161, 0.638, 0.0317], abs=1e-3)


def test_projection_is_the_gradient_of_the_misfit() -> None:
    generator = torch.Generator().manual_seed(1)
    u = (torch.rand(2, 200, generator=generator, dtype=torch.float64) - 0.5) * 1.2
    y = (torch.rand(200, generator=generator, dtype=torch.float64) - 0.5) * 1.2
    where, strength = Companded(), 0.3
    u.requires_grad_()
    mixed = where.of_signal(where.signal(u[0]) + strength * where.signal(u[1]))
    (gradient,) = torch.autograd.grad(-0.25 * (y - mixed).square().sum(), u)
    found = torch.stack(projection(y, *u.detach(), strength, where))
    gentle = (found.abs() < 3.9 * 0.5 * (y - mixed.detach()).abs()).all(0)  # elsewhere the Jacobian is limited
    assert gentle.sum() > 150
    assert torch.allclose(found[:, gentle], gradient[:, gentle], atol=1e-6)


def sure(u: float, variance: float) -> Belief:
    return Belief(torch.full((2, 2), u), torch.full((2, 2), u), torch.full((2, 2), variance))


def test_misfit_goes_where_the_prior_is_less_certain() -> None:
    y = torch.full((2, 2), 0.2)
    found = joint_step(y, sure(0.1, 1.0), sure(0.5, 1.0), 0.0, 1.0, Plain())
    assert [float(v[0, 0]) for v in found] == pytest.approx(
        [0.15, 0.5]
    )  # two equally sure numbers; no haze: h as it was
    found = joint_step(y, sure(0.1, 0.01), sure(0.5, 0.2), 0.5, 0.1, Plain())
    # e = (0.2 - 0.1 - 0.25) / (0.01 + 0.05 + 0.01) = -0.15 / 0.07
    assert [float(v[0, 0]) for v in found] == pytest.approx([0.1 - 0.0015 / 0.07, 0.5 - 0.015 / 0.07])


def test_each_component_is_shared_by_its_own_variances() -> None:
    """A Wiener filter: at the strongest noise the estimates are the means, and y decides with the spectra alone."""
    generator = torch.Generator().manual_seed(4)
    y = torch.randn(12, 16, generator=generator, dtype=torch.float64)
    power = [torch.rand(12, 9, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2)]
    power = [torch.fft.rfft2(torch.fft.irfft2(p, s=(12, 16))).real for p in power]  # of real fields
    zero = torch.zeros_like(y)
    x, h = (Belief.after(zero, p, 1e6, Plain()) for p in power)
    found = joint_step(y, x, h, 0.7, 0.3, Plain())
    total = power[0] + 0.49 * power[1] + 0.09
    wanted = [torch.fft.irfft2(f * torch.fft.rfft2(y), s=y.shape) for f in (power[0] / total, 0.7 * power[1] / total)]
    for ours, theirs in zip(found, wanted, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-9


def test_misfit_where_tissue_is_dark_is_haze() -> None:
    """Two halves of a frame, tissue in one: that half takes the misfit, the dark one leaves it to haze."""
    generator = torch.Generator().manual_seed(2)
    u = 0.4 * torch.randn(32, 64, generator=generator, dtype=torch.float64)
    u[:, 32:] *= 0.05
    power = torch.full((32, 33), 0.16, dtype=torch.float64)
    x = Belief.after(u, power, 0.2, Companded(), local=True)
    h = Belief.after(torch.zeros_like(u), power, 0.2, Companded())
    y = x.v + 0.01
    moved = joint_step(y, x, h, 1.0, 1e-3, Companded(), exact=True)[0]
    share = (Companded().signal(moved) - x.v) / 0.01
    bright, dark = float(share[:, 8:24].median()), float(share[:, 40:56].median())
    assert bright > 0.4
    assert dark < 0.1 * bright


def test_level_of_a_gaussian_is_found_from_its_estimate() -> None:
    """A field of level L seen in noise: the denoised energy and what is left open add up to L."""
    generator = torch.Generator().manual_seed(6)
    power, level, sigma = torch.full((64, 65), 0.16, dtype=torch.float64), 0.04, 0.3
    estimate = level / math.sqrt(level + sigma**2) * torch.randn(64, 128, generator=generator, dtype=torch.float64)
    near, left = local_level(estimate, power, sigma)
    assert float(near.mean()) == pytest.approx(level, rel=0.05)
    assert float(left.mean()) == pytest.approx(level * sigma**2 / (level + sigma**2), rel=0.05)
