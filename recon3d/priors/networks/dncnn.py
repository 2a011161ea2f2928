"""DnCNN: a chain of 3 x 3 convolutions with ReLU between, the smallest denoiser in wide use."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn


class DnCNN(nn.Module):
    """Image (batch, channel, y, x) to an image: of the noise, or of what is clean (`recon3d.priors.regression`).

    Keys are those of the DnCNN and FDnCNN files of KAIR, `model.0.weight`, `model.2.weight` and so on; batch norms must
    be merged into the convolutions. Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian denoiser (TIP 2017).

    Parameters
    ----------
    depth : convolutions in all
    channels : of every hidden layer
    image_channels : of the answer
    noise_map : the input has one channel more, an image of sigma
    """

    multiple = 1
    allows_half = False  # the whole image passes through the layers: bfloat16 would round it to 1 in 256

    def __init__(
        self, depth: int, channels: int = 64, image_channels: int = 1, bias: bool = True, noise_map: bool = False
    ) -> None:
        super().__init__()
        if depth < 2 or channels < 1 or image_channels < 1:
            raise ValueError(f"depth {depth}, channels {channels}, image_channels {image_channels} make no chain")
        self.noise_map = noise_map
        self.bytes_per_pixel = 4 * 3 * channels  # input, output and workspace of a layer, float32
        widths = [image_channels + noise_map, *[channels] * (depth - 1), image_channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # type: ignore[no-any-return]


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a state dict that is a chain of 3 x 3 convolutions and nothing else, whatever their names.

    None when the tensors are no such chain.
    """
    weights, biases = _by_kind(shapes)
    chain = [shapes[name] for name in weights]
    if len(chain) < 3 or len(weights) + len(biases) != len(shapes) or len(biases) not in (0, len(weights)):
        return None
    if any(len(shape) != 4 or shape[2:] != (3, 3) for shape in chain):
        return None
    channels, image_channels, noise_map = chain[0][0], chain[-1][0], chain[0][1] - chain[-1][0]
    outputs = [shape[0] for shape in chain]
    if [shape[1] for shape in chain[1:]] != outputs[:-1] or set(outputs[:-1]) != {channels} or noise_map not in (0, 1):
        return None
    return {
        "kind": "dncnn",
        "depth": len(chain),
        "channels": channels,
        "image_channels": image_channels,
        "bias": bool(biases),
        "noise_map": bool(noise_map),
    }


def file_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The names of a file's chain by ours, in its order."""
    weights, biases = _by_kind(shapes)
    ours = {name: f"model.{2 * k}.weight" for k, name in enumerate(weights)}
    ours |= {name: f"model.{2 * k}.bias" for k, name in enumerate(biases)}
    return {ours[name]: name for name in shapes}


def _by_kind(shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[str], list[str]]:
    return [name for name in shapes if name.endswith("weight")], [name for name in shapes if name.endswith("bias")]
