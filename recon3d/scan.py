"""Scan: what was measured and how, before any physics is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError
from recon3d.grid import Grid

Plain = NDArray[Any] | float | int | str | bool
"""What an acquisition, noise or calibration entry may be: what every file format can hold."""


@dataclass(frozen=True, eq=False)
class Scan:
    """Measured data, their acquisition, their noise and the grid they are to be reconstructed on.

    Parameters
    ----------
    kind : name of the acquisition ("ct", "mri" ...): looked up to turn the scan into a linear operator
    data : the measured array, or a tuple of arrays where they are ragged
    axes : names of the axes of the data, e.g. ("view", "row", "column"); of one block where the data are ragged
    acquisition : geometry and settings as plain named values (millimetres, radians, seconds)
    grid : target grid
    noise : what is known of the noise: {"std": s}, {"photons": n} or {"weights": array}; empty if nothing is
    units : unit of the reconstructed image, e.g. "1/mm"
    calibration : physical constants, e.g. {"water_per_mm": 0.02}
    name : short title without patient identifiers
    """

    kind: str
    data: NDArray[Any] | tuple[NDArray[Any], ...]
    axes: tuple[str, ...]
    acquisition: Mapping[str, Plain]
    grid: Grid
    noise: Mapping[str, Plain] = field(default_factory=dict)
    units: str = "1"
    calibration: Mapping[str, float] = field(default_factory=dict)
    name: str = "scan"

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        data = tuple(map(np.asarray, self.data)) if isinstance(self.data, tuple) else np.asarray(self.data)
        object.__setattr__(self, "data", data)
        blocks = self.blocks
        if not blocks or any(block.size == 0 for block in blocks):
            raise InputError(f"Scan '{self.name}' holds no data: expected at least one measurement.")
        for block in blocks:
            if block.dtype.kind not in "biufc":
                raise InputError(f"Scan '{self.name}' needs numbers, got an array of {block.dtype}.")
            if block.ndim != len(self.axes):
                raise ShapeError(
                    f"Scan data with axes {self.axes} need {len(self.axes)} dimensions, got shape {block.shape}."
                )
        bad = sum(int(block.size - np.count_nonzero(np.isfinite(block))) for block in blocks)
        if bad:
            raise InputError(
                f"Scan '{self.name}' holds {bad} NaN or infinite measurements: mend or mask them before reconstruction."
            )

    @property
    def blocks(self) -> tuple[NDArray[Any], ...]:
        """The data as a tuple, also where there is one array only."""
        return self.data if isinstance(self.data, tuple) else (self.data,)

    def on(self, grid: Grid) -> Scan:
        """The same measurement, to be reconstructed on another grid."""
        return replace(self, grid=grid)

    def __repr__(self) -> str:
        shapes = ", ".join(str(block.shape) for block in self.blocks)
        return f"Scan({self.kind} '{self.name}', {self.axes} {shapes})"
