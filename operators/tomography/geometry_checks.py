"""Whether the rays that the vectors of a tomography geometry describe can exist."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from operators.errors import GeometryError

if TYPE_CHECKING:
    from operators.tomography.geometry import TomographyGeometry


def check_cone_views(geometry: TomographyGeometry) -> None:
    """Raise unless each view of a cone scan has a detector that its source can see."""
    u, v, towards = geometry.column_step_mm, geometry.row_step_mm, geometry.detector_centre_mm - geometry.ray_source
    lengths = [np.linalg.norm(vector, axis=1) for vector in (u, v, towards)]
    if (lengths[0] == 0).any() or (lengths[1] == 0).any():
        raise GeometryError("A detector needs a column step and a row step that are not zero.")
    if (lengths[2] == 0).any():
        raise GeometryError("Rays need a direction, but a source lies on its detector.")
    across = np.abs((np.cross(u, v) * towards).sum(axis=1)) / (lengths[0] * lengths[1] * lengths[2])
    if (across < 1e-6).any():
        view = int(np.argmin(across))
        raise GeometryError(
            f"The detector of view {view} is seen edge-on, or its rows run along its columns: "
            "u, v and the central ray span no space."
        )
    if geometry.detector == "curved":
        skew = np.abs((u * v).sum(axis=1)) / lengths[1] + np.abs((u * towards).sum(axis=1)) / lengths[2]
        if (skew > 1e-6 * lengths[0]).any():
            raise GeometryError(
                "The column step of a curved detector is a tangent, at right angles to its rows and to the "
                "line from the source to the detector centre."
            )
        if (geometry.half_fan_rad >= math.pi / 2).any():
            raise GeometryError(
                "A curved detector spans less than 180 degrees of its circle; check column_mm, the arc."
            )


def check_stacked_views(geometry: TomographyGeometry) -> None:
    """Raise unless the rays of a parallel or fan scan stay in their slices and each view has a detector before it."""
    u, v = geometry.column_step_mm, geometry.row_step_mm
    towards = -geometry.ray_source if geometry.kind == "parallel" else geometry.detector_centre_mm - geometry.ray_source
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(towards, axis=1)
    if (np.linalg.norm(u, axis=1) == 0).any() or (v[:, 2] == 0).any():
        raise GeometryError("A detector needs a column step and a row step that are not zero.")
    if (size == 0).any():
        raise GeometryError("Rays need a direction, but one is zero, or a source lies on its detector.")
    across = np.abs(u[:, 0] * towards[:, 1] - u[:, 1] * towards[:, 0])
    if (across < 1e-6 * size).any():
        view = int(np.argmin(across / size))
        raise GeometryError(f"The detector of view {view} is seen edge-on: its columns run along the rays.")
    out_of_slice = np.abs(u[:, 2]) + np.abs(towards[:, 2]) + np.abs(v[:, :2]).sum(axis=1)
    lengths = np.linalg.norm(u, axis=1) + np.linalg.norm(towards, axis=1) + np.abs(v[:, 2])
    if (out_of_slice > 1e-9 * lengths).any() or np.ptp(v[:, 2]) > 1e-9 * abs(v[0, 2]):
        raise GeometryError(
            f"A {geometry.kind} geometry is a stack of slices: rays and columns stay in one slice (z), "
            "rows step along z alone and by the same length in every view."
        )
    if np.ptp(geometry.detector_centre_mm[:, 2]) > 1e-6 * abs(v[0, 2]):
        raise GeometryError(f"A {geometry.kind} geometry is a stack of slices: the detector keeps its z in every view.")
    if geometry.detector == "curved":
        if (across < (1 - 1e-9) * size).any():
            raise GeometryError(
                "The column step of a curved detector is a tangent, at right angles to the central ray."
            )
        _check_arc(geometry)


def _check_arc(geometry: TomographyGeometry) -> None:
    if (geometry.half_fan_rad >= math.pi / 2).any():
        raise GeometryError("A curved detector spans less than 180 degrees of its circle; check column_mm, the arc.")
