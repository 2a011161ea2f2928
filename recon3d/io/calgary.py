"""Calgary-Campinas `kspace` (slice, y, z, 2 coils): the readout is transformed, the centre of k-space at a corner."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.ismrmrd import has_items
from recon3d.scan import Scan

UNDERSTOOD = "Calgary-Campinas (.h5)"


def matches(path: Path) -> bool:
    """Whether an HDF5 file has a real four-dimensional `kspace` with an even last axis, and no header."""
    if not has_items(path, (".h5", ".hdf5"), ("kspace",)) or has_items(path, (".h5", ".hdf5"), ("ismrmrd_header",)):
        return False
    import h5py

    with h5py.File(path) as file:
        stored = file["kspace"]
        return bool(stored.ndim == 4 and stored.dtype.kind == "f" and stored.shape[-1] % 2 == 0)


def read(path: Path, *, slices: tuple[int, int] | None = None) -> Scan:
    """Read one volume of 1 mm voxels: real and imaginary parts interleaved on the last axis.

    Parameters
    ----------
    path : HDF5 file
    slices : (first, end), to read a part only
    """
    import h5py

    try:
        with h5py.File(path) as file:
            stored = file["kspace"][slice(None) if slices is None else slice(*slices)]
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated: its k-space cannot be read.") from error
    if stored.shape[0] == 0:
        raise InputError(f"{path} holds no slice in {slices}: it has fewer.")
    pairs = np.ascontiguousarray(stored, np.float32)
    kspace = pairs[..., ::2] + 1j * pairs[..., 1::2]
    data = np.fft.fftshift(kspace, axes=(1, 2)).transpose(3, 0, 1, 2)
    data = np.ascontiguousarray(data, np.complex64)
    # Their transform is numpy's, without scale: divided out, the image is that of the orthonormal one.
    data /= np.sqrt(np.float32(data.shape[-1] * data.shape[-2]))
    for axis in (-2, -1):  # the image's corner becomes its centre
        n = data.shape[axis]
        phase = np.exp(2j * np.pi * ((np.arange(n) - n // 2) * (n // 2) % n) / n).astype(np.complex64)
        data *= phase.reshape(-1, *[1] * (-1 - axis))
    return Scan(
        "mri",
        data,
        ("coil", "kz", "ky", "kx"),
        {"encoding": "2d"},
        AffineGrid.centred(data.shape[1:], 1.0),
        name=path.stem,
    )
