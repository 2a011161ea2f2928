"""ADM: the names and shapes of the published files, and a forward pass written out from a state dict."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.errors import ModelError
from recon3d.priors.networks import build_network
from recon3d.priors.networks.adm import recognise, sinusoids

Shapes = dict[str, tuple[int, ...]]


def res(prefix: str, inputs: int, outputs: int, embedding: int = 1024) -> Shapes:
    shapes: Shapes = {
        f"{prefix}.in_layers.0": (inputs,),
        f"{prefix}.in_layers.2": (outputs, inputs, 3, 3),
        f"{prefix}.emb_layers.1": (2 * outputs, embedding),
        f"{prefix}.out_layers.0": (outputs,),
        f"{prefix}.out_layers.3": (outputs, outputs, 3, 3),
    }
    return shapes | ({f"{prefix}.skip_connection": (outputs, inputs, 1, 1)} if inputs != outputs else {})


def attention(prefix: str, width: int) -> Shapes:
    return {f"{prefix}.norm": (width,), f"{prefix}.qkv": (3 * width, width, 1), f"{prefix}.proj_out": (width, width, 1)}


def published(image: int, attends: bool) -> Shapes:
    """The two files of DDS, layer by layer (the table of its sheet); `attends` at feature size 16."""
    layers: Shapes = {"time_embed.0": (1024, 256), "time_embed.2": (1024, 1024)}
    layers |= {"input_blocks.0.0": (256, image, 3, 3)}
    layers |= res("input_blocks.1.0", 256, 256) | res("input_blocks.2.0", 256, 256)
    layers |= res("input_blocks.3.0", 256, 256) | res("input_blocks.4.0", 256, 256)
    layers |= res("input_blocks.5.0", 256, 512) | res("input_blocks.6.0", 512, 512)
    layers |= res("input_blocks.7.0", 512, 512) | res("input_blocks.8.0", 512, 512)
    layers |= res("input_blocks.9.0", 512, 1024) | res("input_blocks.10.0", 1024, 1024)
    layers |= res("input_blocks.11.0", 1024, 1024)
    layers |= res("middle_block.0", 1024, 1024) | attention("middle_block.1", 1024) | res("middle_block.2", 1024, 1024)
    layers |= res("output_blocks.0.0", 2048, 1024) | res("output_blocks.1.0", 2048, 1024)
    layers |= res("output_blocks.1.1", 1024, 1024) | res("output_blocks.2.0", 2048, 1024)
    layers |= res("output_blocks.3.0", 1536, 1024) | res(f"output_blocks.3.{2 if attends else 1}", 1024, 1024)
    if attends:
        layers |= attention("input_blocks.9.1", 1024)
        layers |= attention("output_blocks.2.1", 1024) | attention("output_blocks.3.1", 1024)
    for number, inputs, outputs in ((4, 1536, 512), (6, 1024, 512), (8, 768, 256), (10, 512, 256)):
        layers |= res(f"output_blocks.{number}.0", inputs, outputs)
    for number, inputs, outputs in ((5, 1024, 512), (7, 768, 512), (9, 512, 256), (11, 512, 256)):
        layers |= res(f"output_blocks.{number}.0", inputs, outputs)
        layers |= res(f"output_blocks.{number}.1", outputs, outputs) if number < 11 else {}
    layers |= {"out.0": (256,), "out.2": (2 * image, 256, 3, 3)}
    weights = {f"{name}.weight": shape for name, shape in layers.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in layers.items()}


@pytest.mark.parametrize(
    ("image", "levels", "keys", "parameters"),
    [(1, [4], 362, 374_022_658), (2, [], 344, 361_428_228)],
    ids=["AAPM256", "fastMRI-320"],
)
def test_published_files_fit_by_name_and_shape(image: int, levels: list[int], keys: int, parameters: int) -> None:
    shapes = published(image, attends=bool(levels))
    architecture = {
        "kind": "adm", "channels": [256, 256, 512, 512, 1024, 1024], "blocks": 1, "attention": levels,
        "image_channels": image, "out_channels": 2 * image,
    }  # fmt: skip
    assert recognise(shapes) == architecture
    with torch.device("meta"):
        network = build_network(architecture)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == shapes
    assert (len(shapes), sum(math.prod(shape) for shape in shapes.values())) == (keys, parameters)


class Written:
    """The forward pass from a state dict, one plain step after the other; two levels, attention on the lower one."""

    def __init__(self, weights: dict[str, Tensor], heads: int) -> None:
        self.weights, self.heads = weights, heads

    def affine(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.affine(name)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        groups = x.reshape(x.shape[0], 32, -1)
        mean, variance = groups.mean(2, keepdim=True), groups.var(2, unbiased=False, keepdim=True)
        weight, bias = (p.reshape(1, -1, 1, 1) for p in self.affine(name))
        return ((groups - mean) / (variance + 1e-5).sqrt()).reshape(x.shape) * weight + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.affine(name)
        return x @ weight.T + bias

    def res(self, name: str, x: Tensor, emb: Tensor, sides: str = "kept") -> Tensor:
        h = silu(self.norm(f"{name}.in_layers.0", x))
        if sides == "halved":
            h, x = (v.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1)) for v in (h, x))
        if sides == "doubled":
            h, x = (v.repeat_interleave(2, 2).repeat_interleave(2, 3) for v in (h, x))
        h = self.norm(f"{name}.out_layers.0", self.conv(f"{name}.in_layers.2", h))
        modulation = self.linear(f"{name}.emb_layers.1", silu(emb))
        channels = h.shape[1]
        scale, shift = modulation[:, :channels, None, None], modulation[:, channels:, None, None]
        h = self.conv(f"{name}.out_layers.3", silu(h * (1 + scale) + shift))
        skip = self.conv(f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in self.weights else x
        return skip + h

    def attend(self, name: str, x: Tensor) -> Tensor:
        batch, channels, rows, columns = x.shape
        weight, bias = self.affine(f"{name}.qkv")
        qkv = torch.einsum("oc,bcn->bon", weight[:, :, 0], self.norm(f"{name}.norm", x).flatten(2)) + bias[:, None]
        width = channels // self.heads
        answers = []
        for head in range(self.heads):
            q, k, v = (qkv[:, (3 * head + part) * width : (3 * head + part + 1) * width] for part in range(3))
            scores = torch.einsum("bcn,bcm->bnm", q * width**-0.25, k * width**-0.25)
            answers.append(torch.einsum("bnm,bcm->bcn", scores.softmax(-1), v))
        weight, bias = self.affine(f"{name}.proj_out")
        h = torch.einsum("oc,bcn->bon", weight[:, :, 0], torch.cat(answers, dim=1)) + bias[:, None]
        return x + h.reshape(batch, channels, rows, columns)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        base = self.weights["time_embed.0.weight"].shape[1]
        angles = torch.stack([t * 10000 ** (-2 * k / base) for k in range(base // 2)], dim=1)
        emb = self.linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], dim=1))
        emb = self.linear("time_embed.2", silu(emb))
        h0 = self.conv("input_blocks.0.0", x)
        h1 = self.res("input_blocks.1.0", h0, emb)
        h2 = self.res("input_blocks.2.0", h1, emb, "halved")
        h3 = self.attend("input_blocks.3.1", self.res("input_blocks.3.0", h2, emb))
        h = self.attend("middle_block.1", self.res("middle_block.0", h3, emb))
        h = self.res("middle_block.2", h, emb)
        h = self.res("output_blocks.0.0", torch.cat([h, h3], 1), emb)
        h = self.attend("output_blocks.0.1", h)
        h = self.res("output_blocks.1.0", torch.cat([h, h2], 1), emb)
        h = self.res("output_blocks.1.2", self.attend("output_blocks.1.1", h), emb, "doubled")
        h = self.res("output_blocks.2.0", torch.cat([h, h1], 1), emb)
        h = self.res("output_blocks.3.0", torch.cat([h, h0], 1), emb)
        return self.conv("out.2", silu(self.norm("out.0", h)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def test_the_network_is_the_forward_pass_written_out() -> None:
    torch.manual_seed(0)
    settings = {"channels": [32, 64], "blocks": 1, "attention": [1], "image_channels": 2, "out_channels": 4}
    network = build_network({"kind": "adm", "head_channels": 32, **settings}).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, t = torch.randn(2, 2, 8, 12, dtype=torch.float64), torch.tensor([0.0, 417.25], dtype=torch.float64)
    with torch.no_grad():
        answer, expected = network(x, t), Written(network.state_dict(), heads=2)(x, t)
    assert answer.shape == (2, 4, 8, 12)
    # The frequencies of the embedding are float32, as in the public code.
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)


def test_times_are_cosines_then_sines_of_falling_frequency() -> None:
    """By hand at width 4: frequencies 1 and 0.01; times between the training times are no special case."""
    for t in (0.0, 1.0, 20.5, 980.0):
        expected = [math.cos(t), math.cos(t / 100), math.sin(t), math.sin(t / 100)]
        torch.testing.assert_close(sinusoids(torch.tensor([t]), 4)[0], torch.tensor(expected), rtol=1e-5, atol=1e-4)


def test_strangers_are_not_recognised() -> None:
    shapes = published(1, attends=True)
    assert recognise({name: shape for name, shape in shapes.items() if not name.startswith("time_embed")}) is None
    assert recognise({name: shape for name, shape in shapes.items() if not name.startswith("output_blocks")}) is None


@pytest.mark.parametrize("settings", [{"channels": [48]}, {"channels": [32, 64], "attention": [2]}, {"blocks": 0}])
def test_settings_that_make_no_network_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="make no U-Net"):
        build_network({"kind": "adm", **settings})


def test_bfloat16_sees_noise_that_its_rounding_would_hide() -> None:
    """The first convolution is in float32: 1e-4 of noise on an image of ones is below half a step of bfloat16."""
    torch.manual_seed(0)
    network = build_network({"kind": "adm", "channels": [32, 64], "attention": [1], "head_channels": 32}).eval()
    for name, parameter in network.named_parameters():
        if name != "all_modules.0.W":
            torch.nn.init.normal_(parameter, std=0.1)
    x, level = torch.ones(1, 1, 8, 8), torch.tensor([300.0])
    with torch.no_grad():
        full = network(x, level)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half, moved = network(x, level), network(x + 1e-4 * torch.randn(x.shape), level)
    assert (half - full).norm() / full.norm() < 0.05
    assert not torch.equal(half, moved)
