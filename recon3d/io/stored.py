"""Scans that stay in their file: what is known of one is read at once, its data and other large arrays by slabs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.grid import Grid
from recon3d.io import hdf5
from recon3d.io.formats import format_for


@dataclass(frozen=True)
class StoredArray:
    """An array in an HDF5 file; indexing reads that part of it."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, part: Any) -> NDArray[Any]:
        import h5py

        with hdf5.faults_told(self.path), h5py.File(self.path) as file:
            return file[self.key][part]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class StoredScan:
    """A `Scan` whose data, and other large arrays, are `StoredArray`s; fields as there."""

    path: Path
    kind: str
    data: StoredArray
    axes: tuple[str, ...]
    acquisition: Mapping[str, Any]
    grid: Grid
    noise: Mapping[str, Any]
    units: str
    calibration: Mapping[str, float]
    name: str

    def __repr__(self) -> str:
        return f"Scan({self.kind} '{self.name}', {self.axes} {self.data.shape})"


def stored_scan(path: Path) -> StoredScan | None:
    """The scan in a file of our own, of which parts can be read; None for all else (ragged data, volumes, formats).

    Raises
    ------
    InputError
        If nothing is there, or the file is damaged.
    """
    import h5py

    if format_for(path)[1] is not hdf5:
        return None
    with hdf5.faults_told(path), h5py.File(path) as file:
        if file.attrs["kind"] != "scan" or not isinstance(file["data"], h5py.Dataset):
            return None
        return StoredScan(path, **hdf5.read_scan_entries(file, _kept_in(path)))


def _kept_in(path: Path) -> Any:
    def keep(dataset: Any) -> StoredArray:
        return StoredArray(path, dataset.name, dataset.shape, dataset.dtype)

    return keep
