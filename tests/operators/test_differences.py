from __future__ import annotations

import pickle

import pytest
import torch

from operators.differences import ForwardDifference, difference, difference_adjoint
from operators.errors import ShapeError
from operators.space import Space
from operators.testing import adjoint_error


@pytest.mark.parametrize("boundary", ["neumann", "circular"])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(5, 4, 3), (1, 2, 1)])
def test_adjoint(boundary, axis: str, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:  # type: ignore[no-untyped-def]
    operator = ForwardDifference(Space(("z", "y", "x"), shape, dtype), axis, 0.7, boundary)
    assert adjoint_error(operator) < 1e-14


def test_a_ramp_has_its_slope() -> None:
    space = Space(("z", "y", "x"), (4, 3, 2), torch.float64)
    ramp = (2.5 * torch.arange(4.0, dtype=torch.float64) * 3)[:, None, None].expand(space.shape).clone()
    slope = ForwardDifference(space, "z", spacing=2.5)(ramp)
    assert torch.equal(slope[:-1], torch.full((3, 3, 2), 3.0, dtype=torch.float64))
    assert torch.equal(slope[-1], torch.zeros(3, 2, dtype=torch.float64))
    assert float(ForwardDifference(space, "z", 2.5, "circular")(ramp)[-1, 0, 0]) == -9.0


def test_batches_slabs_precision_and_pickling() -> None:
    space = Space(("z", "y", "x"), (5, 4, 3), torch.float64)
    operator = ForwardDifference(space, "z", 2.0)
    x = torch.randn(2, *space.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(operator(x)[1], operator(x[1]))
    slab = operator.restrict("y", 1, 3)
    assert slab is not None
    assert torch.equal(slab.operator(x[..., 1:3, :].contiguous()), operator(x)[..., 1:3, :])
    assert operator.restrict("z", 0, 2) is None
    assert operator.to(dtype=torch.float32).domain.dtype == torch.float32
    assert torch.equal(pickle.loads(pickle.dumps(operator))(x), operator(x))


@pytest.mark.parametrize("boundary", ["neumann", "circular"])
def test_functions_match_a_dense_matrix(boundary) -> None:  # type: ignore[no-untyped-def]
    matrix = difference(torch.eye(4), 0, boundary)
    assert torch.equal(difference_adjoint(torch.eye(4), 0, boundary), matrix.T)


def test_bad_settings_are_named() -> None:
    space = Space(("z", "y", "x"), (2, 2, 2))
    with pytest.raises(ShapeError, match="one of the axes"):
        ForwardDifference(space, "t")
    with pytest.raises(ShapeError, match="above 0"):
        ForwardDifference(space, "z", 0.0)
    with pytest.raises(ShapeError, match="'neumann' or 'circular'"):
        ForwardDifference(space, "z", 1.0, "periodic")  # type: ignore[arg-type]
