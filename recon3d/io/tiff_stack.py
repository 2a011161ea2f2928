"""A folder of TIFF projections with flat and dark fields and angles, described by a small YAML file or by names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.mapping import check_keys, load_mapping
from recon3d.io.projections import natural, parallel_scan, pixel_mm, read_images, scan_of
from recon3d.preprocessing.counts import air_field, line_integrals
from recon3d.preprocessing.views import angles_rad
from recon3d.scan import Scan

UNDERSTOOD = "folders of TIFF projections (with projections.yaml or angles.txt)"

DESCRIPTION = "projections.yaml"
ANGLES = ("angles.txt", "theta.txt", "angles.csv")
KEYS = (
    "projections", "flats", "darks", "angles", "unit", "pixel", "pixel_unit", "axis_column", "source_to_axis_mm",
    "source_to_detector_mm", "rows_downwards", "name",
)  # fmt: skip

_FLAT = re.compile(r"flat|white|open|ref|(^|[_\W])ff?([_\W]|$)", re.IGNORECASE)
_DARK = re.compile(r"dark|(^|[_\W])df?([_\W]|$)", re.IGNORECASE)
_IMAGES = (".tif", ".tiff")


def matches(path: Path) -> bool:
    """Whether a folder holds projections.yaml, or TIFF images with a text file of angles."""
    if not path.is_dir():
        return False
    if (path / DESCRIPTION).is_file():
        return True
    return any((path / name).is_file() for name in ANGLES) and bool(_images(path))


def read(path: Path) -> Scan:
    """Read one scan: parallel beam, or cone beam where the distances of the source are given.

    Raises
    ------
    InputError
        For images that do not fit each other or the angles, a wrong description, or faults of the counts.
    """
    told = load_mapping(path / DESCRIPTION) if (path / DESCRIPTION).is_file() else {}
    check_keys(DESCRIPTION, told, KEYS)
    projections, flats, darks = _files(path, told)
    counts = read_images(projections)
    assumed: list[str] = []
    angles, lines = angles_rad(_angles(path, told.get("angles"), len(counts)), told.get("unit"))
    assumed += lines
    if angles.size != len(counts):
        raise InputError(f"{path} holds {len(counts)} projections but {angles.size} angles: they must agree.")
    dark = read_images(darks) if darks else 0.0
    if not darks:
        assumed.append("dark field: none, so 0 counts")
    if flats:
        flat: Any = read_images(flats)
    else:
        dark_frame = np.asarray(dark, dtype=np.float64).mean(axis=0) if darks else 0.0
        flat = air_field(counts - dark_frame) + dark_frame
        assumed.append("flat field: none, so the outer 5 columns are taken for air")
    data, prepared = line_integrals(counts, flat, dark, name=path.name)
    prepared.insert(0, f"counts to line integrals by {len(flats)} flat and {len(darks)} dark images")
    if told.get("rows_downwards", True):
        data = data[:, ::-1]  # images begin at the top, volumes at the bottom
    pixel = told.get("pixel")
    size_mm, lines = pixel_mm(float(pixel) if pixel is not None else None, told.get("pixel_unit"), "detector pixel")
    assumed += lines
    name, axis = str(told.get("name", path.name)), told.get("axis_column")
    axis = float(axis) if axis is not None else None
    distances = [told.get(key) for key in ("source_to_axis_mm", "source_to_detector_mm")]
    if distances == [None, None]:
        return parallel_scan(np.ascontiguousarray(data), angles, (size_mm, size_mm), axis_column=axis, name=name,
                             prepared=prepared, assumed=assumed)  # fmt: skip
    if None in distances or pixel is None:
        raise InputError(f"{path / DESCRIPTION}: a cone beam needs source_to_axis_mm, source_to_detector_mm and pixel.")
    from operators.tomography import TomographyGeometry

    near, far = (float(d) for d in distances if d is not None)
    n_rows, n_columns = data.shape[1:]
    if axis is None:
        assumed.append("rotation axis: the middle of the detector")
        axis = (n_columns - 1) / 2
    geometry = TomographyGeometry.cone(
        angles, near, far, n_columns, size_mm, n_rows, size_mm,
        axis_shift_mm=(axis - (n_columns - 1) / 2) * size_mm * near / far,
    )  # fmt: skip
    voxel = size_mm * near / far
    grid = AffineGrid.centred((n_rows, n_columns, n_columns), voxel)
    return scan_of(np.ascontiguousarray(data), geometry.to_dict(), grid, name, prepared, assumed)


def _images(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in _IMAGES), key=natural)


def _files(path: Path, told: Mapping[str, Any]) -> tuple[list[Path], list[Path], list[Path]]:
    """Projections, flats and darks: by the patterns of the description, else by their names."""
    if "projections" in told:
        lists = [sorted(path.glob(str(told[key])), key=natural) if told.get(key) else []
                 for key in ("projections", "flats", "darks")]  # fmt: skip
        for key, found in zip(("projections", "flats", "darks"), lists, strict=True):
            if told.get(key) and not found:
                raise InputError(f"{path} holds no file that fits {key}: {told[key]}.")
        special = {*lists[1], *lists[2]}
        return [p for p in lists[0] if p not in special], lists[1], lists[2]
    everything = _images(path)
    flats = [p for p in everything if _FLAT.search(p.stem)]
    darks = [p for p in everything if _DARK.search(p.stem) and p not in flats]
    return [p for p in everything if p not in flats and p not in darks], flats, darks


def _angles(path: Path, entry: Any, n_views: int) -> NDArray[np.float64]:
    if isinstance(entry, Mapping):
        check_keys("angles", entry, ("start", "step", "arc"))
        if ("step" in entry) == ("arc" in entry):
            raise InputError(f"{path / DESCRIPTION}: angles have start and step, or start and arc (its end excluded).")
        step = float(entry["step"]) if "step" in entry else float(entry["arc"]) / n_views
        return np.asarray(float(entry.get("start", 0.0)) + step * np.arange(n_views), dtype=np.float64)
    if isinstance(entry, list):
        return np.asarray(entry, dtype=np.float64)
    names = (str(entry),) if entry is not None else ANGLES
    for name in names:
        if (path / name).is_file():
            return read_angles(path / name)
    raise InputError(f"{path} states no angles: expected 'angles' in {DESCRIPTION}, or a file {ANGLES[0]}.")


def read_angles(path: Path) -> NDArray[np.float64]:
    """The last number of every line that holds one; lines that begin with a letter or # are headers."""
    values = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        numbers = re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", line)
        if numbers and not re.match(r"\s*[A-Za-z#]", line):
            values.append(float(numbers[-1]))
    if not values:
        raise InputError(f"{path} holds no angles: expected one number per line.")
    return np.array(values)
