"""From beamformed signals to pictures: envelope, decibels, and sectors resampled onto squares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operators.errors import GeometryError
from operators.linear import LinearOperator
from operators.space import Space


def envelope(x: Tensor, dim: int = -1) -> Tensor:
    """Magnitude of complex samples; of real RF, that of its analytic signal along `dim` (the depth), zero-padded."""
    if x.is_complex():
        return x.abs()
    n = x.shape[dim]
    length = 2 * n
    weights = torch.zeros(length, dtype=x.dtype, device=x.device)
    weights[0] = weights[length // 2] = 1.0
    weights[1 : length // 2] = 2.0
    moved = x.movedim(dim, -1)
    analytic = torch.fft.ifft(torch.fft.fft(moved, n=length) * weights)[..., :n]
    return analytic.abs().movedim(-1, dim)


def decibels(x: Tensor, reference: float | None = None, dynamic_range: float = 60.0) -> Tensor:
    """20 log10 of an envelope over the reference, limited to -dynamic_range..0.

    The reference is the highest value of the whole tensor by default, so that the frames of a sequence share one.
    """
    highest = float(x.max()) if reference is None else reference
    if not highest > 0 or not dynamic_range > 0:
        raise GeometryError(
            f"Decibels need a positive reference and dynamic range, got {highest:g} and {dynamic_range:g}."
        )
    least = 10 ** (-dynamic_range / 20)
    return 20 * torch.log10((x / highest).clamp(least, 1.0))


class SectorSampling(LinearOperator):
    """Scan conversion: beams sampled at places between them, by bilinear interpolation; 0 outside the sector.

    Parameters
    ----------
    shape : (elevation, beam, depth) of the beams; elevations are converted plane by plane
    beam, depth : (rows, columns), where each pixel lies, in beams and samples from the first
    """

    domain: Space
    range: Space

    def __init__(
        self,
        shape: tuple[int, int, int],
        beam: Tensor,
        depth: Tensor,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            Space(("elevation", "beam", "depth"), shape, dtype),
            Space(("z", "y", "x"), (shape[0], *beam.shape), dtype),
            device,
        )
        self._beam, self._depth = beam, depth
        last_beam, last_depth = shape[1] - 1, shape[2] - 1
        slack = 1e-6  # of a sample: pixels on the edge are inside
        inside = (beam >= -slack) & (beam <= last_beam + slack) & (depth >= -slack) & (depth <= last_depth + slack)
        place, weight = [], []
        for (b, wb), (d, wd) in ((p, q) for p in _corners(beam, last_beam) for q in _corners(depth, last_depth)):
            place.append(b * shape[2] + d)
            weight.append((wb * wd * inside).to(self.domain.dtype))
        self._place = torch.stack(place).reshape(4, -1).to(self.device)
        self._weight = torch.stack(weight).reshape(4, -1).to(self.device)

    def _forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(-2)
        total = sum(flat[..., p] * w for p, w in zip(self._place, self._weight, strict=True))
        return total.reshape(*x.shape[:-2], *self.range.shape[1:])  # type: ignore[union-attr]

    def _adjoint(self, y: Tensor) -> Tensor:
        flat = y.flatten(-2)
        out = y.new_zeros((*flat.shape[:-1], math.prod(self.domain.shape[1:])))
        for p, w in zip(self._place, self._weight, strict=True):
            out.index_add_(-1, p, flat * w)
        return out.reshape(*y.shape[:-2], *self.domain.shape[1:])

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        kept = self.domain.astype(dtype).dtype
        return SectorSampling(self.domain.shape, self._beam, self._depth, kept, device)  # type: ignore[arg-type]


def _corners(place: Tensor, last: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The samples below and above a place, with their weights."""
    held = place.clamp(0, last)
    below = held.floor().clamp(max=max(last - 1, 0))
    fraction = held - below
    above = (below + 1).clamp(max=last)
    return (below.long(), 1 - fraction), (above.long(), fraction)
