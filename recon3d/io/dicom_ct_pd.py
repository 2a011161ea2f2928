"""DICOM-CT-PD: a folder of clinical CT projections, one DICOM file per view (the LDCT-and-Projection-data set)."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.projections import scan_of
from recon3d.scan import Scan

UNDERSTOOD = "folders of DICOM-CT-PD projections"

# Private tags of the format (B. Chen et al., Development and validation of an open data format for CT projection data,
# Med. Phys. 42, 6964, 2015; table 4 of Moen et al., Med. Phys. 48, 902, 2021). Stored as little-endian float32 or
# uint16 where the VR is unknown.
COLUMN_MM, ROW_MM = (0x7029, 0x1002), (0x7029, 0x1006)
SHAPE, N_ROWS, N_COLUMNS = (0x7029, 0x100B), (0x7029, 0x1010), (0x7029, 0x1011)
ANGLE, AXIAL, RADIAL = (0x7031, 0x1001), (0x7031, 0x1002), (0x7031, 0x1003)
TO_DETECTOR, CENTRAL = (0x7031, 0x1031), (0x7031, 0x1033)
ANGLE_SHIFT, AXIAL_SHIFT, RADIAL_SHIFT = (0x7033, 0x100B), (0x7033, 0x100C), (0x7033, 0x100D)
WATER = (0x7041, 0x1001)

_NEEDED = {
    COLUMN_MM: "DetectorElementTransverseSpacing", ROW_MM: "DetectorElementAxialSpacing",
    ANGLE: "DetectorFocalCenterAngularPosition", AXIAL: "DetectorFocalCenterAxialPosition",
    RADIAL: "DetectorFocalCenterRadialDistance", TO_DETECTOR: "ConstantRadialDistance",
    CENTRAL: "DetectorCentralElement",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether one of the first files of a folder is a projection in this format."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_dir():
        return False
    for file in _files(path)[:3]:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[RADIAL, TO_DETECTOR])
        except (InvalidDicomError, OSError, ValueError):
            continue
        return RADIAL in header and TO_DETECTOR in header
    return False


def read(path: Path, *, views: tuple[int, int, int] | None = None) -> Scan:
    """Read one scan, on a circle or a helix, with its flying focal spot.

    The pixels are line integrals already (rescaled). Their rows are detector columns. The volume stands in the frame of
    the scanner, z from the middle of the scan.

    Parameters
    ----------
    path : folder with one file per view
    views : (first, end, step), to read a part only

    Raises
    ------
    InputError
        For files that are damaged, lack a tag of the geometry, or do not fit each other.
    """
    files = _files(path)
    headers = sorted((_read(file) for file in files[slice(*views)] if views) if views else map(_read, files),
                     key=lambda h: int(h.get("InstanceNumber", 0) or 0))  # fmt: skip
    if not headers:
        raise InputError(f"{path} holds no view {views}: it has {len(files)} files.")
    first = headers[0]
    shape = (_count(first, N_ROWS, int(first.Columns)), _count(first, N_COLUMNS, int(first.Rows)))
    detector = _text(first, SHAPE)
    if detector not in ("CYLINDRICAL", "FLAT"):
        raise InputError(f"{path} has a {detector.lower()} detector: expected a cylindrical or a flat one.")
    data = np.stack([_pixels(header, shape) for header in headers])
    angle, axial, radial = (np.array([_float(h, tag) for h in headers]) for tag in (ANGLE, AXIAL, RADIAL))
    shifts = [np.array([_float(h, tag, 0.0) for h in headers]) for tag in (ANGLE_SHIFT, AXIAL_SHIFT, RADIAL_SHIFT)]
    pitch = (_float(first, ROW_MM), _float(first, COLUMN_MM))
    to_detector = _float(first, TO_DETECTOR)
    column, row = (v - 1 for v in _floats(first, CENTRAL)[:2])  # counted from one
    assumed = ["rows of the detector step towards the head; the volume lies in the frame of the scanner"]
    fan = np.asarray((np.arange(shape[1]) - column) * pitch[1] / to_detector, dtype=np.float64)
    forward = columns_forward(
        data[:, int(np.clip(round(row), 0, shape[0] - 1))], np.unwrap(angle).astype(np.float64), fan
    )
    if forward is None:
        forward = True
        assumed.append("columns of the detector turn against the source (less than a turn with the fan to tell)")
    else:
        way = "along" if forward else "against"
        assumed.append(f"columns step {way} the turn of the source: opposite rays agree so")
    if not forward:
        data, column = data[..., ::-1], shape[1] - 1 - column
    z = axial - 0.5 * (axial.min() + axial.max())
    vectors = _vectors(angle, z, radial, shifts, to_detector, pitch, shape, (row, column), detector == "FLAT")
    acquisition = {"kind": "cone", "vectors": vectors, "n_rows": shape[0], "n_columns": shape[1],
                   "detector": "flat" if detector == "FLAT" else "curved"}  # fmt: skip
    demagnified = float(radial.mean()) / to_detector
    edge = pitch[1] * demagnified
    width = 2 * math.ceil(float(radial.mean()) * math.sin(float(np.abs(fan).max())) / edge)
    thick = pitch[0] * demagnified
    slices = max(1, round(float(np.ptp(z)) / thick)) if np.ptp(z) > thick else shape[0]
    calibration = {}
    water = _float(first, WATER, 0.0)
    if water > 0.1:
        water *= 0.1
        assumed.append("attenuation of water: taken as 1/cm")
    if water > 0:
        calibration["water_per_mm"] = water
    grid = AffineGrid.centred((slices, width, width), (thick, edge, edge))
    return scan_of(np.ascontiguousarray(data), acquisition, grid, path.name, [], assumed, calibration)


def columns_forward(sinogram: NDArray[Any], angle: NDArray[np.float64], fan: NDArray[np.float64]) -> bool | None:
    """Whether columns step along +across of the source (as `TomographyGeometry` has them), told by opposite rays.

    The ray at fan angle g from source angle a is met again at -g from a + pi - 2 g, or from a + pi + 2 g where the
    columns run the other way. None where the views do not cover a turn and the fan.

    Parameters
    ----------
    sinogram : (view, column), angle : (view,) unwrapped radians, fan : (column,) radians, ascending
    """
    order = np.argsort(angle)
    angle, sinogram = angle[order], np.asarray(sinogram, dtype=np.float64)[order]
    # Near the middle both hypotheses agree, and outside there is air.
    chosen = np.flatnonzero((np.abs(fan) > 0.1 * fan.max()) & (np.abs(fan) < 0.9 * min(fan.max(), -fan.min())))
    misfits = []
    for sign in (-1.0, 1.0):
        total, count = 0.0, 0
        for i in chosen[:: max(1, len(chosen) // 64)]:
            g = fan[i]
            # One column of the sinogram at the opposite fan angle, between its two neighbours.
            j = float(np.interp(-g, fan, np.arange(fan.size)))
            low = min(int(j), fan.size - 2)
            opposite = (1 - (j - low)) * sinogram[:, low] + (j - low) * sinogram[:, low + 1]
            wanted = angle + math.pi + sign * 2 * g
            inside = (wanted >= angle[0]) & (wanted <= angle[-1])
            difference = np.interp(wanted[inside], angle, opposite) - sinogram[inside, i]
            total += float((difference**2).sum())
            count += int(inside.sum())
        if count < 0.05 * len(angle) * len(chosen[:: max(1, len(chosen) // 64)]):
            return None
        misfits.append(total / count)
    return misfits[0] <= misfits[1]


def _vectors(
    angle: NDArray[np.float64],
    z: NDArray[np.float64],
    radial: NDArray[np.float64],
    shifts: list[NDArray[np.float64]],
    to_detector: float,
    pitch: tuple[float, float],
    shape: tuple[int, int],
    centre: tuple[float, float],
    flat: bool,
) -> NDArray[np.float64]:
    """Source, detector centre, column and row steps; phi = 0 puts the source at +y and turns it towards -x.

    The detector stands around the focal centre. A flying focal spot leaves it: its rays meet the columns turned by its
    sideways shift over the distance to the detector, to first order.
    """
    turn = angle + math.pi  # the angle of TomographyGeometry, whose source begins at -y
    across = np.stack((np.cos(turn), np.sin(turn), np.zeros_like(turn)), axis=1)
    along = np.stack((-np.sin(turn), np.cos(turn), np.zeros_like(turn)), axis=1)
    up = np.array([0.0, 0.0, 1.0])
    d_angle, d_z, d_radial = shifts
    spot = radial + d_radial
    source = spot[:, None] * np.stack((np.sin(turn + d_angle), -np.cos(turn + d_angle), np.zeros_like(turn)), axis=1)
    source += (z + d_z)[:, None] * up
    offset_mm = (0.5 * (shape[1] - 1) - centre[1]) * pitch[1]
    lift = (z + (0.5 * (shape[0] - 1) - centre[0]) * pitch[0])[:, None] * up
    if flat:
        middle = -radial[:, None] * along + to_detector * along + offset_mm * across + lift
        step = np.broadcast_to(pitch[1] * across, across.shape)
    else:
        fan = (offset_mm - spot * np.sin(d_angle)) / to_detector
        outward = np.cos(fan)[:, None] * along + np.sin(fan)[:, None] * across
        middle = source * [1, 1, 0] + to_detector * outward + lift
        step = pitch[1] * (np.cos(fan)[:, None] * across - np.sin(fan)[:, None] * along)
    rows = np.broadcast_to(pitch[0] * up, across.shape)
    return np.concatenate((source, middle, step, rows), axis=1)


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in (".dcm", ".ima", ""))


def _read(file: Path) -> Any:
    import pydicom

    try:
        header = pydicom.dcmread(file)
    except Exception as error:  # foreign bytes fail in many ways
        raise InputError(f"{file} is not a whole DICOM file.") from error
    missing = [name for tag, name in _NEEDED.items() if tag not in header]
    if missing:
        raise InputError(f"{file} lacks {', '.join(missing)}: it is no projection of DICOM-CT-PD.")
    return header


def _pixels(header: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        stored = np.asarray(header.pixel_array, dtype=np.float32)
    except Exception as error:
        raise InputError(f"View {header.get('InstanceNumber', '?')} has pixels that cannot be decoded.") from error
    view = stored * np.float32(header.get("RescaleSlope", 1.0)) + np.float32(header.get("RescaleIntercept", 0.0))
    if view.shape == shape[::-1]:
        return view.T
    if view.shape != shape:
        raise InputError(f"A view has {view.shape} pixels, its detector {shape} (row, column): they must agree.")
    return view


def _floats(header: Any, tag: tuple[int, int]) -> list[float]:
    """The values of a private tag: numbers, text of numbers, or little-endian float32 where the VR was unknown."""
    value = header[tag].value
    if isinstance(value, bytes):
        return [float(v) for v in struct.unpack(f"<{len(value) // 4}f", value[: len(value) // 4 * 4])]
    values = [value] if isinstance(value, str | float | int) else list(value)
    return [float(v) for v in values]


def _float(header: Any, tag: tuple[int, int], otherwise: float | None = None) -> float:
    if tag not in header and otherwise is not None:
        return otherwise
    try:
        value = _floats(header, tag)[0]
    except (IndexError, ValueError, TypeError, struct.error):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"The tag ({tag[0]:04X},{tag[1]:04X}) holds no number: the projection is damaged.")
    return value


def _count(header: Any, tag: tuple[int, int], otherwise: int) -> int:
    if tag not in header:
        return otherwise
    value = header[tag].value
    return struct.unpack("<H", value[:2])[0] if isinstance(value, bytes) else int(value)


def _text(header: Any, tag: tuple[int, int]) -> str:
    if tag not in header:
        return "CYLINDRICAL"
    value = header[tag].value
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip(" \0").upper()
