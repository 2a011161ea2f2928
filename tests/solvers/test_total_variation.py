"""Total variation: values by hand and by dense matrices, the proximal map against slow minimisers."""

from __future__ import annotations

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import ShapeError
from recon3d.solvers import total_variation as module
from recon3d.solvers.total_variation import TVProx, total_variation, tv_prox

SHAPE = (3, 4, 5)
CASES = [((-3, -2, -1), (2.0, 1.0, 0.7)), ((-2, -1), (1.0, 1.0)), ((-3,), (1.0,))]


@pytest.fixture(params=["fused", "torch"])
def path(request, monkeypatch) -> str:
    """Run a test on the fused kernels and on the plain torch path that serves accelerators."""
    if request.param == "torch":
        monkeypatch.setattr(module, "_fused", lambda x: False)
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
        patch.setattr(module, "_fused", lambda x: False)
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
