"""The loops of delay-and-sum in torch, for GPUs: all points at once, as many elements at a time as fit.

The functions are those of `loops_cpu`, and so are their numbers but for rounding; on a GPU `spread` adds in no fixed
order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from operators.ultrasound.tables import BOXCAR, HANN, Tables

ECHOES = 1 << 22
"""Pairs of a point and an element that are worked on at a time: a few hundred MB."""


def delay_and_sum(data: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """Image (point,), the sum of the delayed data (transmit, element, sample); energy (point,), see `loops_cpu`."""
    image = data.new_zeros(len(tables.points))
    energy = torch.zeros_like(tables.samples_per_mm)
    for elements in _some(tables):
        delay, weight, _ = _received(tables, elements)
        own = torch.zeros_like(delay, dtype=data.dtype)
        for t in range(len(data)):
            traces = data[t, elements]
            value = sum(traces.gather(1, place) * tap for place, tap in _taps(tables, delay, t, data.shape[-1]))
            own += value * _phase(tables.transmit_delay[t], tables) * tables.transmit_weight[t]
        own *= _phase(delay, tables) * weight
        image += own.sum(dim=0)
        energy += (own.real**2 + own.imag**2).sum(dim=0)
    return image, energy


def spread(image: Tensor, tables: Tables, shape: Sequence[int]) -> Tensor:
    """Traces of this shape: the adjoint of `delay_and_sum`."""
    traces = torch.zeros(*shape, 2, dtype=image.real.dtype, device=image.device)
    for elements in _some(tables):
        delay, weight, _ = _received(tables, elements)
        rows = torch.arange(elements.start, elements.stop, device=image.device)[:, None] * shape[-1]
        own = weight * _phase(delay, tables).conj() * image
        for t in range(shape[0]):
            echoes = own * _phase(tables.transmit_delay[t], tables).conj() * tables.transmit_weight[t]
            for place, tap in _taps(tables, delay, t, shape[-1]):
                flat = traces[t].reshape(-1, 2)
                flat.index_add_(0, (rows + place).ravel(), torch.view_as_real(echoes * tap).reshape(-1, 2))
    return torch.view_as_complex(traces)


def coverage(samples: int, tables: Tables) -> tuple[Tensor, Tensor]:
    """Per point: what its recorded echoes add up to where it reflects all, and over elements the squares of theirs."""
    weights, squares = torch.zeros_like(tables.samples_per_mm), torch.zeros_like(tables.samples_per_mm)
    for elements in _some(tables):
        delay, weight, loss = _received(tables, elements)
        own = torch.zeros_like(delay)
        for t in range(len(tables.transmit_delay)):
            own += _recorded(delay + tables.transmit_delay[t], samples) * (
                weight * loss * tables.transmit_weight[t] * tables.transmit_loss[t]
            )
        weights += own.sum(dim=0)
        squares += (own**2).sum(dim=0)
    return weights, squares


def _some(tables: Tables) -> Iterator[slice]:
    count = len(tables.elements)
    step = max(1, min(count, ECHOES // len(tables.points)))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def _received(tables: Tables, elements: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Delay, weight and loss of some elements, (element, point)."""
    how = tables.how
    offset = tables.points[None] - tables.elements[elements, None]
    across, z = torch.hypot(offset[..., 0], offset[..., 1]), offset[..., 2]
    distance = torch.hypot(across, z)
    weight = torch.ones_like(distance)
    if how.f_number > 0:
        place = 2 * how.f_number * across / z.clamp_min(1e-9)  # 1 at the edge of the aperture
        weight = ((place <= 1) & (z > 0)).to(distance.dtype)
        if how.window == HANN:
            weight *= 0.5 + 0.5 * torch.cos(math.pi * place.clamp(max=1))
        elif how.window != BOXCAR:
            weight *= 0.5 + 0.5 * torch.cos(2 * math.pi * (place.clamp(0.5, 1) - 0.5))
    if how.width > 0:
        turns = how.width * offset[..., 0].abs() / distance.clamp_min(1e-6)
        weight *= torch.where(turns < 1, torch.sinc(turns), 0)
    loss = torch.exp(-how.nepers_per_mm * distance)
    if how.spherical:
        loss = loss / distance.clamp_min(1e-3)
    return distance * tables.samples_per_mm, weight * loss, loss


def _phase(delay: Tensor, tables: Tables) -> Tensor:
    turns = delay * tables.how.turns_per_sample
    return torch.polar(torch.ones_like(turns), 2 * math.pi * (turns - turns.round()))


def _recorded(place: Tensor, samples: int) -> Tensor:
    below = place.floor()
    return (below >= 1) & (below + 2 < samples)


def _taps(tables: Tables, delay: Tensor, t: int, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples that an echo is read from, and their weights: two (linear) or four (Keys, 1981)."""
    place = delay + tables.transmit_delay[t]
    inside = _recorded(place, samples)
    below = place.floor()
    f = place - below
    first = torch.where(inside, below, 1).long()
    taps = {0: 1 - f, 1: f}
    if tables.how.cubic:
        f2, f3 = f * f, f * f * f
        taps = {
            -1: 0.5 * (2 * f2 - f - f3),
            0: 1 - 2.5 * f2 + 1.5 * f3,
            1: 0.5 * f + 2 * f2 - 1.5 * f3,
            2: 0.5 * (f3 - f2),
        }
    return ((first + step, tap * inside) for step, tap in taps.items())
