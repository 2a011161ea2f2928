"""The image grid of a tomography operator: where its voxels lie in the scanner frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.errors import GeometryError


@dataclass(frozen=True)
class ImageGrid:
    """A stack of slices with voxel edges along the scanner axes; index increases with coordinate on x, y and z.

    The scanner frame has the rotation axis at x = y = 0, along z. Pixels may be anisotropic and the grid off-centre.

    Parameters
    ----------
    shape : number of voxels (z, y, x)
    voxel_mm : voxel edge lengths (z, y, x), mm
    centre_mm : position of the centre of the whole grid (z, y, x), mm

    Raises
    ------
    GeometryError
        For a shape below one voxel, a voxel edge that is not positive, or a number that is not finite.
    """

    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("shape", "voxel_mm", "centre_mm"):
            value = getattr(self, name)
            if len(value) != 3:
                raise GeometryError(f"ImageGrid needs three numbers (z, y, x) for {name}, got {value!r}.")
        if any(int(n) != n or n < 1 for n in self.shape):
            raise GeometryError(f"ImageGrid needs a shape (z, y, x) of whole numbers from 1, got {self.shape}.")
        if not all(math.isfinite(mm) and mm > 0 for mm in self.voxel_mm):
            raise GeometryError(f"ImageGrid needs positive voxel edges (z, y, x) in mm, got {self.voxel_mm}.")
        if not all(math.isfinite(mm) for mm in self.centre_mm):
            raise GeometryError(f"ImageGrid needs a finite centre (z, y, x) in mm, got {self.centre_mm}.")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "voxel_mm", tuple(float(mm) for mm in self.voxel_mm))
        object.__setattr__(self, "centre_mm", tuple(float(mm) for mm in self.centre_mm))

    @property
    def first_voxel_mm(self) -> tuple[float, float, float]:
        """Centre of voxel (0, 0, 0), as (z, y, x), mm."""
        z, y, x = (c - 0.5 * (n - 1) * mm for c, n, mm in zip(self.centre_mm, self.shape, self.voxel_mm, strict=True))
        return z, y, x

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """The four outer corners of every slice, shape (4, 2), as (x, y), mm."""
        half_y, half_x = (0.5 * self.shape[k] * self.voxel_mm[k] for k in (1, 2))
        signs = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)], dtype=np.float64)
        return signs * (half_x, half_y) + (self.centre_mm[2], self.centre_mm[1])

    def slab(self, start: int, stop: int) -> ImageGrid:
        """The slices start..stop at the positions they have in the whole grid."""
        if not 0 <= start < stop <= self.shape[0]:
            raise GeometryError(f"A slab lies within 0..{self.shape[0]} slices, got {start}..{stop}.")
        z = self.centre_mm[0] + 0.5 * (start + stop - self.shape[0]) * self.voxel_mm[0]
        return ImageGrid((stop - start, *self.shape[1:]), self.voxel_mm, (z, *self.centre_mm[1:]))

    def to_dict(self) -> dict[str, Any]:
        """Plain tuples, the keyword arguments of this class."""
        return {"shape": self.shape, "voxel_mm": self.voxel_mm, "centre_mm": self.centre_mm}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageGrid:
        """The grid whose `to_dict` this is; sequences and arrays will do for tuples."""
        return cls(*(tuple(np.asarray(values[key]).tolist()) for key in ("shape", "voxel_mm", "centre_mm")))
