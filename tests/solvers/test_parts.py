"""Volumes taken part by part: the bits of the whole, across the borders of parts too."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from operators.differences import ForwardDifference
from operators.linear import Diagonal
from operators.reduce import inner, norm
from operators.space import Space
from recon3d.errors import ShapeError
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.cg import conjugate_gradient
from recon3d.solvers.parts import WHOLE, Part, Parts

SHAPE = (7, 5, 6)
SPACE = Space(("z", "y", "x"), SHAPE)


def parts_of(at_once: int, given_back: list[int] | None = None) -> Parts:
    back = [] if given_back is None else given_back
    return Parts(SHAPE[0], at_once, lambda shape, like: like.new_zeros(tuple(shape)), lambda: back.append(1))


def normal(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_parts_with_their_neighbours() -> None:
    x = torch.arange(7.0).reshape(7, 1, 1)
    given_back: list[int] = []
    parts, seen = parts_of(3, given_back), []

    def keep(part: Part, slab: Tensor) -> Tensor:
        seen.append(slab.flatten().tolist())
        return slab[part.inner] * 2

    assert torch.equal(parts.each(keep, x, halo="neumann"), 2 * x)
    assert torch.equal(parts.each(keep, x, halo="circular"), 2 * x)
    assert torch.equal(parts.each(keep, x), 2 * x)
    assert seen[:3] == [[0, 1, 2, 3], [2, 3, 4, 5, 6], [5, 6]]
    assert seen[3:6] == [[6, 0, 1, 2, 3], [2, 3, 4, 5, 6], [5, 6, 0]]
    assert seen[6:] == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(given_back) == 9


def test_what_broadcasts_to_a_volume() -> None:
    x = normal(0)
    part = Part(2, 5)
    assert torch.equal(part.of(x), x[2:5])
    for flat in (x[0], x[:1]):
        assert part.of(flat) is flat
    assert (part.shape(SHAPE), Part().shape(SHAPE)) == ((3, 5, 6), SHAPE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_sums_have_the_bits_of_the_whole(dtype: torch.dtype) -> None:
    a, b = normal(0, dtype), normal(1, dtype)
    for at_once in (1, 3, 7):
        parts = parts_of(at_once)
        assert torch.equal(parts.inner(a, b), inner(a, b))
        assert torch.equal(parts.norm(a), norm(a))


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_conjugate_gradients_have_the_bits_of_the_whole(at_once: int) -> None:
    weights, b, start = normal(0).square(), normal(1), normal(2)
    for x in (None, start):
        whole, split = (
            conjugate_gradient(lambda v: v * weights, b, x, max_steps=6, parts=parts)
            for parts in (WHOLE, parts_of(at_once))
        )
        assert torch.equal(whole.x, split.x)
        assert torch.equal(whole.relative_residual, split.relative_residual)
        assert (whole.steps, whole.stopped_by) == (split.steps, split.stopped_by)


@pytest.mark.parametrize("boundary", ["neumann", "circular"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("at_once", [1, 3])
def test_slice_tv_has_the_bits_of_the_whole(
    at_once: int, dtype: torch.dtype, boundary: Literal["neumann", "circular"]
) -> None:
    A, y, xhat = Diagonal(normal(0), Space(("z", "y", "x"), SHAPE, dtype)), normal(1, dtype), normal(2, dtype)
    whole, split = (
        SliceTV(A, y, weight=0.05, rho=0.3, boundary=boundary, damping=0.1, cg_steps=3, parts=parts)
        for parts in (WHOLE, parts_of(at_once))
    )
    kept = xhat.clone()
    for _ in range(3):
        x = whole(xhat)
        assert torch.equal(x, split(xhat))
        assert all(torch.equal(whole.state[name], split.state[name]) for name in ("z", "u"))
        assert split.residual == pytest.approx(whole.residual, rel=1e-12)
    assert torch.equal(xhat, kept)
    assert float((x - xhat).abs().max()) > 0.1


def test_slices_that_share_data_are_refused() -> None:
    with pytest.raises(ShapeError, match="data of their own"):
        SliceTV(ForwardDifference(SPACE, "z"), normal(0), weight=0.1, rho=1.0, parts=parts_of(3))
