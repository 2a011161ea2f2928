import sys

import pytest
import torch

from operators.errors import MissingPackageError, ShapeError
from operators.mri import CartesianEncoding
from operators.mri.noncartesian import NonCartesianEncoding
from operators.nufft import Nufft, density_compensation
from operators.testing import adjoint_error

finufft = pytest.importorskip("finufft")


def normal(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def grid_positions(ny, nx):
    ky, kx = torch.meshgrid(torch.arange(ny) - ny // 2, torch.arange(nx) - nx // 2, indexing="ij")
    return torch.stack([ky.double() / ny, kx.double() / nx], -1)


def some_positions(n, dims, seed=1):
    return torch.rand(n, dims, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_on_grid_positions_it_is_the_cartesian_operator():
    maps = normal(3, 2, 6, 7)
    A = NonCartesianEncoding(maps, grid_positions(6, 7))
    C = CartesianEncoding(maps)
    x = A.domain.random(torch.Generator().manual_seed(3))
    y = A(x)
    assert y.shape == (3, 2, 6, 7)
    torch.testing.assert_close(y, C(x), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(A.H(y), C.H(y), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(A.coil_images(y), C.coil_images(y), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 2, 6, 7), (2, 3, 2, 6, 7)])
@pytest.mark.parametrize("dims", [2, 3])
def test_adjoint_gram_and_batches(shape, dims):
    maps = normal(*shape)
    A = NonCartesianEncoding(maps, some_positions(40, dims), coil_batch=2)
    assert adjoint_error(A) < 1e-10
    assert adjoint_error(A.to(dtype=torch.float32)) < 1e-5
    x = A.domain.random(torch.Generator().manual_seed(4))
    torch.testing.assert_close(A.gram(x), A.H(A(x)), atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(NonCartesianEncoding(maps, some_positions(40, dims), coil_batch=1)(x), A(x))
    assert A(torch.stack([x, x])).shape == (2, *A.range.shape)


def test_against_the_sum():
    transform = Nufft(some_positions(9, 2), (4, 5), torch.complex128)
    x = normal(1, 4, 5)
    r = torch.stack(torch.meshgrid(torch.arange(4.0) - 2, torch.arange(5.0) - 2, indexing="ij"), -1).double()
    phase = torch.exp(-2j * torch.pi * torch.einsum("jd,yxd->jyx", transform.trajectory, r))
    torch.testing.assert_close(transform.forward(x)[0], (phase * x).sum((1, 2)) / 20**0.5)


def test_density_compensation_grids_a_smooth_image():
    spokes = torch.arange(48) * torch.pi / 48
    radius = (torch.arange(64) - 32) / 64
    positions = torch.stack([radius * torch.sin(spokes)[:, None], radius * torch.cos(spokes)[:, None]], -1).double()
    y, x = torch.meshgrid(torch.linspace(-2.5, 2.5, 32), torch.linspace(-2.5, 2.5, 32), indexing="ij")
    image = torch.exp(-(x**2) - y**2).to(torch.complex128)
    A = NonCartesianEncoding(torch.ones(1, 1, 32, 32).cdouble(), positions)
    found = A.gridded(A(image[None]))[0]
    assert float((found - image).norm() / image.norm()) < 0.12
    plain = NonCartesianEncoding(A.maps[0], positions, torch.ones(48, 64)).gridded(A(image[None]))[0]
    assert float((plain - image).norm() / image.norm()) > 0.2
    weights = density_compensation(A._transform)
    assert weights.shape == (48 * 64,)
    assert bool((weights > 0).all())


def test_bad_input(monkeypatch):
    with pytest.raises(ShapeError, match="cycles per voxel"):
        Nufft(some_positions(9, 2) * 10, (4, 5), torch.complex64)
    with pytest.raises(ShapeError, match="sample, 2"):
        NonCartesianEncoding(normal(1, 1, 4, 5), torch.zeros(3, 4))
    with pytest.raises(ShapeError, match="one number per sample"):
        NonCartesianEncoding(normal(1, 1, 4, 5), torch.zeros(3, 2), torch.ones(4))
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingPackageError, match=r"recon3d\[mri\]"):
        Nufft(some_positions(9, 2), (4, 5), torch.complex64).forward(normal(1, 4, 5, dtype=torch.complex64))
