"""The predictor and the corrector against formulas, and what they do not depend on."""

from __future__ import annotations

import math

import pytest
import torch

from recon3d.priors.analytic import DenseGaussian
from recon3d.sampling.grids import lambda_grid, reverse_sde_grid
from recon3d.sampling.langevin import langevin, reverse_diffusion, score


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_score_of_a_gaussian() -> None:
    root, x = normal(6, 6, seed=1), normal(4, 2, 3)
    mu, C, sigma = normal(2, 3, seed=2), root @ root.T, 0.7
    found = score(x, DenseGaussian(mu, C).denoise(x, sigma), sigma)
    expected = -torch.linalg.solve(C + sigma**2 * torch.eye(6, dtype=torch.float64), (x - mu).reshape(4, 6).T).T
    torch.testing.assert_close(found.reshape(4, 6), expected)


def test_predictor_and_corrector_are_the_published_formulas() -> None:
    x, s, n = (normal(3, 4, 5, seed=k) for k in range(3))
    torch.testing.assert_close(reverse_diffusion(x, s, 0.3, n.clone()), x + 0.3 * s + math.sqrt(0.3) * n)
    e = 2 * (0.16 * n.flatten(1).norm(dim=1).mean() / s.flatten(1).norm(dim=1).mean()) ** 2  # one batch of three
    torch.testing.assert_close(langevin(x, s, n.clone(), 0.16, chunk=3), x + e * s + (2 * e).sqrt() * n)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_slice_has_a_step_size_of_its_own(dtype: torch.dtype) -> None:
    x, s, n = (normal(5, 4, 3, seed=k, dtype=dtype) for k in range(3))
    whole = langevin(x, s, n.clone(), 0.16)
    for k in range(5):
        assert torch.equal(langevin(x[k : k + 1], s[k : k + 1], n[k : k + 1].clone(), 0.16), whole[k : k + 1])
    assert not torch.allclose(langevin(x, s, n.clone(), 0.16, chunk=5), whole)
    assert torch.equal(langevin(x, torch.zeros_like(s), n.clone(), 0.16), x)


def test_the_published_levels() -> None:
    grid = lambda_grid(2000, 378.0, 0.01)
    assert grid[-1].sigma == pytest.approx(0.01, rel=1e-12)
    assert grid[0].sigma == pytest.approx(378.0, rel=1e-12)
    assert grid[0].sigma / grid[1].sigma == pytest.approx(1.005286, abs=1e-6)
    assert len({step.sigma for step in grid}) == 2000


def test_the_levels_of_the_public_code() -> None:
    """Section 9, item 4 of its study: rounding repeats 121 of 2000 levels."""
    public, exact = reverse_sde_grid(2000, 378.0, 0.01), lambda_grid(2000, 378.0, 0.01)
    off = [k for k in range(2000) if abs(public[k].b / exact[k].b - 1) > 1e-4]
    assert len(off) == 137
    assert len({step.b for step in public}) == 1879
    assert public[0].sigma == pytest.approx(378.0, rel=1e-9)
    assert public[-1].sigma == pytest.approx(0.01, rel=1e-6)
    assert public[-1].b_next == 0.0
    assert public[-1].last
