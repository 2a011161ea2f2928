"""Native HDF5: volumes and scans with everything they know; the layout is documented in docs/formats.md."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid, Grid, SurveyGrid
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "native HDF5 (.h5, .hdf5)"
SUFFIXES = (".h5", ".hdf5")
FORMAT = 1
MARKER = "recon3d_format"

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_GRIDS: dict[str, type[Grid]] = {grid.__name__: grid for grid in (AffineGrid, SurveyGrid, BeamGrid)}
_SMALL_BYTES = 1 << 16
_TRIAL_BYTES = 1 << 20
_KEPT_BYTES = 1 << 20


def matches(path: Path) -> bool:
    """Whether the file carries our marker; a damaged one is claimed too, so that `read` says what is wrong."""
    if not path.is_file() or not path.name.lower().endswith(SUFFIXES):
        return False
    with path.open("rb") as stream:
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            return False
    import h5py

    try:
        with h5py.File(path) as file:
            return MARKER in file.attrs
    except OSError:
        return True


def read(path: Path) -> Volume | Scan:
    """Read what `write` wrote.

    Raises
    ------
    InputError
        If the file is truncated or damaged, or from a newer version of recon3d.
    """
    import h5py

    with faults_told(path), h5py.File(path) as file:
        if MARKER not in file.attrs:
            raise InputError(f"{path} is no recon3d file: give a mapping that says what its arrays mean.")
        version = int(file.attrs[MARKER])
        if version > FORMAT:
            raise InputError(
                f"{path} has format version {version}, this recon3d reads up to {FORMAT}: install a newer recon3d."
            )
        kind = file.attrs["kind"]
        if kind == "volume":
            return _read_volume(file)
        if kind == "scan":
            return Scan(**read_scan_entries(file))
    raise InputError(f"{path} holds a '{kind}': expected a volume or a scan.")


@contextmanager
def faults_told(path: Path) -> Iterator[None]:
    """Tell what a damaged file does to those who read it in one sentence."""
    try:
        yield
    except (InputError, PermissionError):
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated: {_reason(error)}") from error


def write(obj: Volume | Scan, path: Path) -> None:
    """Write a volume or a scan with all they know: ragged data, complex numbers, series and every grid."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs[MARKER] = FORMAT
        if isinstance(obj, Volume):
            _write_volume(file, obj)
        else:
            _write_scan(file, obj)


def _write_volume(file: Any, volume: Volume) -> None:
    file.attrs["kind"] = "volume"
    file.attrs["units"] = volume.units
    _write_array(file, "data", volume.data)
    _write_grid(file, volume.grid)
    if volume.times_s is not None:
        file["times_s"] = np.asarray(volume.times_s, dtype=np.float64)
    _write_entries(file.create_group("tags"), volume.tags)


def _read_volume(file: Any) -> Volume:
    times_s = tuple(float(t) for t in file["times_s"][()]) if "times_s" in file else None
    return Volume(
        data=file["data"][()],
        grid=_read_grid(file),
        units=str(file.attrs["units"]),
        times_s=times_s,
        tags=_read_entries(file["tags"]),
    )


def _write_scan(file: Any, scan: Scan) -> None:
    file.attrs["kind"] = "scan"
    file.attrs["acquisition"] = scan.kind
    file.attrs["units"] = scan.units
    file.attrs["name"] = scan.name
    file.attrs["axes"] = list(scan.axes)
    if isinstance(scan.data, tuple):
        group = file.create_group("data")
        group.attrs["blocks"] = len(scan.data)
        for i, block in enumerate(scan.data):
            _write_array(group, str(i), block)
    else:
        _write_array(file, "data", scan.data)
    _write_grid(file, scan.grid)
    for part in ("acquisition", "noise", "calibration"):
        _write_entries(file.create_group(part), getattr(scan, part))


