"""Slice reuse: every other slice takes the deep features of its neighbours, which are nearly its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from operators.normalization import Normalization
from recon3d.errors import ModelError
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.model import Model
from recon3d.priors.networks.unet import UNet2d
from recon3d.priors.slices import apply_to_slices


class SliceReuse:
    """A denoiser of slices that runs the lower levels of its network on even slices alone.

    An odd slice runs the finest level on its own pixels, with the mean of the deep features of the slices above and
    below it: they hold coarse anatomy, from which the noise has been averaged away. Results depend on neighbours, so a
    slab of slices is no problem of its own any more.

    Parameters
    ----------
    model : a denoiser with a `UNet2d`

    Raises
    ------
    ModelError
        If its network has no such levels.
    """

    def __init__(self, model: Model) -> None:
        network = getattr(model, "network", None)
        if not (isinstance(network, EDMDenoiser) and isinstance(network.network, UNet2d)):
            raise ModelError(
                f"The prior {model.card.name} has no deep features that slices could share: leave method.reuse out."
            )
        self.model, self._network = model, network

    @property
    def card(self) -> Card:
        return self.model.card

    @property
    def normalization(self) -> Normalization:
        return self.model.normalization

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x0 + sigma n] for x (..., z, y, x)."""
        kept: list[Tensor] = []

        def keep(compute: Callable[[], Tensor]) -> Tensor:
            kept.append(compute())
            return kept[-1]

        even, odd = x[..., 0::2, :, :], x[..., 1::2, :, :]
        out = torch.empty_like(x)
        out[..., 0::2, :, :] = self._apply(even, sigma, keep)
        if odd.shape[-3] == 0:
            return out
        frames, anchors = even.shape[:-2].numel() // even.shape[-3], even.shape[-3]
        deep = torch.cat(kept)[: frames * anchors].unflatten(0, (frames, anchors))  # without the copies that fill up
        above = torch.cat([deep[:, 1:], deep[:, -1:]], dim=1)  # the last odd slice may have one neighbour alone
        borrowed = ((deep + above) / 2)[:, : odd.shape[-3]].flatten(0, 1)
        batches = iter(borrowed.split(self.model.micro_batch))

        def lend(compute: Callable[[], Tensor]) -> Tensor:
            lent = next(batches)
            copies = lent[-1:].expand(self.model.micro_batch - len(lent), -1, -1, -1)  # fill up the batch
            return torch.cat([lent, copies]).contiguous(memory_format=torch.channels_last)

        out[..., 1::2, :, :] = self._apply(odd, sigma, lend)
        return out

    def _apply(self, x: Tensor, sigma: float, around_deep: Callable[[Callable[[], Tensor]], Tensor]) -> Tensor:
        return apply_to_slices(
            lambda images, sigmas, condition: cast(
                Tensor, self._network(images, sigmas, condition, around_deep=around_deep)
            ),
            x,
            sigma,
            micro_batch=self.model.micro_batch,
            multiple=self.model.bare.multiple,
            compute_dtype=self.model.compute_dtype,
        )
