"""Partially separable series: what the data determine, closed forms, gauge and gradients, on a disc of 208 pixels."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.linear import FunctionOperator, LinearOperator
from operators.mri import CartesianSeries
from operators.reduce import norm
from operators.series import ViewSeries, subspace
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from operators.tomography.orders import view_angles
from recon3d.solvers.partially_separable import (
    Factors,
    Prox,
    Splitting,
    basis_step,
    hermite_matrix,
    latent_step,
    misfit,
)

COLUMNS = {16: 23, 8: 12}
PIXELS = {16: 208, 8: 52}


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@functools.cache
def disc_views(P: int, J: int = 16) -> ViewSeries:
    """One bit-reversed view per instant of the pixels whose centres lie in a disc, as dense rows."""
    grid = ImageGrid((1, J, J))
    projector = Projector(TomographyGeometry.parallel(view_angles(P), COLUMNS[J]), grid, torch.float64)
    y, x = np.mgrid[:J, :J] - (J - 1) / 2
    inside = torch.from_numpy(y**2 + x**2 <= (J / 2) ** 2 + 0.3).flatten()
    units = torch.eye(J * J, dtype=torch.float64)[inside].reshape(-1, 1, J, J)
    rows = projector(units).reshape(len(units), P, COLUMNS[J])  # (pixel, view, column)
    n = len(units)
    assert n == PIXELS[J]
    image = Space(("z", "y", "x"), (1, 1, n), torch.float64)

    def views(a: int, b: int) -> LinearOperator:
        M = rows[:, a:b].reshape(n, -1)
        data = Space(("view", "row", "column"), (b - a, 1, COLUMNS[J]), torch.float64)
        return FunctionOperator(
            image,
            data,
            lambda x: (x.flatten(-3) @ M).reshape(*x.shape[:-3], *data.shape),
            lambda y: (y.flatten(-3) @ M.T).reshape(*y.shape[:-3], *image.shape),
        )

    return ViewSeries(views, range(P + 1), "view")


def drawn(P: int, K: int, d: int = 5, seed: int = 0, n: int = 208) -> Factors:
    U = hermite_matrix(torch.linspace(0, 1, P, dtype=torch.float64), d)
    return Factors(normal(K, 1, 1, n, seed=seed), normal(d, K, seed=seed + 100), U).orthonormal()


def error(found: Tensor, truth: Tensor) -> float:
    return float(norm(found - truth) / norm(truth))


def test_interpolation_is_exact_where_it_must_be() -> None:
    times = torch.linspace(2, 7, 41, dtype=torch.float64)
    U = hermite_matrix(times, 9)
    torch.testing.assert_close(U.sum(1), torch.ones(41, dtype=torch.float64), atol=1e-14, rtol=0)
    torch.testing.assert_close(U[::5], torch.eye(9, dtype=torch.float64), atol=1e-14, rtol=0)
    knots = torch.linspace(2, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(U @ (3 * knots - 1), 3 * times - 1, atol=1e-13, rtol=0)
    # Half way between the inner knots 1 and 2 of four: values by 1/2, tangents (0.5, -0.5)/8 of their neighbours.
    middle = hermite_matrix([1.5], 4, span=(0.0, 3.0))
    torch.testing.assert_close(middle[0], torch.tensor([-1, 9, 9, -1], dtype=torch.float64) / 16)
    with pytest.raises(ValueError, match="two knots"):
        hermite_matrix([1.0, 1.0], 4)


@pytest.mark.parametrize(("P", "K", "recovers"), [(64, 3, True), (32, 3, False)])
def test_how_many_basis_images_one_view_per_instant_determines(P: int, K: int, recovers: bool) -> None:
    A, truth = disc_views(P), drawn(P, K)
    y = A(truth.frames())
    start = replace(truth, basis=torch.zeros_like(truth.basis))
    found = basis_step(A, y, start, steps=3000, rtol=1e-14)
    if recovers:
        assert error(found.basis, truth.basis) < 1e-10
    else:  # 736 data for 624 unknowns, of which they determine 487: the data are met, the truth is not
        assert misfit(A, y, found) < 1e-3
        assert error(found.basis, truth.basis) > 0.3


def test_both_factors_are_found_from_a_random_start() -> None:
    A, truth = disc_views(32, 8), drawn(32, 2, n=52)
    series = truth.frames()
    y = A(series)
    factors = drawn(32, 2, seed=7, n=52)
    errors = []
    for _ in range(60):
        factors = basis_step(A, y, factors, steps=100, rtol=1e-13)
        factors = latent_step(A, y, factors).orthonormal()
        errors.append(error(factors.frames(), series))
    assert errors[-1] < 1e-8 < errors[5]


def smoother(n: int) -> Tensor:
    """(I + Laplacian)^-1 of a chain of values: a linear, symmetric denoiser."""
    D = torch.diff(torch.eye(n, dtype=torch.float64), dim=0)
    return torch.linalg.inv(torch.eye(n, dtype=torch.float64) + D.T @ D)


def red(W: Tensor, weight: float, splitting: Splitting, exact: bool = False) -> Prox:
    def prox(raised: Tensor, f: Tensor, gamma: Tensor) -> Tensor:
        beta = splitting.beta
        if exact:
            eye = torch.eye(len(W), dtype=W.dtype)
            return torch.linalg.solve(weight * (eye - W) + beta * eye, beta * raised.mT.squeeze(1)).mT[:, None, :]
        return (weight * (f @ W.T) + beta * raised) / (weight + beta)

    return prox


@pytest.mark.parametrize(("beta", "exact"), [(0.5, False), (0.5, True), (0.3, False)])
def test_a_linear_denoiser_has_a_closed_form(beta: float, exact: bool) -> None:
    A, weight, xi, n = disc_views(32, 8), 0.5, 1e-3, 52
    truth, W = drawn(32, 2, n=n), smoother(n)
    y = A(truth.frames())
    units = torch.eye(2 * n, dtype=torch.float64).reshape(2 * n, 2, 1, 1, n)
    dense = subspace(A, truth.psi)(units).reshape(2 * n, -1).T
    prior = torch.kron(torch.eye(2, dtype=torch.float64), torch.eye(n, dtype=torch.float64) - W)
    matrix = 2 * dense.T @ dense + weight * prior + 2 * xi * torch.eye(2 * n, dtype=torch.float64)
    wanted = torch.linalg.solve(matrix, 2 * dense.T @ y.flatten()).reshape(truth.basis.shape)

    splitting = Splitting(A, y, truth, beta=beta, xi=xi)
    splitting.f = torch.zeros_like(splitting.f)

    def basis_alone() -> None:
        target = splitting.along_time(splitting.factors.psi)
        splitting.factors = basis_step(
            A, y, splitting.factors, beta=splitting.beta, target=target, xi=xi, steps=300, rtol=1e-13
        )

    for _ in range(200):
        splitting.sweep(red(W, weight, splitting, exact), basis_alone)
    assert error(splitting.factors.basis, wanted) < 1e-8
    assert error(splitting.f, replace(truth, basis=wanted).frames()) < 1e-8


def test_a_denoiser_without_weight_leaves_least_squares_alone() -> None:
    A, factors = disc_views(32, 8), drawn(32, 2, n=52)
    y = A(factors.frames()) + 0.01 * normal(32, 1, 12, seed=3)
    for _ in range(100):
        factors = latent_step(A, y, basis_step(A, y, factors, steps=150, rtol=1e-13)).orthonormal()
    splitting = Splitting(A, y, factors, beta=0.3, cg_steps=200)
    for _ in range(3):
        splitting.sweep(lambda raised, f, gamma: raised)
    assert splitting.residuals["primal"] == 0
    assert error(splitting.factors.frames(), factors.frames()) < 1e-6


def test_an_object_at_rest_is_ordinary_tomography() -> None:
    A = disc_views(64)
    image = normal(1, 1, 208, seed=4)
    y = A(image.expand(64, 1, 1, 208).contiguous())
    U = hermite_matrix(torch.linspace(0, 1, 64, dtype=torch.float64), 2)
    start = Factors(torch.zeros(1, 1, 1, 208, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64), U)
    found = basis_step(A, y, start, steps=1000, rtol=1e-14)
    assert error(found.basis[0], image) < 1e-10


def test_the_gauge_changes_nothing() -> None:
    A, factors = disc_views(32), drawn(32, 3)
    turned = replace(factors, basis=torch.tensordot(normal(3, 3, seed=5), factors.basis, dims=([1], [0])))
    again = turned.orthonormal()
    torch.testing.assert_close(again.frames(), turned.frames(), rtol=0, atol=1e-12)
    torch.testing.assert_close(again.psi.T @ again.psi, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)
    S = normal(3, 3, seed=6)
    other = Factors(
        torch.tensordot(torch.linalg.inv(S), factors.basis, dims=([1], [0])), factors.latent @ S, factors.interpolator
    )
    y = A(factors.frames()) + 0.1
    assert misfit(A, y, other) == pytest.approx(misfit(A, y, factors), rel=1e-12)
    assert factors.change_from(other) < 1e-12
    dependent = replace(factors, latent=factors.latent[:, [0, 1, 1]])
    torch.testing.assert_close(dependent.orthonormal().frames(), dependent.frames(), rtol=0, atol=1e-9)


def test_any_instant_can_be_asked_for() -> None:
    factors = drawn(64, 3)
    finer = factors.at(hermite_matrix(torch.linspace(0, 1, 127, dtype=torch.float64), 5))
    torch.testing.assert_close(finer[::2], factors.frames())


@pytest.mark.parametrize("name", ["basis", "latent"])
@pytest.mark.parametrize("complex_latent", [False, True])
def test_gradients_by_finite_differences(name: str, complex_latent: bool) -> None:
    """Complex frames: the derivative along any direction is the real inner product with the gradient."""
    A = CartesianSeries(normal(2, 1, 4, 5, seed=0, dtype=torch.complex128), normal(6, 1, 1, 5, seed=1) > 0)
    kind = torch.complex128 if complex_latent else torch.float64
    U = hermite_matrix(torch.linspace(0, 1, 6, dtype=torch.float64), 4)
    factors = Factors(normal(2, 1, 4, 5, seed=2, dtype=torch.complex128), normal(4, 2, seed=3, dtype=kind), U)
    splitting = Splitting(A, A.range.random(torch.Generator().manual_seed(4)), factors, beta=0.7, xi=0.2, chi=0.3)
    splitting.f = normal(*splitting.f.shape, seed=5, dtype=torch.complex128)
    splitting.gamma = normal(*splitting.f.shape, seed=6, dtype=torch.complex128)

    def objective(at: Factors) -> float:
        F = at.frames()
        coupling = 0.35 * float(norm(F - splitting.f + splitting.gamma)) ** 2
        size = 0.2 * float(norm(at.basis)) ** 2 + 0.3 * float(norm(at.psi)) ** 2
        return float(norm(A(F) - splitting.y)) ** 2 + coupling + size

    value = getattr(factors, name)
    direction = normal(*value.shape, seed=7, dtype=value.dtype)
    h = 1e-5
    ahead, behind = (objective(replace(factors, **{name: value + s * h * direction})) for s in (1, -1))
    slope = (splitting.gradients(factors)[name].conj() * direction).sum().real
    assert (ahead - behind) / (2 * h) == pytest.approx(float(slope), rel=1e-7)


def test_exact_solves_leave_no_gradient() -> None:
    A, truth = disc_views(64), drawn(64, 2)
    y = A(truth.frames()) + 0.1 * normal(64, 1, 23, seed=3)
    splitting = Splitting(A, y, truth, beta=0.4, xi=0.01, chi=0.02, cg_steps=500)
    splitting.gamma = 0.1 * normal(*splitting.f.shape, seed=8)
    target = splitting.along_time(truth.psi)
    factors = basis_step(A, y, truth, beta=0.4, target=target, xi=0.01, steps=500, rtol=1e-14)
    assert float(norm(splitting.gradients(factors)["basis"])) < 1e-8 * float(norm(A.H(y)))
    factors = latent_step(A, y, factors, beta=0.4, target=splitting.along_space(factors.basis), chi=0.02)
    assert float(norm(splitting.gradients(factors)["latent"])) < 1e-8 * float(norm(A.H(y)))


def test_red_is_a_gradient_only_of_symmetric_denoisers() -> None:
    """1/2 <f, f - W f> has the gradient f - (W + W^T) f / 2: for an unsymmetric W not the rule f - W f."""
    W, f, v, h = normal(12, 12, seed=0) / 12, normal(12, seed=1), normal(12, seed=2), 1e-6
    for matrix, holds in (((W + W.T) / 2, True), (W, False)):
        value = lambda at, M=matrix: 0.5 * float(at @ (at - M @ at))  # noqa: E731
        slope = (value(f + h * v) - value(f - h * v)) / (2 * h)
        assert (abs(slope - float(v @ (f - matrix @ f))) < 1e-8) is holds


def test_a_phase_of_the_object_turns_the_result() -> None:
    """Real time functions and a denoiser of real and imaginary parts (linear here)."""
    maps, mask = normal(2, 1, 6, 8, seed=0, dtype=torch.complex128), normal(8, 1, 1, 8, seed=1) > -0.3
    A, W = CartesianSeries(maps, mask), 0.8
    U = hermite_matrix(torch.linspace(0, 1, 8, dtype=torch.float64), 4)
    truth = Factors(normal(2, 1, 6, 8, seed=2, dtype=torch.complex128), normal(4, 2, seed=3), U).orthonormal()
    phase = complex(math.cos(0.7), math.sin(0.7))
    results = []
    for factor in (1.0, phase):
        start = replace(truth, basis=0.5 * factor * truth.basis)
        splitting = Splitting(A, factor * A(truth.frames()), start, beta=0.2)
        for _ in range(10):
            splitting.sweep(lambda raised, f, gamma: (0.3 * W * f + 0.2 * raised) / 0.5)
        results.append(splitting.f)
    assert error(results[1], phase * results[0]) < 1e-6


def test_beta_follows_the_residuals() -> None:
    splitting = Splitting(disc_views(32), disc_views(32).range.zeros(), drawn(32, 2), beta=1.0)
    splitting.gamma += 1.0
    for primal, dual, beta in ((1.0, 0.01, 2.0), (0.1, 0.1, 2.0), (0.01, 1.0, 1.0)):
        splitting.residuals = {"primal": primal, "dual": dual}
        splitting.balance()
        assert splitting.beta == beta
        torch.testing.assert_close(splitting.gamma * splitting.beta, torch.ones_like(splitting.gamma))


def test_it_goes_on_bit_by_bit() -> None:
    A, truth = disc_views(32), drawn(32, 2)
    y = A(truth.frames())
    whole = Splitting(A, y, truth, beta=0.3)
    for _ in range(4):
        whole.sweep(red(smoother(208), 0.5, whole))
    first = Splitting(A, y, truth, beta=0.3)
    for _ in range(2):
        first.sweep(red(smoother(208), 0.5, first))
    kept = {name: v.clone() if isinstance(v, Tensor) else v for name, v in first.state.items()}
    second = Splitting(A, y, truth, beta=9.9)
    second.state = kept
    for _ in range(2):
        second.sweep(red(smoother(208), 0.5, second))
    assert torch.equal(second.f, whole.f)
    assert torch.equal(second.factors.basis, whole.factors.basis)
