"""Reconstructor: a feed-forward network for multi-coil MRI with its card, from a problem to an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

import torch
from torch import Tensor, nn

from operators.fourier import centred_ifft, centring_phases
from operators.linear import LinearOperator
from operators.mri import CartesianEncoding
from operators.mri.coils import calibration_box, rss
from operators.mri.sampling import describe_mask
from operators.space import Space
from recon3d.errors import ModelError
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.slices import fast_dtype

if TYPE_CHECKING:
    from recon3d.problem import Problem

Combine = Literal["rss", "sense"]


class Reconstructor:
    """A network that completes k-space, with the scaling it was trained with; one slice at a time.

    Parameters
    ----------
    network : (kspace, mask, calibration) -> completed k-space, `centred` or of plain transforms; see
        `recon3d.priors.networks.recurrent_varnet`
    micro_batch : is not needed: a slice is always a batch of its own
    half : bfloat16 where the device is fast at it, inside the convolutions only; False computes in float32
    """

    def __init__(self, card: ReconstructorCard, network: nn.Module, *, micro_batch: int = 1, half: bool = True) -> None:
        self.card = card
        self.network = network
        self.half = half
        self.compute_dtype = fast_dtype(self.device) if half else None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def configured(self, *, micro_batch: int | None = None, half: bool | None = None) -> Reconstructor:
        """The same weights applied in another way."""
        return Reconstructor(self.card, self.network, half=self.half if half is None else half)

    def bytes_per_slice(self, shape: Sequence[int]) -> int:
        """About what one slice (y, x) takes inside the network, for memory plans."""
        return int(self.network.bytes_per_pixel) * math.prod(shape)  # type: ignore[arg-type]

    @torch.no_grad()
    def __call__(self, problem: Problem, combine: Combine = "rss") -> Tensor:
        """The image (z, y, x) of a scan, complex, in its units.

        The magnitude is the root sum of squares of the completed coil images ("rss", what the network was trained to),
        or that of their combination by the scan's own sensitivities ("sense"); the phase is that of the combination.

        Raises
        ------
        ModelError
            For a scan that is no stack of Cartesian slices, or holds a slice without signal.
        """
        A = problem.A
        if not _is_stack(A):
            raise ModelError(f"{sampling_misfits(self.card, problem)[0]}.")
        planes = []
        for z in range(A.maps.shape[2]):
            mask = A.mask[z if A.mask.shape[0] > 1 else 0].bool()
            coil_images = centred_ifft(self.complete(problem.y[:, z], mask))
            combined = (A.maps[0, :, z].conj() * coil_images).sum(0)
            planes.append(torch.polar(rss(coil_images, 0), combined.angle()) if combine == "rss" else combined)
        return torch.stack(planes)

    def complete(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Completed k-space (coil, ky, kx) of a slice; `mask` broadcasts to (ky, kx). Both centred."""
        kspace = torch.where(mask, kspace, 0)
        scale = kspace_scale(kspace, self.card.percentile)
        if not scale > 0:
            raise ModelError(f"The model {self.card.name} met a slice without signal, whose scale is 0: leave it out.")
        origin = None if self.network.centred else _plain_origin(kspace)
        given = kspace / scale if origin is None else kspace / scale * origin
        dtype = self.compute_dtype or torch.bfloat16
        with torch.autocast(kspace.device.type, dtype=dtype, enabled=self.compute_dtype is not None):
            found = self.network(given[None], *network_masks(mask, kspace.shape[-2:], self.card.calibration_radius))[0]
        return found * scale if origin is None else found * origin.conj() * scale


def sampling_misfits(card: ReconstructorCard, problem: Problem) -> list[str]:
    """Every way in which the sampling of a scan is unlike the training, or why it cannot be taken at all."""
    A = problem.A
    if not _is_stack(A):
        what = "slices of one Cartesian scan, encoded in 2D, with one set of sensitivities"
        return [f"the model {card.name} takes {what}; '{problem.name}' is another kind"]
    coils, sampling = A.maps.shape[1], describe_mask(A.mask[0].bool().expand(A.maps.shape[-2:]).cpu().numpy())
    misfits = []
    low, high = card.coils
    if not low <= coils <= high:
        misfits.append(f"the model {card.name} was trained for {low} to {high} coils, the scan has {coils}")
    if sampling.pattern not in card.patterns:
        kinds = " and ".join(card.patterns)
        misfits.append(f"the model {card.name} was trained on {kinds} sampling, that of the scan is {sampling.pattern}")
        return misfits  # its numbers mean something else then
    for what, value, (low_value, high_value) in (
        ("accelerations", sampling.acceleration, card.acceleration),
        ("shares of calibration lines", sampling.centre, card.centre),
    ):
        if not low_value <= value <= high_value:
            seen = f"{low_value:g} to {high_value:g}"
            misfits.append(f"the model {card.name} was trained on {what} of {seen}, the scan has {value:.3g}")
    return misfits


def _is_stack(A: LinearOperator) -> TypeGuard[CartesianEncoding]:
    """Whether slices are problems of their own, with one image each."""
    axes = A.domain.axes if isinstance(A.domain, Space) else ()
    return isinstance(A, CartesianEncoding) and A.encoding == "2d" and axes == ("z", "y", "x")


def kspace_scale(kspace: Tensor, percentile: float) -> Tensor:
    """The magnitude that this share of all samples, zeros included, does not exceed: what a slice is divided by."""
    magnitudes = kspace.abs().flatten()
    rank = int((1 - percentile) * len(magnitudes)) + 1  # counted from the largest, as the public toolkit does
    return torch.kthvalue(magnitudes, len(magnitudes) - rank + 1).values


def network_masks(mask: Tensor, shape: Sequence[int], radius: int | None = None) -> tuple[Tensor, Tensor]:
    """A mask that broadcasts to (ky, kx), and its calibration region, as networks take them: (1, 1, ky, kx).

    The region is the fully sampled box around the centre, or the disc of a `radius` in samples.
    """
    full = mask.expand(tuple(shape))
    region = torch.zeros_like(full)
    if radius is None:
        columns = bool((full == full[:1]).all())  # the box of a column mask needs its columns only
        box = calibration_box(full[0]) if columns else calibration_box(full)
        region[(slice(None), *box) if columns else box] = True
    else:
        y, x = (torch.arange(n, device=mask.device) - n // 2 for n in shape)
        region = y[:, None].square() + x.square() < radius**2
    return full[None, None], region[None, None]


def _plain_origin(kspace: Tensor) -> Tensor:
    """Phases (ky, kx) after which a plain transform makes the image; zero frequency stays in the middle."""
    rows, columns = (centring_phases(n, kspace.device)[1].conj() for n in kspace.shape[-2:])
    return (rows[:, None] * columns).to(kspace.dtype)
