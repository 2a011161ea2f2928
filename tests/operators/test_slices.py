"""Slice sampling against dense matrices and profiles that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ShapeError
from operators.noise import noise_level
from operators.slices import SliceSampling, slice_weights
from operators.space import Space
from operators.testing import adjoint_error


def space(slices: int, dtype: torch.dtype = torch.float64) -> Space:
    return Space(("z", "y", "x"), (slices, 3, 4), dtype)


def test_thick_slices_average_thin_ones() -> None:
    """5 mm slices over 1.25 mm ones that fill them: the plain mean of four."""
    weights = slice_weights([1.875, 6.875], 5.0, 8, 1.25)
    np.testing.assert_allclose(weights, np.kron(np.eye(2), np.full((1, 4), 0.25)), atol=1e-15)
    x = torch.arange(96, dtype=torch.float64).reshape(8, 3, 4)
    torch.testing.assert_close(SliceSampling(weights, space(8))(x), x.reshape(2, 4, 3, 4).mean(1))


def test_a_box_takes_the_covered_share_of_each_slice() -> None:
    np.testing.assert_allclose(slice_weights([2.5], 2.0, 6, 1.0), [[0, 0, 0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(slice_weights([2.25], 2.0, 6, 1.0), [[0, 0.125, 0.5, 0.375, 0, 0]])
    np.testing.assert_allclose(slice_weights([0.0], 3.0, 4, 1.0), [[0.5, 0.5, 0, 0]])  # what lies outside is not known


def test_a_gaussian_has_its_width_at_half_height() -> None:
    weights = slice_weights([100.0], 20.0, 201, 1.0, "gaussian")[0]
    assert weights.sum() == pytest.approx(1.0)
    assert weights[90] / weights[100] == pytest.approx(0.5, rel=0.01)
    assert np.argmax(weights) == 100


@given(
    centres=st.lists(st.floats(0, 9), min_size=1, max_size=5),
    thickness=st.floats(0.3, 6),
    profile=st.sampled_from(["box", "gaussian"]),
    dtype=st.sampled_from([torch.float64, torch.complex128]),
)
def test_the_adjoint_is_exact_and_the_matrix_is_applied(
    centres: list[float], thickness: float, profile: str, dtype: torch.dtype
) -> None:
    weights = slice_weights(centres, thickness, 10, 1.0, profile)
    A = SliceSampling(weights, space(10, dtype))
    assert adjoint_error(A) < 1e-12
    x = A.domain.random(torch.Generator().manual_seed(1))  # type: ignore[union-attr]
    torch.testing.assert_close(A(x), torch.einsum("kz,zyx->kyx", torch.as_tensor(weights).to(dtype), x))
    torch.testing.assert_close(A(torch.stack([x, 2 * x]))[1], 2 * A(x))


def test_interpolation_draws_straight_lines_between_the_centres() -> None:
    """A ramp along z is averaged to its value at each centre, and comes back as it was between them."""
    ramp = torch.arange(12.0, dtype=torch.float64)[:, None, None].expand(12, 3, 4)
    for weights in (slice_weights([1.5, 5.5, 9.5], 4.0, 12, 1.0), np.eye(12)[[2, 3, 9]]):
        A = SliceSampling(weights, space(12))
        torch.testing.assert_close(
            A.interpolated(A(ramp)), ramp.clamp(*((1.5, 9.5) if len(weights[0].nonzero()[0]) > 1 else (2, 9)))
        )
    A = SliceSampling(np.eye(3)[[1]], space(3))
    torch.testing.assert_close(A.interpolated(A(ramp[:3])), torch.ones(3, 3, 4, dtype=torch.float64))


def test_slabs_are_problems_of_their_own_only_where_each_slice_was_measured() -> None:
    A = SliceSampling(np.eye(5), space(5))
    slab = A.restrict("z", 1, 3)
    assert slab is not None
    x = A.domain.random(torch.Generator().manual_seed(0))  # type: ignore[union-attr]
    torch.testing.assert_close(slab.operator(x[1:3]), slab.select(A(x), A.range))  # type: ignore[arg-type]
    assert A.restrict("y", 0, 1) is None
    assert SliceSampling(np.eye(5)[[0, 1, 3, 4]], space(5)).restrict("z", 0, 2) is None
    assert A.to(dtype=torch.float32)(x.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: slice_weights([12.0], 2.0, 10, 1.0), "slice 0, 12 mm from the first thin one, lies outside"),
        (lambda: slice_weights([1.0], 2.0, 10, 1.0, "sinc"), "'box' or 'gaussian', got 'sinc'"),
        (lambda: SliceSampling(np.eye(4), space(5)), "with 5 columns, got"),
        (lambda: SliceSampling(np.zeros((1, 5)), space(5)), "needs a weight"),
    ],
)
def test_faults(call, told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        call()


def test_the_level_of_white_noise_is_found_under_edges_and_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(4, 65, 64)
    x[:, 10:40, 12:50] = 3.0
    noisy = x + 0.2 * torch.randn(x.shape, generator=generator)
    assert noise_level(noisy) == pytest.approx(0.2, rel=0.05)
    noisy[:, :, :30] = -9.0  # padding: exact zeros of the details are no noise
    assert noise_level(noisy) == pytest.approx(0.2, rel=0.05)
    quiet_air = torch.where(x > 1, noisy, 1e-3 * noisy)
    assert noise_level(quiet_air, above=1.5) == pytest.approx(0.2, rel=0.06)
    assert noise_level(torch.ones(2, 8, 8)) == 0.0
