"""The acquisition "ct": projections become a projector; views, grids and the attenuation of water are chosen here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from operators.linear import LinearOperator
from recon3d.acquisitions.series import frame_edges, is_timed
from recon3d.errors import GeometryError, InputError
from recon3d.grid import AffineGrid, Grid
from recon3d.scan import Scan

# Mass attenuation of water in cm^2/g by photon energy in keV: NIST X-Ray Mass Attenuation Coefficients.
_WATER_KEV = (20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0)
_WATER_CM2_PER_G = (0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505, 0.1370, 0.1186, 0.1061, 0.09687)


def water_attenuation_per_mm(energy_kev: float) -> float:
    """Attenuation of water at a photon energy between 20 and 500 keV, in 1/mm (NIST's table, log-log interpolation)."""
    if not _WATER_KEV[0] <= energy_kev <= _WATER_KEV[-1]:
        raise InputError(
            f"scan.energy_kev lies between {_WATER_KEV[0]:g} and {_WATER_KEV[-1]:g}, got {energy_kev:g}: "
            "give scan.water_per_mm."
        )
    return 0.1 * float(np.exp(np.interp(np.log(energy_kev), np.log(_WATER_KEV), np.log(_WATER_CM2_PER_G))))


def is_stack_of_slices(scan: Scan) -> bool:
    """Whether each detector row sees one slice alone, so that row pitch and slice pitch are one."""
    return scan.kind == "ct" and scan.acquisition.get("kind") in ("parallel", "fan")


def select_views(scan: Scan, every: int = 1, start_deg: float | None = None, arc_deg: float | None = None) -> Scan:
    """A scan with a part of its views: those inside an arc from the first view on, and every n-th of them.

    Parameters
    ----------
    scan : a CT scan, views on axis 0
    every : keep every n-th view
    start_deg, arc_deg : angles from `start_deg` (inclusive) to `start_deg + arc_deg` (exclusive) after the first view,
        as the gantry turned
    """
    if scan.kind != "ct" or not isinstance(scan.data, np.ndarray):
        raise InputError(
            f"scan.views selects views of CT scans, '{scan.name}' is of kind '{scan.kind}': leave scan.views out."
        )
    from operators.tomography import TomographyGeometry

    _check_geometry_entries(scan)
    geometry = TomographyGeometry.from_dict(scan.acquisition)
    turned = np.rad2deg(np.unwrap(geometry.angles_rad))
    turned = (turned - turned[0]) * (np.sign(turned[-1] - turned[0]) or 1.0)
    first = 0.0 if start_deg is None else start_deg
    last = np.inf if arc_deg is None else first + arc_deg
    keep = np.flatnonzero((turned > first - 1e-6) & (turned < last - 1e-6))[::every]
    if keep.size == 0:
        raise InputError(
            f"scan.views keeps no view: the scan covers {turned.min():.1f} to {turned.max():.1f} degrees, "
            f"{first:g} to {last:g} were asked for."
        )
    noise = {
        key: value[keep] if np.ndim(value) == 3 and len(value) == len(scan.data) else value  # type: ignore[index, arg-type]
        for key, value in scan.noise.items()
    }
    acquisition = {**scan.acquisition, "vectors": geometry.vectors[keep]}
    if is_timed(scan):
        acquisition["times_s"] = np.asarray(scan.acquisition["times_s"])[keep]
    return replace(scan, data=scan.data[keep], acquisition=acquisition, noise=noise)


def ct(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Line integrals of attenuation (dimensionless) of an image in 1/mm.

    The scanner frame has its origin at the centre of rotation and its axes along the voxel axes of the grid; the
    acquisition may place the centre of the grid elsewhere by ``grid_centre_mm`` (z, y, x), and name the ``backend``.
    With ``times_s``, one per view, the image is a series: views of equal time, or each ``views_per_frame`` of them, see
    a frame.
    """
    from operators.series import ViewSeries
    from operators.tomography import ImageGrid, TomographyGeometry, projector_for
    from recon3d.acquisitions.ct_checks import check_ct

    if not isinstance(scan.grid, AffineGrid):
        raise InputError(f"CT scans are reconstructed on an AffineGrid, got {type(scan.grid).__name__}.")
    _check_geometry_entries(scan)
    centre = scan.acquisition.get("grid_centre_mm")
    centre_mm = tuple(float(v) for v in np.asarray(centre).ravel()) if centre is not None else (0.0, 0.0, 0.0)
    grid = ImageGrid(scan.grid.shape, scan.grid.voxel_mm, centre_mm)  # type: ignore[arg-type]
    geometry = TomographyGeometry.from_dict(scan.acquisition)
    check_ct(scan, geometry, scan.grid)
    backend = str(scan.acquisition.get("backend", "auto"))
    if not is_timed(scan):
        return projector_for(geometry, grid, dtype, device, backend)
    return ViewSeries(
        lambda a, b: projector_for(geometry[a:b], grid, dtype, device, backend),
        frame_edges(scan, geometry.n_views),
        "view",
    )


def on_grid(scan: Scan, grid: Grid) -> Scan:
    """The scan, to be reconstructed on another grid: one that lies elsewhere shows another part of the object.

    Raises
    ------
    GeometryError
        If a CT grid is not parallel to the scan's own, along whose axes the scanner is described.
    """
    if scan.kind != "ct" or not isinstance(scan.grid, AffineGrid) or not isinstance(grid, AffineGrid):
        return scan.on(grid)
    own = scan.grid.matrix[:3, :3] / np.linalg.norm(scan.grid.matrix[:3, :3], axis=0)
    new = grid.matrix[:3, :3] / np.linalg.norm(grid.matrix[:3, :3], axis=0)
    if np.abs(own - new).max() > 1e-4:
        raise GeometryError(
            f"The output grid must be parallel to the grid of '{scan.name}': resample the reconstruction instead."
        )
    moved = np.linalg.solve(own, np.subtract(grid.centre_mm, scan.grid.centre_mm))[::-1]
    centre_mm = moved + np.asarray(scan.acquisition.get("grid_centre_mm", (0.0, 0.0, 0.0)))
    return replace(scan.on(grid), acquisition={**scan.acquisition, "grid_centre_mm": centre_mm})


_GEOMETRY_ENTRIES = ("kind", "vectors", "n_rows", "n_columns", "detector")


def _check_geometry_entries(scan: Scan) -> None:
    missing = [name for name in _GEOMETRY_ENTRIES if name not in scan.acquisition]
    if missing:
        raise InputError(f"The CT scan '{scan.name}' lacks {', '.join(missing)}: its geometry is not complete.")
