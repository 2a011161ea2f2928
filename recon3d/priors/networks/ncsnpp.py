"""NCSN++: the score network of score_sde, by the keys of its published state dicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIR = (1.0, 3.0, 3.0, 1.0)
"""Taps of the low-pass filter of every resampling, along each axis."""


class FourierProjection(nn.Module):
    """``[sin, cos](2 pi W log sigma)`` with fixed random W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(channels) * 16, requires_grad=False)

    def forward(self, log_sigma: Tensor) -> Tensor:
        phase = log_sigma[:, None] * self.W * 2 * math.pi
        return torch.cat([phase.sin(), phase.cos()], dim=1)


class ResBlock(nn.Module):
    """BigGAN's block with filtered resampling: (skip(x) + h) / sqrt 2.

    Parameters
    ----------
    resample : 2 doubles the sides, 0.5 halves them, 1 keeps them
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, resample: float = 1.0) -> None:
        super().__init__()
        self.resample = resample
        self.GroupNorm_0 = _norm(inputs)
        self.Conv_0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.Dense_0 = nn.Linear(embedding, outputs)
        self.GroupNorm_1 = _norm(outputs)
        self.Conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs or resample != 1:
            self.Conv_2 = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = F.silu(self.GroupNorm_0(x))
        if self.resample != 1:
            change = downsampled if self.resample < 1 else upsampled
            h, x = change(h), change(x)
        h = self.Conv_0(h) + self.Dense_0(F.silu(embedding))[:, :, None, None]
        h = self.Conv_1(F.silu(self.GroupNorm_1(h)))
        skip = self.Conv_2(x) if hasattr(self, "Conv_2") else x
        return (skip + h) / math.sqrt(2)  # type: ignore[no-any-return]


class NIN(nn.Module):
    """A 1 x 1 convolution whose weight is (input, output)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(channels, channels))
        self.b = nn.Parameter(torch.zeros(channels))
        nn.init.xavier_uniform_(self.W)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, pixel, channel)"""
        return pixels @ self.W + self.b


class Attention(nn.Module):
    """Self-attention over the pixels with one head: (x + h) / sqrt 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.GroupNorm_0 = _norm(channels)
        self.NIN_0, self.NIN_1, self.NIN_2, self.NIN_3 = (NIN(channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.GroupNorm_0(x).flatten(2).mT
        h = F.scaled_dot_product_attention(self.NIN_0(pixels), self.NIN_1(pixels), self.NIN_2(pixels))
        return (x + self.NIN_3(h).mT.reshape(x.shape)) / math.sqrt(2)


class StemConv(nn.Conv2d):
    """A convolution that is done in float32: bfloat16 would drown the noise of small sigma in rounding."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class PyramidConv(nn.Module):
    """Low-pass, then a 3 x 3 convolution on every second pixel: the image at the next level, as features."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv2d_0 = StemConv(inputs, outputs, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.Conv2d_0(filtered(x, padding=2))  # type: ignore[no-any-return]


class NCSNpp(nn.Module):
    """Image (batch, channel, y, x) and sigma (batch,) to the score, (D(x) - x) / sigma^2, of images in 0..1.

    Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole: Score-based generative modeling through SDEs (2021), its network
    for the VE SDE in continuous time with a residual input pyramid, as DiffusionMBIR trained it. The modules have
    numbers for names, in order of construction.

    Parameters
    ----------
    channels : widths of the levels, finest first
    blocks : residual blocks per level on the way down; one more on the way up
    scales : length of `sigmas`, the table of training noise that the files carry, largest first
    """

    sigmas: Tensor
    allows_half = True

    def __init__(
        self,
        channels: Sequence[int] = (128, 256, 256, 256),
        blocks: int = 4,
        image_channels: int = 1,
        scales: int = 2000,
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 4 or blocks < 1:
            raise ValueError(f"channels {tuple(channels)}, blocks {blocks} make no score network")
        self.channels, self.blocks = tuple(channels), blocks
        self.multiple = 2 ** (len(channels) - 1)
        self.bytes_per_pixel = 4 * channels[0] * (blocks + 20)  # skips of the finest level, and maps at work
        self.register_buffer("sigmas", torch.zeros(scales))
        base, embedding = channels[0], 4 * channels[0]
        modules: list[nn.Module] = [FourierProjection(base), nn.Linear(2 * base, embedding)]
        modules += [nn.Linear(embedding, embedding), StemConv(image_channels, base, 3, padding=1)]
        skips, width, pyramid = [base], base, image_channels
        for level, outputs in enumerate(channels):
            for _ in range(blocks):
                modules.append(ResBlock(width, outputs, embedding))
                width = outputs
                skips.append(width)
            if level < len(channels) - 1:
                modules += [ResBlock(width, width, embedding, 0.5), PyramidConv(pyramid, width)]
                pyramid = width
                skips.append(width)
        modules += [ResBlock(width, width, embedding), Attention(width), ResBlock(width, width, embedding)]
        for level in reversed(range(len(channels))):
            for _ in range(blocks + 1):
                modules.append(ResBlock(width + skips.pop(), channels[level], embedding))
                width = channels[level]
            if level:
                modules.append(ResBlock(width, width, embedding, 2.0))
        modules += [_norm(width), nn.Conv2d(width, image_channels, 3, padding=1)]
        self.all_modules = nn.ModuleList(modules)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        modules = iter(self.all_modules)

        def step(*inputs: Tensor) -> Tensor:
            return next(modules)(*inputs)  # type: ignore[no-any-return]

        embedding = step(sigma.log())
        embedding = step(F.silu(step(embedding)))
        pyramid = 2 * x - 1
        h = step(pyramid)
        skips = [h]
        for level in range(len(self.channels)):
            for _ in range(self.blocks):
                h = step(h, embedding)
                skips.append(h)
            if level < len(self.channels) - 1:
                h = step(h, embedding)
                h = pyramid = (step(pyramid) + h) / math.sqrt(2)
                skips.append(h)
        h = step(step(step(h, embedding)), embedding)
        for level in reversed(range(len(self.channels))):
            for _ in range(self.blocks + 1):
                h = step(torch.cat([h, skips.pop()], dim=1), embedding)
            if level:
                h = step(h, embedding)
        return step(F.silu(step(h))) / sigma[:, None, None, None]


def filtered(x: Tensor, padding: int, stride: int = 1) -> Tensor:
    """The low-pass filter, every `stride`-th pixel of it."""
    return F.conv2d(x, _kernel(x), stride=stride, padding=padding, groups=x.shape[1])


def downsampled(x: Tensor) -> Tensor:
    """Low-pass and every second pixel: half the sides."""
    return filtered(x, padding=1, stride=2)


def upsampled(x: Tensor) -> Tensor:
    """Zeros between the pixels and low-pass: twice the sides."""
    return F.conv_transpose2d(x, 4 * _kernel(x), stride=2, padding=1, groups=x.shape[1])


def _kernel(x: Tensor) -> Tensor:
    taps = torch.tensor(FIR, dtype=x.dtype, device=x.device)
    return (torch.outer(taps, taps) / taps.sum() ** 2).expand(x.shape[1], 1, 4, 4)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a score_sde state dict; None when the tensors are something else."""
    if len(shapes.get("all_modules.0.W", ())) != 1 or len(shapes.get("all_modules.3.weight", ())) != 4:
        return None
    numbers = sorted({int(name.split(".")[1]) for name in shapes if name.startswith("all_modules.")})
    residual = {
        k: shapes[f"all_modules.{k}.Conv_0.weight"] for k in numbers if f"all_modules.{k}.Conv_0.weight" in shapes
    }
    pyramids = [k for k in numbers if f"all_modules.{k}.Conv2d_0.weight" in shapes]
    middle = next((k for k in numbers if f"all_modules.{k}.NIN_0.W" in shapes), None)
    if middle is None or 4 not in residual:
        return None
    # A level is `blocks` residual blocks, one that halves the sides, and the pyramid; the lowest has the first alone.
    starts = [4, *(k + 1 for k in pyramids)]
    blocks = (pyramids[0] - 1 if pyramids else middle - 1) - 4
    if any(k not in residual for k in starts):
        return None
    architecture = {
        "kind": "ncsnpp",
        "channels": [residual[k][0] for k in starts],
        "blocks": blocks,
        "image_channels": shapes["all_modules.3.weight"][1],
    }
    return architecture | ({"scales": shapes["sigmas"][0]} if "sigmas" in shapes else {})
