"""The generic array source: a mapping says what the arrays of a foreign file mean, and they become a Scan or a Volume.

A mapping is a dict, a YAML file, or the name of a recipe in configs/sources; docs/formats.md describes its keys.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.entries import SUFFIXES as READ_SUFFIXES
from recon3d.io.entries import Entries, open_entries
from recon3d.io.mapping import MM, RAD, check_keys, load_mapping, mapping_names, unit_of
from recon3d.io.ultrasound_arrays import PAIR_KEYS, from_pairs, stacked, ultrasound_scan
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "arrays with a mapping (" + ", ".join(READ_SUFFIXES) + ")"

KEYS = (
    "kind", "name", "data", "axes", "flip", "views", "units", "transform", "scale", "geometry", "grid", "acquisition",
    "noise", "calibration", "image_units", "probe", "transmit", "pairs", "sampling", "centre", "demodulation",
    "sound_speed", "first_sample", "frame_rate", "pulse_delay", "bandwidth",
)  # fmt: skip
_AXES = {
    "ct": ("view", "row", "column"),
    "mri": ("coil", "kz", "ky", "kx"),
    "volume": ("t", "z", "y", "x"),
    "ultrasound": ("t", "transmit", "element", "sample"),
}
_IMAGE_UNITS = {"ct": "1/mm"}
_GEOMETRY = {
    "parallel": ("angles", "column_pitch", "row_pitch", "detector_offset", "axis_shift", "axis_column"),
    "fan": (
        "angles", "column_pitch", "row_pitch", "detector_offset", "axis_shift", "axis_column", "source_to_axis",
        "source_to_detector", "detector",
    ),
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether the suffix is one of an array file."""
    return path.is_file() and path.suffix.lower() in READ_SUFFIXES


def read(path: Path, *, mapping: Mapping[str, Any] | str | os.PathLike[str] | None = None) -> Scan | Volume:
    """Read an array file by a mapping.

    Parameters
    ----------
    path : .npy, .npz, .mat (v5 and v7.3), HDF5, BART .cfl + .hdr, TIFF
    mapping : what its arrays mean: a dict, a YAML file, or the name of a recipe in configs/sources

    Raises
    ------
    InputError
        For a damaged file, a key the file lacks (all that are missing are named, with those it has), an unknown key of
        the mapping, or data that do not fit their axes or angles.
    """
    entries = open_entries(path)
    if mapping is None:
        raise InputError(
            f"{path} is an array file that does not say what it means: give a mapping (a YAML file or one of "
            f"{', '.join(mapping_names()) or 'configs/sources'}). It holds {entries.listing()}."
        )
    source = _Source(entries, load_mapping(mapping))
    return source.volume() if source.kind == "volume" else source.scan()


