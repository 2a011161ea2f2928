"""NIfTI: volumes with their affine, scaling and time steps (array (x, y, z, t) on disk, (t, z, y, x) here)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "NIfTI (.nii, .nii.gz)"
SUFFIXES = (".nii", ".nii.gz")

_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_SECONDS = {"unknown": 1.0, "sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_DESCRIP = "recon3d units="


def matches(path: Path) -> bool:
    """Whether the name ends as NIfTI files do."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def read(path: Path, *, units: str | None = None, nan: float | None = None) -> Volume:
    """Read a NIfTI file.

    The affine is the sform where its code is above 0, else the qform, else the voxel lengths alone (origin at the
    first voxel), in mm whatever the unit of the header. A sheared affine is kept as it is. Slope and intercept are
    applied: small integers become float32, other values float64 where the file says so.

    Parameters
    ----------
    path : .nii or .nii.gz with two, three or four dimensions
    units : unit of the values; without it the unit that recon3d wrote, or else "HU" or "1" by `looks_like_hounsfield`
    nan : value that replaces NaN and infinities; without it a file that holds any is refused
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        header: Any = image.header
        raw_dtype = np.dtype(image.dataobj.dtype)
        if raw_dtype.fields is not None:
            raise InputError(f"{path} holds colours, not values: expected one number for each voxel.")
        if 0 in image.shape:
            raise InputError(f"{path} holds an empty volume of shape {image.shape}.")
        values = np.asanyarray(image.dataobj)
    except InputError:
        raise
    except (ImageFileError, OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{path} is not a whole NIfTI file (truncated, or of another format).") from error

    data = _reordered(values, path)
    scaled = data.dtype != raw_dtype.newbyteorder("=")
    if scaled and raw_dtype.kind in "iu" and raw_dtype.itemsize <= 2:
        data = data.astype(np.float32)
    data = _finite(data, nan, path)
    affine, source = _affine(header)
    if units is None:
        units = _written_units(header) or (
            "HU" if looks_like_hounsfield(data, stored_as_integer=raw_dtype.kind in "iu") else "1"
        )
    times_s = _times_s(header, data.shape[0]) if data.ndim == 4 else None
    grid = AffineGrid(data.shape[-3:], tuple(map(tuple, affine)))
    return Volume(data, grid, units=units, times_s=times_s, tags={"format": "NIfTI", "affine_from": source})


def write(obj: Volume | Scan, path: Path, *, dtype: str | None = None) -> None:
    """Write a volume as NIfTI-1 (NIfTI-2 where a side exceeds 32767 voxels).

    Reals become float32 and complex numbers complex64; whole numbers stay whole (8, 16 or 32 bits). The affine is
    written as sform (code 1) and, where its axes are at right angles, as qform; the unit of the values is kept in
    `descrip`, which holds nothing else.

    Parameters
    ----------
    obj : a Volume on an AffineGrid; the frames of a series evenly spaced
    path : .nii or .nii.gz
    dtype : another type, e.g. "int16" (values are rounded, and must fit) or "float64"
    """
    import nibabel

    if not isinstance(obj, Volume):
        raise InputError(f"NIfTI holds volumes, not a {type(obj).__name__}: save it as .h5.")
    if not isinstance(obj.grid, AffineGrid):
        raise InputError(f"NIfTI holds volumes on an AffineGrid, not on a {type(obj.grid).__name__}: save it as .h5.")
    data = _stored(obj.data, dtype).T
    affine = obj.grid.matrix
    kind = nibabel.Nifti2Image if max(data.shape) > np.iinfo(np.int16).max else nibabel.Nifti1Image
    image = kind(data, affine, dtype=data.dtype)
    image.set_sform(affine, code=1)
    if obj.grid.is_sheared:
        image.set_qform(None, code=0)
        image.header["pixdim"][1:4] = obj.grid.voxel_mm[::-1]  # the header's default belongs to the qform
    else:
        image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = f"{_DESCRIP}{obj.units}".encode()[:79]
    if obj.times_s is not None:
        image.header["toffset"], image.header["pixdim"][4] = check_even_times(obj.times_s)
    nibabel.save(image, path)


def looks_like_hounsfield(data: NDArray[Any], stored_as_integer: bool) -> bool:
    """Whether values of unknown unit are taken for Hounsfield units.

    A NIfTI file says nothing about the unit of its values. CT is told by air: the file stores integers, the lowest
    value lies between -3100 (padding) and -900 (air) and the values span at least 200. Phase images of MRI scanners
    (-4096 to 4095) stay out by the lower bound. Whoever knows better gives `units=`.
    """
    if not stored_as_integer or np.iscomplexobj(data) or data.size == 0:
        return False
    low, high = float(data.min()), float(data.max())
    return -3100 <= low <= -900 and high - low >= 200


def _reordered(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """(x, y, z, t) in Fortran order as (t, z, y, x) in C order, native byte order."""
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim not in (3, 4):
        raise InputError(f"{path} has {values.ndim} dimensions {values.shape}: expected a volume or a time series.")
    return np.ascontiguousarray(values.T, dtype=values.dtype.newbyteorder("="))


def _finite(data: NDArray[Any], nan: float | None, path: Path) -> NDArray[Any]:
    if data.dtype.kind not in "fc":
        return data
    finite = np.isfinite(data)
    if finite.all():
        return data
    if nan is None:
        bad = data.size - int(np.count_nonzero(finite))
        raise InputError(f"{path} holds {bad} NaN or infinite voxels: mend them, or load it with nan=VALUE.")
    return np.where(finite, data, data.dtype.type(nan))


def _affine(header: Any) -> tuple[NDArray[np.float64], str]:
    """The affine in mm, and the name of the header field it comes from."""
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if sform_code > 0:
        matrix, name = np.array(sform, dtype=np.float64), "sform"
    elif qform_code > 0:
        matrix, name = np.array(qform, dtype=np.float64), "qform"
    else:
        matrix, name = np.diag([*(abs(float(v)) or 1.0 for v in header["pixdim"][1:4]), 1.0]), "pixdim"
    matrix[:3] *= _MM[header.get_xyzt_units()[0]]
    return matrix, name


def _times_s(header: Any, frames: int) -> tuple[float, ...] | None:
    """Times of the frames, or None where the fourth axis is no time or has no step."""
    unit = _SECONDS.get(header.get_xyzt_units()[1])
    step = float(header["pixdim"][4])
    if unit is None or not step > 0:
        return None
    start = float(header["toffset"])
    return tuple((start + step * i) * unit for i in range(frames))


def check_even_times(times_s: tuple[float, ...]) -> tuple[float, float]:
    """(first, step) in seconds of evenly spaced times.

    Raises
    ------
    InputError
        If they are not: NIfTI has no place for times of their own.
    """
    if len(times_s) == 1:
        return times_s[0], 1.0
    steps = np.diff(times_s)
    step = float(steps.mean())
    if not step > 0 or np.abs(steps - step).max() > 1e-3 * step:
        raise InputError("NIfTI holds evenly spaced frames only: save this series as .h5.")
    return times_s[0], step


def _written_units(header: Any) -> str | None:
    text = bytes(header["descrip"].item()).decode("latin-1")
    return text.removeprefix(_DESCRIP) if text.startswith(_DESCRIP) else None


def _stored(data: NDArray[Any], dtype: str | None) -> NDArray[Any]:
    if dtype is not None:
        return _converted(data, np.dtype(dtype))
    if data.dtype.kind == "c":
        return data.astype(np.complex64, copy=False)
    if data.dtype.kind == "b" or data.dtype in (np.uint8, np.int8):
        return data.astype(np.uint8 if data.dtype.kind == "b" else data.dtype, copy=False)
    if data.dtype.kind in "iu":
        narrow = np.iinfo(np.int16)
        fits = data.min() >= narrow.min and data.max() <= narrow.max
        return _converted(data, np.dtype(np.int16 if fits else np.int32))
    return data.astype(np.float32, copy=False)


def _converted(data: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if data.dtype.kind == "c" and dtype.kind != "c":
        raise InputError(f"A complex volume cannot be stored as {dtype}: take its magnitude first, or keep complex64.")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if data.min() < limits.min or data.max() > limits.max:
            raise InputError(
                f"Values from {data.min():g} to {data.max():g} do not fit into {dtype} "
                f"({limits.min} to {limits.max}): choose a wider type."
            )
        data = np.rint(data) if data.dtype.kind == "f" else data
    return data.astype(dtype)
