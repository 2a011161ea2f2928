from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operators.linear import Diagonal, FunctionOperator, Identity, LinearOperator
from operators.slice_norm import slice_axis
from operators.space import Space
from recon3d.solvers.data_step import CovarianceStep, LeastSquaresStep


def volume(*shape: int, dtype: torch.dtype = torch.float64) -> Space:
    return Space(("z", "y", "x"), shape, dtype)


def fourier_mask(mask: Tensor, shape: tuple[int, int, int]) -> LinearOperator:
    """Sampled k-space of complex slices, one coil, unit sensitivity."""
    space = volume(*shape, dtype=torch.complex128)
    return FunctionOperator(
        space,
        space,
        lambda x: mask * torch.fft.fft2(x, norm="ortho"),
        lambda k: torch.fft.ifft2(mask * k, norm="ortho"),
    )


def test_result_lies_in_the_krylov_space(random, dense_operator) -> None:
    A = dense_operator(random(12, 30), (2, 3, 5))
    xhat, y = random(2, 3, 5, seed=1), random(1, 12, seed=2)
    steps = 4
    moved = LeastSquaresStep(A, y, cg_steps=steps)(xhat) - xhat
    basis = [A.H(y - A(xhat))]
    for _ in range(steps - 1):
        basis.append(A.gram(basis[-1]) / basis[-1].norm())
    matrix = torch.stack([b.flatten() / b.norm() for b in basis], dim=1)
    fit = torch.linalg.lstsq(matrix, moved.flatten(), driver="gelsd").solution
    assert float((matrix @ fit - moved.flatten()).norm() / moved.norm()) < 1e-9
    shorter = torch.linalg.lstsq(matrix[:, :-1], moved.flatten(), driver="gelsd").solution
    assert float((matrix[:, :-1] @ shorter - moved.flatten()).norm() / moved.norm()) > 1e-3


def test_what_is_not_measured_stays(random) -> None:
    mask = (torch.arange(6) % 3 == 0).double()
    A = fourier_mask(mask, (2, 4, 6))
    xhat = random(2, 4, 6, dtype=torch.complex128)
    y = A(random(2, 4, 6, dtype=torch.complex128, seed=1))
    k = torch.fft.fft2(LeastSquaresStep(A, y)(xhat), norm="ortho")
    before = torch.fft.fft2(xhat, norm="ortho")
    torch.testing.assert_close(k[..., mask == 0], before[..., mask == 0], rtol=0, atol=1e-14)
    torch.testing.assert_close(k[..., mask == 1], y[..., mask == 1], rtol=0, atol=1e-12)
    gamma = 0.7  # complex data weigh as they are: no factor (1 + i)
    k = torch.fft.fft2(LeastSquaresStep(A, y, cg_steps=2, damping=1 / gamma)(xhat), norm="ortho")
    expected = torch.where(mask == 1, (before + gamma * y) / (1 + gamma), before)
    torch.testing.assert_close(k, expected, rtol=0, atol=1e-12)


def test_one_step_with_the_identity(random) -> None:
    A = Identity(volume(3, 4, 5))
    xhat, y = random(3, 4, 5), random(3, 4, 5, seed=1)
    torch.testing.assert_close(LeastSquaresStep(A, y, cg_steps=1)(xhat), y)
    proximal = LeastSquaresStep(A, y, cg_steps=1, damping=2.0)
    torch.testing.assert_close(proximal(xhat), (xhat + 0.5 * y) / 1.5)
    assert proximal.residual == pytest.approx(float((xhat - y).norm() / y.norm()), rel=1e-12)
    assert torch.equal(proximal(y), y)  # an exact start is kept, without 0 / 0


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_discrepancy_stops_each_slice_at_its_noise(random, damping: float) -> None:
    weights = 0.2 + torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    A = Diagonal(weights, volume(3, 4, 5))
    xhat, y = random(3, 4, 5), random(3, 4, 5, seed=1)
    y[2] = A(xhat)[2]  # fits already
    free = LeastSquaresStep(A, y, cg_steps=3, damping=damping)(xhat)
    target = 0.25 * float(
        (A(free) - y).square().sum((1, 2))[:2].min() + (A(xhat) - y).square().sum((1, 2))[:2].min() * 3
    )
    stopped = LeastSquaresStep(A, y, cg_steps=3, damping=damping, noise_norm2=target / 20)(xhat)
    misfit = (A(stopped) - y).square().sum((1, 2))
    assert misfit[:2] == pytest.approx(torch.full((2,), target, dtype=torch.float64), rel=1e-9)
    assert torch.equal(stopped[2], xhat[2])


def test_slices_have_step_sizes_of_their_own_where_they_are_separate(random, dense_operator) -> None:
    weights = 0.2 + torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    xhat, y = random(3, 4, 5), random(3, 4, 5, seed=1)
    whole = LeastSquaresStep(Diagonal(weights, volume(3, 4, 5)), y, cg_steps=2)(xhat)
    part = LeastSquaresStep(Diagonal(weights, volume(1, 4, 5)), y[1:2], cg_steps=2)(xhat[1:2])
    assert torch.equal(whole[1:2], part)
    assert slice_axis(Diagonal(weights, volume(3, 4, 5))) == 0
    assert slice_axis(dense_operator(random(12, 60), (3, 4, 5))) is None


def test_covariance_step_is_the_gaussian_posterior_mean(random, dense_operator, positive_definite) -> None:
    matrix, C = random(7, 12), positive_definite(12)
    A = dense_operator(matrix, (1, 3, 4))
    xhat, y = random(1, 3, 4), random(1, 7, seed=1)
    step = CovarianceStep(A, y, noise_std=0.3, cg_steps=20)
    step.covariance = lambda v: (v.reshape(-1, 12) @ C).reshape(v.shape)
    inverse = torch.linalg.inv(matrix @ C @ matrix.T + 0.09 * torch.eye(7, dtype=torch.float64))
    expected = xhat.flatten() + C @ matrix.T @ inverse @ (y.flatten() - matrix @ xhat.flatten())
    torch.testing.assert_close(step(xhat).flatten(), expected, rtol=1e-7, atol=1e-8)
