"""Blocks behave as the one vector that their concatenation is."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.reduce import inner, norm


def blocks(seed: int, dtype: torch.dtype = torch.float64) -> Blocks:
    generator = torch.Generator().manual_seed(seed)
    return Blocks(torch.randn(shape, dtype=dtype, generator=generator) for shape in ((2, 3), (4,), (1, 2, 2)))


def flat(b: Blocks) -> Tensor:
    return torch.cat([t.reshape(-1) for t in b])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.tiny
def test_arithmetic_is_that_of_the_concatenation(dtype: torch.dtype) -> None:
    a, b = blocks(0, dtype), blocks(1, dtype)
    for result, expected in [
        (a + b, flat(a) + flat(b)),
        (a - b, flat(a) - flat(b)),
        (a * b, flat(a) * flat(b)),
        (a / b, flat(a) / flat(b)),
        (-a, -flat(a)),
        (2.5 * a, 2.5 * flat(a)),
        (a * 2.5, 2.5 * flat(a)),
        (a / 2.5, flat(a) / 2.5),
        (1 + a, 1 + flat(a)),
        (1 - a, 1 - flat(a)),
        (torch.tensor(2.5) * a, 2.5 * flat(a)),
        (a.map(torch.conj), flat(a).conj()),
        (a.clone(), flat(a)),
    ]:
        assert isinstance(result, Blocks)
        torch.testing.assert_close(flat(result), expected)
    torch.testing.assert_close(inner(a, b), (flat(a).conj() * flat(b)).sum())
    torch.testing.assert_close(norm(a), torch.linalg.vector_norm(flat(a)))


def test_blocks_are_a_sequence() -> None:
    a = blocks(0)
    assert len(a) == 3
    assert [tuple(t.shape) for t in a] == [(2, 3), (4,), (1, 2, 2)]
    assert a[1] is a.tensors[1]
    assert repr(a) == "Blocks((2, 3), (4,), (1, 2, 2))"
    assert (a.dtype, a.device) == (torch.float64, torch.device("cpu"))
    assert a.to(torch.float32).dtype == torch.float32


def test_results_are_new() -> None:
    a = blocks(0)
    before = flat(a).clone()
    (a.clone()[0]).zero_()
    assert torch.equal(flat(a), before)


def test_faults() -> None:
    with pytest.raises(ShapeError, match="at least one array"):
        Blocks([])
    with pytest.raises(ShapeError, match="got 3 and 1"):
        blocks(0) + Blocks([torch.zeros(1)])
    with pytest.raises(ShapeError, match="one space"):
        inner(blocks(0), torch.zeros(1))


def test_gradients_reach_every_block() -> None:
    leaves = [t.requires_grad_() for t in blocks(0)]
    a = Blocks(leaves)
    total = (a * a).map(torch.sum)
    gradients = torch.autograd.grad(total.tensors, leaves)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        torch.testing.assert_close(gradient, 2 * leaf)


def test_pickling() -> None:
    a = blocks(0)
    assert torch.equal(flat(pickle.loads(pickle.dumps(a))), flat(a))
