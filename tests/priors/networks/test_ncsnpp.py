"""NCSN++: the names and shapes of the published files, and a forward pass written out from a state dict."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.errors import ModelError
from recon3d.priors.networks import build_network
from recon3d.priors.networks.ncsnpp import downsampled, filtered, recognise, upsampled

Shapes = dict[str, tuple[int, ...]]


def published(image: int) -> Shapes:
    """The files of DiffusionMBIR, module by module (the table of its sheet)."""
    shapes: Shapes = {"sigmas": (2000,)}

    def module(k: int, **layers: tuple[int, ...]) -> None:
        for name, shape in layers.items():
            place = f"all_modules.{k}" + (f".{name}" if name != "_" else "")
            shapes[f"{place}.weight"] = shape
            shapes[f"{place}.bias"] = shape[:1]

    def res(k: int, inputs: int, outputs: int, resampled: bool = False) -> None:
        layers = {"GroupNorm_0": (inputs,), "Conv_0": (outputs, inputs, 3, 3), "Dense_0": (outputs, 512)}
        layers |= {"GroupNorm_1": (outputs,), "Conv_1": (outputs, outputs, 3, 3)}
        layers |= {"Conv_2": (outputs, inputs, 1, 1)} if inputs != outputs or resampled else {}
        module(k, **layers)

    shapes["all_modules.0.W"] = (128,)
    module(1, _=(512, 256))
    module(2, _=(512, 512))
    module(3, _=(128, image, 3, 3))
    for k, inputs, outputs in (
        *((k, 128, 128) for k in range(4, 8)),
        (10, 128, 256),
        *((k, 256, 256) for k in range(11, 14)),
    ):
        res(k, inputs, outputs)
    for k in (*range(16, 20), *range(22, 27), 28):
        res(k, 256, 256)
    for k, width in ((8, 128), (14, 256), (20, 256), (34, 256), (40, 256), (46, 256)):
        res(k, width, width, resampled=True)
    for k, inputs, outputs in ((9, image, 128), (15, 128, 256), (21, 256, 256)):
        module(k, Conv2d_0=(outputs, inputs, 3, 3))
    module(27, GroupNorm_0=(256,))
    for number in range(4):
        shapes |= {f"all_modules.27.NIN_{number}.W": (256, 256), f"all_modules.27.NIN_{number}.b": (256,)}
    for k in (*range(29, 34), *range(35, 40), *range(41, 45)):
        res(k, 512, 256)
    res(45, 384, 256)
    res(47, 384, 128)
    for k in range(48, 52):
        res(k, 256, 128)
    module(52, _=(128,))
    module(53, _=(image, 128, 3, 3))
    return shapes


def test_published_files_fit_by_name_and_shape() -> None:
    shapes = published(image=1)
    architecture = {
        "kind": "ncsnpp",
        "channels": [128, 256, 256, 256],
        "blocks": 4,
        "image_channels": 1,
        "scales": 2000,
    }
    assert recognise(shapes) == architecture
    with torch.device("meta"):
        network = build_network(architecture)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == shapes
    assert (len(shapes), sum(math.prod(shape) for shape in shapes.values())) == (522, 61_435_601)
    assert sum(parameter.requires_grad for parameter in network.parameters()) == 520  # what an EMA list holds
    assert recognise(published(image=2)) == {**architecture, "image_channels": 2}


class Written:
    """The forward pass from a state dict, one plain step after the other: two levels with two blocks each."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name.removeprefix("all_modules."): tensor for name, tensor in weights.items()}

    def affine(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.affine(name)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        groups = x.reshape(x.shape[0], min(x.shape[1] // 4, 32), -1)
        mean, variance = groups.mean(2, keepdim=True), groups.var(2, unbiased=False, keepdim=True)
        weight, bias = (p.reshape(1, -1, 1, 1) for p in self.affine(name))
        return ((groups - mean) / (variance + 1e-6).sqrt()).reshape(x.shape) * weight + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.affine(name)
        return x @ weight.T + bias

    def res(self, k: int, x: Tensor, emb: Tensor, sides: str = "kept") -> Tensor:
        h = swish(self.norm(f"{k}.GroupNorm_0", x))
        if sides == "halved":
            h, x = (fir(v, pad=(1, 1), down=2) for v in (h, x))
        if sides == "doubled":
            h, x = (fir(v, pad=(2, 1), up=2) for v in (h, x))
        h = self.conv(f"{k}.Conv_0", h) + self.linear(f"{k}.Dense_0", swish(emb))[:, :, None, None]
        h = self.conv(f"{k}.Conv_1", swish(self.norm(f"{k}.GroupNorm_1", h)))
        skip = self.conv(f"{k}.Conv_2", x) if f"{k}.Conv_2.weight" in self.weights else x
        return (skip + h) / math.sqrt(2)

    def attend(self, k: int, x: Tensor) -> Tensor:
        h = self.norm(f"{k}.GroupNorm_0", x)

        def nin(number: int, v: Tensor) -> Tensor:
            bias = self.weights[f"{k}.NIN_{number}.b"][:, None, None]
            return torch.einsum("bihw,io->bohw", v, self.weights[f"{k}.NIN_{number}.W"]) + bias

        q, key, v = (nin(number, h) for number in range(3))
        scores = torch.einsum("bchw,bcij->bhwij", q, key) * x.shape[1] ** -0.5
        shape = scores.shape
        shares = scores.reshape(*shape[:3], -1).softmax(-1).reshape(shape)
        return (x + nin(3, torch.einsum("bhwij,bcij->bchw", shares, v))) / math.sqrt(2)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        angles = 2 * math.pi * sigma.log()[:, None] * self.weights["0.W"]
        emb = self.linear("1", torch.cat([angles.sin(), angles.cos()], dim=1))
        emb = self.linear("2", swish(emb))
        x = 2 * x - 1
        h3 = self.conv("3", x)
        h4 = self.res(4, h3, emb)
        h5 = self.res(5, h4, emb)
        h6 = self.res(6, h5, emb, "halved")
        weight, bias = self.affine("7.Conv2d_0")
        pyramid = F.conv2d(fir(x, pad=(2, 2)), weight, bias, stride=2)
        h7 = (pyramid + h6) / math.sqrt(2)
        h8 = self.res(8, h7, emb)
        h9 = self.res(9, h8, emb)
        h = self.res(12, self.attend(11, self.res(10, h9, emb)), emb)
        for k, skip in ((13, h9), (14, h8), (15, h7)):
            h = self.res(k, torch.cat([h, skip], 1), emb)
        h = self.res(16, h, emb, "doubled")
        for k, skip in ((17, h5), (18, h4), (19, h3)):
            h = self.res(k, torch.cat([h, skip], 1), emb)
        return self.conv("21", swish(self.norm("20", h))) / sigma[:, None, None, None]


def swish(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def fir(x: Tensor, pad: tuple[int, int], up: int = 1, down: int = 1) -> Tensor:
    """Zeros between the pixels, zeros around, the taps 1 3 3 1 along both axes, every `down`-th pixel."""
    batch, channels, rows, columns = x.shape
    spread = x.new_zeros(batch, channels, rows, up, columns, up)
    spread[:, :, :, 0, :, 0] = x
    spread = F.pad(spread.reshape(batch, channels, rows * up, columns * up), (*pad, *pad))
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8 * up
    for axis in (2, 3):
        length = spread.shape[axis] - 3
        spread = sum((taps[k] * spread.narrow(axis, k, length) for k in range(4)), torch.zeros(()))
    return spread[:, :, ::down, ::down]


def test_the_network_is_the_forward_pass_written_out() -> None:
    torch.manual_seed(0)
    settings = {"channels": [16, 24], "blocks": 2, "image_channels": 2, "scales": 3}
    network = build_network({"kind": "ncsnpp", **settings}).double().eval()
    for name, parameter in network.named_parameters():
        if name != "all_modules.0.W":
            torch.nn.init.normal_(parameter, std=0.1)
    x, sigma = torch.rand(2, 2, 8, 12, dtype=torch.float64), torch.tensor([0.02, 37.8], dtype=torch.float64)
    with torch.no_grad():
        answer, expected = network(x, sigma), Written(network.state_dict())(x, sigma)
    torch.testing.assert_close(answer, expected, rtol=1e-10, atol=1e-10)


def test_filters_are_those_of_their_definition() -> None:
    x = torch.randn(2, 3, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(upsampled(x), fir(x, pad=(2, 1), up=2))
    torch.testing.assert_close(downsampled(x), fir(x, pad=(1, 1), down=2))
    torch.testing.assert_close(filtered(x, padding=2), fir(x, pad=(2, 2)))
    flat = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(upsampled(flat)[..., 2:-2, 2:-2], torch.ones(1, 1, 12, 12))
    torch.testing.assert_close(downsampled(flat)[..., 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


def test_strangers_are_not_recognised() -> None:
    shapes = published(image=1)
    assert recognise({name: shape for name, shape in shapes.items() if "NIN" not in name}) is None
    assert recognise({name: shape for name, shape in shapes.items() if not name.startswith("all_modules.0")}) is None


def test_settings_that_make_no_network_are_named() -> None:
    with pytest.raises(ModelError, match="no score network"):
        build_network({"kind": "ncsnpp", "channels": []})


def test_bfloat16_sees_noise_that_its_rounding_would_hide() -> None:
    """The first convolution is in float32: 1e-4 of noise on an image of ones is below half a step of bfloat16."""
    torch.manual_seed(0)
    network = build_network({"kind": "ncsnpp", "channels": [16, 24], "blocks": 2, "scales": 3}).eval()
    for name, parameter in network.named_parameters():
        if name != "all_modules.0.W":
            torch.nn.init.normal_(parameter, std=0.1)
    x, level = torch.ones(1, 1, 8, 8), torch.tensor([0.05])
    with torch.no_grad():
        full = network(x, level)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half, moved = network(x, level), network(x + 1e-4 * torch.randn(x.shape), level)
    assert (half - full).norm() / full.norm() < 0.05
    assert not torch.equal(half, moved)
