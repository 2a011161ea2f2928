"""Gradient guidance against the gradient written out for a linear denoiser."""

from __future__ import annotations

import pytest
import torch

from recon3d.sampling.guidance import misfit_gradient

GAIN = 0.7
A = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradient(x: torch.Tensor, joint: bool = False) -> torch.Tensor:
    estimate, found = misfit_gradient(lambda z: GAIN * z, lambda z: z @ A.T - Y, x, joint)
    assert torch.equal(estimate, GAIN * x)
    assert not estimate.requires_grad
    return found


def test_each_particle_has_the_gradient_of_its_own_norm() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gap = GAIN * x @ A.T - Y
    expected = GAIN * (gap @ A) / gap.norm(dim=1, keepdim=True)
    torch.testing.assert_close(gradient(x), expected)
    torch.testing.assert_close(gradient(x)[:2], gradient(x[:2]))


def test_a_joint_norm_weakens_with_the_number_of_particles() -> None:
    x = torch.ones(1, 4, dtype=torch.float64)
    assert float(gradient(x.expand(16, 4), joint=True)[0].norm() / gradient(x).norm()) == pytest.approx(0.25)


def test_no_misfit_no_gradient() -> None:
    x = torch.zeros(2, 4, dtype=torch.float64)
    _, found = misfit_gradient(lambda z: z, lambda z: 0 * z, x)
    assert torch.equal(found, x)
