"""fastMRI and M4Raw HDF5: k-space (slice, coil, readout, line) with an ISMRMRD header; targets stay in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.ismrmrd import has_items
from recon3d.io.mrd_header import Header, parse_header
from recon3d.scan import Scan

UNDERSTOOD = "fastMRI and M4Raw (.h5)"

_ASSUMED = "orientation: fastMRI files state none, so the volume lies along the world axes"


def matches(path: Path) -> bool:
    """Whether an HDF5 file has `kspace` and `ismrmrd_header`."""
    return has_items(path, (".h5", ".hdf5"), ("kspace", "ismrmrd_header"))


def read(path: Path, *, oversampling: bool = False, slices: tuple[int, int] | None = None) -> Scan:
    """Read one volume. The targets and the attributes that come from them (`max`, `norm`) are never read.

    Parameters
    ----------
    path : multi-coil (slice, coil, ky, kx) or single-coil (slice, ky, kx)
    oversampling : keep the readout's oversampling (twice the rows); the outer half of the image holds nothing
    slices : (first, end), to read a part only

    Raises
    ------
    InputError
        For a damaged file, or where mask, header and k-space disagree.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            stored = file["kspace"]
            if stored.ndim not in (3, 4) or stored.dtype.kind != "c":
                raise InputError(
                    f"{path} holds k-space of shape {stored.shape}: expected complex (slice, coil, ky, kx)."
                )
            part = slice(None) if slices is None else slice(*slices)
            data = stored[part]
            header = parse_header(file["ismrmrd_header"][()], str(path))
            mask = np.asarray(file["mask"][()]) if "mask" in file else None
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated: its k-space cannot be read.") from error
    if data.shape[0] == 0:
        raise InputError(f"{path} holds no slice in {slices}: it has fewer.")
    data = data[:, None] if data.ndim == 3 else data
    data = np.ascontiguousarray(data.transpose(1, 0, 2, 3))
    _, _, rows, columns = data.shape
    # The header counts the readout as x and the lines as y; the stored rows are the readout.
    if rows > header.encoded[2] or columns > header.encoded[1]:
        raise InputError(
            f"The header of {path} says {header.encoded[2]} x {header.encoded[1]} samples, k-space has {rows} x "
            f"{columns}: they disagree."
        )
    mask_1d = _mask(mask, data, header, path)
    if mask_1d is not None:
        data = np.where(mask_1d, data, np.complex64(0))
    kept = rows if oversampling else min(rows, header.recon[2])
    data = _without_oversampling(data, kept)
    voxel = (
        header.recon_fov_mm[0] / max(1, header.recon[0]),
        header.recon_fov_mm[2] / header.recon[2],
        header.encoded_fov_mm[1] / columns,
    )
    grid = AffineGrid.centred((data.shape[1], kept, columns), voxel)
    acquisition: dict[str, object] = {"encoding": "2d"}
    if mask_1d is not None:
        acquisition["mask"] = mask_1d
    if data.shape[0] == 1:
        acquisition["coil_maps"] = "low-resolution"
    return Scan("mri", data, ("coil", "kz", "ky", "kx"), acquisition, grid, name=path.stem)  # type: ignore[arg-type]


def acquired_columns(header: Header, columns: int) -> slice:
    """The columns that the scanner measured; the others are zeros of its partial Fourier or asymmetric matrix."""
    last = header.last[1]
    if last is None:
        return slice(0, columns)
    left = columns // 2 - header.centre[1]
    return slice(max(0, left), min(columns, left + last + 1))


def _mask(
    mask: NDArray[np.generic] | None, data: NDArray[np.complex64], header: Header, path: Path
) -> NDArray[np.bool_] | None:
    columns = data.shape[-1]
    if mask is None:
        return None
    mask = np.ravel(mask).astype(bool)
    if mask.size != columns:
        raise InputError(f"The mask of {path} has {mask.size} columns, k-space has {columns}: they must agree.")
    inside = np.zeros(columns, bool)
    inside[acquired_columns(header, columns)] = True
    return mask & inside


def _without_oversampling(data: NDArray[np.complex64], rows: int) -> NDArray[np.complex64]:
    import torch

    from operators.mri.kspace import remove_oversampling

    if rows == data.shape[-2]:
        return data
    measured = (data != 0).any(axis=(0, 1, 2))
    cropped = remove_oversampling(torch.from_numpy(data), -2, rows).numpy()
    return np.where(measured, cropped, np.complex64(0))
