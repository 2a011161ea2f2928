"""NeXus tomography: NXtomo (frames with an image key) and NXstxm entries (raster scans over angles, with a monitor)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.projections import parallel_scan, pixel_mm
from recon3d.preprocessing.counts import air_field, air_monitor, line_integrals, spread_monitor
from recon3d.preprocessing.views import angles_rad
from recon3d.scan import Scan

UNDERSTOOD = "NeXus tomography (.nxs, .h5)"

_SUFFIXES = (".nxs", ".nx5", ".h5", ".hdf5", ".hdf")
_PROJECTION, _FLAT, _DARK = 0, 1, 2


def matches(path: Path) -> bool:
    """Whether an HDF5 file has an entry with an image key, or one that is defined as NXtomo or NXstxm."""
    import h5py

    if not path.is_file() or not path.name.lower().endswith(_SUFFIXES) or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path) as file:
            return bool(_entries(file))
    except (OSError, RuntimeError):
        return False


def read(path: Path, *, entry: str | None = None) -> Scan:
    """Read one entry, parallel beam.

    Parameters
    ----------
    path : NeXus file
    entry : which one, e.g. "entry1/tomo_entry"; the first by default

    Raises
    ------
    InputError
        For a damaged file, an unknown entry, or frames, keys and angles that do not fit.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            known = _entries(file)
            if entry is not None and entry.strip("/") not in known:
                raise InputError(f"{path} has no tomography entry '{entry}': it has {', '.join(known)}.")
            name = entry.strip("/") if entry is not None else next(iter(known))
            group = file[name]
            reader = _tomo if known[name] == "tomo" else _stxm
            return reader(group, path.stem, [f"entry: {name}, of {', '.join(known)}"] if len(known) > 1 else [])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated: its projections cannot be read.") from error


def _entries(file: Any) -> dict[str, str]:
    """Tomography entries and what they are, "tomo" or "stxm", by path."""
    import h5py

    found: dict[str, str] = {}

    def look(group: Any, path: str) -> None:
        for name, item in group.items():
            if not isinstance(item, h5py.Group):
                continue
            where = f"{path}/{name}".strip("/")
            if _text(item.attrs.get("NX_class")) not in ("NXentry", "NXsubentry"):
                continue
            definition = _text(item["definition"][()]) if "definition" in item else ""
            if _detector(item) is not None:
                found[where] = "tomo"
            elif definition.lower() == "nxstxm" and "data/data" in item and item["data/data"].ndim == 3:
                found[where] = "stxm"
            look(item, where)

    look(file, "")
    return found


def _detector(entry: Any) -> Any:
    """The NXdetector with frames and an image key, or None."""
    instrument = entry.get("instrument")
    for detector in instrument.values() if instrument is not None else ():
        if "image_key" in detector and "data" in detector:
            return detector
    return None


def _angles_of(entry: Any) -> Any:
    for name in ("sample/rotation_angle", "data/rotation_angle", "data/theta", "sample/theta"):
        if name in entry:
            return entry[name]
    return None


