from __future__ import annotations

import math

import pytest
import torch

from recon3d.sampling.ddim import ddim, fresh_fraction, noise_in
from recon3d.sampling.grids import karras_grid, vp_alpha_bar, vp_grid

STEP = vp_grid(50)[20]


def normal(seed: int, n: int = 200_000) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_eta_zero_is_textbook_ddim() -> None:
    x, x0 = normal(0, 100), normal(1, 100)
    abar = vp_alpha_bar()
    t = 980 - 20 * STEP.index
    eps = (x - math.sqrt(abar[t]) * x0) / math.sqrt(1 - abar[t])
    expected = math.sqrt(abar[t - 20]) * x0 + math.sqrt(1 - abar[t - 20]) * eps
    torch.testing.assert_close(ddim(x0, noise_in(x, x0, STEP), STEP), expected, rtol=1e-13, atol=1e-13)


def test_eta_one_forgets_the_old_noise_and_the_variance_never_changes() -> None:
    x0, eps = torch.zeros(200_000, dtype=torch.float64), normal(2)
    for eta in (0.0, 0.5, 0.85, 1.0):
        out = ddim(x0, eps, STEP, eta, normal(3))
        assert float(out.var()) == pytest.approx(STEP.b_next**2, rel=0.01)
        correlation = float((out * eps).mean() / (out.std() * eps.std()))
        assert correlation == pytest.approx(math.sqrt(1 - eta**2), abs=0.01)


def test_paper_eta_is_the_ancestral_variance_in_both_coordinates() -> None:
    abar = vp_alpha_bar()
    t = 980 - 20 * STEP.index
    expected = math.sqrt((1 - abar[t - 20]) / (1 - abar[t])) * math.sqrt(1 - abar[t] / abar[t - 20])
    assert 0.7 * expected == pytest.approx(STEP.b_next * fresh_fraction(STEP, 0.7, "ddim"), rel=1e-12)
    step = karras_grid(10, 8.0, 0.01)[4]
    variance = step.sigma_next**2 * (step.sigma**2 - step.sigma_next**2) / step.sigma**2  # Song et al. 2021, VE
    assert step.b_next * fresh_fraction(step, 1.0, "ddim") == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert fresh_fraction(step, 0.7) == 0.7


def test_the_last_step_returns_the_clean_image_itself() -> None:
    x0 = normal(4, 10)
    assert ddim(x0, normal(5, 10), vp_grid(50)[-1], 0.85, normal(6, 10)) is x0
