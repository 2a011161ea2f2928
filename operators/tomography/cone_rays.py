"""The rays of a cone scan in the voxels of a grid, sorted by how they can be followed: upright and tilted views."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid

FloatArray = NDArray[np.float64]


class UprightViews(NamedTuple):
    """Views whose detector rows step along z.

    views : (k,) indices of the views
    flipped : (k,) whether their rows run downwards; they are then counted from the other end
    columns : (k, column, 6) float64. Whether the rays march along y (1) or x (0); they cross plane m at padded pixel
        ``[1] + [2] m`` (index 1 is the first voxel), and reach the detector's scale ``t = [3] + [4] m``, where row r
        lies ``t ([5] + r step)`` voxels above the source
    heights : (k, 2) float64: height of the source, in voxels from the first slice, and the row step, positive
    lengths : (k, column, 3) float64: ray length per plane is ``sqrt([0] + ([1] + r [2])^2)`` mm
    """

    views: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    columns: FloatArray
    heights: FloatArray
    lengths: FloatArray


class TiltedViews(NamedTuple):
    """All other views: rays from `source` along ``first[column] + row step``, in voxels from the first one (x, y, z).

    views : (k,) indices of the views
    source : (k, 3), first : (k, column, 3), step : (k, 3)
    voxel_mm : (3,) as (x, y, z)
    marches : (k, 3) whether rays of the view may march along x, y, z
    """

    views: NDArray[np.int64]
    source: FloatArray
    first: FloatArray
    step: FloatArray
    voxel_mm: FloatArray
    marches: NDArray[np.bool_]


class ConeTables(NamedTuple):
    """The rays of a geometry as they cross the voxels of a grid."""

    upright: UprightViews
    tilted: TiltedViews


def cone_tables(geometry: TomographyGeometry, grid: ImageGrid) -> ConeTables:
    """Where the rays of a cone geometry cross the planes of `grid`."""
    voxel_mm = np.array(grid.voxel_mm[::-1])
    source_mm, first_mm, step_mm = geometry.columns_of_rays()
    source = (source_mm - np.array(grid.first_voxel_mm[::-1])) / voxel_mm
    first, step = first_mm / voxel_mm, step_mm / voxel_mm
    steepest = np.abs(first[..., :2]).max(axis=2)
    last = first[..., 2] + (geometry.n_rows - 1) * step[:, None, 2]
    is_upright = (np.abs(step[:, :2]).max(axis=1) <= 1e-12 * np.abs(step[:, 2])) & (
        np.maximum(np.abs(first[..., 2]), np.abs(last)) <= steepest
    ).all(axis=1)
    upright, tilted = np.flatnonzero(is_upright), np.flatnonzero(~is_upright)
    return ConeTables(
        _upright_views(upright, source[upright], first[upright], step[upright], voxel_mm, geometry.n_rows),
        _tilted_views(tilted, source[tilted], first[tilted], step[tilted], voxel_mm, geometry.n_rows),
    )


def _tilted_views(
    views: NDArray[np.int64],
    source: FloatArray,
    first: FloatArray,
    step: FloatArray,
    voxel_mm: FloatArray,
    n_rows: int,
) -> TiltedViews:
    last = first + (n_rows - 1) * step[:, None]
    most = np.maximum(np.abs(first), np.abs(last))
    least = np.where(first * last > 0, np.minimum(np.abs(first), np.abs(last)), 0.0)
    marches = (most >= least.max(axis=2, keepdims=True)).any(axis=1)
    return TiltedViews(views, source, first, step, voxel_mm, marches)


def _upright_views(
    views: NDArray[np.int64],
    source: FloatArray,
    first: FloatArray,
    step: FloatArray,
    voxel_mm: FloatArray,
    n_rows: int,
) -> UprightViews:
    flipped = step[:, 2] < 0
    height = np.abs(step[:, 2])
    lowest = np.where(flipped[:, None], first[..., 2] + (n_rows - 1) * step[:, None, 2], first[..., 2])
    marches_y = np.abs(first[..., 1]) >= np.abs(first[..., 0])
    along = np.where(marches_y, first[..., 1], first[..., 0])
    across = np.where(marches_y, first[..., 0], first[..., 1])
    source_along = np.where(marches_y, source[:, 1:2], source[:, 0:1])
    source_across = np.where(marches_y, source[:, 0:1], source[:, 1:2])
    slope = across / along
    columns = np.stack(
        (marches_y, source_across - slope * source_along + 1.0, slope, -source_along / along, 1.0 / along, lowest),
        axis=2,
    )
    square = ((first[..., :2] * voxel_mm[:2]) ** 2).sum(axis=2) / along**2
    rise = voxel_mm[2] / np.abs(along)
    lengths = np.stack((square, lowest * rise, height[:, None] * rise), axis=2)
    return UprightViews(views, flipped, columns, np.stack((source[:, 2], height), axis=1), lengths)
