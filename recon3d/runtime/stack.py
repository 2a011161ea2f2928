"""Stacks of slices: scans whose slices are problems of their own, and the part of one that belongs to some slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from operators.tomography import TomographyGeometry
from recon3d.grid import AffineGrid
from recon3d.io.stored import StoredArray, StoredScan
from recon3d.scan import Scan

AXIS = 1
"""The axis of the data that counts slices: (view, row, column), (coil, kz, ky, kx)."""


def is_stack(scan: StoredScan) -> bool:
    """Whether each slice of the grid has data of its own: parallel and fan beams, MRI encoded in 2D on a grid."""
    acquisition, shape = scan.acquisition, scan.data.shape
    if not isinstance(scan.grid, AffineGrid) or "times_s" in acquisition:
        return False
    if scan.kind == "ct":
        stacked = acquisition.get("kind") in ("parallel", "fan") and len(shape) == 3
    else:
        flat = acquisition.get("encoding", "2d") == "2d" and "trajectory" not in acquisition
        stacked = scan.kind == "mri" and flat and len(shape) == 4
    return stacked and shape[AXIS] == scan.grid.shape[0]


def slab_of(scan: StoredScan, start: int, stop: int) -> Scan:
    """Slices `start` to `stop` of a stack, read from its file, as a scan of their own."""
    assert isinstance(scan.grid, AffineGrid)
    narrowed = _of_ct if scan.kind == "ct" else _of_mri
    return Scan(
        kind=scan.kind,
        data=scan.data[:, start:stop],
        axes=scan.axes,
        acquisition=narrowed(scan, start, stop),
        grid=scan.grid.slab(start, stop),
        noise={name: _narrow(value, AXIS - scan.data.ndim, start, stop) for name, value in scan.noise.items()},
        units=scan.units,
        calibration=scan.calibration,
        name=scan.name,
    )


def _of_ct(scan: StoredScan, start: int, stop: int) -> dict[str, Any]:
    assert isinstance(scan.grid, AffineGrid)
    acquisition = dict(scan.acquisition)
    rows = TomographyGeometry.from_dict(_whole(acquisition)).rows(start, stop)
    z, y, x = (float(v) for v in np.asarray(acquisition.get("grid_centre_mm", (0.0, 0.0, 0.0))).ravel())
    z += 0.5 * (start + stop - scan.grid.shape[0]) * scan.grid.voxel_mm[0]
    return {**acquisition, **rows.to_dict(), "grid_centre_mm": np.array((z, y, x))}


def _of_mri(scan: StoredScan, start: int, stop: int) -> dict[str, Any]:
    acquisition = dict(scan.acquisition)
    for name, axis in (("mask", -3), ("sensitivities", -3), ("calibration", -3)):
        if name in acquisition:
            acquisition[name] = _narrow(acquisition[name], axis, start, stop)
    return acquisition


def _whole(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[()] if isinstance(value, StoredArray) else value for name, value in entries.items()}


def _narrow(value: Any, axis: int, start: int, stop: int) -> Any:
    """The slices of an entry that has an axis for them; other entries are those of all slices."""
    shape = getattr(value, "shape", ())
    if len(shape) < -axis or shape[axis] == 1:
        return value[()] if isinstance(value, StoredArray) else value
    part = [slice(None)] * len(shape)
    part[axis] = slice(start, stop)
    return value[tuple(part)]
