import math

import pytest
import torch

from operators.errors import ShapeError
from operators.fourier import centred_fft, centred_ifft
from operators.mri.coils import (
    calibration_box,
    compression_matrix,
    low_resolution_images,
    mix_coils,
    noise_covariance,
    rotate_maps,
    rss,
    sensitivities,
    whitening_matrix,
)


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def slice_of(n=32, coils=4):
    y, x = torch.meshgrid(torch.linspace(-1, 1, n).double(), torch.linspace(-1, 1, n).double(), indexing="ij")
    image = ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1) * (1 + 0.3 * torch.cos(4 * x)) * torch.exp(1j * (2 * x + y))
    angle = 2 * torch.pi * torch.arange(coils)[:, None, None] / coils
    maps = torch.exp(-((x - torch.cos(angle)) ** 2 + (y - torch.sin(angle)) ** 2) / 2 + 1j * angle)
    return image, maps / torch.linalg.vector_norm(maps, dim=0)


@pytest.mark.parametrize("method", ["espirit", "walsh", "low-resolution"])
def test_maps_combine_coils_into_a_nearly_real_image(method):
    image, maps = slice_of()
    k = centred_fft(maps * image)
    found = sensitivities(k[:, 6:26, 6:26], (32, 32), method, crop=0.0)[0]
    combined = (found.conj() * maps * image).sum(0)
    inside = image.abs() > 0.5
    assert (combined[inside].abs() / image[inside].abs()).min() > 0.97
    assert combined[inside].angle().abs().max() < 0.35
    turned = sensitivities(k[:, 6:26, 6:26] * torch.exp(torch.tensor(1j)), (32, 32), method, crop=0.0)[0]
    again = (turned.conj() * maps * image * torch.exp(torch.tensor(1j))).sum(0)
    torch.testing.assert_close(again[inside], combined[inside], rtol=1e-6, atol=1e-6)


def test_a_dead_coil_gets_a_map_of_zeros():
    image, maps = slice_of()
    k = centred_fft(maps * image)
    k[2] = 0
    found = sensitivities(k[:, 6:26, 6:26], (32, 32))
    assert found[:, 2].abs().max() == 0
    assert found[:, 1].abs().max() > 0
    assert sensitivities(torch.zeros_like(k), (32, 32)).abs().max() == 0


def test_rotated_maps_make_the_reference_real():
    maps, images = normal(2, 3, 4, 5), normal(3, 4, 5, seed=1)
    combined = (rotate_maps(maps, images).conj() * images).sum(1)
    assert combined.imag.abs().max() < 1e-12
    assert combined.real.min() >= 0


def test_calibration_box():
    mask = torch.zeros(1, 20)
    mask[0, ::4] = 1
    mask[0, 7:14] = 1  # seven lines: six of them lie symmetric about column 10
    assert calibration_box(mask.expand(12, 20)) == (slice(0, 12), slice(7, 13))
    assert calibration_box(torch.ones(5, 4)) == (slice(0, 5), slice(0, 4))
    assert calibration_box(torch.zeros(6, 6)) == (slice(3, 3), slice(3, 3))
    disc = torch.hypot(*torch.meshgrid(torch.arange(-10.0, 10), torch.arange(-10.0, 10), indexing="ij")) < 5
    box = calibration_box(disc)
    assert bool(disc[box].all())
    assert box[0].stop - box[0].start >= 6


def test_low_resolution_image_of_the_whole_k_space_is_a_blurred_image():
    image, _maps = slice_of()
    low = low_resolution_images(centred_fft(image[None])[:, 8:24, 8:24], (32, 32))[0]
    assert low.shape == (32, 32)
    assert (low - image).abs()[14:18, 14:18].max() < 0.3
    constant = low_resolution_images(centred_fft(torch.ones(1, 8, 8).cdouble())[:, 4:5, 4:5], (8, 8))
    torch.testing.assert_close(constant, torch.ones(1, 8, 8).cdouble())


def test_whitening_gives_unit_noise():
    mixing = normal(3, 3, seed=2)
    noise = mixing @ normal(3, 20000)
    W = whitening_matrix(noise_covariance(noise))
    white = mix_coils(W, noise)
    torch.testing.assert_close(noise_covariance(white), 2 * torch.eye(3).cdouble(), rtol=0, atol=1e-10)
    assert white.real.std() == pytest.approx(1, abs=0.02)
    noise[1] = 0
    with pytest.raises(ShapeError, match="coil 1 is dead"):
        whitening_matrix(noise_covariance(noise))
    with pytest.raises(ShapeError, match="needs 6 samples"):
        noise_covariance(noise[:, :4])


def test_compression_keeps_the_energy():
    signal = normal(8, 2, seed=3) @ normal(2, 50)
    W = compression_matrix(signal)
    assert W.shape == (2, 8)
    torch.testing.assert_close(rss(mix_coils(W, signal), 0), rss(signal, 0))
    assert compression_matrix(signal, 5).shape == (5, 8)
    with pytest.raises(ShapeError, match="1 up to 8"):
        compression_matrix(signal, 9)
    with pytest.raises(ShapeError, match="combines 8 coils"):
        mix_coils(W, signal[:3])


def test_rss_of_coil_images_is_the_image():
    image, maps = slice_of()
    torch.testing.assert_close(rss(centred_ifft(centred_fft(maps * image)), 0), image.abs(), atol=1e-12, rtol=1e-9)
    assert math.isclose(float(rss(torch.tensor([3.0, 4.0]), 0)), 5.0)
