import numpy as np
import pytest
import torch

from operators.errors import ShapeError
from operators.wavelet import inverse_wavelet, wavelet


@pytest.mark.parametrize("name", ["haar", "db4", "sym5"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_orthonormal(name, levels):
    x = torch.randn(2, 8, 16, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    y = wavelet(x, levels, name)
    torch.testing.assert_close(y.norm(), x.norm())
    torch.testing.assert_close(inverse_wavelet(y, levels, name), x)


def test_haar_by_hand():
    x = torch.tensor([[4.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(wavelet(x, 1, "haar"), torch.tensor([[4.0, 1.0], [2.0, 1.0]], dtype=torch.float64))


def test_low_band_is_that_of_pywavelets():
    pywt = pytest.importorskip("pywt")
    x = np.random.default_rng(0).normal(size=32)
    theirs = pywt.dwt(x, "db3", mode="periodization")
    ours = wavelet(torch.from_numpy(x), 1, "db3", (-1,)).numpy()
    for mine, other in ((ours[:16], theirs[0]), (ours[16:], theirs[1])):
        assert min(np.abs(np.roll(mine, s) - sign * other).max() for s in range(16) for sign in (1, -1)) < 1e-12


def test_bad_input():
    with pytest.raises(ShapeError, match="multiples of 4"):
        wavelet(torch.zeros(6, 8), 2)
    with pytest.raises(ShapeError, match="no wavelet 'nonsense'"):
        wavelet(torch.zeros(8, 8), 1, "nonsense")
    with pytest.raises(ShapeError, match="not orthogonal"):
        wavelet(torch.zeros(8, 8), 1, "bior2.2")
