"""The generic array source: a mapping says what the arrays of a foreign file mean, and they become a Scan or a Volume.

A mapping is a dict, a YAML file, or the name of a recipe in configs/sources; docs/formats.md describes its keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.entries import SUFFIXES as READ_SUFFIXES
from recon3d.io.entries import Entries, open_entries
from recon3d.io.mapped import Mapped, named_keys, names
from recon3d.io.mapped_counts import CT_AXES, transformed
from recon3d.io.mapped_geometry import mapped_grid, with_geometry
from recon3d.io.mapping import check_keys, load_mapping, mapping_names
from recon3d.io.ultrasound_arrays import full_matrix, stacked, ultrasound_scan
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "arrays with a mapping (" + ", ".join(READ_SUFFIXES) + ")"

_AXES = {
    "ct": CT_AXES,
    "mri": ("coil", "kz", "ky", "kx"),
    "volume": ("t", "z", "y", "x"),
    "ultrasound": ("t", "transmit", "element", "sample"),
}
_IMAGE_UNITS = {"ct": "1/mm"}


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
        fitting = fitting_mappings(entries)
        hint = f"its keys fit {' and '.join(fitting)}" if fitting else f"one of {', '.join(mapping_names())}"
        raise InputError(
            f"{path} is an array file that does not say what it means: give a mapping, a YAML file or a name ({hint}). "
            f"It holds {entries.listing()}."
        )
    source = Mapped(entries, load_mapping(mapping))
    return _volume(source) if source.kind == "volume" else _scan(source)


def fitting_mappings(entries: Entries) -> tuple[str, ...]:
    """Names of the mappings in configs/sources whose keys are all in the file; those that name no key fit none."""
    fitting = []
    for name in mapping_names():
        keys = [key for key in named_keys(load_mapping(name)) if key]
        if keys and all(entries.find(key) is not None for key in keys):
            fitting.append(name)
    return tuple(fitting)


def _scan(source: Mapped) -> Scan:
    """The file as a Scan on its target grid."""
    data, axes = _data(source)
    if source.kind == "ultrasound":
        # A single frame has no axis t.
        return ultrasound_scan(source, *((data[0], axes[1:]) if data.shape[0] == 1 else (data, axes)))
    if source.kind == "ct":
        data, acquisition, grid = with_geometry(source, data)
    else:
        if "geometry" in source.mapping or "views" in source.mapping:
            raise InputError(f"'geometry' and 'views' are for CT; a scan of kind '{source.kind}' has 'acquisition'.")
        sampled = data.shape[-3:] if source.kind == "mri" else None  # k-space has the shape of its image
        acquisition, grid = {}, mapped_grid(source, sampled, None)
    calibration = source.part("calibration")
    return Scan(
        kind=source.kind,
        data=data,
        axes=axes,
        acquisition=acquisition | source.values("acquisition"),
        grid=grid,
        noise=source.values("noise"),
        units=str(source.mapping.get("image_units", _IMAGE_UNITS.get(source.kind, "1"))),
        calibration={name: source.number(entry, f"calibration.{name}") for name, entry in calibration.items()},
        name=source.name,
    )


def _volume(source: Mapped) -> Volume:
    """The file as a Volume."""
    data, _ = _data(source)
    if data.ndim == 4 and data.shape[0] == 1:
        data = data[0]
    if not np.isfinite(data).all():
        raise InputError(f"{source.path} holds NaN or infinite voxels: mend them first.")
    grid = mapped_grid(source, data.shape[-3:], None)
    return Volume(data, grid, units=str(source.mapping.get("image_units", "1")), tags={"format": "arrays"})


def _data(source: Mapped) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The data in our order of axes, flipped, transformed and scaled, and the names of the axes."""
    key: Any = source.mapping.get("data", "")
    if isinstance(key, Mapping):
        check_keys("data", key, ("stack",))
        data = stacked(source.entries, str(key.get("stack", "")))
    else:
        data = source.entries[str(key)]
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "biufc":
        raise InputError(f"'{key}' of {source.path} holds no numbers, got {type(data).__name__}: choose another key.")
    if data.size == 0:
        raise InputError(f"'{key}' of {source.path} is empty, of shape {data.shape}.")
    stored = source.stored_axes
    if "pairs" in source.mapping:
        data, stored = full_matrix(source, data)
    data = transformed(source, _without_single_axes(data, stored, source.path), stored)
    wanted = _AXES.get(source.kind, stored)
    unknown = [axis for axis in stored if axis not in wanted]
    if unknown or len(set(stored)) != len(stored):
        raise InputError(
            f"Data of kind '{source.kind}' have the axes {', '.join(wanted)}, the mapping says {', '.join(stored)}."
        )
    data = data.transpose([stored.index(axis) for axis in wanted if axis in stored])
    data = np.expand_dims(data, [i for i, axis in enumerate(wanted) if axis not in stored])
    flipped = names(source.mapping.get("flip", ()))
    if set(flipped) - set(wanted):
        raise InputError(f"'flip' names axes of the data ({', '.join(wanted)}), got {', '.join(flipped)}.")
    data = np.flip(data, tuple(wanted.index(axis) for axis in flipped))
    if "scale" in source.mapping:
        data = data * source.number(source.mapping["scale"], "scale")
    if data.dtype.kind in "biu" or data.dtype == np.float16:
        data = data.astype(np.float32)
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")), wanted


def _without_single_axes(data: NDArray[Any], axes: tuple[str, ...], path: Path) -> NDArray[Any]:
    """The data with as many axes as are named: axes of length 1 that nobody named are dropped, last ones first."""
    spare = data.ndim - len(axes)
    drop = [i for i in reversed(range(data.ndim)) if data.shape[i] == 1][: max(spare, 0)]
    if spare < 0 or len(drop) < spare:
        raise InputError(f"{path} holds data of shape {data.shape}, the mapping names the axes {', '.join(axes)}.")
    return np.squeeze(data, tuple(drop))
