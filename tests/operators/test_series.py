"""Operators on series: against the frame-by-frame definition, their subspaces against the product of factors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.linear import Diagonal, FunctionOperator, LinearOperator
from operators.mri import CartesianSeries
from operators.mri.noncartesian import NonCartesianEncoding
from operators.reduce import norm
from operators.series import Expansion, Series, ViewSeries, frame_normals, series_norm, series_of, subspace
from operators.space import Space
from operators.stack import Frames
from operators.testing import adjoint_error
from operators.tomography import ImageGrid, Projector, TomographyGeometry


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def ct(dtype: torch.dtype = torch.float64) -> ViewSeries:
    geometry = TomographyGeometry.parallel(np.arange(6) * 2.0, 9, n_rows=2)
    grid = ImageGrid((2, 6, 7))
    return ViewSeries(lambda a, b: Projector(geometry[a:b], grid, dtype), (0, 2, 3, 6), "view")


def cartesian(*mask: int) -> CartesianSeries:
    return CartesianSeries(normal(3, 2, 6, 7, dtype=torch.complex128), normal(*mask, seed=1) > 0)


def radial() -> ViewSeries:
    angles = torch.arange(5, dtype=torch.float64) * 1.9
    radius = (torch.arange(8, dtype=torch.float64) - 4) / 8
    spokes = torch.stack([angles.sin()[:, None] * radius, angles.cos()[:, None] * radius], dim=-1)
    maps = normal(3, 2, 6, 7, dtype=torch.complex128)
    axes = ("coil", "z", "spoke", "sample")
    return ViewSeries(lambda a, b: NonCartesianEncoding(maps, spokes[a:b], axes=axes), (0, 2, 4, 5), "spoke")


def ragged() -> Frames:
    image = Space(("z", "y", "x"), (1, 2, 3), torch.float64)

    def rows(count: int) -> LinearOperator:
        M = normal(count, 6, seed=count)
        back: Callable[[Tensor], Tensor] = lambda y: (y @ M).unflatten(-1, image.shape)  # noqa: E731
        return FunctionOperator(image, Space(("row",), (count,), torch.float64), lambda x: x.flatten(-3) @ M.T, back)

    return Frames([rows(4), rows(7), rows(2)])


CASES: dict[str, Callable[[], Series]] = {
    "ct": ct,
    "columns": lambda: cartesian(5, 1, 1, 7),
    "anywhere": lambda: cartesian(4, 2, 6, 7),
    "radial": radial,
    "ragged": ragged,
}
each = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


@each
def test_adjoints(make: Callable[[], Series]) -> None:
    A = make()
    psi = normal(A.frames, 2, seed=3)
    assert adjoint_error(A) < 1e-12
    assert adjoint_error(subspace(A, psi)) < 1e-12
    assert adjoint_error(Expansion(psi, A.frame)) < 1e-12


@each
def test_a_subspace_is_the_series_that_basis_images_span(make: Callable[[], Series]) -> None:
    A = make()
    psi = normal(A.frames, 2, seed=3, dtype=A.domain.dtype)
    basis = normal(2, *A.frame.shape, seed=4, dtype=A.domain.dtype)
    series = torch.einsum("tk,kzyx->tzyx", psi, basis)
    B = subspace(A, psi)
    assert float(norm(B(basis) - A(series))) < 1e-12 * float(norm(A(series)))
    torch.testing.assert_close(B.gram(basis), B.H(B(basis)))


@each
def test_frame_normals_are_the_misfit_of_time_functions(make: Callable[[], Series]) -> None:
    A = make()
    basis, y = normal(2, *A.frame.shape, seed=4, dtype=A.domain.dtype), A.range.random(torch.Generator().manual_seed(5))
    H, b = frame_normals(0.5 * A, basis, y)
    psi = normal(A.frames, 2, seed=6, dtype=A.domain.dtype)
    misfit = 0.5 * A(torch.einsum("tk,kzyx->tzyx", psi, basis)) - y
    quadratic = torch.einsum("tk,tkl,tl->", psi.conj(), H, psi) - 2 * (psi.conj() * b).sum().real
    assert float(quadratic.real) + float(norm(y)) ** 2 == pytest.approx(float(norm(misfit)) ** 2, rel=1e-12)


@pytest.mark.parametrize("make", [ct, CASES["columns"], CASES["anywhere"], radial])
def test_noise_weights_pass_through(make: Callable[[], Series]) -> None:
    A = make()
    space = A.range
    assert isinstance(space, Space)
    W = Diagonal(normal(*space.shape, seed=7).abs() + 0.1, space)
    basis, psi = normal(2, *A.frame.shape, seed=4, dtype=A.domain.dtype), normal(A.frames, 2, seed=3)
    y = space.random(torch.Generator().manual_seed(5))
    torch.testing.assert_close(subspace(2.0 * (W @ A), psi)(basis), 2 * W(subspace(A, psi)(basis)))
    H, b = frame_normals(2.0 * (W @ A), basis, y)
    seen = 2 * W(A(torch.einsum("tk,kzyx->tzyx", psi.to(basis.dtype), basis)))
    assert float(torch.einsum("tk,tkl,tl->", psi.to(H.dtype), H, psi.to(H.dtype)).real) == pytest.approx(
        float(norm(seen)) ** 2
    )
    assert float((psi * b).sum().real) == pytest.approx(float((seen.conj() * y).sum().real))


def assert_norm(A: LinearOperator) -> None:
    """From below, and near: singular values of small random frames lie close together."""
    largest = A.norm(max_steps=400, rtol=1e-8)
    assert series_norm(A) == pytest.approx(largest, rel=0.005)


@each
def test_the_norm_is_that_of_the_frame_seen_best(make: Callable[[], Series]) -> None:
    A = make()
    assert_norm(-2.0 * A)
    if isinstance(A.range, Space):
        assert_norm(Diagonal(normal(*A.range.shape, seed=7).abs() + 0.1, A.range) @ A)


@each
def test_a_support_cuts_every_frame(make: Callable[[], Series]) -> None:
    A = make()
    support = (normal(*A.frame.shape, seed=9) > 0).double()
    only = 0.5 * (A @ Diagonal(support, A.domain))
    psi = normal(A.frames, 2, seed=3, dtype=A.domain.dtype)
    basis, y = normal(2, *A.frame.shape, seed=4, dtype=A.domain.dtype), A.range.random(torch.Generator().manual_seed(5))
    for got, wanted in zip(
        (subspace(only, psi)(basis), *frame_normals(only, basis, y)),
        (subspace(0.5 * A, psi)(support * basis), *frame_normals(0.5 * A, support * basis, y)),
        strict=True,
    ):
        assert float(norm(got - wanted)) <= 1e-12 * float(norm(wanted))
    assert_norm(only)


def test_a_frame_that_sees_nothing_does_not_stop_the_search() -> None:
    A = cartesian(5, 1, 1, 7)
    mask = A.mask.clone()
    mask[0] = 0
    blind = CartesianSeries(A.maps[0], mask)
    assert_norm(blind)


@each
def test_a_window_explains_the_data_of_its_frames(make: Callable[[], Series]) -> None:
    """Its normal equations are the sum of those of the frames."""
    A = make()
    y = A.range.random(torch.Generator().manual_seed(5))
    operator, data = A.window(1, 3, y)
    image = normal(*A.frame.shape, seed=8, dtype=A.domain.dtype)
    only = torch.zeros(A.domain.shape, dtype=A.domain.dtype)
    only[1:3] = image
    torch.testing.assert_close(operator.gram(image), A.gram(only)[1:3].sum(0))
    torch.testing.assert_close(operator.H(data), A.H(y)[1:3].sum(0))


def test_ct_frames_see_their_own_views() -> None:
    A = ct()
    x = normal(3, 2, 6, 7)
    still = A.still(x)  # each frame by all six views
    torch.testing.assert_close(A(x), torch.cat([still[0, :2], still[1, 2:3], still[2, 3:]]))
    slab = A.restrict("z", 1, 2)
    assert slab is not None
    torch.testing.assert_close(slab.operator(x[:, 1:]), slab.select(A(x), A.range))
    assert A.to(dtype=torch.float32).domain.dtype == torch.float32


def test_a_view_by_hand() -> None:
    """Two pixels side by side; frame 0 is seen from below, frame 1 from the side."""
    geometry = TomographyGeometry.parallel([0.0, math.pi / 2], 2)
    A = ViewSeries(lambda a, b: Projector(geometry[a:b], ImageGrid((1, 2, 2)), torch.float64), (0, 1, 2), "view")
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]], dtype=torch.float64)
    torch.testing.assert_close(A(x)[0, 0], torch.tensor([4.0, 6.0], dtype=torch.float64))
    torch.testing.assert_close(A(x)[1, 0].sum(), torch.tensor(26.0, dtype=torch.float64))


def test_what_is_no_series_is_said() -> None:
    still = ct().still
    for ask in (lambda: series_of(2 * still), lambda: subspace(still, normal(3, 2))):
        with pytest.raises(ShapeError, match="series"):
            ask()
    with pytest.raises(ShapeError, match="at least one view"):
        ViewSeries(lambda a, b: still, (0, 2, 2), "view")
    with pytest.raises(ShapeError, match="mask"):
        CartesianSeries(normal(3, 2, 6, 7, dtype=torch.complex128), torch.ones(7))


def test_blocks_of_frames() -> None:
    A = ragged()
    y = A(normal(3, 1, 2, 3))
    assert isinstance(y, Blocks)
    assert [len(block) for block in y] == [4, 7, 2]
