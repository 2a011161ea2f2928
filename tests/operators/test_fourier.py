import pytest
import torch

from operators.errors import ShapeError
from operators.fourier import FourierTransform, centred_fft, centred_ifft, centring_phases
from operators.space import Space
from operators.testing import adjoint_error

SPACE = Space(("z", "y", "x"), (3, 5, 6), torch.complex128)


@pytest.mark.parametrize("axes", [("x",), ("y", "x"), ("z", "y", "x"), ("z",)])
@pytest.mark.parametrize("centred", [True, False])
def test_unitary_with_exact_adjoint(axes, centred):
    F = FourierTransform(SPACE, axes, centred)
    assert adjoint_error(F) < 1e-14
    x = SPACE.random(torch.Generator().manual_seed(1))
    torch.testing.assert_close(F.gram(x), x)
    dims = [SPACE.axes.index(a) - 3 for a in axes]
    expected = centred_fft(x, dims) if centred else torch.fft.fftn(x, dim=dims, norm="ortho")
    torch.testing.assert_close(F(x), expected)
    assert adjoint_error(F.to(dtype=torch.float32)) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 5, 6, 8, 9])
def test_phases_replace_shifts(n):
    x = torch.randn(n, dtype=torch.complex128, generator=torch.Generator().manual_seed(n))
    before, after = centring_phases(n)
    torch.testing.assert_close(after * torch.fft.fft(before * x, norm="ortho"), centred_fft(x, (-1,)))


def test_a_constant_image_has_its_energy_at_the_centre():
    y = centred_fft(torch.ones(4, 5, dtype=torch.complex128))
    expected = torch.zeros(4, 5, dtype=torch.complex128)
    expected[2, 2] = 20**0.5
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(centred_ifft(y), torch.ones(4, 5, dtype=torch.complex128))


def test_slabs_and_bad_input():
    F = FourierTransform(SPACE, ("y", "x"))
    x = SPACE.random(torch.Generator().manual_seed(1))
    slab = F.restrict("z", 1, 3)
    torch.testing.assert_close(slab.operator(x[1:3]), slab.select(F(x), F.range))
    assert F.restrict("y", 0, 2) is None
    with pytest.raises(ShapeError, match="complex space"):
        FourierTransform(Space(("x",), (4,)), ("x",))
    with pytest.raises(ShapeError, match="some of the axes"):
        FourierTransform(SPACE, ("t",))
