"""Units: how measured data split into what can be asked for: k-space lines or points, views, scan lines, pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from operators.linear import Diagonal, LinearOperator
from operators.mri import CartesianEncoding
from operators.space import Space
from recon3d.errors import ConfigError

__all__ = ["KINDS", "Unit", "Units", "measured_by"]

KINDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "lines": (("kx",), ("line",)),
    "points": (("ky", "kx"), ("kz", "ky")),
    "views": (("view",),),
    "spokes": (("interleave",),),
    "scan_lines": (("beam",), ("x",)),
    "pixels": (("y", "x"),),
}
"""Kind of unit -> the axes of the data that count it; the first that the data have is taken."""


@dataclass(frozen=True)
class Unit:
    """One thing to measure: unit `index`, in all slices at once where `slice` is None."""

    index: int
    slice: int | None = None


@dataclass(frozen=True)
class Units:
    """The units of some data: every combination of indices on the unit axes, row by row.

    Parameters
    ----------
    space : the data, e.g. axes (coil, kz, ky, kx)
    axes : those that count units, e.g. ("kx",)
    slice_axis : the axis that counts slices where each slice is measured by units of its own, else None
    """

    space: Space
    axes: tuple[str, ...]
    slice_axis: str | None = None

    @classmethod
    def of(cls, A: LinearOperator, kind: str, shared: bool = True) -> Units:
        """The units of an operator's data by the name of their kind; `shared`: one choice for all slices."""
        if not isinstance(A.range, Space):
            raise ConfigError("Active sampling needs data in one array; these are ragged (blocks).")
        if kind not in KINDS:
            raise ConfigError(f"method.units is one of {', '.join(KINDS)}, got '{kind}'.")
        axes = next((axes for axes in KINDS[kind] if set(axes) <= set(A.range.axes)), None)
        if axes is None:
            fitting = [name for name, choices in KINDS.items() if any(set(c) <= set(A.range.axes) for c in choices)]
            raise ConfigError(
                f"Data with the axes {A.range.axes} have no {kind}: choose method.units from {', '.join(fitting)}."
            )
        slab = None if shared or "z" not in A.domain.axes else A.restrict("z", 0, 1)  # type: ignore[union-attr]
        if not shared and (slab is None or slab.range_axis in axes):
            raise ConfigError("Slices that share measurements cannot choose apart: set method.shared to true.")
        return cls(A.range, axes, slab.range_axis if slab else None)

    @property
    def count(self) -> int:
        """Units that can be asked for, in each slice."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the unit axes."""
        return tuple(self.space.shape[self.space.axes.index(axis)] for axis in self.axes)

    @property
    def slices(self) -> int:
        """How many choices are made apart: 1, or one per slice."""
        return self.space.shape[self.space.axes.index(self.slice_axis)] if self.slice_axis else 1

    def where(self, unit: Unit) -> tuple[int | slice, ...]:
        """The index of a unit's data within all data."""
        if not 0 <= unit.index < self.count:
            raise ConfigError(f"Units are counted from 0 to {self.count - 1}, got {unit.index}.")
        places: dict[str, int] = {}
        rest = unit.index
        for axis, length in zip(reversed(self.axes), reversed(self.shape), strict=True):
            rest, places[axis] = divmod(rest, length)
        if self.slice_axis is not None and unit.slice is not None:
            places[self.slice_axis] = unit.slice
        return tuple(places.get(axis, slice(None)) for axis in self.space.axes)

    def data_shape(self, unit: Unit) -> tuple[int, ...]:
        """Shape of what is measured when a unit is."""
        chosen = self.where(unit)
        return tuple(n for n, at in zip(self.space.shape, chosen, strict=True) if isinstance(at, slice))

    def mask(self, taken: Tensor) -> Tensor:
        """Flags (slices, units) as flags that broadcast to the data."""
        present = [axis for axis in self.space.axes if axis in (self.slice_axis, *self.axes)]
        order = [self.slice_axis, *self.axes] if self.slice_axis else list(self.axes)
        flags = taken.reshape(*([self.slices] if self.slice_axis else []), *self.shape)
        flags = flags.permute([order.index(axis) for axis in present])
        shape = [n if axis in present else 1 for axis, n in zip(self.space.axes, self.space.shape, strict=True)]
        return flags.reshape(shape)

    def sum(self, values: Tensor) -> Tensor:
        """Sum real values (..., *data) over the entries of each unit: float64 (..., slices, units)."""
        axes = self.space.axes
        kept = [*([self.slice_axis] if self.slice_axis else []), *self.axes]
        lead = values.ndim - len(axes)
        others = [lead + k for k, axis in enumerate(axes) if axis not in kept]
        left = [axis for axis in axes if axis in kept]
        total = values.to(torch.float64).sum(others) if others else values.to(torch.float64)
        total = total.permute(*range(lead), *(lead + left.index(axis) for axis in kept))
        return total.reshape(*total.shape[:lead], self.slices, self.count)

    def nearest(self) -> list[int]:
        """All units, those nearest the middle first: low frequencies (index n // 2 is zero frequency)."""
        grids = torch.meshgrid(*(torch.arange(n) - n // 2 for n in self.shape), indexing="ij")
        distance = sum((g.double() / n).square() for g, n in zip(grids, self.shape, strict=True))
        assert isinstance(distance, Tensor)
        order: list[int] = torch.argsort(distance.flatten(), stable=True).tolist()
        return order

    def centre(self, count: int) -> list[int]:
        """The `count` units nearest the middle, in their order."""
        return sorted(self.nearest()[:count])

    def even(self, count: int, offset: float = 0.0) -> list[int]:
        """`count` units spread evenly over the flat order, the first at `offset` of a spacing."""
        return [int((k + offset) * self.count / count) for k in range(count)] if count else []


def measured_by(A: LinearOperator, units: Units, taken: Tensor) -> LinearOperator:
    """M A: the operator of the units taken so far; data of the others are zero. The mask is data, not code."""
    flags = units.mask(taken)
    if isinstance(A, CartesianEncoding) and units.space.axes[0] == "coil":  # its Gram matrix knows masks
        maps = A.maps if A._has_sets else A.maps[0]
        return CartesianEncoding(maps, A.mask * flags[0].to(A.mask), A.encoding, A.coil_batch)
    return Diagonal(flags, units.space) @ A


def distances(units: Units, unit: Unit, others: Sequence[int]) -> Tensor:
    """How far units lie from one of them, in units along each axis."""
    place = torch.tensor(torch.unravel_index(torch.tensor(unit.index), units.shape))
    places = torch.stack(torch.unravel_index(torch.as_tensor(others), units.shape))
    return (places - place[:, None]).double().square().sum(0).sqrt()
