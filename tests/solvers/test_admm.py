from __future__ import annotations

import pytest
import torch

from operators.errors import ShapeError
from operators.linear import FunctionOperator, Identity
from operators.space import Space
from recon3d.solvers.admm import SliceTV

SHAPE = (4, 2, 3)


def identity(shape: tuple[int, int, int], dtype: torch.dtype = torch.float64) -> Identity:
    return Identity(Space(("z", "y", "x"), shape, dtype))


def sweep(solver: SliceTV, x: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        x = solver(x)
    return x


@pytest.mark.parametrize(("boundary", "shift"), [("neumann", 0.5), ("circular", 1.0)])
@pytest.mark.parametrize("z_init", ["Dx", "zeros"])
def test_two_slices_approach_until_they_meet(boundary, shift: float, z_init) -> None:
    y = torch.tensor([5.0, 1.0], dtype=torch.float64)[:, None, None].expand(2, 3, 3).clone()
    make = {"rho": 1.0, "cg_steps": 10, "cg_rtol": 1e-12, "boundary": boundary, "z_init": z_init}
    apart = sweep(SliceTV(identity((2, 3, 3)), y, weight=0.5, **make), y, 60)
    expected = torch.tensor([5.0 - shift, 1.0 + shift], dtype=torch.float64)
    torch.testing.assert_close(apart[:, 0, 0], expected, rtol=0, atol=1e-5)
    together = sweep(SliceTV(identity((2, 3, 3)), y, weight=3.0, **make), y, 60)
    torch.testing.assert_close(together, torch.full_like(y, 3.0), rtol=0, atol=1e-5)


def test_a_heavy_weight_leaves_one_slice_that_fits_all_data(random) -> None:
    matrix, y = random(5, 4), random(3, 5)
    A = FunctionOperator(
        Space(("z", "x"), (3, 4), matrix.dtype),
        Space(("z", "value"), (3, 5), matrix.dtype),
        lambda x: x @ matrix.mT,
        lambda data: data @ matrix,
    )
    step = SliceTV(A, y, weight=1e9, rho=1.0, cg_steps=12, cg_rtol=1e-12)
    x = torch.zeros(3, 4, dtype=matrix.dtype)
    for _ in range(400):
        x = step(x)
    expected = torch.linalg.lstsq(matrix, y.mean(0)[:, None]).solution[:, 0]
    torch.testing.assert_close(x, expected.expand(3, 4), rtol=1e-6, atol=1e-6)


def test_first_sweep_is_the_fourier_solution(random) -> None:
    """A = I, weight 0, z = u = 0, circular: x_k = y_k / (1 + rho 4 sin^2(pi k / N))."""
    y, rho = random(5, 2, 3), 0.7
    solver = SliceTV(
        identity((5, 2, 3)), y, weight=0.0, rho=rho, cg_steps=20, cg_rtol=1e-14, boundary="circular", z_init="zeros"
    )
    k = torch.arange(5, dtype=torch.float64)[:, None, None]
    expected = torch.fft.ifft(torch.fft.fft(y, dim=0) / (1 + rho * 4 * torch.sin(torch.pi * k / 5) ** 2), dim=0).real
    torch.testing.assert_close(solver(torch.zeros_like(y)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_long_run_equals_an_independent_solver(dtype, random, dense_operator, gradient_matrix, slow_tv_minimum) -> None:
    matrix, y = random(60, 24, dtype=dtype), random(1, 60, dtype=dtype, seed=1)
    expected, _ = slow_tv_minimum(matrix, y[0], [gradient_matrix(SHAPE, -3)], 1.5, 2000)
    solver = SliceTV(dense_operator(matrix, SHAPE), y, weight=1.5, rho=10.0, cg_steps=30, cg_rtol=1e-9)
    result = sweep(solver, torch.zeros(SHAPE, dtype=dtype), 100)
    torch.testing.assert_close(result.reshape(-1), expected, rtol=0, atol=1e-6)


def test_one_sweep_is_the_published_formula(random, dense_operator, gradient_matrix) -> None:
    """Exact inner solve from dense matrices, with z and u carried over two sweeps."""
    matrix, y, xhat = random(30, 24), random(1, 30, seed=1), random(*SHAPE, seed=2)
    d, rho, weight = gradient_matrix(SHAPE, -3), 0.8, 0.3
    solver = SliceTV(dense_operator(matrix, SHAPE), y, weight=weight, rho=rho, cg_steps=60, cg_rtol=1e-13)
    z, u = d @ xhat.reshape(-1), torch.zeros(24, dtype=torch.float64)
    for _ in range(2):
        x = torch.linalg.solve(matrix.T @ matrix + rho * d.T @ d, matrix.T @ y[0] + rho * d.T @ (z - u))
        raised = d @ x + u
        z = torch.sign(raised) * (raised.abs() - weight / rho).clamp(min=0)
        u = raised - z
        result = solver(xhat)
        torch.testing.assert_close(result.reshape(-1), x, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(solver.state["z"].reshape(-1), z, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(solver.state["u"].reshape(-1), u, rtol=1e-9, atol=1e-10)


def test_an_oracle_image_stays_with_zero_weight_and_costs_what_it_says(random, dense_operator) -> None:
    A, x = dense_operator(random(10, 24), SHAPE), random(*SHAPE, seed=1)
    solver = SliceTV(A, A(x), weight=0.0, rho=1.0)
    for _ in range(3):
        torch.testing.assert_close(solver(x), x, rtol=1e-12, atol=1e-12)
        assert solver.residual < 1e-15
    pulled = SliceTV(A, A(x), weight=0.0, rho=1.0, z_init="zeros")(x)
    assert float((pulled - x).norm() / x.norm()) > 0.01
    calls: list[str] = []
    counted = SliceTV(A, A(x), weight=0.1, rho=1.0, cg_steps=5, adjoint=lambda y: calls.append("adjoint") or A.H(y))
    counted(random(*SHAPE, seed=2))
    assert len(calls) == 1 + 5  # the misfit and each inner step


def test_resume_is_exact_and_phase_turns_through(random, dense_operator) -> None:
    dtype = torch.complex128
    A, y = dense_operator(random(30, 24, dtype=dtype), SHAPE), random(1, 30, dtype=dtype, seed=1)
    settings = {"weight": 0.5, "rho": 2.0}
    straight, turned = SliceTV(A, y, **settings), SliceTV(A, 1j * y, **settings)
    x = straight(torch.zeros(SHAPE, dtype=dtype))
    saved = {name: t.clone() for name, t in straight.state.items()}
    kept = x.clone()
    full = straight(x)
    resumed = SliceTV(A, y, **settings)
    resumed.state = saved
    assert torch.equal(resumed(x), full)
    assert torch.equal(x, kept)
    torch.testing.assert_close(sweep(turned, torch.zeros(SHAPE, dtype=dtype), 2), 1j * full)


def test_neumann_flips_and_circular_shifts_with_the_slices(random) -> None:
    y = random(5, 2, 3)

    def run(data: torch.Tensor, boundary) -> torch.Tensor:
        return sweep(SliceTV(identity((5, 2, 3)), data, weight=0.2, rho=1.0, boundary=boundary), data, 3)

    torch.testing.assert_close(run(y.flip(0), "neumann"), run(y, "neumann").flip(0))
    torch.testing.assert_close(run(y.roll(2, 0), "circular"), run(y, "circular").roll(2, 0))


def test_bad_settings_are_named() -> None:
    with pytest.raises(ShapeError, match="rho > 0"):
        SliceTV(identity((2, 2, 2)), torch.zeros(2, 2, 2, dtype=torch.float64), weight=0.1, rho=0.0)