def _tomo(entry: Any, name: str, assumed: list[str]) -> Scan:
    detector = _detector(entry)
    frames = detector["data"][()]
    key = np.ravel(detector["image_key"][()])
    stated = _angles_of(entry)
    if stated is None:
        raise InputError("it states no rotation_angle.")
    angle = np.ravel(stated[()])
    if frames.ndim != 3 or len(key) != len(frames) or len(angle) not in (len(frames), int((key == _PROJECTION).sum())):
        raise InputError(
            f"it holds frames of shape {frames.shape}, {len(key)} image keys and {len(angle)} angles: they must agree."
        )
    view = key == _PROJECTION
    if not view.any():
        raise InputError("no frame is a projection (image key 0).")
    angles, told = angles_rad(angle[view] if len(angle) == len(frames) else angle, _angle_unit(stated))
    assumed += told
    monitor = _monitor(entry, len(frames), assumed)
    flat_monitor = None
    if monitor is not None and (key == _FLAT).any():
        flat_monitor = monitor[key == _FLAT]
    dark = frames[key == _DARK] if (key == _DARK).any() else 0.0
    beam = None if monitor is None else monitor[view]
    if (key == _FLAT).any():
        flat = frames[key == _FLAT]
    else:
        dark_frame = np.asarray(dark, dtype=np.float64).mean(axis=0) if np.ndim(dark) else 0.0
        flat = air_field(frames[view] - dark_frame, monitor=beam) + dark_frame
        assumed.append("flat field: none, so the outer 5 columns are taken for air")
    data, prepared = line_integrals(frames[view], flat, dark, monitor=beam, flat_monitor=flat_monitor, name=name)
    how = "flat and dark fields" + (" and monitor" if monitor is not None else "")
    pitch = []
    for axis in ("y_pixel_size", "x_pixel_size"):
        item = detector.get(axis)
        value = float(np.ravel(item[()])[0]) if item is not None else None
        size, told = pixel_mm(value, _unit(item), "detector pixel")
        pitch.append(size)
        assumed += [line for line in told if line not in assumed]
    return parallel_scan(data, angles, (pitch[0], pitch[1]), axis_column=None, name=name,
                         prepared=[f"counts to line integrals by {how}", *prepared], assumed=assumed)  # fmt: skip


def _stxm(entry: Any, name: str, assumed: list[str]) -> Scan:
    """A raster scan: a pixel is a position of the stage, the flat field is the air beside the object."""
    counts = entry["data/data"][()]
    stated = _angles_of(entry)
    if stated is None:
        raise InputError("it states no angles (data/theta).")
    angles, told = angles_rad(stated[()], _angle_unit(stated))
    assumed += told
    monitor = _monitor(entry, counts.shape, assumed)
    beam = air_monitor(counts, monitor=monitor)  # a raster takes long, so the beam drifts within a view
    # Not photons: currents of diodes, so half a count means nothing and the least current is what was measured.
    positive = counts[counts > 0]
    floor = float(positive.min()) if positive.size else 1.0
    data, prepared = line_integrals(counts, air_field(counts, monitor=beam), monitor=beam, floor=floor, name=name)
    assumed.append("flat field: none, so the outer 5 positions of each line are taken for air")
    pitch = []
    for what, axis in (("y", -2), ("x", -1)):
        item = entry.get(f"data/{what}")
        positions = np.asarray(item[()], dtype=np.float64) if item is not None else np.zeros(0)
        n = counts.shape[1:][axis]
        line = (
            positions.reshape(counts.shape[1:]).mean(axis=-3 - axis) if positions.size == counts[0].size else positions
        )
        step = float(abs(line[-1] - line[0]) / max(n - 1, 1)) if line.size == n and n > 1 else None
        size, told = pixel_mm(step, _unit(item), f"step of the raster along {what}")
        pitch.append(size)
        assumed += told
    how = "the air beside the object" + (" and the monitor" if monitor is not None else "")
    scan = parallel_scan(data, angles, (pitch[0], pitch[1]), axis_column=None, name=name,
                         prepared=[f"counts to line integrals by {how}", *prepared], assumed=assumed)  # fmt: skip
    return replace(scan, acquisition={**scan.acquisition, "raster": True})


def _monitor(entry: Any, shape: Any, assumed: list[str]) -> NDArray[np.float64] | None:
    """The monitor of an entry where it has one that can be used."""
    frames = shape if isinstance(shape, int) else shape[0]
    for name in ("control/data", "monitor/data"):
        if name not in entry:
            continue
        beam = np.asarray(entry[name][()], dtype=np.float64)
        wanted = (frames, 1, 1) if isinstance(shape, int) else shape
        try:
            return np.asarray(spread_monitor(beam, wanted), dtype=np.float64)
        except InputError:
            assumed.append(f"monitor: not used, its values (shape {beam.shape}) are not positive or fit no frame")
    return None


def _angle_unit(item: Any) -> str | None:
    said = (_unit(item) or "").lower()
    return "deg" if said.startswith("deg") else "rad" if said.startswith("rad") else None


def _unit(item: Any) -> str | None:
    return _text(item.attrs.get("units")) or None if item is not None else None


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value) if value is not None else ""