def read_scan_entries(file: Any, keep: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """The fields of a scan.

    Parameters
    ----------
    keep : what stands for a large data set that is not read; by default all are
    """
    import h5py

    data = file["data"]
    if isinstance(data, h5py.Group):
        arrays: Any = tuple(data[str(i)][()] for i in range(int(data.attrs["blocks"])))
    else:
        arrays = data[()] if keep is None else keep(data)
    return {
        "kind": str(file.attrs["acquisition"]),
        "data": arrays,
        "axes": tuple(str(axis) for axis in file.attrs["axes"]),
        "acquisition": _read_entries(file["acquisition"], keep),
        "grid": _read_grid(file),
        "noise": _read_entries(file["noise"], keep),
        "units": str(file.attrs["units"]),
        "calibration": _read_entries(file["calibration"]),
        "name": str(file.attrs["name"]),
    }


def _write_grid(file: Any, grid: Grid) -> None:
    group = file.create_group("grid")
    group.attrs["type"] = type(grid).__name__
    for entry in fields(grid):
        group.attrs[entry.name] = getattr(grid, entry.name)


def _read_grid(file: Any) -> Grid:
    group = file["grid"]
    kind = _GRIDS[str(group.attrs["type"])]
    return kind(**{entry.name: _plain(group.attrs[entry.name]) for entry in fields(kind)})


def _plain(value: Any) -> Any:
    """An HDF5 attribute as nested tuples, or a Python number or text."""
    if isinstance(value, np.ndarray):
        return _tuples(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _write_entries(group: Any, entries: Mapping[str, Any]) -> None:
    """Arrays become data sets; numbers, texts, truth values and None become attributes; dicts become groups."""
    import h5py

    for name, value in entries.items():
        if not name or "/" in name or name == ".":
            raise InputError(f"An entry named '{name}' cannot be stored in HDF5: rename it.")
        if isinstance(value, Mapping):
            _write_entries(group.create_group(name), value)
        elif isinstance(value, np.ndarray):
            _write_array(group, name, value)
        elif isinstance(value, list | tuple):
            _write_list(group, name, value)
        elif value is None:
            group.attrs[name] = h5py.Empty("f4")
        elif isinstance(value, str) and len(value) > 10_000:  # attributes end at 64 KiB
            group[name] = value
        elif isinstance(value, str | bool | int | float | complex | np.generic):
            group.attrs[name] = value
        else:
            raise InputError(f"The entry '{name}' is a {type(value).__name__}: expected an array, a number or a text.")


def _write_list(group: Any, name: str, value: list[Any] | tuple[Any, ...]) -> None:
    """A list of numbers or of texts, marked so that it comes back as a tuple."""
    import h5py

    if any(isinstance(v, str) for v in value):
        texts = [str(v) for v in value]
        dataset = group.create_dataset(name, data=texts, dtype=h5py.string_dtype())
    else:
        dataset = group.create_dataset(name, data=np.asarray(value))
    dataset.attrs["tuple"] = True


def _read_entries(group: Any, keep: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    import h5py

    entries: dict[str, Any] = {}
    for name, value in group.attrs.items():
        entries[name] = None if isinstance(value, h5py.Empty) else _plain(value)
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            entries[name] = _read_entries(item, keep)
            continue
        if keep is not None and item.nbytes > _KEPT_BYTES and item.ndim > 2:
            entries[name] = keep(item)
            continue
        text = h5py.check_string_dtype(item.dtype) is not None
        value = (item.asstr() if text else item)[()]
        entries[name] = _tuples(np.asarray(value).tolist()) if item.attrs.get("tuple", False) else value
    return entries


def _write_array(group: Any, name: str, array: NDArray[Any]) -> None:
    array = np.asarray(array)
    if array.dtype.kind in "OUSV":
        raise InputError(f"The array '{name}' has type {array.dtype}: expected numbers.")
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if _compression_pays(array) else {}
    if options or array.ndim < 3:
        group.create_dataset(name, data=array, **options)
        return
    dataset = group.create_dataset(name, array.shape, array.dtype)
    for index in np.ndindex(array.shape[:-2]):  # slice by slice: the array may lie on disk, and exceed the memory
        dataset[index] = array[index]


def _compression_pays(array: NDArray[Any]) -> bool:
    """Whether a trial on the middle of the array saves a quarter: counts, labels and masks do, noisy floats do not."""
    if array.nbytes < _SMALL_BYTES:
        return False
    flat = array.reshape(-1)
    count = min(flat.size, _TRIAL_BYTES // array.itemsize)
    start = (flat.size - count) // 2
    sample = np.ascontiguousarray(flat[start : start + count])
    shuffled = sample.view(np.uint8).reshape(count, array.itemsize).T.tobytes()
    return len(zlib.compress(shuffled, 1)) < 0.75 * len(shuffled)


def _reason(error: BaseException) -> str:
    """The error as the end of a sentence."""
    text = str(error.args[0] if error.args else error).strip().rstrip(".")
    return f"{text}."
