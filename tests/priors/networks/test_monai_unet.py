"""MONAI's UNet as a prior, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from operators.errors import ShapeError
from recon3d.errors import ModelError
from recon3d.priors import Card, Model
from recon3d.priors.coordinates import build_denoiser
from recon3d.priors.networks import build_network, recognise


def architecture(spatial_dims: int, **changes: Any) -> dict[str, Any]:
    settings = {"spatial_dims": spatial_dims, "channels": [32, 64], "num_res_blocks": [1, 2]}
    flags = {"attention_levels": [False, True], "in_channels": 1, "out_channels": 1, "resblock_updown": False}
    return {"kind": "monai_unet", **settings, **flags, **changes}


def model(spatial_dims: int, **changes: Any) -> Model:
    settings = architecture(spatial_dims, **changes)
    card = Card(
        name="toy", modality="any", units="1", scale=1.0, sigma_min=0.01, sigma_max=157.0, sigma_data=0.25,
        voxel_mm=None, spatial_dims=spatial_dims, coordinates={"kind": "vp"}, architecture=settings, licence="MIT",
        complex_image=settings["in_channels"] == 2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_denoiser(card, build_network(settings)).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Model(card, network)


@pytest.mark.parametrize("updown", [False, True])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_architecture_is_seen_in_names_and_shapes(spatial_dims: int, updown: bool) -> None:
    settings = architecture(spatial_dims, resblock_updown=updown)
    network = build_network(settings)
    assert recognise({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}) == settings


def test_a_2d_network_denoises_slices_and_a_3d_one_volumes() -> None:
    x = torch.rand(3, 9, 10, generator=torch.Generator().manual_seed(1))
    flat, deep = model(2), model(3)
    answers = [prior.denoise(x, 0.3) for prior in (flat, deep)]
    assert [answer.shape for answer in answers] == [x.shape, x.shape]
    torch.testing.assert_close(flat.denoise(x[1:2], 0.3), answers[0][1:2])
    alone = torch.nn.functional.pad(x[None, None], (0, 0, 0, 1, 0, 1), mode="replicate")
    expected = deep.network(alone, torch.tensor([0.3]))[0, 0, :3, :9]
    torch.testing.assert_close(answers[1], expected)
    stacked = deep.denoise(torch.stack([x, 2 * x]), torch.tensor([0.3, 0.1]))
    torch.testing.assert_close(stacked[0], answers[1])
    torch.testing.assert_close(stacked[1], deep.denoise(2 * x, 0.1))


def test_complex_volumes_are_two_channels() -> None:
    deep = model(3, in_channels=2, out_channels=2)
    x = torch.randn(4, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    expected = deep.network(torch.stack([x.real, x.imag])[None], torch.tensor([0.5]))[0]
    torch.testing.assert_close(deep.denoise(x, 0.5), torch.complex(expected[0], expected[1]))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"\(\.\.\., z, y, x\)"):
        model(3).denoise(torch.rand(4, 4), 0.5)
    with pytest.raises(ShapeError, match="condition of shape"):
        model(3).denoise(torch.rand(4, 4, 4), 0.5, torch.rand(4, 4, 2))
    with pytest.raises(ModelError, match="monai_unet"):
        build_network(architecture(2, channels=[33, 64]))
