"""Volume: an image that never travels without its place, its unit and its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ShapeError
from recon3d.grid import AffineGrid, Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on a grid.

    Parameters
    ----------
    data : real or complex array, shape (z, y, x), or (t, z, y, x) for a series
    grid : where its voxels lie; its shape is the last three axes of `data`
    units : "HU", "1/mm", "1" ...
    times_s : time of each frame of a series, in seconds
    tags : what else is known (modality, source); plain values, never identifiers of a patient
    """

    data: NDArray[Any]
    grid: Grid
    units: str = "1"
    times_s: tuple[float, ...] | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.ndim not in (3, 4) or data.shape[-3:] != tuple(self.grid.shape):
            raise ShapeError(
                f"A volume on a grid of shape {self.grid.shape} needs data of that shape, got {data.shape}."
            )
        if data.dtype.kind not in "biufc":
            raise ShapeError(f"A volume holds numbers, got an array of {data.dtype}.")
        if self.times_s is not None and (data.ndim != 4 or len(self.times_s) != data.shape[0]):
            raise ShapeError(
                f"A series needs one time per frame, got {len(self.times_s)} times for shape {data.shape}."
            )
        object.__setattr__(self, "data", data)
        if self.times_s is not None:
            object.__setattr__(self, "times_s", tuple(float(t) for t in self.times_s))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Voxel edge (z, y, x); only for volumes on an `AffineGrid`."""
        if not isinstance(self.grid, AffineGrid):
            raise ShapeError(
                f"Voxel lengths exist on an AffineGrid only, this volume lies on a {type(self.grid).__name__}."
            )
        return self.grid.voxel_mm

    def with_data(self, data: NDArray[Any], **changes: Any) -> Volume:
        """Other values on the same grid; `changes` may name units, tags ..."""
        return replace(self, data=data, **changes)

    def __repr__(self) -> str:
        return f"Volume({self.data.shape} {self.data.dtype}, {self.units}, {type(self.grid).__name__})"
