"""CMRxRecon cardiac k-space: MATLAB v7.3 `kspace_full`, `kspace_sub04` ..., (time, slice, coil, ky, kx) on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

UNDERSTOOD = "CMRxRecon (.mat)"

_KEYS = ("kspace_full", "kspace_sub04", "kspace_sub08", "kspace_sub10", "kspace", "kus")


def matches(path: Path) -> bool:
    """Whether a MATLAB v7.3 file has k-space by one of the challenge's names, as pairs of real and imaginary parts."""
    if not path.is_file() or path.suffix.lower() != ".mat":
        return False
    with path.open("rb") as stream:
        if not stream.read(10).startswith(b"MATLAB 7.3"):
            return False
    import h5py

    try:
        with h5py.File(path) as file:
            return any(key in file and file[key].ndim in (4, 5) and file[key].dtype.names for key in _KEYS)
    except OSError:
        return False


def read(
    path: Path,
    *,
    key: str | None = None,
    slice_index: int | None = None,
    voxel_mm: tuple[float, float, float] | None = None,
) -> Scan:
    """Read a cine or mapping series as (t, coil, kz, ky, kx).

    Parameters
    ----------
    path : .mat
    key : which array, by default the first of kspace_full, kspace_sub04 ... that is there
    slice_index : one slice only
    voxel_mm : (z, y, x); the files do not state it, so 1 mm is taken otherwise
    """
    import h5py

    try:
        with h5py.File(path) as file:
            found = [k for k in _KEYS if k in file] if key is None else [key]
            if not found or found[0] not in file:
                raise InputError(f"{path} has no '{key}': it holds {', '.join(file)}.")
            stored = file[found[0]]
            names = stored.dtype.names
            if names is None or stored.ndim not in (4, 5):
                raise InputError(
                    f"'{found[0]}' of {path} has shape {stored.shape}: expected complex (t, slice, coil, ky, kx)."
                )
            raw = stored[()] if slice_index is None else stored[:, slice_index : slice_index + 1]
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated: its k-space cannot be read.") from error
    data = (raw[names[0]] + 1j * raw[names[1]]).astype(np.complex64)
    data = data[:, :, None] if data.ndim == 4 else data  # single-coil files lack the axis
    data = np.ascontiguousarray(data.transpose(0, 2, 1, 3, 4))
    grid = AffineGrid.centred(data.shape[2:], voxel_mm or 1.0)
    return Scan("mri", data, ("t", "coil", "kz", "ky", "kx"), {"encoding": "2d"}, grid, name=path.stem)
