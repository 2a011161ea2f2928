"""The CT projector as a linear operator: line integrals of a stack of slices, with the exact adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from operators.errors import GeometryError
from operators.linear import Slab
from operators.tomography import joseph
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.transform import RayTransform


class Projector(RayTransform):
    """Line integrals of an image (z, y, x) in 1/mm along the rays of a geometry: projections (view, row, column).

    Joseph's method; the adjoint is the exact transpose, at the same speed. Parallel and fan geometries are stacks of
    two-dimensional problems: row r sees slice z = r, so `restrict("z", a, b)` is the problem of the rows a..b.
    Results are equal bit for bit for any number of threads and any split into slabs.

    Parameters
    ----------
    geometry : rays; as many rows as the grid has slices, at their pitch and place
    grid : voxels
    dtype : torch.float32 or torch.float64
    device : "cpu"

    Raises
    ------
    GeometryError
        If rows and slices differ in number, pitch or place, or the grid reaches a source or lies behind it.
    DeviceError
        For any device but the CPU.
    """

    name = "CT projector"

    def _check(self, geometry: TomographyGeometry, grid: ImageGrid) -> None:
        _check_fit(geometry, grid)

    def _ray_tables(self) -> joseph.RayTables:
        return joseph.ray_tables(self.geometry, self.grid)

    @property
    def _kernels(self) -> tuple[Callable[[Any, Any, Any], None], Callable[[Any, Any, Any], None]]:
        return joseph.project, joseph.backproject

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if axis != "z":
            return None
        slab = Projector(self.geometry.rows(start, stop), self.grid.slab(start, stop), self.domain.dtype)
        slab.__dict__["_tables"] = self._tables  # the rays of every slice are the same
        return Slab(slab, "row", start, stop)


def _check_fit(geometry: TomographyGeometry, grid: ImageGrid) -> None:
    if geometry.kind == "cone":
        raise GeometryError("The rays of a cone scan leave their slice: use ConeProjector.")
    n_slices, slice_mm, z_mm = grid.shape[0], grid.voxel_mm[0], grid.centre_mm[0]
    if geometry.n_rows != n_slices:
        raise GeometryError(
            f"A {geometry.kind} scan is a stack of slices, one per detector row: "
            f"the geometry has {geometry.n_rows} rows, the grid {n_slices} slices."
        )
    if abs(geometry.row_mm - slice_mm) > 1e-6 * slice_mm or abs(geometry.row_centre_mm - z_mm) > 1e-3 * slice_mm:
        raise GeometryError(
            f"Detector rows and slices must coincide: rows lie {geometry.row_mm:g} mm apart about z = "
            f"{geometry.row_centre_mm:g}, slices {slice_mm:g} mm about z = {z_mm:g}. "
            "Set row_mm and row_centre_mm, or the grid."
        )
    if geometry.kind == "fan":
        source = geometry.ray_source[:, None, :2]
        towards = geometry.detector_centre_mm[:, None, :2] - source
        ahead = ((grid.corners_mm - source) * towards).sum(axis=2).min(axis=1)
        if (ahead <= 0).any():
            view = int(np.argmin(ahead))
            raise GeometryError(
                f"The source of view {view}, at x, y = {source[view, 0, 0]:g}, {source[view, 0, 1]:g} mm, lies in the "
                "grid or beside it; every voxel must lie in front of it. Check the distances or take a smaller grid."
            )
