"""Interpolators: denoisers of cubes that also see which traces were recorded, and a first guess of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.errors import ShapeError
from operators.normalization import Normalization
from recon3d.priors.cards import InterpolatorCard
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.networks import build_network
from recon3d.priors.networks.fused import FusedADM
from recon3d.priors.noise import vp_cosine
from recon3d.priors.slices import fast_dtype


class Interpolator:
    """E[x0 | x0 + sigma n, y, m] of cubes: y the recorded traces, gaps filled by a first guess, and m their mask.

    The network denoises what the guess misses, ``D = y + D_net(x - y, sigma; y, m)``: untrained it answers the guess.

    Parameters
    ----------
    network : D_net on (batch, channel, x, y, t), preconditioned
    micro_batch : cubes per call
    half : bfloat16 where the device is fast at it
    """

    normalization = Normalization()
    units = "1"

    def __init__(self, card: InterpolatorCard, network: nn.Module, *, micro_batch: int = 1, half: bool = True) -> None:
        self.card = card
        self.network = network
        self.micro_batch = micro_batch
        self.half = half
        self.bare: Any = getattr(network, "network", network)
        self.compute_dtype = fast_dtype(self.device) if half else None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def bytes_per_slice(self, shape: Sequence[int]) -> int:
        """Tiles bound the memory, not slices."""
        return 0

    def configured(self, *, micro_batch: int | None = None, half: bool | None = None) -> Interpolator:
        """The same weights applied in another way."""
        return type(self)(
            self.card,
            self.network,
            micro_batch=self.micro_batch if micro_batch is None else micro_batch,
            half=self.half if half is None else half,
        )

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """The clean cubes of noisy ones.

        Parameters
        ----------
        x : (batch, x, y, t), in units of the root mean square of the recorded traces
        sigma : one number, or one per cube
        cond : (batch, 2, x, y, t): recorded traces with a guess elsewhere (`recon3d.solvers.gaps`); their mask, 1 or 0
        """
        if cond is None or cond.shape != (len(x), 2, *x.shape[1:]):
            got = "none" if cond is None else tuple(cond.shape)
            raise ShapeError(f"The interpolator {self.card.name} needs traces and mask of {tuple(x.shape)}, got {got}.")
        sigmas = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        dtype = self.compute_dtype or torch.bfloat16
        sides = x.shape[1:]
        missed = _padded((x - cond[:, 0])[:, None], self.bare.multiple)
        with torch.autocast(x.device.type, dtype=dtype, enabled=self.compute_dtype is not None):
            answer = self.network(missed, sigmas, _padded(cond, self.bare.multiple))
        return cond[:, 0] + answer[:, 0, : sides[0], : sides[1], : sides[2]].to(x.dtype)


class FusedInterpolator(Interpolator):
    """The published form: two networks in the time of the cosine schedule, of cubes in units of their recorded peak."""

    schedule = vp_cosine()

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """As of an `Interpolator`, but `cond` has zeros in the gaps, whose mask is not looked at."""
        return self.ancestral(x, float(torch.as_tensor(sigma).flatten()[0]), cond)[:, 0]

    def ancestral(self, x: Tensor, sigma: float, cond: Tensor | None) -> Tensor:
        """What a step of the released sampler needs, (batch, 2, x, y, t): the clean cube, and the share of log beta in
        the logarithm of the variance, 0 where it is that of the posterior."""
        if cond is None or cond.shape != (len(x), 2, *x.shape[1:]):
            raise ShapeError(f"The interpolator {self.card.name} needs traces and mask of {tuple(x.shape)}.")
        sides = x.shape[1:]
        traces = cond[:, :1] * cond[:, 1:]
        times = torch.full((len(x),), self.schedule.time(sigma), dtype=x.dtype, device=x.device)
        seen = _padded((x / (1 + sigma**2) ** 0.5)[:, None], self.bare.multiple)
        with torch.autocast(
            x.device.type, dtype=self.compute_dtype or torch.bfloat16, enabled=self.compute_dtype is not None
        ):
            answer = self.network(seen, times, _padded(traces, self.bare.multiple))
        noise, share = answer[:, :, : sides[0], : sides[1], : sides[2]].to(x.dtype).unbind(1)
        return torch.stack([x - sigma * noise, (share + 1) / 2], dim=1)


def _padded(x: Tensor, multiple: Sequence[int]) -> Tensor:
    """Zeros behind the ends, up to multiples: traces that were not recorded, as the mask says."""
    spare = [-n % m for n, m in zip(x.shape[2:], multiple, strict=True)]
    return F.pad(x, (0, spare[2], 0, spare[1], 0, spare[0])) if any(spare) else x


def network_of(card: InterpolatorCard) -> nn.Module:
    """The network that a card describes, preconditioned but for the published form."""
    network = build_network(card.architecture)
    return network if isinstance(network, FusedADM) else EDMDenoiser(network, card.sigma_data, axes=4)


def interpolator_of(card: InterpolatorCard, network: nn.Module, **settings: Any) -> Interpolator:
    """The interpolator of a card and the network it describes."""
    return (FusedInterpolator if isinstance(network, FusedADM) else Interpolator)(card, network, **settings)
