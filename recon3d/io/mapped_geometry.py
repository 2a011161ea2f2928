"""Geometry of CT in array files: what the sections `geometry`, `views` and `grid` of a mapping mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.mapped import Mapped
from recon3d.io.mapping import check_keys

_GEOMETRY = {
    "parallel": ("angles", "column_pitch", "row_pitch", "detector_offset", "axis_shift", "axis_column"),
    "fan": (
        "angles", "column_pitch", "row_pitch", "detector_offset", "axis_shift", "axis_column", "source_to_axis",
        "source_to_detector", "detector",
    ),
}  # fmt: skip


def with_geometry(source: Mapped, data: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any], AffineGrid]:
    """The views that the mapping keeps, their geometry as a dict, and the grid of the image.

    Parameters
    ----------
    data : (view, row, column)
    """
    settings = source.part("geometry")
    beam = str(settings.pop("type", "parallel"))
    if beam not in _GEOMETRY:
        raise InputError(f"geometry.type is parallel or fan, got '{beam}'.")
    check_keys("geometry", settings, _GEOMETRY[beam])
    needed = ("angles", "column_pitch", *(("source_to_axis", "source_to_detector") if beam == "fan" else ()))
    absent = [name for name in needed if name not in settings]
    if absent:
        raise InputError(
            f"The geometry of a {beam} scan needs {', '.join(needed)}: the mapping lacks {', '.join(absent)}."
        )
    n_views, n_rows, n_columns = data.shape
    angles = _angles(source, settings.pop("angles"), n_views)
    data, angles = _chosen_views(source, data, angles)
    detector = str(settings.pop("detector", "flat"))
    axis_column = settings.pop("axis_column", None)
    mm = {name: source.length_mm(value, f"geometry.{name}") for name, value in settings.items()}
    pitch = mm["column_pitch"]
    row_pitch = mm.get("row_pitch", pitch)
    demagnified = mm["source_to_axis"] / mm["source_to_detector"] if beam == "fan" else 1.0
    axis_shift = mm.get("axis_shift", 0.0)
    if axis_column is not None:
        if "axis_shift" in mm:
            raise InputError("The geometry states axis_shift and axis_column: keep one of them.")
        axis_shift = (source.number(axis_column, "geometry.axis_column") - (n_columns - 1) / 2) * pitch * demagnified
    common = {
        "n_columns": n_columns, "column_mm": pitch, "n_rows": n_rows, "row_mm": row_pitch,
        "detector_offset_mm": mm.get("detector_offset", 0.0), "axis_shift_mm": axis_shift,
    }  # fmt: skip
    if beam == "fan":
        geometry = TomographyGeometry.fan(
            angles,
            mm["source_to_axis"],
            mm["source_to_detector"],
            detector=detector,  # type: ignore[arg-type]  # the geometry checks it
            **common,  # type: ignore[arg-type]
        )
    else:
        geometry = TomographyGeometry.parallel(angles, **common)  # type: ignore[arg-type]
    # Without a grid: voxels as fine as the detector sees the axis, over the width that it sees.
    default_voxel = (row_pitch, pitch * demagnified, pitch * demagnified)
    grid = mapped_grid(source, (n_rows, n_columns, n_columns), default_voxel)
    return data, geometry.to_dict(), grid


def _angles(source: Mapped, entry: Any, n_views: int) -> NDArray[np.float64]:
    """One angle per view, radians."""
    if isinstance(entry, Mapping) and "key" not in entry:
        check_keys("geometry.angles", entry, ("start", "step", "arc", "count", "unit"))
        count = int(entry.get("count", n_views))
        if ("step" in entry) == ("arc" in entry):
            raise InputError("geometry.angles is a list, {key: ...}, or start and step (or arc, its end excluded).")
        step = source.number(entry["step"], "step") if "step" in entry else source.number(entry["arc"], "arc") / count
        angles = source.number(entry.get("start", 0.0), "start") + step * np.arange(count)
    else:
        angles = np.ravel(np.asarray(source.value(entry, "geometry.angles"), dtype=np.float64))
    if angles.size != n_views:
        raise InputError(f"{source.path} holds {n_views} views but {angles.size} angles are given: they must agree.")
    if not np.isfinite(angles).all():
        raise InputError(f"The angles of {source.path} hold NaN or infinities: expected one number per view.")
    return np.asarray(angles * source.rad(entry), dtype=np.float64)


def _chosen_views(
    source: Mapped, data: NDArray[Any], angles: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The views that the mapping keeps."""
    views = source.part("views")
    check_keys("views", views, ("start", "stop", "step", "repeated"))
    if views.get("repeated", "keep") not in ("keep", "drop"):
        raise InputError(f"views.repeated is keep or drop, got '{views['repeated']}'.")
    if views.get("repeated") == "drop":
        turn = np.round(np.mod(angles, 2 * math.pi) / (2 * math.pi), 9) % 1.0
        keep = np.sort(np.unique(turn, return_index=True)[1])
        data, angles = data[keep], angles[keep]
    part = slice(*(views.get(name) for name in ("start", "stop", "step")))
    data, angles = data[part], angles[part]
    if not len(angles):
        raise InputError("'views' of the mapping keeps no view: check start, stop and step.")
    return data, angles


def mapped_grid(source: Mapped, shape: Sequence[int] | None, voxel_mm: Sequence[float] | None) -> AffineGrid:
    """The grid of the mapping, completed by the given shape and voxel lengths."""
    grid = source.part("grid")
    check_keys("grid", grid, ("shape", "voxel_mm"))
    if "shape" in grid:
        if not isinstance(grid["shape"], list | tuple) or len(grid["shape"]) != 3:
            raise InputError(f"grid.shape is three numbers of voxels [z, y, x], got {grid['shape']!r}.")
        shape = [int(source.number(n, "grid.shape")) for n in grid["shape"]]
    if shape is None:
        raise InputError(f"A scan of kind '{source.kind}' needs grid.shape [z, y, x].")
    if "voxel_mm" not in grid:
        return AffineGrid.centred(shape, voxel_mm if voxel_mm is not None else 1.0)
    entry = grid["voxel_mm"]
    if isinstance(entry, list | tuple):
        return AffineGrid.centred(shape, [_voxel_mm(source, v) for v in entry])
    edge = _voxel_mm(source, entry)
    if voxel_mm is not None:  # slices are as thick as the rows of the detector, which a stack of fans cannot change
        return AffineGrid.centred(shape, (voxel_mm[0], edge, edge))
    return AffineGrid.centred(shape, edge)


def _voxel_mm(source: Mapped, entry: Any) -> float:
    """A length that is in mm where it is written out, and in the mapping's unit where it comes from the file."""
    read = source.length_mm if isinstance(entry, Mapping) else source.number
    return read(entry, "grid.voxel_mm")
