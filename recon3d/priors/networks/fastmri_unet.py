"""The U-Net of fastMRI, with the names of its public weights: magnitudes to magnitudes, or the maps of one coil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.fourier import centred_fft, centred_ifft


class ConvBlock(nn.Module):
    """Twice: 3 x 3 convolution without bias, instance norm without weights, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # The empty places are the dropouts of the published layers, which count in their names.
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2),
            nn.Identity(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2),
            nn.Identity(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TransposeBlock(nn.Module):
    """Twice as many pixels a side: 2 x 2 transposed convolution without bias, instance norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class FastMRIUNet(nn.Module):
    """Image (batch, inputs, y, x) to (batch, outputs, y, x), any size of at least `smallest_side`.

    Ronneberger et al. (2015) as in Zbontar et al., arXiv:1811.08839: average pooling, upsampled features before the
    skipped ones, a reflected row or column where pooling lost an odd one.

    Parameters
    ----------
    filters : channels of the finest level; they double with each pooling
    pools : poolings
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, filters: int = 32, pools: int = 4) -> None:
        super().__init__()
        if min(inputs, outputs, filters, pools) < 1:
            raise ValueError(f"inputs {inputs}, outputs {outputs}, filters {filters}, pools {pools} make no U-Net")
        widths = [filters * 2**level for level in range(pools + 1)]
        self.smallest_side = 2 ** (pools + 1)  # the instance norm of the lowest level needs more than one pixel
        before = [inputs, *widths[:-2]]
        self.down_sample_layers = nn.ModuleList(ConvBlock(n, m) for n, m in zip(before, widths[:-1], strict=True))
        self.conv = ConvBlock(widths[-2], widths[-1])
        self.up_transpose_conv = nn.ModuleList(TransposeBlock(2 * width, width) for width in widths[-2::-1])
        self.up_conv = nn.ModuleList(ConvBlock(2 * width, width) for width in widths[-2:0:-1])
        self.up_conv.append(nn.Sequential(ConvBlock(2 * filters, filters), nn.Conv2d(filters, outputs, 1)))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.down_sample_layers:
            skips.append(layer(x))
            x = F.avg_pool2d(skips[-1], 2)
        x = self.conv(x)
        for upsample, layer in zip(self.up_transpose_conv, self.up_conv, strict=True):
            skip, x = skips.pop(), upsample(x)
            rows, columns = (n - m for n, m in zip(skip.shape[-2:], x.shape[-2:], strict=True))
            if rows or columns:
                x = F.pad(x, (0, columns, 0, rows), mode="reflect")
            x = layer(torch.cat([x, skip], dim=1))
        return x


class UNetCompletion(nn.Module):
    """fastMRI's U-Net baseline as a completion of k-space: it corrects the magnitude of the zero-filled image.

    Coils keep their shares of the image and their phases, so that the root sum of squares of the completed coil images
    is the network's answer. Slices are standardised by their mean and deviation, as in the baseline.
    """

    centred = True

    def __init__(self, filters: int = 32, pools: int = 4) -> None:
        super().__init__()
        self.unet = FastMRIUNet(1, 1, filters, pools)
        self.smallest_side = self.unet.smallest_side
        self.bytes_per_pixel = 4 * 12 * filters

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        """Completed k-space (batch, coil, ky, kx); see `RecurrentVarNet.forward`. `calibration` is not needed."""
        images = centred_ifft(torch.where(mask, kspace, 0))
        magnitude = torch.linalg.vector_norm(images, dim=1, keepdim=True)
        mean, deviation = (f(magnitude, dim=(2, 3), keepdim=True) for f in (torch.mean, torch.std))
        answer = self.unet((magnitude - mean) / deviation).to(magnitude.dtype) * deviation + mean
        shares = images / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny)
        return centred_fft(shares * answer)


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a public checkpoint of fastMRI's U-Net for magnitudes; None for others."""
    first = shapes.get("down_sample_layers.0.layers.0.weight")
    if first is None or first[1] != 1:
        return None
    pools = sum(name.startswith("up_transpose_conv.") for name in shapes)
    return {"kind": "unet_completion", "filters": first[0], "pools": pools}


def file_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The names of the public file by ours."""
    return {f"unet.{name}": name for name in shapes}
