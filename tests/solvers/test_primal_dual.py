"""PDHG against FISTA and dense matrices: two ways to one minimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from operators.blocks import Blocks
from operators.linear import FunctionOperator, Identity
from operators.space import BlockSpace, Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.solvers import total_variation
from recon3d.solvers.primal_dual import tv_primal_dual
from recon3d.solvers.total_variation import tv_prox
from recon3d.solvers.tv import tv_least_squares

SHAPE = (3, 4, 5)


@pytest.mark.parametrize("huber", [0.0, 0.05])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_few_views_give_the_same_minimum_as_fista(huber: float, nonnegative: bool) -> None:
    A = Projector(
        TomographyGeometry.parallel(np.arange(10) * math.pi / 10, 17, n_rows=2),
        ImageGrid((2, 12, 12), (1.0, 1.0, 1.0)),
        dtype=torch.float64,
    )
    A = (1 / A.norm()) * A  # type: ignore[assignment]
    x = torch.zeros(2, 12, 12, dtype=torch.float64)
    x[:, 3:8, 4:9] = 1.0
    x[1, 5:7, 6:8] = 2.0
    y = A(x) + 0.02 * torch.randn(A.range.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
    choice = {"nonnegative": nonnegative, "huber": huber, "rtol": 1e-9}
    fista = tv_least_squares(A, y, 3e-3, max_steps=600, prox_iterations=30, **choice)  # type: ignore[arg-type]
    pdhg = tv_primal_dual(A, y, 3e-3, max_steps=1000, **choice)  # type: ignore[arg-type]
    assert pdhg.objectives[-1] == pytest.approx(fista.objectives[-1], rel=1e-5)
    assert float((pdhg.x - fista.x).norm() / fista.x.norm()) < 1e-3
    assert not nonnegative or float(pdhg.x.min()) >= 0


def test_an_independent_minimum(random, dense_operator, gradient_matrix, slow_tv_minimum) -> None:
    dtype = torch.complex128
    matrix, y = random(120, 60, dtype=dtype, seed=3), random(1, 120, dtype=dtype, seed=4)
    gradients = [gradient_matrix(SHAPE, axis, s) for axis, s in zip((-3, -2, -1), (2.0, 1.0, 0.7), strict=True)]
    expected, objective = slow_tv_minimum(matrix, y[0], gradients, 2.0, 800)
    found = tv_primal_dual(dense_operator(matrix, SHAPE), y, 2.0, spacing=(2.0, 1.0, 0.7), max_steps=600, rtol=1e-7)
    assert found.objectives[-1] == pytest.approx(objective, rel=1e-6)
    assert float((found.x.reshape(-1) - expected).norm() / expected.norm()) < 1e-3


def test_any_scale_of_the_data_takes_the_same_steps(random, dense_operator) -> None:
    A, y = dense_operator(random(70, 60), SHAPE), random(1, 70, seed=1)
    base = tv_primal_dual(A, y, 1.0, max_steps=400, rtol=1e-6)
    loud = tv_primal_dual(A, 1000 * y, 1000.0, max_steps=400, rtol=1e-6)
    assert loud.steps == base.steps
    torch.testing.assert_close(loud.x / 1000, base.x, rtol=0, atol=1e-9)


def test_identity_zero_weight_blocks_start_and_callback(random, monkeypatch) -> None:
    space = Space(("z", "y", "x"), SHAPE, torch.float64)
    x = random(*SHAPE)
    found = tv_primal_dual(Identity(space), x, 0.3, max_steps=2000, rtol=1e-10)
    torch.testing.assert_close(found.x, tv_prox(x, 0.3, iterations=3000), rtol=0, atol=1e-5)
    torch.testing.assert_close(tv_primal_dual(Identity(space), x, 0.0, max_steps=500, rtol=1e-9).x, x)
    twice = FunctionOperator(space, BlockSpace((space, space)), lambda u: Blocks([u, u]), lambda y: y[0] + y[1])
    both = tv_primal_dual(twice, Blocks([x, x]), 0.6, x, max_steps=2000, rtol=1e-10)
    torch.testing.assert_close(both.x, found.x, rtol=0, atol=1e-5)
    stopped = tv_primal_dual(twice, Blocks([x, x]), 0.6, callback=lambda step, x, residual: step < 2)
    assert (stopped.steps, stopped.stopped_by) == (2, "callback")
    fused = tv_primal_dual(Identity(space), x, 0.3, max_steps=20, huber=0.1)
    monkeypatch.setattr(total_variation, "_fused", lambda x: False)
    torch.testing.assert_close(tv_primal_dual(Identity(space), x, 0.3, max_steps=20, huber=0.1).x, fused.x)
