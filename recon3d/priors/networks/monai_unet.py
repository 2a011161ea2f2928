"""MONAI's DiffusionModelUNet, 2D or 3D, as a network of a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def monai_unet(
    spatial_dims: int,
    channels: Sequence[int],
    num_res_blocks: int | Sequence[int] = 2,
    attention_levels: Sequence[bool] | None = None,
    in_channels: int = 1,
    out_channels: int = 1,
    norm_num_groups: int = 32,
    num_head_channels: int | Sequence[int] = 8,
    resblock_updown: bool = False,
) -> nn.Module:
    """Image (batch, channel, [z,] y, x) and time (batch,) to the prediction; keys are MONAI's.

    The settings are those of `monai.networks.nets.DiffusionModelUNet`, without conditioning by text or class.
    """
    from monai.networks.nets import DiffusionModelUNet

    network = DiffusionModelUNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        num_res_blocks=num_res_blocks,
        channels=channels,
        attention_levels=attention_levels or [False] * len(channels),
        norm_num_groups=norm_num_groups,
        num_head_channels=num_head_channels,
        resblock_updown=resblock_updown,
    )
    network.spatial_dims = spatial_dims
    network.multiple = 2 ** (len(channels) - 1)
    network.bytes_per_pixel = 4 * 12 * channels[0]  # about twelve maps of the finest level are alive at once
    network.allows_half = False  # its first convolution is not kept in float32
    return network  # type: ignore[no-any-return]


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a DiffusionModelUNet state dict; None when the tensors are something else.

    `norm_num_groups` and `num_head_channels` cannot be seen in it and are left at MONAI's defaults.
    """
    stem, head = shapes.get("conv_in.conv.weight", ()), shapes.get("out.2.conv.weight", ())
    if len(stem) not in (4, 5) or len(head) != len(stem) or "time_embed.0.weight" not in shapes:
        return None

    def counted(*place: str) -> int:
        """How many numbered modules there are at a place."""
        start = ".".join(place) + "."
        return len({name[len(start) :].split(".")[0] for name in shapes if name.startswith(start)})

    levels = [str(level) for level in range(counted("down_blocks"))]
    if any(f"down_blocks.{level}.resnets.0.conv1.conv.weight" not in shapes for level in levels):
        return None
    return {
        "kind": "monai_unet",
        "spatial_dims": len(stem) - 2,
        "channels": [shapes[f"down_blocks.{level}.resnets.0.conv1.conv.weight"][0] for level in levels],
        "num_res_blocks": [counted("down_blocks", level, "resnets") for level in levels],
        "attention_levels": [counted("down_blocks", level, "attentions") > 0 for level in levels],
        "in_channels": stem[1],
        "out_channels": head[0],
        "resblock_updown": any(".downsampler.conv1." in name for name in shapes),
    }
