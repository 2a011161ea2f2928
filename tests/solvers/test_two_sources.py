"""The misfit of two sources is shared by what each leaves open, by component and by place."""

from __future__ import annotations

import math

import pytest
import torch

from recon3d.solvers.two_sources import Belief, Companded, Plain, joint_step, local_level


def sure(u: float, variance: float) -> Belief:
    return Belief(torch.full((2, 2), u), torch.full((2, 2), u), torch.full((2, 2), variance))


def test_misfit_goes_where_the_prior_is_less_certain() -> None:
    y = torch.full((2, 2), 0.2)
    found = joint_step(y, sure(0.1, 1.0), sure(0.5, 1.0), 0.0, 1.0, Plain())
    # Two equally sure numbers; no haze: h as it was.
    assert [float(v[0, 0]) for v in found] == pytest.approx([0.15, 0.5])
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
