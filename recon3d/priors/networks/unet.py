"""A 2D U-Net that is cheap on a CPU: half-resolution stem, one norm per block, no attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AroundDeep = Callable[[Callable[[], Tensor]], Tensor]
"""Stands around the levels below the finest: gets a function that computes their features, gives those to use."""


class Block(nn.Module):
    """Residual block: norm, scale-shift by the noise level, SiLU, conv, SiLU, conv (starts as the identity).

    One norm instead of two: on a CPU the memory traffic of norms, not the convolutions, sets the time.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, channels // 16), channels)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm(x), 1 + scale)
        return x + self.conv2(F.silu(self.conv1(F.silu(h))))


class NoiseEmbedding(nn.Module):
    """log sigma as sines and cosines, then two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, log_sigma: Tensor) -> Tensor:
        # Half periods from 16 e-folds (the whole range of sigma) down to half an e-fold.
        frequencies = math.pi / 16 * torch.logspace(0, 5, 16, base=2, device=log_sigma.device)
        phase = log_sigma[:, None] * frequencies
        return self.layers(torch.cat([phase.cos(), phase.sin()], dim=1))


class UNet2d(nn.Module):
    """Image (batch, channel, y, x) and log sigma (batch,) to an image of the same shape.

    Parameters
    ----------
    channels : widths of the levels, finest first. Multiples of 32 suit matrix units (AMX, tensor cores).
    blocks : residual blocks per level on each side; the lowest level has one more.
    patch : side of the pixel blocks folded into channels before the first level (1 or 2).
        2 quarters the pixels of the finest level, where a CPU spends most of its time.
    image_channels : 1 for real images, 2 for complex ones (real, imaginary).
    condition_channels : images handed in beside the noisy one.
    detail : the input has the fine detail in units of sigma as further image channels (`recon3d.priors.edm.detail`).

    """

    allows_half = True

    def __init__(
        self,
        channels: Sequence[int] = (64, 96, 128, 192),
        blocks: int = 1,
        patch: int = 2,
        image_channels: int = 1,
        condition_channels: int = 0,
        detail: bool = False,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1 or blocks < 1 or patch < 1 or image_channels < 1:
            raise ValueError(f"channels {tuple(channels)}, blocks {blocks}, patch {patch} make no U-Net")
        self.patch = patch
        self.detail = detail
        self.multiple = patch * 2 ** (len(channels) - 1)
        # Memory of one image inside the network: about ten float32 maps of the finest level are alive at once.
        self.bytes_per_pixel = 4 * 10 * channels[0] // patch**2
        self.embedding = NoiseEmbedding(embedding)
        inputs = image_channels * (2 if detail else 1) + condition_channels
        self.stem = nn.Conv2d(inputs * patch**2, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        self.up_blocks = nn.ModuleList()
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, width in enumerate(channels):
            lowest = level == len(channels) - 1
            self.down_blocks.append(nn.ModuleList(Block(width, embedding) for _ in range(blocks + lowest)))
            if not lowest:
                self.downs.append(nn.Conv2d(width, channels[level + 1], 2, stride=2))
                self.ups.append(nn.Conv2d(channels[level + 1], width, 1))
                self.up_blocks.append(nn.ModuleList(Block(width, embedding) for _ in range(blocks)))
        self.out_norm = nn.GroupNorm(max(1, channels[0] // 16), channels[0])
        self.out = nn.Conv2d(channels[0], image_channels * patch**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, log_sigma: Tensor, around_deep: AroundDeep | None = None) -> Tensor:
        embedding = self.embedding(log_sigma)
        if self.patch > 1:
            x = F.pixel_unshuffle(x, self.patch)
        x = x.contiguous(memory_format=torch.channels_last)
        # The stem stays in float32: at sigma 0.004 the rounding of bfloat16 would drown the noise that is to be seen.
        with torch.autocast(x.device.type, enabled=False):
            h = self.stem(x.to(self.stem.weight.dtype))
        if torch.is_autocast_enabled(x.device.type):
            h = h.to(torch.get_autocast_dtype(x.device.type))
        for block in self.down_blocks[0]:  # type: ignore[union-attr,attr-defined]
            h = block(h, embedding)
        deep = self._deep(h, embedding) if around_deep is None else around_deep(lambda: self._deep(h, embedding))
        h = h + F.interpolate(deep, scale_factor=2.0, mode="nearest")
        for block in self.up_blocks[0]:  # type: ignore[union-attr,attr-defined]
            h = block(h, embedding)
        h = self.out(F.silu(self.out_norm(h)))
        return F.pixel_shuffle(h, self.patch) if self.patch > 1 else h

    def _deep(self, h: Tensor, embedding: Tensor) -> Tensor:
        """All levels below the finest, brought back to its width at half its size."""
        skips = []
        for down, blocks in zip(self.downs, self.down_blocks[1:], strict=True):  # type: ignore[call-overload]
            h = down(h)
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, embedding)
            skips.append(h)
        for level in reversed(range(1, len(self.ups))):
            h = skips[level - 1] + F.interpolate(self.ups[level](h), scale_factor=2.0, mode="nearest")
            for block in self.up_blocks[level]:  # type: ignore[union-attr,attr-defined]
                h = block(h, embedding)
        return cast(Tensor, self.ups[0](h))
