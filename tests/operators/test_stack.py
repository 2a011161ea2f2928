"""Operators over blocks, against the dense matrices of their parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import DeviceError, ShapeError
from operators.linear import Diagonal, FunctionOperator, Identity, LinearOperator
from operators.space import Space
from operators.stack import Frames, Stack

IMAGE = Space(("z", "y", "x"), (1, 2, 3), torch.float64)


def rows(count: int, seed: int) -> tuple[LinearOperator, Tensor]:
    """`count` random measurements of the image, with their matrix."""
    matrix = torch.randn(count, IMAGE.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    operator = FunctionOperator(
        IMAGE,
        Space(("row",), (count,), torch.float64),
        lambda x: x.flatten(-3) @ matrix.T,
        lambda y: (y @ matrix).unflatten(-1, IMAGE.shape),
    )
    return operator, matrix


def test_a_stack_is_the_matrices_one_above_the_other() -> None:
    (a, ma), (b, mb) = rows(4, 0), rows(7, 1)
    A, matrix = Stack([a, b]), torch.cat([ma, mb])
    x = IMAGE.random(torch.Generator().manual_seed(2))
    y = Blocks([torch.arange(4.0, dtype=torch.float64), torch.ones(7, dtype=torch.float64)])
    torch.testing.assert_close(torch.cat(A(x).tensors), matrix @ x.reshape(-1))
    torch.testing.assert_close(A.H(y).reshape(-1), matrix.T @ torch.cat(y.tensors))
    assert A.norm(max_steps=500, rtol=1e-12) == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)), rel=1e-6)


def test_frames_are_a_block_diagonal() -> None:
    (a, ma), (b, mb) = rows(4, 0), rows(7, 1)
    A, matrix = Frames([a, b]), torch.block_diag(ma, mb)
    assert A.domain.axes == ("t", "z", "y", "x")  # type: ignore[union-attr]
    x = A.domain.random(torch.Generator().manual_seed(2))
    y = A.range.random(torch.Generator().manual_seed(3))
    torch.testing.assert_close(torch.cat(A(x).tensors), matrix @ x.reshape(-1))
    torch.testing.assert_close(A.H(y).reshape(-1), matrix.T @ torch.cat(y.tensors))


def test_the_adjoint_does_not_write_into_its_input() -> None:
    A = Stack([Identity(IMAGE), Identity(IMAGE)])
    y = Blocks([torch.ones(IMAGE.shape, dtype=torch.float64), torch.ones(IMAGE.shape, dtype=torch.float64)])
    torch.testing.assert_close(A.H(y), 2 * y[0])
    assert torch.equal(y[0], torch.ones(IMAGE.shape, dtype=torch.float64))


@pytest.mark.parametrize("kind", [Stack, Frames])
def test_faults(kind: type[Stack] | type[Frames]) -> None:
    a, _ = rows(4, 0)
    with pytest.raises(ShapeError, match="at least one"):
        kind([])
    with pytest.raises(ShapeError, match="share one domain"):
        kind([a, Identity(IMAGE.astype(torch.float32))])
    with pytest.raises(ShapeError, match="arrays, not blocks"):
        kind([Stack([a, a]), a])
    with pytest.raises(DeviceError, match="one device"):
        kind([Identity(IMAGE), Identity(IMAGE, device="meta")])
    with pytest.raises(ShapeError, match="expects 2 blocks"):
        kind([a, a]).H(torch.zeros(4, dtype=torch.float64))


def test_precision_is_that_of_all_parts() -> None:
    weights = Diagonal(torch.full((3,), 2.0, dtype=torch.float64), IMAGE)
    narrow = Stack([weights, Identity(IMAGE)]).to(dtype=torch.float32)
    assert {t.dtype for t in narrow(torch.ones(IMAGE.shape))} == {torch.float32}
    assert Frames([weights, weights]).to(dtype=torch.float32).range.dtype == torch.float32
