"""Filters against haze on signals of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from recon3d.solvers.clutter import levels, nonlocal_means, svd_filter, wiener


def field(width: float, seed: int, shape: tuple[int, int] = (96, 900)) -> torch.Tensor:
    """Complex noise of unit mean square (of its real part), Gaussian across beams."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    wide = gaussian_filter1d(white.real, width, axis=0) + 1j * gaussian_filter1d(white.imag, width, axis=0)
    return torch.from_numpy(wide / np.sqrt(np.mean(wide.real**2)))


def test_levels_tell_narrow_from_wide() -> None:
    tissue, haze = field(1.2, 1), field(12.0, 2)
    for strength in (0.0, 0.3, 1.0):
        found = levels(2.0 * tissue + strength * haze)
        assert found == pytest.approx((2.0, strength), abs=0.2)


def test_a_few_bright_reflectors_do_not_set_the_levels() -> None:
    analytic = field(1.2, 1)
    analytic[:, 400:404] += 60.0  # a specular interface across all beams
    tissue, haze = levels(analytic)
    assert tissue == pytest.approx(1.0, abs=0.15)
    assert haze < 0.35


def test_svd_takes_out_what_stands_still() -> None:
    rng = np.random.default_rng(0)
    still = torch.from_numpy(rng.standard_normal((6, 8)))
    modes = torch.from_numpy(np.linalg.qr(rng.standard_normal((48, 5)))[0].T.reshape(5, 6, 8))
    modes = modes - (modes * still).sum((1, 2), keepdim=True) / still.square().sum() * still
    beat = torch.from_numpy(np.array([[1.0, -1.0, 0, 0, 0]] * 5)).T[:, :1]  # sums to zero over the frames
    moving = (beat * modes[:1].reshape(1, -1)).reshape(5, 6, 8)
    assert torch.allclose(svd_filter(100 * still + moving, 1), moving, atol=1e-9)


def test_wiener_weighs_components_by_their_spectra() -> None:
    x = torch.cos(2 * torch.pi * 3 * torch.arange(32, dtype=torch.float64) / 32).expand(4, 32)
    tissue, haze = torch.zeros(4, 17, dtype=torch.float64), torch.zeros(4, 17, dtype=torch.float64)
    tissue[0, 3], haze[0, 3] = 3.0, 1.0
    assert torch.allclose(wiener(x, tissue, haze, 1.0), 0.6 * x)  # 3 / (3 + 1 + 1)


def test_nonlocal_means_keeps_edges_and_smooths_noise() -> None:
    clean = torch.zeros(40, 40, dtype=torch.float64)
    clean[:, 20:] = 10.0
    noisy = clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = nonlocal_means(noisy, 1.5)
    assert float((found - clean).square().mean()) < 0.2 * float((noisy - clean).square().mean())
    kept = nonlocal_means(clean, 1.5)[:, 15:25]  # patches across the edge are alike along it alone
    assert float((kept - clean[:, 15:25]).abs().max()) < 0.5
