from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.linear import FunctionOperator
from operators.space import BlockSpace, Space
from recon3d.solvers import cg
from recon3d.solvers.cg import cgls, conjugate_gradient


@pytest.fixture(params=["fused", "torch"])
def path(request, monkeypatch) -> str:
    """Run a test on the fused kernels and on the plain torch path that serves accelerators."""
    if request.param == "torch":
        monkeypatch.setattr(cg, "_fused", lambda x: False)
    return request.param


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_random_hermitian_system(dtype: torch.dtype, path: str, random, positive_definite) -> None:
    matrix, x = positive_definite(50, dtype), random(50, dtype=dtype)
    result = conjugate_gradient(lambda p: matrix @ p, matrix @ x, max_steps=50, rtol=1e-11)
    assert float((result.x - x).norm() / x.norm()) < 1e-10
    assert result.stopped_by == "rtol"
    assert float(result.relative_residual) <= 1e-11


def test_the_error_falls_in_the_energy_norm(random, positive_definite) -> None:
    matrix, x = positive_definite(12, torch.complex128), random(12, dtype=torch.complex128)
    energies: list[float] = []

    def watch(step: int, iterate: Tensor, residual: Tensor) -> None:
        error = iterate - x
        energies.append(float(torch.vdot(error, matrix @ error).real))

    result = conjugate_gradient(lambda p: matrix @ p, matrix @ x, max_steps=12, rtol=1e-6, callback=watch)
    assert len(energies) == result.steps
    assert all(later < earlier for earlier, later in pairwise(energies))


def test_two_eigenvalues_take_two_steps(path: str, random) -> None:
    mask = (torch.arange(60) % 3 == 0).double().reshape(3, 4, 5)
    x = random(3, 4, 5)
    result = conjugate_gradient(lambda p: p + 0.95 * mask * p, x + 0.95 * mask * x, rtol=1e-12)
    assert result.steps == 2
    torch.testing.assert_close(result.x, x, rtol=1e-13, atol=1e-13)


