"""Regression denoisers: the answer at their own sigma, a sentence at any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.errors import ModelError
from recon3d.priors import Card, Model
from recon3d.priors.coordinates import build_denoiser
from recon3d.priors.networks import build_network
from recon3d.priors.regression import BlindDenoiser, NoiseMapDenoiser


def card(architecture: dict[str, Any], coordinates: dict[str, Any], **changes: Any) -> Card:
    settings = {
        "name": "toy", "modality": "any", "units": "1", "scale": 1.0, "sigma_min": 0.1, "sigma_max": 0.1,
        "sigma_data": 0.25, "voxel_mm": None, "licence": "MIT",
        "architecture": architecture, "coordinates": coordinates,
    }  # fmt: skip
    return Card.model_validate({**settings, **changes})


def model(architecture: dict[str, Any], coordinates: dict[str, Any], **changes: Any) -> Model:
    torch.manual_seed(0)
    network = build_denoiser(card(architecture, coordinates), build_network(architecture))
    return Model(card(architecture, coordinates, **changes), network.eval().requires_grad_(False))


def chain(weights: dict[str, Tensor], x: Tensor, depth: int) -> Tensor:
    """The convolutions of a DnCNN, one after the other."""
    for k in range(depth):
        x = F.conv2d(x, weights[f"model.{2 * k}.weight"], weights.get(f"model.{2 * k}.bias"), padding=1)
        x = x.clamp_min(0) if k < depth - 1 else x
    return x


@pytest.mark.parametrize("residual", [True, False])
def test_dncnn_answers_at_its_own_sigma(residual: bool) -> None:
    prior = model({"kind": "dncnn", "depth": 4, "channels": 6}, {"kind": "blind", "residual": residual})
    x = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(1))
    answer = chain(prior.network.network.state_dict(), x[:, None], depth=4)[:, 0]  # type: ignore[union-attr,operator]
    torch.testing.assert_close(prior.denoise(x, 0.1), x - answer if residual else answer)
    torch.testing.assert_close(prior.denoise(x, 0.10005), prior.denoise(x, 0.1))
    with pytest.raises(ModelError, match=r"trained for sigma 0\.1 and is not told which, asked at 0\.05"):
        prior.denoise(x, 0.05)
    with pytest.raises(ModelError, match=r"asked at 0\.1 to 0\.3"):
        prior.denoise(x, torch.tensor([0.1, 0.1, 0.3]))


def test_a_blind_denoiser_of_a_range_answers_in_it() -> None:
    blind = BlindDenoiser(torch.nn.Identity(), residual=False, sigma_min=0.01, sigma_max=0.05)
    x = torch.rand(2, 1, 4, 4)
    assert blind(x, torch.tensor([0.01, 0.05])) is x
    with pytest.raises(ModelError, match=r"sigma 0\.01 to 0\.05"):
        blind(x, torch.tensor([0.06, 0.02]))


@pytest.mark.parametrize("residual", [True, False])
def test_a_noise_map_is_a_channel_of_sigma(residual: bool) -> None:
    x, sigma = torch.rand(2, 1, 3, 4), torch.tensor([0.1, 0.4])
    told = NoiseMapDenoiser(torch.nn.Conv2d(2, 1, 1, bias=False), residual)
    with torch.no_grad():
        told.network.weight.copy_(torch.tensor([0.5, 2.0])[None, :, None, None])  # type: ignore[union-attr,operator]
        answer = 0.5 * x + 2 * sigma[:, None, None, None]
        torch.testing.assert_close(told(x, sigma), x - answer if residual else answer)


@pytest.mark.parametrize(
    ("architecture", "coordinates", "message"),
    [
        ({"kind": "dncnn", "depth": 1}, {"kind": "blind"}, "no chain"),
        ({"kind": "drunet", "channels": [4, 4]}, {"kind": "noise_map"}, "no DRUNet"),
        ({"kind": "dncnn", "depth": 3}, {"kind": "noise_map"}, "a channel for sigma"),
        ({"kind": "drunet", "channels": [4] * 4}, {"kind": "blind"}, "a channel for sigma"),
        ({"kind": "dncnn", "depth": 3}, {"kind": "deaf"}, "got 'deaf'"),
        ({"kind": "dncnn", "depth": 3}, {"kind": "blind", "loud": 1}, "loud"),
    ],
)
def test_what_does_not_go_together_is_named(architecture: Any, coordinates: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(architecture, coordinates)
