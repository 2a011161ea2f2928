from __future__ import annotations

import math

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.linear import FunctionOperator, Identity
from operators.space import BlockSpace, Space
from recon3d.solvers import tv
from recon3d.solvers.tv import TVProx, total_variation, tv_least_squares, tv_prox

SHAPE = (3, 4, 5)
CASES = [((-3, -2, -1), (2.0, 1.0, 0.7)), ((-2, -1), (1.0, 1.0)), ((-3,), (1.0,))]


@pytest.fixture(params=["fused", "torch"])
def path(request, monkeypatch) -> str:
    """Run a test on the fused kernels and on the plain torch path that serves accelerators."""
    if request.param == "torch":
        monkeypatch.setattr(tv, "_fused", lambda x: False)
    return request.param


@pytest.mark.parametrize(("axes", "spacing"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_value_and_map_against_dense_matrices(
    axes, spacing, dtype, path: str, random, gradient_matrix, slow_tv_minimum
) -> None:
    x = random(*SHAPE, dtype=dtype)
    gradients = [gradient_matrix(SHAPE, axis, s).to(dtype) for axis, s in zip(axes, spacing, strict=True)]
    lengths = torch.stack([(g @ x.reshape(-1)).abs().square() for g in gradients]).sum(0).sqrt()
    assert float(total_variation(x, axes, spacing)) == pytest.approx(float(lengths.sum()), rel=1e-13)
    expected, _ = slow_tv_minimum(torch.eye(60, dtype=dtype), x.reshape(-1), gradients, 0.3, 2000)
    result = tv_prox(x, 0.3, axes, 500, spacing)
    torch.testing.assert_close(result.reshape(-1), expected, rtol=0, atol=2e-5)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 4),
    axes=st.sampled_from([(-3, -2, -1), (-1, -3), (-2,)]),
    weight=st.floats(0, 3),
    nonnegative=st.booleans(),
)
def test_fused_equals_torch(shape, axes, weight: float, nonnegative: bool) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spacing = (1.5, 0.8, 1.1)[: len(axes)]
    fused = tv_prox(x, weight, axes, 15, spacing, nonnegative)
    length = total_variation(x, axes, spacing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tv, "_fused", lambda x: False)
        torch.testing.assert_close(fused, tv_prox(x, weight, axes, 15, spacing, nonnegative), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(length, total_variation(x, axes, spacing), rtol=1e-13, atol=1e-13)


def test_two_slices_approach_by_the_weight_until_they_meet(path: str) -> None:
    x = torch.tensor([5.0, 1.0], dtype=torch.float64)[:, None, None].expand(2, 3, 3).clone()
    kept = x.clone()
    near = tv_prox(x, 1.5, (-3,), 200)
    torch.testing.assert_close(near[:, 0, 0], torch.tensor([3.5, 2.5], dtype=torch.float64))
    torch.testing.assert_close(tv_prox(x, 2.5, (-3,), 200), torch.full_like(x, 3.0))
    assert torch.equal(tv_prox(x, 0.0, (-3,), 5), x)
    assert torch.equal(x, kept)


def test_a_bar_loses_height_by_weight_times_edges_over_length(path: str) -> None:
    x = torch.zeros(1, 1, 12, dtype=torch.float64)
    x[..., 4:8] = 10.0
    result = tv_prox(x, 2.0, (-1,), 3000)[0, 0]
    torch.testing.assert_close(result[4:8], torch.full((4,), 9.0, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(result[:4], torch.full((4,), 0.5, dtype=torch.float64), rtol=0, atol=1e-6)


def test_non_negativity_holds_in_the_minimum(path: str, random, gradient_matrix) -> None:
    """The minimum u >= 0 of the prox problem: no feasible direction towards random feasible points goes down."""
    x, axes = random(*SHAPE), (-3, -2, -1)

    def objective(u: torch.Tensor) -> float:
        return float(0.5 * (u - x).square().sum() + 0.2 * total_variation(u, axes))

    u = tv_prox(x, 0.2, axes, 500, nonnegative=True)
    assert float(u.min()) == 0.0
    rivals = [random(*SHAPE, seed=k).clamp(min=0) for k in range(20)] + [tv_prox(x, 0.2, axes, 500).clamp(min=0)]
    assert all(objective(u) <= objective(u + t * (rival - u)) + 1e-7 for rival in rivals for t in (1e-3, 0.1, 1.0))
    assert torch.equal(tv_prox(x, 0.0, axes, 5, nonnegative=True), x.clamp(min=0))


def test_a_phase_turns_through(path: str, random) -> None:
    x = random(*SHAPE, dtype=torch.complex128)
    turn = torch.exp(torch.tensor(1.1j, dtype=torch.complex128))
    torch.testing.assert_close(tv_prox(turn * x, 0.3, iterations=30), turn * tv_prox(x, 0.3, iterations=30))
    torch.testing.assert_close(tv_prox(x.real * turn, 0.3, iterations=30), turn * tv_prox(x.real, 0.3, iterations=30))


def test_a_warm_start_goes_on_and_threads_change_no_bit(random) -> None:
    x = random(*SHAPE)
    exact = tv_prox(x, 0.3, iterations=3000)
    prox = TVProx()
    errors = [float((prox(x, 0.3, 20) - exact).norm()) for _ in range(6)]
    assert errors[5] < 0.05 * errors[0]
    alone = tv_prox(x, 0.3, iterations=20), total_variation(x)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert torch.equal(alone[0], tv_prox(x, 0.3, iterations=20))
    assert torch.equal(alone[1], total_variation(x))
    stack = torch.stack([x, x.flip(0)])
    assert torch.equal(tv_prox(stack, 0.3, iterations=20)[0], alone[0])


def test_bad_settings_are_named() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ShapeError, match="each once"):
        tv_prox(x, 1.0, (0,))
    with pytest.raises(ShapeError, match="one spacing above 0"):
        tv_prox(x, 1.0, (-1,), spacing=(1.0, 2.0))
    with pytest.raises(ShapeError, match="as many axes"):
        tv_prox(x[0], 1.0, (-3,))
    with pytest.raises(ShapeError, match="real"):
        tv_prox(x + 0j, 1.0, nonnegative=True)


@pytest.mark.parametrize(("axes", "spacing"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_least_squares_reaches_an_independent_minimum(
    axes, spacing, dtype, random, dense_operator, gradient_matrix, slow_tv_minimum
) -> None:
    matrix, y = random(120, 60, dtype=dtype, seed=3), random(1, 120, dtype=dtype, seed=4)
    A = dense_operator(matrix, SHAPE)
    gradients = [gradient_matrix(SHAPE, axis, s) for axis, s in zip(axes, spacing, strict=True)]
    expected, objective = slow_tv_minimum(matrix, y[0], gradients, 2.0, 2000)
    result = tv_least_squares(A, y, 2.0, axes=axes, spacing=spacing, max_steps=200, rtol=1e-6)
    assert result.stopped_by == "rtol"
    assert result.objectives[-1] == pytest.approx(objective, rel=1e-6)
    assert float((result.x.reshape(-1) - expected).norm() / expected.norm()) < 1e-3


def test_few_views_with_non_negativity_beat_rivals(random, dense_operator) -> None:
    """An underdetermined system: the objective is at least as low as at the truth and at other feasible images."""
    truth = torch.zeros(1, 8, 8, dtype=torch.float64)
    truth[0, 2:6, 3:7] = 1.0
    A = dense_operator(random(40, 64), (1, 8, 8))
    y = A(truth)
    result = tv_least_squares(A, y, 0.1, axes=(-2, -1), nonnegative=True, max_steps=500, rtol=1e-6)
    assert float(result.x.min()) >= 0
    assert result.objectives[-1] <= 0.1 * float(total_variation(truth, (-2, -1)))
    assert float((result.x - truth).norm() / truth.norm()) < 0.02


def test_scale_and_start(random, dense_operator) -> None:
    A = dense_operator(random(70, 60), SHAPE)
    y, start = random(1, 70, seed=1), random(*SHAPE, seed=2)
    kept = start.clone()
    settings = {"max_steps": 300, "rtol": 1e-7}
    base = tv_least_squares(A, y, 1.0, **settings)
    again = tv_least_squares(A, y, 1.0, start, **settings)
    loud = tv_least_squares(A, 1000 * y, 1000.0, **settings)
    torch.testing.assert_close(again.x, base.x, rtol=0, atol=1e-5)
    torch.testing.assert_close(loud.x / 1000, base.x, rtol=0, atol=1e-5)
    assert torch.equal(start, kept)


def test_a_step_size_that_was_too_long_is_mended(random, dense_operator, monkeypatch) -> None:
    A, y = dense_operator(random(70, 60), SHAPE), random(1, 70, seed=1)
    expected = tv_least_squares(A, y, 1.0, max_steps=300, rtol=1e-6)
    monkeypatch.setattr(type(A), "norm", lambda self, **_: 1.0)
    assert tv_least_squares(A, y, 1.0, max_steps=300, rtol=1e-6).objectives[-1] == pytest.approx(
        expected.objectives[-1], rel=1e-6
    )


def test_identity_zero_weight_blocks_and_callback(random) -> None:
    space = Space(("z", "y", "x"), SHAPE, torch.float64)
    x = random(*SHAPE)
    identity = tv_least_squares(Identity(space), x, 0.3, rtol=1e-9, prox_iterations=50)
    torch.testing.assert_close(identity.x, tv_prox(x, 0.3, iterations=3000), rtol=0, atol=1e-4)
    torch.testing.assert_close(tv_least_squares(Identity(space), x, 0.0).x, x)
    twice = FunctionOperator(space, BlockSpace((space, space)), lambda u: Blocks([u, u]), lambda y: y[0] + y[1])
    torch.testing.assert_close(tv_least_squares(twice, Blocks([x, x]), 0.6).x, identity.x, rtol=0, atol=1e-3)
    stopped = tv_least_squares(twice, Blocks([x, x]), 0.6, callback=lambda step, x, residual: step < 2)
    assert (stopped.steps, stopped.stopped_by, len(stopped.objectives)) == (2, "callback", 2)
    assert math.isfinite(stopped.relative_residual)
    assert tv_least_squares(twice, Blocks([0 * x, 0 * x]), 0.6).steps == 1


def test_two_slices_approach_by_hubers_slope(path: str) -> None:
    """min (a - 5)^2 / 2 + (b - 1)^2 / 2 + w h(a - b): linear beyond the threshold, quadratic below it."""
    x = torch.tensor([5.0, 1.0], dtype=torch.float64)[:, None, None].expand(2, 3, 3).clone()
    beyond = tv_prox(x, 1.0, (-3,), 400, huber=0.5)[:, 0, 0]
    torch.testing.assert_close(beyond, torch.tensor([4.0, 2.0], dtype=torch.float64))
    below = tv_prox(x, 1.0, (-3,), 400, huber=10.0)[:, 0, 0]
    gap = 4.0 / (1 + 2 * 1.0 / 10.0)  # from a - b = 4 - 2 w (a - b) / h
    torch.testing.assert_close(below, 3.0 + 0.5 * gap * torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert float(total_variation(x, (-3,), huber=0.5)) == pytest.approx(9 * (4 - 0.25))
    assert float(total_variation(x, (-3,), huber=10.0)) == pytest.approx(9 * 16 / 20)
    assert float(total_variation(0 * x, (-3,))) == 0.0


def test_hubers_minimum_has_no_gradient(path: str, random) -> None:
    """Where the penalty is smooth the minimum is where its derivative vanishes, found by automatic differentiation."""
    x, h, weight = random(*SHAPE), 0.4, 0.7
    u = tv_prox(x, weight, iterations=3000, huber=h).requires_grad_()
    squared = torch.zeros(SHAPE, dtype=torch.float64)
    for axis in (-3, -2, -1):
        n = SHAPE[axis]
        d = torch.zeros(SHAPE, dtype=torch.float64)
        d = d.index_add(axis % 3, torch.arange(n - 1), u.narrow(axis, 1, n - 1) - u.narrow(axis, 0, n - 1))
        squared = squared + d * d
    length = (squared + 1e-30).sqrt()
    penalty = torch.where(length <= h, squared / (2 * h), length - h / 2).sum()
    (0.5 * (u - x).square().sum() + weight * penalty).backward()
    assert float(u.grad.abs().max()) < 1e-6
    with pytest.raises(ShapeError, match="at least 0, got -1"):
        tv_prox(x, 1.0, huber=-1.0)
