"""Nikon X-Tek .xtekct: cone beam projections as TIFF images, with angles in a .ang file where there is one."""

from __future__ import annotations

import configparser
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.projections import natural, read_images, scan_of
from recon3d.io.tiff_stack import read_angles
from recon3d.preprocessing.counts import line_integrals
from recon3d.scan import Scan

UNDERSTOOD = "Nikon X-Tek (.xtekct)"

_SECTION = "XTekCT"
_NEEDED = (
    "SrcToObject", "SrcToDetector", "DetectorPixelsX", "DetectorPixelsY", "DetectorPixelSizeX", "DetectorPixelSizeY",
)  # fmt: skip


def matches(path: Path) -> bool:
    """Whether the suffix is .xtekct."""
    return path.is_file() and path.suffix.lower() == ".xtekct"


def read(path: Path) -> Scan:
    """Read one circular scan.

    The images are flat-field corrected by the scanner and scaled to the white level; they are seen from the source with
    the top row first, and the object turns clockwise seen from above.

    Parameters
    ----------
    path : .xtekct, beside its images NAME_0001.tif ... (or in the folder that it names)

    Raises
    ------
    InputError
        For keys or images that are missing, or that do not fit each other.
    """
    from operators.tomography import TomographyGeometry

    values = _settings(path)

    def number(key: str, otherwise: float | None = None) -> float:
        text = values.get(key.lower(), "")
        if not text and otherwise is not None:
            return otherwise
        try:
            return float(text)
        except ValueError:
            raise InputError(f"{path}: {key} is a number, got '{text}'.") from None

    missing = [key for key in _NEEDED if key.lower() not in values]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: it does not describe a scan.")
    images = _images(path, values)
    counts = read_images(images)
    rows, columns = int(number("DetectorPixelsY")), int(number("DetectorPixelsX"))
    if counts.shape[1:] != (rows, columns):
        raise InputError(f"{path} states images of {rows} x {columns} pixels, they have {counts.shape[1:]}.")
    wanted = int(number("Projections", len(counts)))
    if wanted != len(counts):
        raise InputError(f"{path} states {wanted} projections, {len(counts)} images are there: it is incomplete.")
    assumed = ["turning direction: clockwise seen from above, images seen from the source"]
    white = number("WhiteLevel", 0.0)
    if white <= 0:
        white = float(np.quantile(counts, 0.999))
        assumed.append(f"white level: not stated, so {white:g} counts (99.9 % of all measurements are lower)")
    data, prepared = line_integrals(counts, white, name=path.name)
    prepared.insert(0, f"counts to line integrals by the white level {white:g}")
    angle_file = next((f for f in (path.with_suffix(".ang"), path.parent / "_ctdata.txt") if f.is_file()), None)
    if angle_file is not None:
        degrees = read_angles(angle_file)
        if len(degrees) != len(counts):
            raise InputError(f"{angle_file} holds {len(degrees)} angles for {len(counts)} projections.")
        assumed.append(f"angles: from {angle_file.name}")
    else:
        step = number("AngularStep", 360.0 / len(counts))
        degrees = np.asarray(number("InitialAngle", 0.0) + step * np.arange(len(counts)), dtype=np.float64)
    column_mm, row_mm = number("DetectorPixelSizeX"), number("DetectorPixelSizeY")
    near, far = number("SrcToObject"), number("SrcToDetector")
    top, bottom = number("CentreOfRotationTop", 0.0), number("CentreOfRotationBottom", 0.0)
    geometry = TomographyGeometry.cone(
        np.deg2rad(degrees), near, far, columns, column_mm, rows, row_mm,
        detector_offset_mm=number("DetectorOffsetX", 0.0), row_offset_mm=number("DetectorOffsetY", 0.0),
        axis_shift_mm=0.5 * (top + bottom),
    )  # fmt: skip
    if top != bottom:
        assumed.append(f"tilt of the axis: {bottom - top:g} mm from top to bottom, its mean is used")
    pitches = zip("ZYX", (row_mm, column_mm, column_mm), strict=True)
    voxel = [number(f"VoxelSize{axis}", pitch * near / far) for axis, pitch in pitches]
    shape = [int(number(f"Voxels{axis}", n)) for axis, n in zip("ZYX", (rows, columns, columns), strict=True)]
    return scan_of(np.ascontiguousarray(data[:, ::-1]), geometry.to_dict(), AffineGrid.centred(shape, voxel), path.stem,
                   prepared, assumed)  # fmt: skip


def _settings(path: Path) -> dict[str, str]:
    """The section [XTekCT], keys in lower case."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
    except configparser.Error as error:
        raise InputError(f"{path} is not an .xtekct file: {' '.join(str(error).split())}.") from error
    if _SECTION not in parser:
        raise InputError(f"{path} has no section [{_SECTION}].")
    return dict(parser[_SECTION])


def _images(path: Path, values: dict[str, str]) -> list[Path]:
    """The numbered images of the scan, beside the file or in a folder below it."""
    name = values.get("name", "") or path.stem
    below = values.get("inputfoldername", "").replace("\\", "/").strip("/")
    folders = [path.parent, *([path.parent / Path(below).name] if below else [])]
    for folder in folders:
        found = [
            p for p in folder.glob("*.tif*") if p.stem.startswith(name + "_") and p.stem[len(name) + 1 :].isdigit()
        ]
        if found:
            return sorted(found, key=natural)
    raise InputError(f"{path} has no images {name}_0001.tif beside it: copy them into the same folder.")
