"""A 3D U-Net for cubes in folded cells: one pointwise norm per residual block, no attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon3d.priors.networks.unet import NoiseEmbedding


class Block3d(nn.Module):
    """Residual block: norm, scale-shift by the noise level, SiLU, conv, SiLU, conv (starts as the identity).

    The norm is over the channels of each cell alone, so the answer at a cell does not depend on how large the tile
    around it is, beyond the reach of the convolutions.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, _norm(x), 1 + scale)
        return x + self.conv2(F.silu(self.conv1(F.silu(h))))


class UNet3d(nn.Module):
    """Cube (batch, channel, x, y, t) and log sigma (batch,) to a cube of the same sides.

    Parameters
    ----------
    channels : widths of the levels, finest first; multiples of 32 suit matrix units (AMX, tensor cores)
    blocks : residual blocks per level on each side; the lowest level has one more
    fold : sides of the cells folded into channels before the first level
    image_channels : channels of the noisy cube
    condition_channels : channels handed in beside it, e.g. 2 for observed traces and their mask

    Sides must be multiples of `multiple`.
    """

    detail = False  # the noisy image alone, see `recon3d.priors.edm`
    allows_half = True

    def __init__(
        self,
        channels: Sequence[int] = (64, 96, 96),
        blocks: int = 1,
        fold: Sequence[int] = (2, 2, 2),
        image_channels: int = 1,
        condition_channels: int = 2,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1 or blocks < 1 or len(fold) != 3 or min(fold) < 1:
            raise ValueError(f"channels {tuple(channels)}, blocks {blocks}, fold {tuple(fold)} make no 3D U-Net")
        self.fold = tuple(fold)
        self.condition_channels = condition_channels
        self.multiple = tuple(side * 2 ** (len(channels) - 1) for side in fold)
        cells = fold[0] * fold[1] * fold[2]
        # About ten maps of the finest level are alive at once.
        self.bytes_per_voxel = 4 * 10 * channels[0] / cells
        self.embedding = NoiseEmbedding(embedding)
        self.stem = nn.Conv3d((image_channels + condition_channels) * cells, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        self.up_blocks = nn.ModuleList()
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, width in enumerate(channels):
            lowest = level == len(channels) - 1
            self.down_blocks.append(nn.ModuleList(Block3d(width, embedding) for _ in range(blocks + lowest)))
            if not lowest:
                self.downs.append(nn.Conv3d(width, channels[level + 1], 2, stride=2))
                self.ups.append(nn.Conv3d(channels[level + 1], width, 1))
                self.up_blocks.append(nn.ModuleList(Block3d(width, embedding) for _ in range(blocks)))
        self.out = nn.Conv3d(channels[0], image_channels * cells, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, log_sigma: Tensor) -> Tensor:
        embedding = self.embedding(log_sigma)
        x = folded(x, self.fold).contiguous(memory_format=torch.channels_last_3d)
        # The stem stays in float32: the rounding of bfloat16 would drown little noise that is to be seen.
        with torch.autocast(x.device.type, enabled=False):
            h = self.stem(x.to(self.stem.weight.dtype))
        if torch.is_autocast_enabled(x.device.type):
            h = h.to(torch.get_autocast_dtype(x.device.type))
            embedding = embedding.to(h.dtype)
        skips = []
        for level, blocks in enumerate(self.down_blocks):
            for block in blocks:  # type: ignore[union-attr,attr-defined]
                h = block(h, embedding)
            if level < len(self.downs):
                skips.append(h)
                h = self.downs[level](h)
        for level in reversed(range(len(self.ups))):
            h = skips[level] + F.interpolate(self.ups[level](h), scale_factor=2.0, mode="nearest")
            for block in self.up_blocks[level]:  # type: ignore[union-attr,attr-defined]
                h = block(h, embedding)
        return unfolded(self.out(F.silu(_norm(h))), self.fold)


def folded(x: Tensor, fold: Sequence[int]) -> Tensor:
    """(batch, c, x, y, t) -> (batch, c f0 f1 f2, x / f0, y / f1, t / f2)."""
    batch, channels, *sides = x.shape
    a, b, c = (side // f for side, f in zip(sides, fold, strict=True))
    cells = x.reshape(batch, channels, a, fold[0], b, fold[1], c, fold[2]).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return cells.reshape(batch, -1, a, b, c)


def unfolded(x: Tensor, fold: Sequence[int]) -> Tensor:
    """The inverse of `folded`."""
    batch, _, a, b, c = x.shape
    cells = x.reshape(batch, -1, *fold, a, b, c).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return cells.reshape(batch, -1, a * fold[0], b * fold[1], c * fold[2])


def _norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each cell."""
    last = x.permute(0, 2, 3, 4, 1)
    return F.layer_norm(last, (x.shape[1],)).permute(0, 4, 1, 2, 3)
