"""Regression denoisers: the answer at their own sigma, a sentence at any other, and the layouts of published files."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.errors import ModelError
from recon3d.priors import Card, Model
from recon3d.priors.coordinates import build_denoiser
from recon3d.priors.networks import build_network, dncnn, drunet
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


def test_drunet_is_its_chain_of_blocks() -> None:
    """Against the forward pass written out from the keys of the published files."""
    torch.manual_seed(2)
    net = build_network({"kind": "drunet", "channels": [4, 6, 8, 10], "blocks": 2})
    weights, x = net.state_dict(), torch.rand(2, 2, 16, 24)

    def blocks(h: Tensor, prefix: str, numbers: range) -> Tensor:
        for k in numbers:
            inner = F.conv2d(h, weights[f"{prefix}.{k}.res.0.weight"], padding=1).clamp_min(0)
            h = h + F.conv2d(inner, weights[f"{prefix}.{k}.res.2.weight"], padding=1)
        return h

    with torch.no_grad():
        x1 = F.conv2d(x, weights["m_head.weight"], padding=1)
        x2 = F.conv2d(blocks(x1, "m_down1", range(2)), weights["m_down1.2.weight"], stride=2)
        x3 = F.conv2d(blocks(x2, "m_down2", range(2)), weights["m_down2.2.weight"], stride=2)
        x4 = F.conv2d(blocks(x3, "m_down3", range(2)), weights["m_down3.2.weight"], stride=2)
        h = blocks(x4, "m_body", range(2)) + x4
        h = blocks(F.conv_transpose2d(h, weights["m_up3.0.weight"], stride=2), "m_up3", range(1, 3)) + x3
        h = blocks(F.conv_transpose2d(h, weights["m_up2.0.weight"], stride=2), "m_up2", range(1, 3)) + x2
        h = blocks(F.conv_transpose2d(h, weights["m_up1.0.weight"], stride=2), "m_up1", range(1, 3)) + x1
        torch.testing.assert_close(net(x), F.conv2d(h, weights["m_tail.weight"], padding=1))


def test_layouts_are_recognised_from_names_and_shapes() -> None:
    with torch.device("meta"):
        ours = build_network({"kind": "drunet"})
        seventeen = build_network({"kind": "dncnn", "depth": 17})
        told = build_network({"kind": "dncnn", "depth": 5, "channels": 8, "bias": False, "noise_map": True})
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert drunet.recognise(shapes) == {
        "kind": "drunet", "channels": [64, 128, 256, 512], "blocks": 4, "image_channels": 1,
    }  # fmt: skip
    assert dncnn.recognise(shapes) is None
    for net, depth, channels, bias, noise_map in ((seventeen, 17, 64, True, False), (told, 5, 8, False, True)):
        shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        found = dncnn.recognise(shapes)
        assert found is not None
        architecture = {"kind": "dncnn", "depth": depth, "channels": channels, "image_channels": 1}
        assert found[0] == {**architecture, "bias": bias, "noise_map": noise_map}
        assert list(found[1]) == list(found[1].values())
        assert drunet.recognise(shapes) is None
    shapes["model.2.weight"] = (8, 9, 3, 3)
    assert dncnn.recognise(shapes) is None


def test_the_layout_of_red_psm_is_a_chain_by_other_names() -> None:
    """First convolution, six hidden ones, last one; 64 channels, 222,785 parameters in all."""
    layers = ["init_layer.0", *(f"main.{k}.0" for k in range(6)), "final_layer"]
    widths = [1, *[64] * 7, 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in zip(layers, widths[:-1], widths[1:], strict=True):
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}
    found = dncnn.recognise(shapes)
    assert found is not None
    architecture, names = found
    network = build_network(architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == 222_785
    assert {ours: tuple(t.shape) for ours, t in network.state_dict().items()} == {
        o: shapes[t] for o, t in names.items()
    }
    assert names["model.14.bias"] == "final_layer.bias"


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