def test_one_step_is_steepest_descent(random, positive_definite) -> None:
    matrix, b, x = positive_definite(9), random(9), random(9, seed=1)
    r = b - matrix @ x
    expected = x + (r @ r) / (r @ matrix @ r) * r
    result = conjugate_gradient(lambda p: matrix @ p, b, x, max_steps=1)
    torch.testing.assert_close(result.x, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("rtol", [1e-6, 0.0])
def test_start_at_the_solution(rtol: float, path: str, random) -> None:
    x = random(3, 4)
    result = conjugate_gradient(lambda p: 2 * p, 2 * x, x, rtol=rtol)
    assert (result.steps, result.stopped_by, float(result.relative_residual)) == (0, "rtol", 0.0)
    assert torch.equal(result.x, x)
    nothing = conjugate_gradient(lambda p: 2 * p, torch.zeros(3), rtol=rtol)
    assert nothing.steps == 0
    assert torch.equal(nothing.x, torch.zeros(3))


def test_running_past_convergence_stays_finite(path: str, random, positive_definite) -> None:
    matrix = positive_definite(20, torch.float32)
    result = conjugate_gradient(lambda p: matrix @ p, random(20, dtype=torch.float32), max_steps=500, rtol=0.0)
    assert bool(torch.isfinite(result.x).all())


def test_a_given_residual_saves_one_application(random, positive_definite) -> None:
    matrix, b, x = positive_definite(9), random(9), random(9, seed=1)
    calls: list[int] = []

    def K(p: Tensor) -> Tensor:
        calls.append(1)
        return matrix @ p

    plain = conjugate_gradient(K, b, x, max_steps=3)
    assert len(calls) == 4
    given = conjugate_gradient(K, b, x, max_steps=3, residual=b - matrix @ x)
    assert len(calls) == 7
    assert torch.equal(plain.x, given.x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_a_batch_is_its_problems_one_by_one(dtype: torch.dtype, path: str, random) -> None:
    weights = 1 + random(4, 3, 5, 7, dtype=torch.float32).abs()
    weights[1] = 1.0  # converges in one step and rests while the others go on
    b = random(4, 3, 5, 7, dtype=dtype)
    b[2] = 0
    together = conjugate_gradient(lambda p: weights * p, b, max_steps=12, rtol=1e-5, batch_ndim=1)
    assert together.relative_residual.shape == (4,)
    for k in range(4):
        alone = conjugate_gradient(lambda p, k=k: weights[k] * p, b[k], max_steps=12, rtol=1e-5)
        assert torch.equal(together.x[k], alone.x)
        assert torch.equal(together.relative_residual[k], alone.relative_residual)


def test_breakdown_is_told_and_leaves_a_finite_image(path: str, random) -> None:
    signs = torch.tensor([1.0, -4.0, 1.0], dtype=torch.float64)
    b = torch.ones(3, dtype=torch.float64)
    result = conjugate_gradient(lambda p: signs * p, b)
    assert result.stopped_by == "breakdown"
    assert torch.equal(result.x, torch.zeros(3, dtype=torch.float64))
    batch = torch.stack([signs, torch.ones(3, dtype=torch.float64)])
    both = conjugate_gradient(lambda p: batch * p, torch.stack([b, b]), batch_ndim=1)
    assert both.stopped_by == "breakdown"
    torch.testing.assert_close(both.x[1], b)
    broken = conjugate_gradient(lambda p: p * float("nan"), b)
    assert (broken.stopped_by, bool(torch.isfinite(broken.x).all())) == ("breakdown", True)


def test_inputs_stay_as_they_are_and_the_callback_can_stop(random, positive_definite) -> None:
    matrix, b, x = positive_definite(9), random(9), random(9, seed=1)
    kept = b.clone(), x.clone()
    result = conjugate_gradient(lambda p: matrix @ p, b, x, callback=lambda step, x, residual: step < 3)
    assert (result.steps, result.stopped_by) == (3, "callback")
    assert torch.equal(b, kept[0])
    assert torch.equal(x, kept[1])
    aliased = conjugate_gradient(lambda p: p, b, x)  # K returns its argument
    torch.testing.assert_close(aliased.x, b, rtol=1e-14, atol=1e-14)
    with pytest.raises(ShapeError, match="start needs the shape"):
        conjugate_gradient(lambda p: p, b, x[:3])


def test_strided_inputs_give_the_same_bits(random) -> None:
    b = random(4, 5, 6)
    strided = b.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    weights = 1 + random(4, 5, 6, seed=1).abs()
    first = conjugate_gradient(lambda p: weights * p, b, max_steps=4)
    assert torch.equal(first.x, conjugate_gradient(lambda p: weights * p, strided, strided * 0, max_steps=4).x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_cgls_against_the_normal_equations(dtype: torch.dtype, damping: float, random, dense_operator) -> None:
    matrix, y = random(40, 24, dtype=dtype), random(1, 40, dtype=dtype, seed=1)
    A = dense_operator(matrix, (2, 3, 4))
    system = matrix.mH @ matrix + damping * torch.eye(24, dtype=dtype)
    expected = torch.linalg.solve(system, matrix.mH @ y[0]).reshape(2, 3, 4)
    for start in (None, random(2, 3, 4, dtype=dtype, seed=2)):
        result = cgls(A, y, start, rtol=1e-12, damping=damping)
        assert result.stopped_by == "rtol"
        torch.testing.assert_close(result.x, expected, rtol=1e-9, atol=1e-9)
    again = cgls(A, y, expected, rtol=1e-9, damping=damping)
    assert again.steps == 0


def test_cgls_stops_by_discrepancy_breakdown_and_callback(random, dense_operator) -> None:
    A = dense_operator(random(40, 24), (2, 3, 4))
    y = A(random(2, 3, 4, seed=1)) + 0.1 * random(1, 40, seed=2)
    result = cgls(A, y, data_rtol=0.3)
    assert result.stopped_by == "discrepancy"
    assert float((A(result.x) - y).norm()) <= 0.3 * float(y.norm())
    assert cgls(A, y, max_steps=2).stopped_by == "max_steps"
    seen: list[float] = []
    stopped = cgls(A, y, callback=lambda step, x, residual: seen.append(float(residual)) or step < 2)
    assert stopped.stopped_by == "callback"
    assert seen[-1] == pytest.approx(float((A(stopped.x) - y).norm() / y.norm()), rel=1e-10)
    assert cgls(A, 0 * y).steps == 0
    broken = dense_operator(torch.full((3, 24), float("nan"), dtype=torch.float64), (2, 3, 4))
    assert cgls(broken, y[:, :3]).stopped_by == "breakdown"


def test_cgls_takes_blocks(random) -> None:
    space = Space(("z", "y", "x"), (1, 2, 3), torch.float64)
    short = Space(("x",), (3,), torch.float64)
    A = FunctionOperator(
        space,
        BlockSpace((space, short)),
        lambda x: Blocks([2 * x, x[..., 0, 0, :]]),
        lambda y: 2 * y[0] + torch.nn.functional.pad(y[1][..., None, :], (0, 0, 0, 1)),
    )
    x = random(1, 2, 3)
    result = cgls(A, A(x), rtol=1e-12)
    torch.testing.assert_close(result.x, x, rtol=1e-12, atol=1e-12)
