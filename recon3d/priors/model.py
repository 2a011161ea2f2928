"""Model: a trained denoiser with its card, applied slice by slice, or to whole volumes where it is 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from operators.errors import ShapeError
from operators.normalization import Normalization
from recon3d.priors.cards import Card
from recon3d.priors.slices import apply_to_slices, fast_dtype
from recon3d.priors.volumes import apply_to_volumes


class Model:
    """A denoiser with its card; a 2D one applies itself slice by slice, a 3D one to whole volumes.

    Parameters
    ----------
    network : D(x, sigma) on (batch, channel, y, x), as `recon3d.priors.coordinates.build_denoiser` makes it
    micro_batch : slices per call; fixed for a run, because kernels may change with the batch
    half : bfloat16 where the device is fast at it; False computes in float32
    axis : -3, -2 or -1: the axis of a (z, y, x) volume that counts the slices
    """

    def __init__(
        self, card: Card, network: nn.Module, *, micro_batch: int = 8, half: bool = True, axis: int = -3
    ) -> None:
        self.card = card
        self.network = network
        self.micro_batch = micro_batch
        self.axis = axis
        self.half = half
        self.bare = cast(Any, network.network)
        self.compute_dtype = fast_dtype(self.device) if half and self.bare.allows_half else None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def normalization(self) -> Normalization:
        return self.card.normalization

    def bytes_per_slice(self, shape: Sequence[int]) -> int:
        """About what one slice (y, x) takes inside the network, for memory plans."""
        return int(self.bare.bytes_per_pixel * shape[0] * shape[1])

    def configured(self, *, micro_batch: int | None = None, half: bool | None = None, axis: int | None = None) -> Model:
        """The same weights applied in another way."""
        return Model(
            self.card,
            self.network,
            micro_batch=self.micro_batch if micro_batch is None else micro_batch,
            half=self.half if half is None else half,
            axis=self.axis if axis is None else axis,
        )

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """E[x0 | x0 + sigma n] for x (..., z, y, x); see `recon3d.priors.denoiser.Denoiser`."""
        if x.is_complex() != self.card.complex_image:
            kind = "complex" if self.card.complex_image else "real"
            raise ShapeError(f"The prior {self.card.name} takes {kind} images, got {x.dtype}.")
        if self.card.spatial_dims == 3:
            return apply_to_volumes(self.network, x, sigma, cond, multiple=self.bare.multiple)
        return apply_to_slices(
            self.network,
            x,
            sigma,
            cond,
            axis=self.axis,
            micro_batch=self.micro_batch,
            multiple=self.bare.multiple,
            compute_dtype=self.compute_dtype,
        )
