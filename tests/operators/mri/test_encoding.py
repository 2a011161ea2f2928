import pytest
import torch

from operators.errors import ShapeError
from operators.fourier import centred_fft
from operators.mri import CartesianEncoding
from operators.testing import adjoint_error


def normal(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


COLUMNS = torch.tensor([1, 0, 1, 1, 1, 0, 1.0])
CASES = {
    "2d columns": ((3, 2, 6, 7), COLUMNS, "2d"),
    "2d rows": ((3, 2, 6, 7), torch.tensor([1, 0, 1, 1, 1, 0.0])[None, :, None], "2d"),
    "2d per slice": ((3, 2, 6, 7), normal(2, 6, 7).real > 0, "2d"),
    "2d full": ((3, 2, 6, 7), None, "2d"),
    "two sets": ((2, 3, 2, 6, 7), COLUMNS, "2d"),
    "frames": ((3, 2, 6, 7), normal(4, 1, 6, 7).real > 0, "2d"),
    "two sets, frames": ((2, 3, 2, 6, 7), normal(4, 1, 1, 7).real > 0, "2d"),
    "3d": ((3, 4, 6, 5), normal(4, 6, 1).real > 0, "3d"),
    "3d columns": ((2, 3, 4, 6, 7), COLUMNS, "3d"),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def make(case, dtype=torch.complex128, **kwargs):
    shape, mask, encoding = case
    return CartesianEncoding(normal(*shape, dtype=dtype), mask, encoding, **kwargs)


@each_case
def test_adjoint_and_gram(case):
    A = make(case)
    assert adjoint_error(A) < 1e-12
    assert adjoint_error(make(case, torch.complex64)) < 1e-5
    x = A.domain.random(torch.Generator().manual_seed(2))
    torch.testing.assert_close(A.gram(x), A.H(A(x)))
    assert adjoint_error(A.gram) < 1e-12
    torch.testing.assert_close((2.0 * A).gram(x), 4 * A.gram(x))


@each_case
def test_against_the_definition(case):
    _shape, mask, encoding = case
    A = make(case)
    x = A.domain.random(torch.Generator().manual_seed(2))
    maps = A.maps
    images = x if "set" in A.domain.axes else x.unsqueeze(-4)
    seen = (maps * images.unsqueeze(-4)).sum(-5)
    expected = centred_fft(seen, (-2, -1) if encoding == "2d" else (-3, -2, -1))
    if mask is not None:
        mask = mask.to(torch.float64)
        expected = expected * (mask.unsqueeze(-4) if mask.ndim == 4 else mask)
    torch.testing.assert_close(A(x), expected)


@each_case
def test_any_coil_batch_gives_the_same_bits(case):
    one, three = make(case), make(case, coil_batch=3)
    x = one.domain.random(torch.Generator().manual_seed(1))
    y = one(x)
    assert torch.equal(three(x), y)
    assert torch.equal(three.H(y), one.H(y))
    assert torch.equal(three.gram(x), one.gram(x))


def test_slabs_batches_and_gradients():
    A = make(CASES["2d per slice"])
    x = normal(2, 2, 6, 7, seed=3)
    y = A(x)
    assert torch.equal(A(x[1]), y[1])
    slab = A.restrict("z", 1, 2)
    assert torch.equal(slab.operator(x[:, 1:2]), slab.select(y, A.range))
    assert torch.equal(slab.operator.gram(x[0, 1:2]), A.gram(x[0])[1:2])
    assert make(CASES["3d"]).restrict("z", 0, 1) is None
    leaf = x[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(A(leaf).abs().square().sum() / 2, leaf)
    torch.testing.assert_close(gradient, A.gram(x[0]))


def test_scale_does_not_depend_on_acceleration():
    A = CartesianEncoding(torch.ones(1, 1, 50, 50, dtype=torch.complex128))
    x = torch.zeros(1, 50, 50, dtype=torch.complex128)
    x[:, 10:40, 12:38] = 3.0
    y = A(x)
    full = A.image_scale(y)
    assert 2.0 < full < 4.5
    mask = torch.zeros(50)
    mask[::8] = 1
    mask[23:27] = 1
    assert CartesianEncoding(A.maps[0], mask).image_scale(y) == pytest.approx(full, rel=1e-12)
    assert A.image_scale(1000 * y) == pytest.approx(1000 * full)
    flat = torch.full((1, 50, 50), 3.0, dtype=torch.complex128)
    assert A.image_scale(A(flat)) == pytest.approx(3.0)


def test_bad_input():
    maps = normal(3, 2, 6, 7)
    with pytest.raises(ShapeError, match="must agree"):
        CartesianEncoding(maps, torch.ones(8))
    with pytest.raises(ShapeError, match="'2d' or '3d'"):
        CartesianEncoding(maps, None, "4d")
    with pytest.raises(ShapeError, match="complex"):
        CartesianEncoding(maps.real)
    with pytest.raises(ShapeError, match="at least one coil"):
        CartesianEncoding(maps, coil_batch=0)