class _Source:
    """One file seen through one mapping."""

    def __init__(self, entries: Entries, mapping: dict[str, Any]) -> None:
        self.entries = entries
        self.path = entries.path
        self.mapping = mapping
        check_keys("the mapping", mapping, KEYS)
        if "axes" not in mapping or "kind" not in mapping:
            raise InputError("A mapping needs 'kind' (e.g. ct), 'axes' (names of the axes as stored), mostly 'data'.")
        self.kind = str(mapping["kind"])
        units = self._part("units")
        check_keys("units", units, ("length", "angle"))
        self.length_mm = unit_of(units.get("length", "mm"), MM)
        self.angle_rad = unit_of(units.get("angle", "deg"), RAD)
        self._check_references()

    def _part(self, name: str) -> dict[str, Any]:
        part = self.mapping.get(name) or {}
        if not isinstance(part, Mapping):
            raise InputError(f"'{name}' of a mapping holds keys and values, got {part!r}.")
        return dict(part)

    def _check_references(self) -> None:
        data = self.mapping.get("data", "")  # a pattern that names several arrays is looked at when they are stacked
        wanted = [*([] if isinstance(data, Mapping) else [str(data)]), *_references(self.mapping)]
        missing = [key for key in wanted if self.entries.find(key) is None]
        if missing:
            names = ", ".join(f"'{key}'" for key in missing)
            hint = " (name the data by `data:`)" if missing == [""] else ""
            raise InputError(f"{self.path} has no {names}{hint}: it holds {self.entries.listing()}.")

    def scan(self) -> Scan:
        """The file as a Scan on its target grid."""
        data, axes = self._data()
        if self.kind == "ultrasound":
            return self._ultrasound(data, axes)
        if self.kind == "ct":
            data, acquisition, grid = self._ct(data)
        else:
            if "geometry" in self.mapping or "views" in self.mapping:
                raise InputError(f"'geometry' and 'views' are for CT; a scan of kind '{self.kind}' has 'acquisition'.")
            sampled = data.shape[-3:] if self.kind == "mri" else None  # k-space has the shape of its image
            acquisition, grid = {}, self._grid(sampled, None)
        acquisition |= self._values("acquisition")
        return Scan(
            kind=self.kind,
            data=data,
            axes=axes,
            acquisition=acquisition,
            grid=grid,
            noise=self._values("noise"),
            units=str(self.mapping.get("image_units", _IMAGE_UNITS.get(self.kind, "1"))),
            calibration={name: self._number(v, f"calibration.{name}") for name, v in self._part("calibration").items()},
            name=str(self.mapping.get("name", self.path.stem)),
        )

    def _from_pairs(self, data: NDArray[Any], stored: tuple[str, ...]) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Traces of pairs of elements, on the last axis, as a full matrix."""
        pairs = self._part("pairs")
        check_keys("pairs", pairs, PAIR_KEYS)
        if stored[-1:] != ("pair",) or not {"transmit", "element"} <= set(pairs):
            raise InputError("'pairs' names `transmit` and `element` of each trace; the last axis of the data is pair.")
        first = int(pairs.get("first", 1))
        numbers = [np.ravel(self._value(pairs[end], f"pairs.{end}")).astype(int) - first for end in PAIR_KEYS[:2]]
        full = from_pairs(data, numbers[0], numbers[1], bool(pairs.get("reciprocal", False)))
        return full, ("transmit", "element", *stored[:-1])

    def _ultrasound(self, data: NDArray[Any], axes: tuple[str, ...]) -> Scan:
        """Channel data; a single frame has no axis t."""
        if data.shape[0] == 1:
            data, axes = data[0], axes[1:]
        readers = (self._part, self._number, self._length_mm, self._value)
        name = str(self.mapping.get("name", self.path.stem))
        return ultrasound_scan(data, axes, *readers, self.mapping, self.angle_rad, name)

    def volume(self) -> Volume:
        """The file as a Volume."""
        data, _ = self._data()
        if data.ndim == 4 and data.shape[0] == 1:
            data = data[0]
        if not np.isfinite(data).all():
            raise InputError(f"{self.path} holds NaN or infinite voxels: mend them first.")
        grid = self._grid(data.shape[-3:], None)
        return Volume(data, grid, units=str(self.mapping.get("image_units", "1")), tags={"format": "arrays"})

    def _values(self, part: str) -> dict[str, Any]:
        return {name: self._value(value, f"{part}.{name}") for name, value in self._part(part).items()}

    def _data(self) -> tuple[NDArray[Any], tuple[str, ...]]:
        """The data in our order of axes, flipped, transformed and scaled, and the names of the axes."""
        key: Any = self.mapping.get("data", "")
        if isinstance(key, Mapping):
            check_keys("data", key, ("stack",))
            data = stacked(self.entries, str(key.get("stack", "")))
        else:
            data = self.entries[str(key)]
        if not isinstance(data, np.ndarray) or data.dtype.kind not in "biufc":
            raise InputError(f"'{key}' of {self.path} holds no numbers, got {type(data).__name__}: choose another key.")
        if data.size == 0:
            raise InputError(f"'{key}' of {self.path} is empty, of shape {data.shape}.")
        stored = _names(self.mapping["axes"])
        if "pairs" in self.mapping:
            data, stored = self._from_pairs(data, stored)
        data = self._transformed(_without_single_axes(data, stored, self.path), stored)
        wanted = _AXES.get(self.kind, stored)
        unknown = [axis for axis in stored if axis not in wanted]
        if unknown or len(set(stored)) != len(stored):
            raise InputError(
                f"Data of kind '{self.kind}' have the axes {', '.join(wanted)}, the mapping says {', '.join(stored)}."
            )
        data = data.transpose([stored.index(axis) for axis in wanted if axis in stored])
        data = np.expand_dims(data, [i for i, axis in enumerate(wanted) if axis not in stored])
        flipped = _names(self.mapping.get("flip", ()))
        if set(flipped) - set(wanted):
            raise InputError(f"'flip' names axes of the data ({', '.join(wanted)}), got {', '.join(flipped)}.")
        data = np.flip(data, tuple(wanted.index(axis) for axis in flipped))
        if "scale" in self.mapping:
            data = data * self._number(self.mapping["scale"], "scale")
        if data.dtype.kind in "biu" or data.dtype == np.float16:
            data = data.astype(np.float32)
        return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")), wanted

    def _transformed(self, data: NDArray[Any], stored: tuple[str, ...]) -> NDArray[Any]:
        """Line integrals from counts or transmissions: -log((counts - dark) / (flat - dark))."""
        transform = self.mapping.get("transform")
        if transform is None:
            return data
        if transform == "transmission":
            transform = {"flat": 1.0}
        if not isinstance(transform, Mapping) or ("flat" in transform) == ("air_columns" in transform):
            raise InputError(
                "'transform' is `transmission`, or has `flat` (counts without an object) and `dark`, or `air_columns`."
            )
        check_keys("transform", transform, ("flat", "dark", "floor", "air_columns"))
        if data.dtype.kind == "c":
            raise InputError("Counts are real numbers, the data are complex: leave 'transform' out.")
        if "air_columns" in transform:
            return self._against_air(data, stored, transform)
        flat = self._field(transform["flat"], data, stored, "transform.flat")
        dark = self._field(transform.get("dark", 0.0), data, stored, "transform.dark")
        span = flat - dark
        if not (span > 0).all():
            dead = int(np.count_nonzero(~(span > 0)))
            raise InputError(f"The flat field of {self.path} is no brighter than the dark one at {dead} pixels.")
        counts = np.asarray(data, dtype=np.float64) - dark
        # Half a count is the least that a detector can mean; it keeps the logarithm of an opaque ray finite.
        floor = self._number(transform["floor"], "transform.floor") if "floor" in transform else 0.5
        if self.mapping["transform"] == "transmission":
            floor = float(counts[counts > 0].min()) if (counts > 0).any() else 1.0
        return np.log(span) - np.log(np.maximum(counts, floor))

    def _against_air(
        self, data: NDArray[Any], stored: tuple[str, ...], transform: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        """Line integrals where the air at both ends of each row is all that is known of the beam."""
        from recon3d.preprocessing.counts import LEAST_COUNT, air_field, line_integrals

        order = [stored.index(axis) for axis in _AXES["ct"] if axis in stored]
        if len(order) != data.ndim:
            raise InputError(f"transform.air_columns is for CT data, the mapping says {', '.join(stored)}.")
        counts = data.transpose(order)
        counts = np.expand_dims(counts, [i for i, axis in enumerate(_AXES["ct"]) if axis not in stored])
        dark = self._field(transform.get("dark", 0.0), data, stored, "transform.dark")
        if dark.ndim:
            raise InputError("transform.dark is one number where air_columns is given.")
        floor = self._number(transform.get("floor", LEAST_COUNT), "transform.floor")
        columns = int(self._number(transform["air_columns"], "transform.air_columns"))
        flat = air_field(counts - dark, columns) + dark
        result, _ = line_integrals(counts, flat, dark, floor=floor, name=str(self.path))
        return result.reshape([data.shape[i] for i in order]).transpose(np.argsort(order))

    def _field(self, entry: Any, data: NDArray[Any], stored: tuple[str, ...], name: str) -> NDArray[np.float64]:
        """A flat or dark field that broadcasts to the data; frames of it are averaged."""
        field = np.asarray(self._value(entry, name), dtype=np.float64).squeeze()
        if field.ndim == 0 or field.shape == data.shape:
            return field
        view = stored.index("view") if "view" in stored else 0
        frame = data.shape[:view] + data.shape[view + 1 :]
        squeezed = tuple(n for n in frame if n > 1)
        if field.ndim == len(squeezed) + 1 and field.shape[1:] == squeezed:
            field = field.mean(axis=0)
        if field.shape != squeezed:
            raise InputError(f"{name} has shape {field.shape}: expected a number, or frames of shape {frame}.")
        return np.expand_dims(field.reshape(frame), view)

    def _ct(self, data: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any], AffineGrid]:
        from operators.tomography import TomographyGeometry

        settings = self._part("geometry")
        beam = str(settings.pop("type", "parallel"))
        if beam not in _GEOMETRY:
            raise InputError(f"geometry.type is parallel or fan, got '{beam}'.")
        check_keys("geometry", settings, _GEOMETRY[beam])
        needed = ("angles", "column_pitch", *(("source_to_axis", "source_to_detector") if beam == "fan" else ()))
        absent = [name for name in needed if name not in settings]
        if absent:
            raise InputError(
                f"The geometry of a {beam} scan needs {', '.join(needed)}: the mapping lacks {', '.join(absent)}."
            )
        n_views, n_rows, n_columns = data.shape
        angles = self._angles(settings.pop("angles"), n_views)
        data, angles = self._chosen_views(data, angles)
        detector = str(settings.pop("detector", "flat"))
        axis_column = settings.pop("axis_column", None)
        mm = {name: self._length_mm(value, f"geometry.{name}") for name, value in settings.items()}
        pitch = mm["column_pitch"]
        row_pitch = mm.get("row_pitch", pitch)
        demagnified = mm["source_to_axis"] / mm["source_to_detector"] if beam == "fan" else 1.0
        axis_shift = mm.get("axis_shift", 0.0)
        if axis_column is not None:
            if "axis_shift" in mm:
                raise InputError("The geometry states axis_shift and axis_column: keep one of them.")
            axis_shift = (self._number(axis_column, "geometry.axis_column") - (n_columns - 1) / 2) * pitch * demagnified
        common = {
            "n_columns": n_columns, "column_mm": pitch, "n_rows": n_rows, "row_mm": row_pitch,
            "detector_offset_mm": mm.get("detector_offset", 0.0), "axis_shift_mm": axis_shift,
        }  # fmt: skip
        if beam == "fan":
            geometry = TomographyGeometry.fan(
                angles,
                mm["source_to_axis"],
                mm["source_to_detector"],
                detector=detector,  # type: ignore[arg-type]  # the geometry checks it
                **common,  # type: ignore[arg-type]
            )
        else:
            geometry = TomographyGeometry.parallel(angles, **common)  # type: ignore[arg-type]
        # Without a grid: voxels as fine as the detector sees the axis, over the width that it sees.
        default_voxel = (row_pitch, pitch * demagnified, pitch * demagnified)
        grid = self._grid((n_rows, n_columns, n_columns), default_voxel)
        return data, geometry.to_dict(), grid

    def _angles(self, entry: Any, n_views: int) -> NDArray[np.float64]:
        """One angle per view, radians."""
        angle_rad = self.angle_rad
        if isinstance(entry, Mapping) and "key" not in entry:
            check_keys("geometry.angles", entry, ("start", "step", "arc", "count", "unit"))
            angle_rad = unit_of(entry["unit"], RAD) if "unit" in entry else angle_rad
            count = int(entry.get("count", n_views))
            if ("step" in entry) == ("arc" in entry):
                raise InputError("geometry.angles is a list, {key: ...}, or start and step (or arc, its end excluded).")
            step = self._number(entry["step"], "step") if "step" in entry else self._number(entry["arc"], "arc") / count
            angles = self._number(entry.get("start", 0.0), "start") + step * np.arange(count)
        else:
            if isinstance(entry, Mapping) and "unit" in entry:
                angle_rad = unit_of(entry["unit"], RAD)
            angles = np.ravel(np.asarray(self._value(entry, "geometry.angles"), dtype=np.float64))
        if angles.size != n_views:
            raise InputError(f"{self.path} holds {n_views} views but {angles.size} angles are given: they must agree.")
        if not np.isfinite(angles).all():
            raise InputError(f"The angles of {self.path} hold NaN or infinities: expected one number per view.")
        return np.asarray(angles * angle_rad, dtype=np.float64)

    def _chosen_views(
        self, data: NDArray[Any], angles: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The views that the mapping keeps."""
        views = self._part("views")
        check_keys("views", views, ("start", "stop", "step", "repeated"))
        if views.get("repeated", "keep") not in ("keep", "drop"):
            raise InputError(f"views.repeated is keep or drop, got '{views['repeated']}'.")
        if views.get("repeated") == "drop":
            turn = np.round(np.mod(angles, 2 * math.pi) / (2 * math.pi), 9) % 1.0
            keep = np.sort(np.unique(turn, return_index=True)[1])
            data, angles = data[keep], angles[keep]
        part = slice(*(views.get(name) for name in ("start", "stop", "step")))
        data, angles = data[part], angles[part]
        if not len(angles):
            raise InputError("'views' of the mapping keeps no view: check start, stop and step.")
        return data, angles

    def _grid(self, shape: Sequence[int] | None, voxel_mm: Sequence[float] | None) -> AffineGrid:
        """The grid of the mapping, completed by the given shape and voxel lengths."""
        grid = self._part("grid")
        check_keys("grid", grid, ("shape", "voxel_mm"))
        if "shape" in grid:
            if not isinstance(grid["shape"], list | tuple) or len(grid["shape"]) != 3:
                raise InputError(f"grid.shape is three numbers of voxels [z, y, x], got {grid['shape']!r}.")
            shape = [int(self._number(n, "grid.shape")) for n in grid["shape"]]
        if shape is None:
            raise InputError(f"A scan of kind '{self.kind}' needs grid.shape [z, y, x].")
        if "voxel_mm" not in grid:
            return AffineGrid.centred(shape, voxel_mm if voxel_mm is not None else 1.0)
        entry = grid["voxel_mm"]
        if isinstance(entry, list | tuple):
            return AffineGrid.centred(shape, [self._voxel_mm(v) for v in entry])
        edge = self._voxel_mm(entry)
        if voxel_mm is not None:  # slices are as thick as the rows of the detector, which a stack of fans cannot change
            return AffineGrid.centred(shape, (voxel_mm[0], edge, edge))
        return AffineGrid.centred(shape, edge)

    def _voxel_mm(self, entry: Any) -> float:
        """A length that is in mm where it is written out, and in the mapping's unit where it comes from the file."""
        read = self._length_mm if isinstance(entry, Mapping) else self._number
        return read(entry, "grid.voxel_mm")

    def _length_mm(self, entry: Any, name: str) -> float:
        unit = unit_of(entry["unit"], MM) if isinstance(entry, Mapping) and "unit" in entry else self.length_mm
        return self._number(entry, name) * unit

    def _number(self, entry: Any, name: str) -> float:
        value = np.asarray(self._value(entry, name))
        if value.size != 1 or value.dtype.kind not in "biuf" or not np.isfinite(value.item()):
            raise InputError(f"{name} is one finite number, got {_short(value)}.")
        return float(value.item())

    def _value(self, entry: Any, name: str) -> Any:
        """A number, text or array: written out, or `{key: ..., factor: ..., offset: ...}` from the file."""
        if isinstance(entry, Mapping):
            check_keys(name, entry, ("key", "factor", "offset", "unit"))
            if "key" not in entry:
                raise InputError(f"{name} is a value, or has a `key` of the file; got {dict(entry)}.")
            value = self.entries[str(entry["key"])]
            if isinstance(value, np.ndarray):
                value = value.item() if value.size == 1 else value.squeeze()
            if "factor" in entry or "offset" in entry:
                value = value * float(entry.get("factor", 1.0)) + float(entry.get("offset", 0.0))
            return value
        if isinstance(entry, list | tuple):
            try:
                return np.asarray(entry, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name} is a list of numbers, got {_short(entry)}.") from error
        if isinstance(entry, str):
            try:  # YAML 1.1 reads 1e5 as text
                return float(entry)
            except ValueError:
                return entry
        return entry


def _references(part: Any) -> list[str]:
    """All keys of the file that a mapping names by `key:`."""
    if isinstance(part, Mapping):
        own = [str(part["key"])] if "key" in part else []
        return own + [key for value in part.values() for key in _references(value)]
    if isinstance(part, list | tuple):
        return [key for value in part for key in _references(value)]
    return []


def _without_single_axes(data: NDArray[Any], axes: tuple[str, ...], path: Path) -> NDArray[Any]:
    """The data with as many axes as are named: axes of length 1 that nobody named are dropped, last ones first."""
    spare = data.ndim - len(axes)
    drop = [i for i in reversed(range(data.ndim)) if data.shape[i] == 1][: max(spare, 0)]
    if spare < 0 or len(drop) < spare:
        raise InputError(f"{path} holds data of shape {data.shape}, the mapping names the axes {', '.join(axes)}.")
    return np.squeeze(data, tuple(drop))


def _names(entry: Any) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(str(v) for v in entry or ())


def _short(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 60 else text[:57] + "..."
