import numpy as np
import pytest
import torch

from operators.errors import ShapeError
from operators.fourier import centred_fft
from operators.mri.espirit import espirit, kernel_size


def object_and_maps(coils=4, n=32):
    """A smooth object and smooth maps of unit sum of squares."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, n), torch.linspace(-1, 1, n), indexing="ij")
    image = ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1) * (1 + 0.3 * torch.cos(5 * x) + 0.2 * (y > 0.1))
    angle = 2 * torch.pi * torch.arange(coils)[:, None, None] / coils
    maps = torch.exp(-((x - torch.cos(angle)) ** 2 + (y - torch.sin(angle)) ** 2) / 2) * torch.exp(1j * (angle + x * y))
    maps = maps / torch.linalg.vector_norm(maps, dim=0)
    return image.to(torch.complex64), maps.to(torch.complex64)


def middle(k, ny, nx):
    n, m = k.shape[-2:]
    return k[:, n // 2 - ny // 2 : n // 2 + (ny + 1) // 2, m // 2 - nx // 2 : m // 2 + (nx + 1) // 2].contiguous()


@pytest.mark.parametrize("lines", [16, 12])
def test_finds_the_maps_inside_the_object(lines):
    image, maps = object_and_maps()
    found, values = espirit(middle(centred_fft(maps * image), 16, lines), (32, 32), crop=0.0)
    inside = image.abs() > 0
    overlap = (found[0].conj() * maps).sum(0).abs()[inside]
    assert overlap.min() > 0.995
    assert (values[0][inside] - 1).abs().max() < 0.05
    torch.testing.assert_close(torch.linalg.vector_norm(found[0], dim=0), torch.ones(32, 32))
    assert found[0, 0].imag.abs().max() < 1e-6


def test_equals_sigpy():
    mri = pytest.importorskip("sigpy.mri")
    image, maps = object_and_maps()
    k = centred_fft(maps * image)
    generator = torch.Generator().manual_seed(0)
    k = k + 0.002 * k.abs().max() * torch.randn(k.shape, dtype=k.dtype, generator=generator)
    theirs = mri.app.EspiritCalib(
        k.numpy().copy(), calib_width=16, kernel_width=5, crop=0.9, max_iter=200, show_pbar=False
    ).run()
    ours = espirit(middle(k, 16, 16), (32, 32), kernel=5, crop=0.9, steps=200)[0][0].numpy()
    inside = (image.abs() > 0).numpy() & (np.abs(theirs).sum(0) > 0)
    assert inside.sum() > 300
    assert np.abs(ours - theirs)[:, inside].max() < 1e-3


def test_two_sets_are_orthogonal_and_the_first_is_the_single_one():
    image, maps = object_and_maps()
    k = middle(centred_fft(maps * image), 16, 16)
    both, values = espirit(k, (32, 32), sets=2, crop=0.0)
    one, _ = espirit(k, (32, 32), crop=0.0)
    inside = image.abs() > 0
    assert ((both[0].conj() * one[0]).sum(0).abs()[inside]).min() > 0.9999
    assert (both[0].conj() * both[1]).sum(0).abs().max() < 1e-4
    assert bool((values[0] >= values[1]).all())


def test_crop_and_small_regions():
    image, maps = object_and_maps()
    k = centred_fft(maps * image)
    found, values = espirit(middle(k, 16, 16), (32, 32), crop=0.9)
    assert bool((found.abs().sum(1) > 0).eq(values > 0.9).all())
    assert kernel_size((24, 24)) == (6, 6)
    assert kernel_size((24, 4)) == (6, 2)
    assert kernel_size((1, 2)) == (1, 2)
    with pytest.raises(ShapeError, match="6 x 6 kernel"):
        espirit(middle(k, 5, 5), (32, 32), kernel=6)
    with pytest.raises(ShapeError, match="one or two map sets"):
        espirit(middle(k, 16, 16), (32, 32), sets=3)
