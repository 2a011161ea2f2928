import pytest
import torch

from operators.mri import CartesianEncoding
from operators.sigpy_bridge import from_sigpy, to_sigpy
from operators.testing import adjoint_error

sigpy = pytest.importorskip("sigpy")


def normal(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_sigpy_operators_are_ours():
    maps = normal(3, 6, 7)
    linop = (
        sigpy.mri.linop.Sense(maps.numpy())
        if hasattr(sigpy, "mri")
        else __import__("sigpy.mri.linop", fromlist=["Sense"]).Sense(maps.numpy())
    )
    A = from_sigpy(linop, ("y", "x"), ("coil", "ky", "kx"))
    assert adjoint_error(A) < 1e-5
    x = normal(2, 6, 7, seed=1)
    ours = CartesianEncoding(maps[:, None])
    torch.testing.assert_close(A(x), ours(x[:, None])[:, :, 0], atol=1e-5, rtol=1e-5)
    assert A.domain.axes == ("y", "x")


def test_ours_run_in_sigpy():
    ours = CartesianEncoding(normal(3, 1, 6, 7), torch.tensor([1, 0, 1, 1, 0, 1, 1.0]))
    linop = to_sigpy(ours)
    x = normal(1, 6, 7, seed=2)
    torch.testing.assert_close(torch.from_numpy(linop(x.numpy())), ours(x))
    torch.testing.assert_close(torch.from_numpy(linop.H(linop(x.numpy()))), ours.gram(x), atol=1e-5, rtol=1e-5)
    back = from_sigpy(linop)
    torch.testing.assert_close(back(x), ours(x))
