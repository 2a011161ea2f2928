"""What the readers of CT projections share: a Scan from line integrals and plain lengths, and guesses that are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.preprocessing.pipeline import ASSUMED, PREPARED
from recon3d.scan import Scan

AXES = ("view", "row", "column")


def parallel_scan(
    data: NDArray[Any],
    angles_rad: NDArray[np.float64],
    pitch_mm: tuple[float, float],
    *,
    axis_column: float | None,
    name: str,
    prepared: Sequence[str] = (),
    assumed: Sequence[str] = (),
) -> Scan:
    """A parallel beam scan on the grid of its detector.

    Parameters
    ----------
    data : line integrals (view, row, column)
    angles_rad : one per view
    pitch_mm : of (rows, columns)
    axis_column : where the rotation axis falls, or None where the file does not say
    prepared, assumed : what was done to the data, and what the file did not say
    """
    from operators.tomography import TomographyGeometry

    n_views, n_rows, n_columns = data.shape
    assumed = list(assumed)
    if angles_rad.size != n_views:
        raise InputError(f"{name} holds {n_views} views but {angles_rad.size} angles: they must agree.")
    if axis_column is None:
        assumed.append("rotation axis: the middle of the detector (preprocess.centre=auto finds it)")
        axis_column = (n_columns - 1) / 2
    if not -0.5 <= axis_column <= n_columns - 0.5:
        raise InputError(
            f"The rotation axis of {name} falls on column {axis_column:.1f}, off the detector of {n_columns} columns: "
            "check its unit (pixels or mm)."
        )
    row_mm, column_mm = pitch_mm
    geometry = TomographyGeometry.parallel(
        angles_rad, n_columns, column_mm, n_rows, row_mm,
        axis_shift_mm=(axis_column - (n_columns - 1) / 2) * column_mm,
    )  # fmt: skip
    grid = AffineGrid.centred((n_rows, n_columns, n_columns), (row_mm, column_mm, column_mm))
    return scan_of(data, geometry.to_dict(), grid, name, prepared, assumed)


def scan_of(
    data: NDArray[Any],
    acquisition: dict[str, Any],
    grid: AffineGrid,
    name: str,
    prepared: Sequence[str],
    assumed: Sequence[str],
    calibration: dict[str, float] | None = None,
) -> Scan:
    """The scan, with what was done and assumed among its acquisition."""
    for entry, lines in ((PREPARED, prepared), (ASSUMED, assumed)):
        if lines:
            acquisition[entry] = "\n".join(lines)
    return Scan("ct", data, AXES, acquisition, grid, units="1/mm", calibration=calibration or {}, name=name)


def pixel_mm(value: float | None, unit: str | None, what: str) -> tuple[float, list[str]]:
    """A pixel size in mm. One without a unit, or of a size that no detector has, is guessed, and the guess is told.

    Pixels of detectors, seen from the object, are between 0.01 um and 10 mm.
    """
    from recon3d.io.mapping import MM

    if value is None:
        return 1.0, [f"{what}: not stated, so lengths are in pixels and the image in 1/pixel"]
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"The {what} is {value}: expected a positive length.")
    named = {"metre": "m", "meter": "m", "meters": "m", "metres": "m", "millimeter": "mm", "millimetre": "mm",
             "microns": "um", "micrometer": "um", "micrometre": "um", "µm": "um", "μm": "um"}  # fmt: skip
    unit = named.get(unit.strip().lower(), unit.strip().lower()) if unit else None
    if unit in MM and 1e-5 <= value * MM[unit] <= 10.0:
        return value * MM[unit], []
    if unit == "nm" and value * 1e-6 >= 1e-5:
        return value * 1e-6, []
    guess = "m" if value < 2e-4 else "mm" if value <= 1.0 else "um"
    said = f"{value:g} {unit} cannot be a pixel" if unit in MM else f"{value:g} of unstated unit"
    return value * MM[guess], [f"{what}: {said}, taken as {guess}"]


def natural(path: Path) -> list[Any]:
    """A sorting key by which image 2 comes before image 10."""
    import re

    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", path.name)]


def read_images(files: Sequence[Path]) -> NDArray[Any]:
    """TIFF images (row, column), or stacks of them, as one stack (image, row, column)."""
    import tifffile

    stack: list[NDArray[Any]] = []
    for file in files:
        try:
            image = tifffile.imread(file)
        except Exception as error:  # foreign bytes fail in many ways
            raise InputError(f"{file} is not a whole TIFF file.") from error
        if image.ndim not in (2, 3) or image.dtype.kind not in "biuf":
            raise InputError(f"{file} holds {image.dtype} of shape {image.shape}: expected images of one channel.")
        image = image if image.ndim == 3 else image[None]
        if stack and image.shape[1:] != stack[0].shape[1:]:
            raise InputError(f"{file} has {image.shape[1:]} pixels, {files[0].name} has {stack[0].shape[1:]}.")
        stack.append(image)
    if not stack:
        raise InputError("There are no TIFF images to read.")
    return np.concatenate(stack)
