"""Read one DICOM series as a Volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ConfigError, InputError, MemoryLimitError
from recon3d.grid import AffineGrid
from recon3d.io.dicom import find, geometry, pixels
from recon3d.io.dicom import series as stacks
from recon3d.io.dicom.header import quiet
from recon3d.volume import Volume

Tilt = Literal["refuse", "keep", "correct"]


@quiet()
def list_series(path: str | os.PathLike[str]) -> list[stacks.Series]:
    """The volumes that a file, folder, zip or DICOMDIR holds, each with the label that `read(series=...)` takes."""
    return stacks.series_in(find.sources(path))


@quiet()
def read(
    path: str | os.PathLike[str],
    *,
    series: int | str | None = None,
    resample_irregular: bool = False,
    gaps: Literal["refuse", "nan"] = "refuse",
    tilt: Tilt = "refuse",
) -> Volume:
    """One series as a Volume: (z, y, x), or (t, z, y, x) over times or b-values, in HU for CT, on a RAS grid.

    Parameters
    ----------
    path : a DICOM file, folder, zip or DICOMDIR
    series : label from `list_series` (usually the series number) or series UID; needed where there are several
    resample_irregular : interpolate missing or uneven slices onto an even grid instead of refusing them
    gaps : "nan" puts slices of NaN where some are missing of an otherwise even stack
    tilt : what to do with slices that lean against their normal: "refuse", "keep" (a sheared grid) or "correct"
        (each slice moved within its plane)

    Returns
    -------
    Volume, float32 (float64 where more than 24 bits are stored); its tags hold the modality, the b-values in s/mm2, and
    what was resampled, and nothing that identifies the patient. Frames without a place in the patient (ultrasound,
    secondary capture) lie around the world origin and are tagged `placed=False`.

    Raises
    ------
    InputError
        In one sentence: damaged, not a volume, several series, or irregular slices.
    """
    if tilt not in ("refuse", "keep", "correct"):
        raise ConfigError(f"tilt must be 'refuse', 'keep' or 'correct', got {tilt!r}.")
    chosen = stacks.choose(list_series(path), series)
    if chosen.fault:
        raise InputError(f"{Path(path).name} cannot be read as a volume: {chosen.fault}.")
    stack = _stack(chosen)
    if gaps not in ("refuse", "nan"):
        raise ConfigError(f"gaps must be 'refuse' or 'nan', got {gaps!r}.")
    whole = stack is not None and gaps == "nan" and not resample_irregular and geometry.missing_slices(stack) > 0
    resampled = _plan(stack, resample_irregular, tilt) if stack is not None and not whole else ""
    data = _decoded(chosen)
    tags: dict[str, Any] = {"format": "DICOM"} | ({"modality": chosen.modality} if chosen.modality else {})
    if stack is None:
        grid = _unplaced_grid(chosen)
        tags["placed"] = False
    else:
        place = stack.positions
        if resampled == "tilt":
            data, place = geometry.upright(data, stack)
        elif resampled == "irregular":
            data, place = geometry.evened(data, stack)
        elif whole:
            data, place = geometry.with_gaps(data, stack)
        grid = AffineGrid(data.shape[-3:], tuple(map(tuple, stack.affine(positions=place))))
    if resampled:
        tags["resampled"] = resampled
    if chosen.axis == "b-values":
        tags["b_values_s_per_mm2"] = chosen.values
    times = chosen.values if chosen.axis == "time" and chosen.values else None
    return Volume(data if chosen.axis else data[0], grid, units=chosen.planes[0][0].units, times_s=times, tags=tags)


def _stack(chosen: stacks.Series) -> geometry.Stack | None:
    """Where the slices lie; every frame of a time series must lie where the first does."""
    first = chosen.planes[0][0]
    if first.orientation is None:
        return None
    if first.spacing_mm is None:
        raise InputError("The images state a position but no pixel spacing; the volume has no size in millimetres.")
    positions = np.array([f.position for f in chosen.planes[0]])
    for later in chosen.planes[1:]:
        if np.abs(np.array([f.position for f in later]) - positions).max() > 0.1:
            raise InputError(
                "The frames of the series move by more than 0.1 mm against each other; read them one by one."
            )
    return geometry.Stack(positions, first.orientation, first.spacing_mm, first.thickness_mm)


def _plan(stack: geometry.Stack, resample_irregular: bool, tilt: Tilt) -> str:
    """What must be resampled ("", "tilt" or "irregular"), or the refusal, before a pixel is decoded."""
    leaning = stack.tilt_degrees > geometry.TILT_DEGREES
    if leaning and stack.tilt_degrees > 45:
        raise InputError(
            f"The slices lean {stack.tilt_degrees:.0f} degrees against the line through them, which is no gantry tilt; "
            "their positions are damaged or they belong to different series."
        )
    if leaning and tilt != "refuse":
        if not stack.is_regular:
            raise InputError("The slices are tilted and unevenly spaced at once, which cannot be corrected.")
        return "tilt" if tilt == "correct" else ""
    if not leaning and not stack.is_regular and resample_irregular:
        return "irregular"
    geometry.check_regular(stack)
    return ""


def _decoded(chosen: stacks.Series) -> NDArray[Any]:
    frames = [f for plane in chosen.planes for f in plane]
    kind = np.float64 if max(f.bits for f in frames) > 24 else np.float32
    _check_memory(chosen.shape, np.dtype(kind).itemsize)
    data = np.empty((len(frames), *chosen.shape[2:]), dtype=kind)
    pixels.fill(data, frames)
    return data.reshape(chosen.shape)


def _check_memory(shape: Sequence[int], itemsize: int) -> None:
    needed = int(np.prod(shape, dtype=np.int64)) * itemsize
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.8 * total:
        raise MemoryLimitError(
            f"The volume of shape {tuple(shape)} takes {needed} bytes, more than this machine's memory allows."
        )


def _unplaced_grid(chosen: stacks.Series) -> AffineGrid:
    """Pixels around the world origin, rows to the left and columns to the back as in an axial slice."""
    first = chosen.planes[0][0]
    y_mm, x_mm = first.spacing_mm or (1.0, 1.0)
    grid = AffineGrid.centred(chosen.shape[1:], (first.thickness_mm or 1.0, y_mm, x_mm))
    return AffineGrid(grid.shape, tuple(map(tuple, geometry.LPS_TO_RAS @ grid.matrix)))
