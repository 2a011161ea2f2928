import pytest
import torch

from operators.errors import ShapeError
from operators.fourier import centred_fft, centred_ifft
from operators.mri.kspace import (
    centre_crop,
    corner_noise,
    partial_fourier,
    remove_oversampling,
    resize_centred,
    sampled,
)
from operators.mri.sampling import PATTERNS, column_mask


def test_crop_and_fill_keep_the_centre():
    for n in (4, 5, 8):
        for m in (3, 4, 7):
            x = torch.zeros(n)
            x[n // 2] = 1
            assert resize_centred(x, 0, m)[m // 2] == 1
    torch.testing.assert_close(centre_crop(torch.arange(6.0), 0, 4), torch.tensor([1.0, 2, 3, 4]))
    with pytest.raises(ShapeError, match="keeps 1 to 6"):
        centre_crop(torch.arange(6.0), 0, 7)


def test_oversampling_is_the_outer_half_of_the_image():
    image = torch.randn(2, 8, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    k = remove_oversampling(centred_fft(image), -2, 4)
    torch.testing.assert_close(centred_ifft(k), image[:, 2:6])
    undersampled = centred_fft(image)
    undersampled[..., ::2] = 0
    assert remove_oversampling(undersampled, -2, 4)[..., ::2].abs().max() < 1e-12


def test_partial_fourier_fills_the_other_side():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32).double(), torch.linspace(-1, 1, 32).double(), indexing="ij")
    image = ((x / 0.7) ** 2 + (y / 0.5) ** 2 < 1) * torch.exp(1j * (x + 0.5 * y))
    k = centred_fft(image)
    part = k.clone()
    part[:, :11] = 0
    filled = partial_fourier(part, -1)
    assert torch.equal(filled[:, 11:], part[:, 11:])
    error = [float((centred_ifft(v) - image).norm()) for v in (part, filled)]
    assert error[1] < 0.55 * error[0]
    assert torch.equal(partial_fourier(k, -1), k)
    part[:, 16] = 0
    with pytest.raises(ShapeError, match="measured centre"):
        partial_fourier(part, -1)


def test_sampled():
    k = torch.zeros(2, 1, 2, 3, dtype=torch.complex64)
    k[1, 0, 1, 2] = 1j
    assert sampled(k).nonzero().tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("n", "low"), [(320, 26), (368, 29), (372, 30), (396, 32)])
def test_masks_keep_the_centre_and_about_as_many_columns(pattern, n, low):
    mask = column_mask(n, 4, 0.08, pattern, "file1000000.h5")
    start = (n - low + 1) // 2
    assert mask[start : start + low].all()
    assert 3.0 < n / mask.sum() < 4.7
    assert (mask == column_mask(n, 4, 0.08, pattern, "file1000000.h5")).all()


@pytest.mark.parametrize(
    ("pattern", "four", "eight"),
    [("random", 4.18, 8.09), ("equispaced", 3.21, 6.20), ("equispaced_fraction", 3.96, 8.27), ("magic", 3.21, 6.20),
     ("magic_fraction", 4.28, 8.27)],
)  # fmt: skip
def test_effective_accelerations_are_those_of_the_public_code(pattern, four, eight):
    for acceleration, fraction, expected in ((4, 0.08, four), (8, 0.04, eight)):
        mask = column_mask(372, acceleration, fraction, pattern, "file1000000.h5")
        assert round(372 / mask.sum(), 2) == expected


def test_masks_refuse_nonsense():
    assert column_mask(8, 1, 0.1).all()
    assert column_mask(100, 4, 0.3, "equispaced_fraction").sum() == 30
    with pytest.raises(ShapeError, match="pattern"):
        column_mask(8, 4, 0.1, "spiral")
    with pytest.raises(ShapeError, match="at least 1"):
        column_mask(8, 0.5, 0.1)


def test_noise_is_read_in_the_corners():
    generator = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(64.0) - 32, torch.arange(80.0) - 40, indexing="ij")
    signal = 1e3 * torch.exp(-(y**2 + x**2) / 50)
    for std in (0.02, 5.0):
        noise = torch.randn(4, 3, 64, 80, 2, generator=generator, dtype=torch.float64)
        kspace = signal + std * torch.view_as_complex(noise)
        assert corner_noise(kspace) == pytest.approx(std, rel=0.05)
        kspace[..., ::2] = 0  # columns that were not measured
        assert corner_noise(kspace) == pytest.approx(std, rel=0.05)
    kspace[..., :10, :] = kspace[..., -10:, :] = 0  # zero filled
    assert corner_noise(kspace) is None
