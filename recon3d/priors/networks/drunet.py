"""DRUNet: a residual U-Net without norms that is told the noise level by an image of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.res = nn.ModuleDict({"0": first, "2": second})

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res["2"](F.relu(self.res["0"](x)))  # type: ignore[no-any-return]


class DRUNet(nn.Module):
    """Image and an image of sigma (batch, channel + 1, y, x) to the clean image.

    Keys are those of the DRUNet files of KAIR and DPIR, `m_head.weight`, `m_down1.0.res.0.weight` and so on.
    Zhang, Li, Zuo, Zhang, Van Gool, Timofte: Plug-and-play image restoration with deep denoiser prior (TPAMI 2021).

    Parameters
    ----------
    channels : of the four levels, finest first
    blocks : residual blocks per level on each side
    """

    noise_map = True
    allows_half = False  # the image itself passes through the layers: bfloat16 would round it to 1 in 256

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512), blocks: int = 4, image_channels: int = 1) -> None:
        super().__init__()
        if len(channels) != 4 or min(channels) < 1 or blocks < 1:
            raise ValueError(f"channels {tuple(channels)}, blocks {blocks} make no DRUNet")
        self.multiple = 8
        self.bytes_per_pixel = 4 * 6 * channels[0]

        def level(width: int) -> list[nn.Module]:
            return [ResBlock(width) for _ in range(blocks)]

        self.m_head = nn.Conv2d(image_channels + 1, channels[0], 3, padding=1, bias=False)
        for number, (width, deeper) in enumerate(pairwise(channels), 1):
            down = nn.Conv2d(width, deeper, 2, stride=2, bias=False)
            up = nn.ConvTranspose2d(deeper, width, 2, stride=2, bias=False)
            self.add_module(f"m_down{number}", nn.Sequential(*level(width), down))
            self.add_module(f"m_up{number}", nn.Sequential(up, *level(width)))
        self.m_body = nn.Sequential(*level(channels[-1]))
        self.m_tail = nn.Conv2d(channels[0], image_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.m_head(x)
        skips = [h]
        for number in (1, 2, 3):
            h = self.get_submodule(f"m_down{number}")(h)
            skips.append(h)
        h = self.m_body(h)
        for number in (3, 2, 1):
            h = self.get_submodule(f"m_up{number}")(h + skips[number])
        return self.m_tail(h + skips[0])  # type: ignore[no-any-return]


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a DRUNet state dict; None when the tensors are something else."""
    downs = [sorted(name for name in shapes if name.startswith(f"m_down{number}.")) for number in (1, 2, 3)]
    if not all(downs) or not {"m_head.weight", "m_tail.weight"} <= set(shapes):
        return None
    last = [max(int(name.split(".")[1]) for name in names) for names in downs]
    strided = [shapes.get(f"m_down{number}.{k}.weight", ()) for number, k in enumerate(last, 1)]
    if not all(strided):
        return None
    return {
        "kind": "drunet",
        "channels": [shapes["m_head.weight"][0], *(shape[0] for shape in strided)],
        "blocks": last[0],
        "image_channels": shapes["m_tail.weight"][0],
    }
