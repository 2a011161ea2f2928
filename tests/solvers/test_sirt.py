from __future__ import annotations

import pytest
import torch

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.linear import FunctionOperator
from operators.space import BlockSpace, Space
from recon3d.solvers.sirt import sirt


@pytest.fixture
def matrix(random):
    """Non-negative and sparse, with one empty row and one empty column."""
    values = random(30, 24).clamp(min=0)
    values[4] = 0
    values[:, 7] = 0
    return values


def slow_sirt(matrix, y, x, steps: int, relaxation: float, nonnegative: bool):
    rows, columns = matrix.sum(1), matrix.sum(0)
    for _ in range(steps):
        weighted = [(y[i] - matrix[i] @ x) / rows[i] if rows[i] > 0 else 0.0 * y[i] for i in range(len(y))]
        update = matrix.T @ torch.stack(weighted)
        x = x + relaxation * torch.where(columns > 0, update / columns, torch.zeros_like(x))
        x = x.clamp(min=0) if nonnegative else x
    return x


@pytest.mark.parametrize("nonnegative", [False, True])
def test_against_a_dense_oracle(matrix, nonnegative: bool, random, dense_operator) -> None:
    A, y, start = dense_operator(matrix, (2, 3, 4)), random(1, 30, seed=1), random(2, 3, 4, seed=2)
    kept = start.clone()
    result = sirt(A, y, start, max_steps=7, relaxation=1.3, nonnegative=nonnegative)
    expected = slow_sirt(matrix, y[0], start.reshape(-1), 7, 1.3, nonnegative)
    torch.testing.assert_close(result.x.reshape(-1), expected, rtol=1e-12, atol=1e-12)
    assert (result.steps, result.stopped_by) == (7, "max_steps")
    assert torch.equal(start, kept)


def test_ordered_subsets_against_the_oracle_and_faster_than_whole(matrix, random, dense_operator) -> None:
    x = random(2, 3, 4).abs()
    whole = dense_operator(matrix, (2, 3, 4))
    parts = [dense_operator(matrix[k::3].contiguous(), (2, 3, 4)) for k in range(3)]
    y = whole(x)
    data = [part(x) for part in parts]
    expected = torch.zeros(24, dtype=torch.float64)
    for _ in range(4):
        for k in range(3):
            expected = slow_sirt(matrix[k::3], data[k][0], expected, 1, 1.0, False)
    result = sirt(parts, data, max_steps=4)
    torch.testing.assert_close(result.x.reshape(-1), expected, rtol=1e-12, atol=1e-12)
    assert (whole(result.x) - y).norm() < (whole(sirt(whole, y, max_steps=4).x) - y).norm()


def test_untouched_voxels_keep_their_value(matrix, random, dense_operator) -> None:
    start = torch.full((2, 3, 4), 5.0, dtype=torch.float64)
    result = sirt(dense_operator(matrix, (2, 3, 4)), random(1, 30, seed=1), start, max_steps=3)
    assert float(result.x.reshape(-1)[7]) == 5.0
    assert bool(torch.isfinite(result.x).all())


def test_stops_by_residual_and_callback(matrix, random, dense_operator) -> None:
    A = dense_operator(matrix, (2, 3, 4))
    y = A(random(2, 3, 4).abs())
    assert sirt(A, y, rtol=0.1, max_steps=500).stopped_by == "rtol"
    result = sirt(A, y, callback=lambda step, x, residual: step < 3)
    assert (result.steps, result.stopped_by) == (3, "callback")


def test_blocks_and_mismatched_subsets() -> None:
    space = Space(("z", "y", "x"), (1, 2, 3), torch.float64)
    A = FunctionOperator(space, BlockSpace((space, space)), lambda x: Blocks([x, 3 * x]), lambda y: y[0] + 3 * y[1])
    x = torch.arange(6, dtype=torch.float64).reshape(1, 2, 3)
    torch.testing.assert_close(sirt(A, A(x), max_steps=3).x, x)
    with pytest.raises(ShapeError, match="one data array per operator"):
        sirt([A, A], [A(x)])
