"""Least squares with total variation against independent minimisers."""

from __future__ import annotations

import math

import pytest
import torch

from operators.blocks import Blocks
from operators.linear import FunctionOperator, Identity
from operators.space import BlockSpace, Space
from recon3d.solvers.total_variation import total_variation, tv_prox
from recon3d.solvers.tv import tv_least_squares

SHAPE = (3, 4, 5)
CASES = [((-3, -2, -1), (2.0, 1.0, 0.7)), ((-2, -1), (1.0, 1.0)), ((-3,), (1.0,))]


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
