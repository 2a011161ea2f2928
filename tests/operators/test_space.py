"""Spaces say what they hold and refuse what they do not."""

from __future__ import annotations

import pickle

import pytest
import torch

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.space import BlockSpace, Space, matching_dtype


def test_a_space_is_a_value() -> None:
    space = Space(("z", "y", "x"), (2, 3, 5))
    assert space == Space(["z", "y", "x"], torch.Size([2, 3, 5]))  # type: ignore[arg-type]
    assert len({space, Space(("z", "y", "x"), (2, 3, 5))}) == 1
    assert space != Space(("kz", "ky", "kx"), (2, 3, 5))
    assert (space.size, space.nbytes, space.is_complex) == (30, 120, False)
    assert pickle.loads(pickle.dumps(space)) == space
    assert str(space) == "(z=2, y=3, x=5) of float32"
    assert space.resized("y", 7).shape == (2, 7, 5)


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [(("z",), (2, 3), torch.float32), (("z",), (0,), torch.float32), (("z",), (2,), torch.int32)],
)
def test_impossible_spaces(axes: tuple[str, ...], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    with pytest.raises(ShapeError):
        Space(axes, shape, dtype)


def test_a_missing_axis_is_named() -> None:
    with pytest.raises(ShapeError, match="no axis 'q'"):
        Space(("z",), (2,)).resized("q", 1)


def test_precision_changes_and_field_stays() -> None:
    real, complex_ = Space(("z",), (2,), torch.float32), Space(("z",), (2,), torch.complex64)
    assert real.astype(torch.complex128).dtype == torch.float64
    assert complex_.astype(torch.float64).dtype == torch.complex128
    assert matching_dtype(torch.complex128, torch.float32) == torch.complex64
    assert BlockSpace((real, complex_)).astype(torch.float64).spaces[1].dtype == torch.complex128


def test_random_elements_follow_the_seed_and_not_the_precision() -> None:
    narrow = Space(("z",), (9,), torch.float32).random(torch.Generator().manual_seed(3))
    wide = Space(("z",), (9,), torch.float64).random(torch.Generator().manual_seed(3))
    assert torch.equal(narrow, wide.float())


def test_block_spaces() -> None:
    space = BlockSpace((Space(("a",), (2,)), Space(("a", "b"), (3, 4), torch.complex64)))
    assert (space.size, space.nbytes, space.is_complex, space.dtype) == (14, 104, True, torch.float32)
    zeros = space.zeros()
    assert isinstance(zeros, Blocks)
    space.check(zeros, "Test")
    assert str(space) == "(a=2) of float32 + (a=3, b=4) of complex64"
    with pytest.raises(ShapeError, match="Test expects 2 blocks, got one array"):
        space.check(torch.zeros(2), "Test")
    with pytest.raises(ShapeError, match="got 1 blocks"):
        space.check(Blocks([torch.zeros(2)]), "Test")
    with pytest.raises(ShapeError, match="Test, block 1, expects"):
        space.check(Blocks([torch.zeros(2), torch.zeros(3, 4)]), "Test")
    with pytest.raises(ShapeError, match="at least one block"):
        BlockSpace(())
