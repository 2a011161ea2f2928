"""ADM: the U-Net of guided diffusion, by the keys of its published state dicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


class ResBlock(nn.Module):
    """Norm, SiLU, (resample), conv, norm with scale and shift by the time, SiLU, conv; added to its input.

    Parameters
    ----------
    resample : 2 doubles the last two sides (nearest), 0.5 halves them (mean of 2 x 2), 1 keeps them
    dims : axes of an image
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, resample: float = 1.0, *, dims: int = 2) -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = _numbered({0: nn.GroupNorm(GROUPS, inputs), 2: _conv(inputs, outputs, dims)})
        self.emb_layers = _numbered({1: nn.Linear(embedding, 2 * outputs)})
        self.out_layers = _numbered({0: nn.GroupNorm(GROUPS, outputs), 3: _conv(outputs, outputs, dims)})
        self.skip_connection = nn.Identity() if inputs == outputs else _conv(inputs, outputs, dims, side=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = F.silu(self.in_layers["0"](x))
        h = self.in_layers["2"](self._resampled(h))
        moved = self.emb_layers["1"](F.silu(embedding))
        scale, shift = moved.view(*moved.shape, *(1,) * (h.ndim - 2)).chunk(2, dim=1)
        h = torch.addcmul(shift, self.out_layers["0"](h), 1 + scale)
        return self.skip_connection(self._resampled(x)) + self.out_layers["3"](F.silu(h))  # type: ignore[no-any-return]

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == 1:
            return x
        if x.ndim == 4:
            return F.avg_pool2d(x, 2) if self.resample < 1 else F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool3d(x, (1, 2, 2)) if self.resample < 1 else F.interpolate(x, scale_factor=(1.0, 2.0, 2.0))


class Attention(nn.Module):
    """Self-attention over the pixels; heads are split before q, k and v are ("legacy order")."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        pixels = x.flatten(2)
        q, k, v = self.qkv(self.norm(pixels)).unflatten(1, (self.heads, -1)).mT.chunk(3, dim=-1)  # (batch, head, yx, c)
        h = F.scaled_dot_product_attention(q, k, v).mT.flatten(1, 2)
        return x + self.proj_out(h).reshape(x.shape)  # type: ignore[no-any-return]


class Stage(nn.ModuleList):
    """Blocks one after the other, each told the time."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(blocks)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self:
            x = block(x, embedding)
        return x


class ADM(nn.Module):
    """Image (batch, channel, y, x) and time (batch,), 0..999 and any between, to the noise (and its learned variance).

    Dhariwal, Nichol: Diffusion models beat GANs on image synthesis (2021), with resampling inside the residual blocks
    and scale-shift norm.

    Parameters
    ----------
    channels : widths of the levels, finest first; multiples of 32 and of `head_channels` where there is attention
    blocks : residual blocks per level on the way down; one more on the way up
    attention : levels with attention, 0 the finest; the middle always has it
    image_channels, out_channels : of input and answer; a learned variance doubles the latter
    dims : 2 for images, 3 for cubes (batch, channel, z, y, x), of which the first axis is never halved
    """

    allows_half = True

    def __init__(
        self,
        channels: Sequence[int] = (256, 256, 512, 512, 1024, 1024),
        blocks: int = 1,
        attention: Sequence[int] = (),
        image_channels: int = 1,
        out_channels: int = 2,
        head_channels: int = 64,
        dims: Literal[2, 3] = 2,
    ) -> None:
        super().__init__()
        attending = [channels[level] for level in attention if 0 <= level < len(channels)] + list(channels[-1:])
        if (
            not channels
            or blocks < 1
            or any(width % GROUPS for width in channels)
            or any(width % head_channels for width in attending)
            or len(attending) != len(attention) + 1
        ):
            raise ValueError(
                f"channels {tuple(channels)}, blocks {blocks}, attention {tuple(attention)} and head_channels "
                f"{head_channels} make no U-Net: widths are multiples of 32, with attention of head_channels"
            )
        base, embedding = channels[0], 4 * channels[0]
        self.base = base
        self.multiple = 2 ** (len(channels) - 1)
        self.bytes_per_pixel = 4 * base * (2 * (blocks + 1) + 9)  # skips of the finest levels, and maps at work
        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        block = partial(ResBlock, embedding=embedding, dims=dims)
        self.input_blocks = nn.ModuleList([Stage(_conv(image_channels, base, dims))])
        skips, width = [base], base
        for level, outputs in enumerate(channels):
            for _ in range(blocks):
                stage: list[nn.Module] = [block(width, outputs)]
                stage += [Attention(outputs, head_channels)] if level in attention else []
                self.input_blocks.append(Stage(*stage))
                width = outputs
                skips.append(width)
            if level < len(channels) - 1:
                self.input_blocks.append(Stage(block(width, width, resample=0.5)))
                skips.append(width)
        self.middle_block = Stage(block(width, width), Attention(width, head_channels), block(width, width))
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(channels))):
            for number in range(blocks + 1):
                stage = [block(width + skips.pop(), channels[level])]
                width = channels[level]
                stage += [Attention(width, head_channels)] if level in attention else []
                stage += [block(width, width, resample=2.0)] if level and number == blocks else []
                self.output_blocks.append(Stage(*stage))
        self.out = _numbered({0: nn.GroupNorm(GROUPS, width), 2: _conv(width, out_channels, dims)})

    def stem(self, x: Tensor) -> Tensor:
        """The first convolution, always in float32: bfloat16 would drown the noise of small sigma in rounding."""
        conv = self.input_blocks[0][0]  # type: ignore[index]
        with torch.autocast(x.device.type, enabled=False):
            return conv(x.to(conv.weight.dtype))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        embedding = self.time_embed(sinusoids(t, self.base))
        h = self.stem(x)
        skips = [h]
        for stage in self.input_blocks[1:]:
            h = stage(h, embedding)
            skips.append(h)
        h = self.middle_block(h, embedding)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.out["2"](F.silu(self.out["0"](h)))  # type: ignore[no-any-return]


