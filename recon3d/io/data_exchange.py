"""Data Exchange HDF5 of synchrotrons: counts with flat and dark fields and angles (F. De Carlo et al., 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recon3d.errors import InputError
from recon3d.io.ismrmrd import has_items
from recon3d.io.projections import parallel_scan, pixel_mm
from recon3d.preprocessing.counts import air_field, line_integrals
from recon3d.preprocessing.views import angles_rad
from recon3d.scan import Scan

UNDERSTOOD = "Data Exchange (.h5)"

_SUFFIXES = (".h5", ".hdf5", ".hdf")
_PIXELS = ("actual_pixel_size", "pixel_size")
_DETECTOR = ("measurement/instrument/detector", "measurement/instrument/detection_system/objective")


def matches(path: Path) -> bool:
    """Whether an HDF5 file has `exchange/data`."""
    return has_items(path, _SUFFIXES, ("exchange/data",))


def read(path: Path, *, rows: tuple[int, int] | None = None) -> Scan:
    """Read one scan, parallel beam.

    Parameters
    ----------
    path : `exchange/data` (view, row, column), `data_white`, `data_dark`, `theta`
    rows : (first, end), to read a part of the detector only

    Raises
    ------
    InputError
        For a damaged file, or fields and angles that do not fit the data.
    """
    import h5py

    part = slice(None) if rows is None else slice(*rows)
    try:
        with h5py.File(path) as file:
            exchange = file["exchange"]
            if exchange["data"].ndim != 3:
                raise InputError(f"{path} holds data of shape {exchange['data'].shape}: expected (view, row, column).")
            counts = exchange["data"][:, part]
            if counts.size == 0:
                raise InputError(f"{path} holds no rows {rows} or no views: its data have {exchange['data'].shape}.")
            fields = [np.asarray(exchange[key][..., part, :]) if key in exchange else None
                      for key in ("data_white", "data_dark")]  # fmt: skip
            theta = exchange["theta"][()] if "theta" in exchange else None
            unit = _angle_unit(exchange["theta"].attrs.get("units")) if theta is not None else None
            pitch, unit_mm = _pixel(file)
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated: its projections cannot be read.") from error
    assumed = []
    if theta is None:
        theta, unit = np.arange(len(counts)) * 180.0 / len(counts), "deg"
        assumed.append("angles: not stated, so equal steps over 180 degrees")
    angles, told = angles_rad(theta, unit)
    assumed += told
    flat, dark = fields
    if flat is None or flat.size == 0:
        flat = air_field(counts)
        assumed.append("flat field: none, so the outer 5 columns are taken for air")
    data, prepared = line_integrals(counts, flat, 0.0 if dark is None or dark.size == 0 else dark, name=path.name)
    size_mm, told = pixel_mm(pitch, unit_mm, "detector pixel")
    prepared.insert(0, "counts to line integrals by flat and dark fields")
    return parallel_scan(data, angles, (size_mm, size_mm), axis_column=None, name=path.stem, prepared=prepared,
                         assumed=assumed + told)  # fmt: skip


def _angle_unit(text: Any) -> str | None:
    said = text.decode() if isinstance(text, bytes) else str(text or "")
    return "deg" if said.lower().startswith("deg") else "rad" if said.lower().startswith("rad") else None


def _pixel(file: Any) -> tuple[float | None, str | None]:
    """The pixel as the object sees it, where the file holds one, and its unit."""
    for group in _DETECTOR:
        for name in (*_PIXELS, *(f"{name}_x" for name in _PIXELS), "x_pixel_size", "resolution"):
            item = file.get(f"{group}/{name}")
            if item is not None:
                unit = item.attrs.get("units")
                return float(np.ravel(item[()])[0]), unit.decode() if isinstance(unit, bytes) else unit
    return None, None
