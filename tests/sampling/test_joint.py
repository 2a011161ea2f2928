"""Two scalar Gaussians whose joint posterior is known: samplers that halve the misfit blindly must fail it."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from recon3d.methods.dehaze_published import projection, published_draw, sigma_at
from recon3d.sampling.grids import lambda_grid
from recon3d.sampling.joint import joint_sample
from recon3d.sampling.noise import counter_noise
from recon3d.solvers.two_sources import Belief, Companded, Plain, joint_step, pigdm_step

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