def sinusoids(t: Tensor, width: int) -> Tensor:
    """``[cos(t f), sin(t f)]`` with ``f_k = 10000^(-2k / width)``, (batch, width)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    phase = t.to(frequencies.dtype)[:, None] * frequencies
    return torch.cat([phase.cos(), phase.sin()], dim=1).to(t.dtype)


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a guided-diffusion state dict; None when the tensors are something else.

    `head_channels` cannot be seen in it and is left at its default.
    """
    stem, head = shapes.get("input_blocks.0.0.weight", ()), shapes.get("out.2.weight", ())
    if len(stem) != 4 or len(head) != 4 or "time_embed.0.weight" not in shapes:
        return None
    stages = {int(name.split(".")[1]) for name in shapes if name.startswith("output_blocks.")}
    # The last stage of every level but the finest also doubles the sides, by a second residual block.
    ends = [
        k for k in sorted(stages) if any(f"output_blocks.{k}.{place}.in_layers.0.weight" in shapes for place in (1, 2))
    ]
    if not stages:
        return None
    per_level = ends[0] + 1 if ends else len(stages)
    levels = len(stages) // per_level
    first = [1 + level * per_level for level in range(levels)]  # of the stages on the way down
    if per_level < 2 or any(f"input_blocks.{k}.0.in_layers.2.weight" not in shapes for k in first):
        return None
    return {
        "kind": "adm",
        "channels": [shapes[f"input_blocks.{k}.0.in_layers.2.weight"][0] for k in first],
        "blocks": per_level - 1,
        "attention": [level for level, k in enumerate(first) if f"input_blocks.{k}.1.qkv.weight" in shapes],
        "image_channels": stem[1],
        "out_channels": head[0],
    }


def _conv(inputs: int, outputs: int, dims: int, side: int = 3) -> nn.Module:
    return (nn.Conv2d if dims == 2 else nn.Conv3d)(inputs, outputs, side, padding=side // 2)


def _numbered(layers: dict[int, nn.Module]) -> nn.ModuleDict:
    """Layers under the numbers that they have in the published files, where layers without weights count."""
    return nn.ModuleDict({str(number): layer for number, layer in layers.items()})
