"""RecurrentVarNet: k-space is corrected step by step, and what a step learned travels on in a recurrent memory.

Yiasemis, Sonke, Sanchez and Teuwen, Recurrent variational network (CVPR 2022), with S the coil sensitivities, F the
Fourier transform, y~ the measured k-space and M its mask:

    R y = sum over coils of conj(S) F^-1 y          one image of all coils
    E x = F (S x)                                   what each coil sees of it
    h = RSI(F R y~),  y = y~                        memory and first guess
    T times:  w, h = GRU_t(R y, h)                  learned correction of the image
              y = y - alpha_t M (y - y~) + E w      no hard projection: measured samples may drift

Submodules and weights have the names of the public toolkit (DIRECT), so that its files load key by key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon3d.priors.networks.fastmri_unet import FastMRIUNet
from recon3d.priors.networks.kspace import (
    Centring,
    expand_coils,
    from_channels,
    reduce_coils,
    to_channels,
    to_image,
    to_kspace,
    unit_maps,
)  # fmt: skip

GAUSSIAN = 0.7
"""Width of the window along kx on the calibration lines; published weights expect it."""


class RecurrentVarNet(nn.Module):
    """Complete multi-coil k-space.

    Parameters
    ----------
    steps, hidden, layers : T, channels of the memory, gated units of each step
    multiscale : how many of the initialiser's four feature maps make the memory; 0 starts it at zero
    shared : one set of weights for all steps
    refinement : (filters, poolings) of the U-Net that refines sensitivities, or None to take them as estimated
    centred : zero frequency of the transform in the middle (fastMRI), or a plain transform (Calgary-Campinas)
    """

    def __init__(
        self,
        steps: int = 8,
        hidden: int = 128,
        layers: int = 4,
        multiscale: int = 3,
        shared: bool = False,
        refinement: Sequence[int] | None = (8, 4),
        centred: bool = True,
    ) -> None:
        super().__init__()
        self.model = Unrolled(steps, hidden, layers, multiscale, shared)
        self.sensitivity_model = FastMRIUNet(2, 2, *refinement) if refinement else None
        self.smallest_side = self.sensitivity_model.smallest_side if self.sensitivity_model else 8
        self.centred = centred
        # The memory, what goes into the gates and what comes out of them.
        self.bytes_per_pixel = 4 * hidden * (2 * layers + 6)

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        """Completed k-space of the shape of `kspace`.

        Parameters
        ----------
        kspace : complex (batch, coil, ky, kx), zero where it was not measured, scaled as in training
        mask : bool, broadcasts to (batch, 1, ky, kx): what was measured
        calibration : bool, the same: the fully sampled centre
        """
        centring = Centring((kspace.shape[-2], kspace.shape[-1]), self.centred, kspace)
        maps = self.sensitivities(kspace, calibration) * centring.image
        measured = kspace * centring.kspace.conj()
        return self.model(measured, mask, maps, centring) * centring.kspace

    def sensitivities(self, kspace: Tensor, calibration: Tensor) -> Tensor:
        """Maps of unit sum of squares (batch, coil, y, x), from the calibration lines, refined coil by coil."""
        batch, coils, *shape = kspace.shape
        centring = Centring((shape[0], shape[1]), self.centred, kspace)
        u = torch.linspace(-1, 1, shape[1], dtype=kspace.real.dtype, device=kspace.device)
        window = torch.exp(-((u / GAUSSIAN) ** 2)) * calibration
        images = to_image(kspace * window * centring.kspace.conj()) * centring.image.conj()
        maps = unit_maps(images)
        if self.sensitivity_model is None or coils == 1:
            return maps
        with torch.autocast(kspace.device.type, enabled=False):  # eight bits are too few for what all else rests on
            refined = self.sensitivity_model(to_channels(maps.reshape(batch * coils, *shape)))
        return unit_maps(from_channels(refined).reshape(maps.shape))


class Unrolled(nn.Module):
    """The steps; k-space and maps without centring."""

    def __init__(self, steps: int, hidden: int, layers: int, multiscale: int, shared: bool) -> None:
        super().__init__()
        if min(steps, hidden, layers) < 1 or not 0 <= multiscale <= 4:
            raise ValueError(f"steps {steps}, hidden {hidden}, layers {layers}, multiscale {multiscale} are no network")
        self.steps = steps
        self.initializer = StateInitialiser(hidden, layers, multiscale) if multiscale else None
        self.block_list = nn.ModuleList(Step(hidden, layers) for _ in range(1 if shared else steps))

    def forward(self, measured: Tensor, mask: Tensor, maps: Tensor, centring: Centring) -> Tensor:
        memory: list[Tensor] | None = None
        if self.initializer is not None:  # it sees k-space of the combined image, not the image
            image = reduce_coils(measured, maps)
            memory = self.initializer(to_channels(to_kspace(image * centring.image) * centring.kspace))
        kspace = measured
        for t in range(self.steps):
            kspace, memory = self.block_list[t % len(self.block_list)](kspace, measured, mask, maps, memory)
        return kspace


class Step(nn.Module):
    """y - alpha M (y - y~) + E GRU(R y, h)."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.learning_rate = nn.Parameter(torch.ones(1))
        self.regularizer = ConvGRU(hidden, layers)

    def forward(
        self, kspace: Tensor, measured: Tensor, mask: Tensor, maps: Tensor, memory: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        error = torch.where(mask, kspace - measured, 0.0)
        correction, memory = self.regularizer(to_channels(reduce_coils(kspace, maps)), memory)
        image = from_channels(correction.to(kspace.real.dtype))
        return kspace - self.learning_rate * error + expand_coils(image, maps), memory


class ConvGRU(nn.Module):
    """Convolutions, each followed by a gated unit of 1 x 1 kernels; a last convolution makes the image.

    With c the features and h the memory of a layer:
    u = sigma(W_u [c; h]), r = sigma(W_r [c; h]), d = tanh(W_o [c; h r]), h' = (1 - u) h + u d, and ReLU(h') goes on.
    The last convolution starts at zero, so that training starts at the zero-filled image (the public code starts at
    random).
    """

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.conv_blocks = nn.ModuleList()
        for i in range(layers + 1):
            inputs, outputs = 2 if i == 0 else hidden, 2 if i == layers else hidden
            self.conv_blocks.append(_padded(inputs, outputs, 5 if i == 0 else 3, 2 if i == 1 else 1))
        self.reset_gates, self.update_gates, self.out_gates = (
            nn.ModuleList(nn.Sequential(nn.Conv2d(2 * hidden, hidden, 1)) for _ in range(layers)) for _ in range(3)
        )
        for gates, bias in ((self.reset_gates, -1.0), (self.update_gates, 0.0), (self.out_gates, 0.0)):
            for gate in gates:
                nn.init.orthogonal_(gate[0].weight)  # type: ignore[index]
                nn.init.constant_(gate[0].bias, bias)  # type: ignore[index]
        nn.init.zeros_(self.conv_blocks[-1][1].weight)  # type: ignore[index]
        nn.init.zeros_(self.conv_blocks[-1][1].bias)  # type: ignore[index]

    def forward(self, x: Tensor, memory: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Image (batch, 2, y, x) and one map (batch, hidden, y, x) a layer -> correction and new memory."""
        if memory is None:
            memory = [x.new_zeros(len(x), self.hidden, *x.shape[-2:])] * len(self.update_gates)
        *convolutions, last = self.conv_blocks
        kept = []
        c = x.contiguous(memory_format=torch.channels_last)
        for i, (convolution, h) in enumerate(zip(convolutions, memory, strict=True)):
            c = F.relu(convolution(c))
            both = torch.cat([c, h], dim=1)
            u = torch.sigmoid(self.update_gates[i](both))
            r = torch.sigmoid(self.reset_gates[i](both))
            d = torch.tanh(self.out_gates[i](torch.cat([c, h * r], dim=1)))
            kept.append(torch.lerp(h, d, u))
            c = F.relu(kept[-1])
        return last(c), kept


class StateInitialiser(nn.Module):
    """The first memory, from k-space of the combined image: dilated convolutions, joined over scales."""

    CHANNELS = (32, 32, 64, 64)
    DILATIONS = (1, 1, 2, 4)

    def __init__(self, hidden: int, layers: int, multiscale: int) -> None:
        super().__init__()
        inputs = (2, *self.CHANNELS[:-1])
        self.conv_blocks = nn.ModuleList(
            _padded(n, m, 3, dilation) for n, m, dilation in zip(inputs, self.CHANNELS, self.DILATIONS, strict=True)
        )
        self.multiscale = multiscale
        joined = sum(self.CHANNELS[-multiscale:])
        self.out_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(joined, hidden, 1)) for _ in range(layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for block in self.conv_blocks:
            x = F.relu(block(x))
            features.append(x)
        joined = torch.cat(features[-self.multiscale :], dim=1)
        return [F.relu(block(joined)) for block in self.out_blocks]


def _padded(inputs: int, outputs: int, kernel: int, dilation: int) -> nn.Sequential:
    """A convolution that keeps the size by repeating the edge; the padding is a layer, and counts in the names."""
    margin = dilation * (kernel - 1) // 2
    return nn.Sequential(nn.ReplicationPad2d(margin), nn.Conv2d(inputs, outputs, kernel, dilation=dilation))


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a checkpoint of the public toolkit, `model` and `sensitivity_model`; None for others.

    What leaves no trace in the shapes is taken as usual: centred transforms, and as many steps as there are blocks.
    """
    gate = shapes.get("model.block_list.0.regularizer.update_gates.0.0.weight")
    if gate is None:
        return None
    numbers = [(int(found[1]), int(found[2])) for name in shapes if (found := _GATES.match(name))]
    joined = shapes.get("model.initializer.out_blocks.0.0.weight", (0, 0))[1]
    refinement = shapes.get("sensitivity_model.down_sample_layers.0.layers.0.weight")
    pools = sum(name.startswith("sensitivity_model.up_transpose_conv.") for name in shapes)
    scales = {sum(StateInitialiser.CHANNELS[-m:]): m for m in range(1, 5)}
    return {
        "kind": "recurrent_varnet",
        "steps": 1 + max(step for step, _ in numbers),
        "hidden": gate[0],
        "layers": 1 + max(layer for _, layer in numbers),
        "multiscale": scales.get(joined, 0),
        "refinement": [refinement[0], pools] if refinement is not None else None,
        "centred": True,
    }


_GATES = re.compile(r"model\.block_list\.(\d+)\.regularizer\.update_gates\.(\d+)\.")
