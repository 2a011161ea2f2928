"""The place of a stack of slices: DICOM positions (LPS) to a RAS affine, and what is irregular about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.dicom.frames import Vector

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_POSITION_MM = 1e-3
TILT_DEGREES = 0.2


@dataclass(frozen=True)
class Stack:
    """Slices sorted along their normal: `offsets_mm` along it, `drift_mm` in the plane (columns of LPS vectors)."""

    positions: NDArray[np.float64]
    orientation: tuple[Vector, Vector]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None

    @property
    def normal(self) -> NDArray[np.float64]:
        return normal_of(self.orientation)

    @property
    def offsets_mm(self) -> NDArray[np.float64]:
        return self.positions @ self.normal

    @property
    def steps_mm(self) -> NDArray[np.float64]:
        return np.diff(self.offsets_mm)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the line through the slices and their normal."""
        if len(self.positions) < 2:
            return 0.0
        line = self.positions[-1] - self.positions[0]
        along = abs(float(line @ self.normal))
        across = float(np.linalg.norm(line - (line @ self.normal) * self.normal))
        return math.degrees(math.atan2(across, along)) if across > 0.01 else 0.0

    @property
    def is_regular(self) -> bool:
        """Whether every slice lies within 1 % of a step, or 0.02 mm, of an even line from the first to the last."""
        if len(self.positions) < 3:
            return True
        even = np.linspace(self.positions[0], self.positions[-1], len(self.positions))
        step = float(np.linalg.norm(even[1] - even[0]))
        return bool(np.linalg.norm(self.positions - even, axis=1).max() <= max(0.02, 0.01 * step))

    def affine(self, *, positions: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """World (RAS, mm) from (x, y, z): columns run along x, rows along y, slices along z; a shear is kept."""
        place = self.positions if positions is None else positions
        row, column = np.array(self.orientation[0]), np.array(self.orientation[1])
        matrix = np.eye(4)
        matrix[:3, 0] = row * self.spacing_mm[1]
        matrix[:3, 1] = column * self.spacing_mm[0]
        if len(place) > 1:
            matrix[:3, 2] = (place[-1] - place[0]) / (len(place) - 1)
        else:
            matrix[:3, 2] = self.normal * (self.thickness_mm or 1.0)
        matrix[:3, 3] = place[0]
        return np.asarray(LPS_TO_RAS @ matrix)


def normal_of(orientation: tuple[Vector, Vector]) -> NDArray[np.float64]:
    """Unit normal of a plane (LPS); rows and columns must be at right angles."""
    row, column = np.array(orientation[0]), np.array(orientation[1])
    if abs(float(row @ column)) > 1e-3:
        raise InputError("A DICOM image has rows and columns that are not at right angles; its orientation is damaged.")
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def plane_name(orientation: tuple[Vector, Vector] | None) -> str:
    """axial, coronal, sagittal, oblique, or unplaced."""
    if orientation is None:
        return "unplaced"
    normal = np.abs(normal_of(orientation))
    axis = int(normal.argmax())
    return ("sagittal", "coronal", "axial")[axis] if normal[axis] > 0.9 else "oblique"


def check_regular(stack: Stack) -> None:
    """Refuse slices that do not lie on an even line along their normal, and name what is wrong and what helps."""
    steps = stack.steps_mm
    if stack.tilt_degrees > TILT_DEGREES:
        raise InputError(
            f"The slices are tilted: their planes lean {stack.tilt_degrees:.1f} degrees against the line through them "
            "(gantry tilt); ask for tilt='correct' to resample them upright, or tilt='keep' for a sheared grid."
        )
    if stack.is_regular:
        return
    missing = missing_slices(stack)
    if missing:
        raise InputError(
            f"The series has {missing} missing slice{'s' if missing > 1 else ''}: slices lie {np.median(steps):.4g} mm "
            f"apart and once {steps.max():.4g} mm; find the rest, or ask for "
            "resample_irregular=True to fill the gap by interpolation."
        )
    raise InputError(
        f"The slices are irregularly spaced, {steps.min():.4g} to {steps.max():.4g} mm apart; "
        "ask for resample_irregular=True to interpolate them onto an even grid."
    )


def missing_slices(stack: Stack) -> int:
    """How many slices an upright stack lacks that would make it even; 0 where it is even, or not by whole slices."""
    if stack.is_regular or stack.tilt_degrees > TILT_DEGREES:
        return 0
    ratio = stack.steps_mm / float(np.median(stack.steps_mm))
    if np.any(np.abs(ratio - np.rint(ratio)) >= 0.05) or ratio.max() > 8:
        return 0
    return int(np.rint(ratio).sum()) - len(ratio)


def with_gaps(data: NDArray[Any], stack: Stack) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The slices on the even line that `missing_slices` makes whole, and NaN where none is."""
    ratio = np.rint(stack.steps_mm / float(np.median(stack.steps_mm))).astype(int)
    index = np.concatenate(([0], np.cumsum(ratio)))
    out = np.full((*data.shape[:-3], int(index[-1]) + 1, *data.shape[-2:]), np.nan, dtype=data.dtype)
    out[..., index, :, :] = data
    return out, np.linspace(stack.positions[0], stack.positions[-1], int(index[-1]) + 1)


def upright(data: NDArray[np.float32], stack: Stack) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Shift each slice in its plane so that the stack stands on its normal (linear, edges repeated).

    Returns the slices and their new positions; the first slice stays where it is.
    """
    row, column, normal = np.array(stack.orientation[0]), np.array(stack.orientation[1]), stack.normal
    drift = stack.positions - stack.positions[0]
    shift_x, shift_y = drift @ row / stack.spacing_mm[1], drift @ column / stack.spacing_mm[0]
    grown, place = _grown(data, shift_x, shift_y)
    origin = stack.positions[0] + place[0] * row * stack.spacing_mm[1] + place[1] * column * stack.spacing_mm[0]
    positions = origin + np.outer(drift @ normal, normal)
    return grown, positions


def _grown(
    data: NDArray[np.float32], shift_x: NDArray[np.float64], shift_y: NDArray[np.float64]
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Every slice moved by its shift onto a plane large enough to hold all of them; outside is the smallest value."""
    left, top = math.floor(min(shift_x.min(), 0)), math.floor(min(shift_y.min(), 0))
    right, bottom = math.ceil(max(shift_x.max(), 0)), math.ceil(max(shift_y.max(), 0))
    *lead, slices, height, width = data.shape
    out = np.full((*lead, slices, height + bottom - top, width + right - left), data.min(), dtype=data.dtype)
    for z in range(slices):
        whole_x, whole_y = math.floor(shift_x[z]), math.floor(shift_y[z])
        part_x, part_y = shift_x[z] - whole_x, shift_y[z] - whole_y
        moved = data[..., z, :, :].astype(np.float64)
        moved = _between(moved, part_x, axis=-1)
        moved = _between(moved, part_y, axis=-2)
        y, x = whole_y - top, whole_x - left
        out[..., z, y : y + moved.shape[-2], x : x + moved.shape[-1]] = moved
    return out, (left, top)


def _between(plane: NDArray[np.float64], part: float, axis: int) -> NDArray[np.float64]:
    """The plane moved by a part of a pixel: one pixel wider, linear in between, edges repeated."""
    if part < 1e-6:
        return plane
    pad = [(0, 0)] * plane.ndim
    pad[axis] = (1, 1)
    padded = np.pad(plane, pad, mode="edge")
    n = padded.shape[axis]
    lower, upper = np.take(padded, range(n - 1), axis), np.take(padded, range(1, n), axis)
    return np.asarray(part * lower + (1 - part) * upper)


def evened(data: NDArray[np.float32], stack: Stack) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Slices interpolated linearly along the normal onto an even line with the usual step; ends stay where they are."""
    offsets = stack.offsets_mm
    usual = float(np.median(stack.steps_mm))
    if stack.steps_mm.max() > 8 * usual:
        raise InputError(
            f"A gap of {stack.steps_mm.max():.4g} mm among slices {usual:.4g} mm apart is too wide to interpolate; "
            "give the two parts as separate folders."
        )
    count = round(float(offsets[-1] - offsets[0]) / usual) + 1
    wanted = np.linspace(offsets[0], offsets[-1], count)
    upper = np.clip(np.searchsorted(offsets, wanted), 1, len(offsets) - 1)
    part = (wanted - offsets[upper - 1]) / (offsets[upper] - offsets[upper - 1])
    out = np.empty((*data.shape[:-3], count, *data.shape[-2:]), dtype=data.dtype)
    for z in range(count):
        out[..., z, :, :] = (1 - part[z]) * data[..., upper[z] - 1, :, :] + part[z] * data[..., upper[z], :, :]
    return out, np.linspace(stack.positions[0], stack.positions[-1], count)
