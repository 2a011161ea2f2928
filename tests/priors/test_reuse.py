"""Slice reuse against the plain network: where it must agree, and what an odd slice sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recon3d.errors import ModelError
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.model import Model
from recon3d.priors.networks import build_network
from recon3d.priors.reuse import SliceReuse


def model(micro_batch: int = 4, complex_image: bool = False) -> Model:
    architecture = {"kind": "unet2d", "channels": [8, 16], "patch": 1, "image_channels": 2 if complex_image else 1}
    inner = build_network(architecture)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    card = Card(
        name="random", modality="ct", units="1/mm", scale=0.04, sigma_min=0.01, sigma_max=8.0, sigma_data=0.3, mean=0.2,
        voxel_mm=(0.5, 2.0), architecture=architecture, licence="none", complex_image=complex_image,
    )  # fmt: skip
    denoiser = EDMDenoiser(inner, 0.3, 0.2).eval().requires_grad_(False)
    return Model(card, denoiser, micro_batch=micro_batch, half=False)


def image(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_a_volume_without_change_along_z_is_denoised_as_by_the_plain_network() -> None:
    x = image(1, 17, 16).expand(7, 17, 16).contiguous()
    plain = model()
    torch.testing.assert_close(SliceReuse(plain).denoise(x, 0.5), plain.denoise(x, 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 16, 16), (6, 16, 16), (1, 16, 16), (2, 5, 16, 16)])
def test_even_slices_are_those_of_the_plain_network_and_odd_ones_are_near(shape: tuple[int, ...]) -> None:
    plain, x = model(), image(*shape)
    found, expected = SliceReuse(plain).denoise(x, 0.5), plain.denoise(x, 0.5)
    assert torch.equal(found[..., 0::2, :, :], expected[..., 0::2, :, :])
    if shape[-3] > 1:
        odd, wanted = found[..., 1::2, :, :], expected[..., 1::2, :, :]
        assert not torch.equal(odd, wanted)
        assert float((odd - wanted).norm()) < 0.2 * float(wanted.norm())


def test_odd_slices_by_hand() -> None:
    """Slice 1 of three: its own finest level, the mean of the deep features of slices 0 and 2."""
    plain, x = model(), image(3, 16, 16)
    deep, sigma = [], torch.tensor([0.5])

    def keep(compute):  # type: ignore[no-untyped-def]
        deep.append(compute())
        return deep[-1]

    for k in (0, 2):
        plain.network(x[k][None, None], sigma, around_deep=keep)
    expected = plain.network(x[1][None, None], sigma, around_deep=lambda compute: (deep[0] + deep[1]) / 2)
    torch.testing.assert_close(SliceReuse(plain).denoise(x, 0.5)[1], expected[0, 0], rtol=1e-5, atol=1e-6)


def test_batches_do_not_matter_and_complex_images_pass() -> None:
    for kind in (torch.float32, torch.complex64):
        x = image(9, 16, 16, dtype=kind)
        found = [SliceReuse(model(n, kind.is_complex)).denoise(x, 0.3) for n in (1, 4, 16)]
        for other in found[1:]:
            torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


def test_a_network_without_deep_features_is_named() -> None:
    with pytest.raises(ModelError, match="The prior plain has no deep features"):
        SliceReuse(SimpleNamespace(card=SimpleNamespace(name="plain")))  # type: ignore[arg-type]
