"""The dot test finds what it is for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operators.linear import FunctionOperator
from operators.space import Space
from operators.testing import adjoint_error

SPACE = Space(("z", "y", "x"), (3, 4, 5), torch.float64)
COMPLEX = Space(("z", "y", "x"), (3, 4, 5), torch.complex128)


def test_a_matched_pair_passes() -> None:
    assert adjoint_error(FunctionOperator(SPACE, SPACE, lambda x: 3 * x, lambda y: 3 * y)) < 1e-14


@pytest.mark.parametrize("factor", [0.0, 1e6, 3.001, -3.0])
def test_a_wrong_scale_fails(factor: float) -> None:
    assert adjoint_error(FunctionOperator(SPACE, SPACE, lambda x: 3 * x, lambda y: factor * y)) > 1e-5


def test_a_forgotten_conjugate_fails() -> None:
    assert adjoint_error(FunctionOperator(COMPLEX, COMPLEX, lambda x: 1j * x, lambda y: 1j * y)) > 1e-2


def test_a_shift_in_the_wrong_direction_fails() -> None:
    def roll(x: Tensor) -> Tensor:
        return x.roll(1, -1)

    assert adjoint_error(FunctionOperator(SPACE, SPACE, roll, roll)) > 1e-2


def test_the_error_does_not_depend_on_the_scale() -> None:
    """An absolute bound would pass the small one for the wrong reason."""

    def error(scale: float) -> float:
        return adjoint_error(FunctionOperator(SPACE, SPACE, lambda x: scale * x, lambda y: 1.01 * scale * y))

    assert error(1e-9) == pytest.approx(error(1e9), rel=1e-6)
    assert error(1.0) > 1e-4


def test_real_part_is_a_matched_pair() -> None:
    """Complex images with real data are linear over the reals; the inner product is real there too."""
    real_part = FunctionOperator(COMPLEX, SPACE, lambda x: x.real.clone(), lambda y: y.to(torch.complex128))
    assert adjoint_error(real_part) < 1e-14


def test_an_operator_that_gives_zero_is_measured_absolutely() -> None:
    assert adjoint_error(FunctionOperator(SPACE, SPACE, torch.zeros_like, torch.zeros_like)) == 0.0
    assert adjoint_error(FunctionOperator(SPACE, SPACE, torch.zeros_like, lambda y: y)) > 0.1
