"""Doubts about a CT scan: what cannot be is refused, what can hardly be is told, each with the likeliest mistake."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

WIDEST_FAN_DEG = 120.0
"""A flat detector that spans more of the source's view has lengths of two units."""
LEAST_SEEN, LITTLE_SEEN = 0.05, 0.25
"""Share of the grid's half width that the detector sees: below the first the scan is refused, below the second told."""
LARGEST_INTEGRAL = 30.0
"""exp(-30) of the photons is none: larger values are counts, or of a phantom."""
ATTENUATION_PER_MM = (1e-4, 20.0)
"""From a gas-filled foam to metal at diagnostic energies."""
_ENTERED = {"m": 1e-3, "cm": 0.1, "micrometres": 1e3}
"""How many times too large a length becomes whose unit was taken for mm."""


def edge_distances_mm(geometry: TomographyGeometry) -> tuple[float, float]:
    """Signed distances of the rays of the first and the last column from the axis, in the plane, mean over views.

    They have different signs where the axis falls on the detector.
    """
    if geometry.kind == "cone":
        source, first, step = geometry.columns_of_rays()
        middle = 0.5 * (geometry.n_rows - 1)
        direction = (first + middle * step[:, None])[:, [0, -1], :2]
        point = np.broadcast_to(source[:, None, :2], direction.shape)
    else:
        point, direction = (rays[:, [0, -1]] for rays in geometry.rays())
    direction = direction / np.linalg.norm(direction, axis=2, keepdims=True)
    left, right = (point[..., 0] * direction[..., 1] - point[..., 1] * direction[..., 0]).mean(axis=0)
    return float(left), float(right)


def field_of_view(scan: Scan) -> NDArray[np.float32]:
    """1 inside the cylinder about the axis that the detector sees on its wider side, 0 outside, on the scan's grid."""
    if scan.kind != "ct" or not isinstance(scan.grid, AffineGrid):
        raise InputError(f"scan.support=field-of-view is for CT, '{scan.name}' is of kind '{scan.kind}'.")
    geometry = TomographyGeometry.from_dict(scan.acquisition)
    radius = max(map(abs, edge_distances_mm(geometry)))
    centre = np.asarray(scan.acquisition.get("grid_centre_mm", (0.0, 0.0, 0.0)), dtype=float)
    _, y, x = (
        (np.arange(n) - 0.5 * (n - 1)) * mm + c
        for n, mm, c in zip(scan.grid.shape, scan.grid.voxel_mm, centre, strict=True)
    )
    inside = (np.hypot(y[:, None], x) <= radius).astype(np.float32)
    return np.broadcast_to(inside, scan.grid.shape)


def check_ct(scan: Scan, geometry: TomographyGeometry, grid: AffineGrid) -> None:
    """Raise `InputError` for a geometry that can only be a mistake: the axis off the detector, lengths of two units."""
    if geometry.n_columns < 2:
        return
    left, right = edge_distances_mm(geometry)
    if geometry.kind != "parallel" and geometry.detector == "flat":
        span = geometry.n_columns * np.linalg.norm(geometry.column_step_mm, axis=1)
        ratio = float(np.median(span / geometry.source_to_detector_mm))
        fan = 2 * math.degrees(math.atan(ratio / 2))
        if fan > WIDEST_FAN_DEG:
            raise InputError(
                f"The detector of '{scan.name}' would span {fan:.0f} degrees of the source's view: it is "
                f"{np.median(span):.4g} mm wide, {np.median(geometry.source_to_detector_mm):.4g} mm away. Pixels look "
                f"{_guess(2 * ratio)}; give all lengths in mm."
            )
    pitch = abs(right - left) / (geometry.n_columns - 1)
    if left * right > 0 and min(abs(left), abs(right)) > pitch:
        beyond = min(abs(left), abs(right)) / pitch
        raise InputError(
            f"The rotation axis of '{scan.name}' lies {beyond:.0f} columns off the detector of {geometry.n_columns}: "
            "check the unit of its offset (pixels or mm), or let it be found by preprocess.centre=auto."
        )
    seen, half = _seen_and_half(geometry, grid)
    if seen < LEAST_SEEN * half:
        raise InputError(
            f"The detector of '{scan.name}' is too small for its grid: it sees {2 * seen:.3g} mm about the axis, the "
            f"grid is {2 * half:.4g} mm wide. The grid looks {_guess(half / seen)} against the geometry; give "
            "all lengths in mm."
        )


def doubts(scan: Scan) -> list[str]:
    """What can hardly be right about a CT scan, one sentence each; for the plan and the record."""
    if scan.kind != "ct" or not isinstance(scan.data, np.ndarray) or not isinstance(scan.grid, AffineGrid):
        return []
    geometry = TomographyGeometry.from_dict(scan.acquisition)
    if scan.data.shape != geometry.shape or geometry.n_columns < 2:
        return []
    found = []
    data = scan.data[:: max(1, len(scan.data) // 64)]
    highest = float(np.quantile(data, 0.995))
    seen, half = _seen_and_half(geometry, scan.grid)
    if highest > LARGEST_INTEGRAL:
        found.append(
            f"values: line integrals reach {highest:.3g}, no photon would pass; are these counts? (the mapping's "
            "'transform' takes their logarithm)"
        )
    elif highest > 0:
        per_mm = highest / (2 * min(seen, half))
        water = scan.calibration.get("water_per_mm")
        low, high = ATTENUATION_PER_MM if water is None else (water / 40, 4 * water)
        if not low < per_mm < high:
            expected = f"water has {water:.3g}" if water is not None else f"matter has {low:g} to {high:g}"
            likely = water or (high if per_mm > high else low)
            found.append(
                f"unit: the longest rays lose {per_mm:.2g} per mm, {expected}; lengths look "
                f"{_guess(likely / per_mm)}, or the attenuation of water is another"
            )
    if seen < LITTLE_SEEN * half:
        found.append(
            f"unit: the detector sees {2 * seen:.3g} mm about the axis, the grid is {2 * half:.3g} mm wide; the grid "
            f"looks {_guess(half / seen)}, or choose a smaller one"
        )
    return found


def _seen_and_half(geometry: TomographyGeometry, grid: AffineGrid) -> tuple[float, float]:
    """Radius about the axis that the detector sees on its wider side, and half the width of the grid, mm."""
    half = 0.5 * max(n * mm for n, mm in zip(grid.shape[1:], grid.voxel_mm[1:], strict=True))
    return max(map(abs, edge_distances_mm(geometry))), half


def _guess(ratio: float) -> str:
    """In words, how many times too large lengths are, with the unit in which they may have been meant."""
    unit = min(_ENTERED, key=lambda name: abs(math.log(ratio / _ENTERED[name])))
    times = f"{ratio:.2g} times too large" if ratio > 1 else f"{1 / ratio:.2g} times too small"
    return f"about {times}, as if they were in {unit} and not in mm"
