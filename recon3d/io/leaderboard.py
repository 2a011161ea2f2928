"""Leaderboard files: targets and reconstructions of fastMRI as arrays, and the layout of a submission.

A submission is one flat folder with one HDF5 file per input volume, of the same name, that holds the data set
`reconstruction`: float32, (slice, y, x), magnitude, in the intensity scale of the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.io.mrd_header import parse_header

RECONSTRUCTION = "reconstruction"
TARGETS = {"multicoil": "reconstruction_rss", "singlecoil": "reconstruction_esc"}
"""The target of each challenge; single-coil files hold both."""


@dataclass(frozen=True)
class Expected:
    """What the submission of an input must be.

    Parameters
    ----------
    slices : number of slices
    size : of each, (y, x)
    acquisition : contrast; empty where the file does not say
    acceleration : nominal; 0 where the file does not say
    """

    slices: int
    size: tuple[int, int]
    acquisition: str = ""
    acceleration: int = 0


@dataclass(frozen=True, eq=False)
class Images:
    """The slices of a file.

    Parameters
    ----------
    data : (slice, y, x), as stored
    acquisition : contrast; empty where the file does not say
    acceleration : nominal; 0 where the file does not say
    patient : what tells patients apart, never shown; None where the file does not say
    """

    data: NDArray[Any]
    acquisition: str = ""
    acceleration: int = 0
    patient: str | None = None


def volume_files(folder: Path) -> dict[str, Path]:
    """The HDF5 files of a folder by name, in order.

    Raises
    ------
    InputError
        If the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give a folder of HDF5 files, one per volume.")
    found = {p.name: p for p in sorted(folder.iterdir()) if p.suffix == ".h5" and not p.name.startswith(".")}
    if not found:
        raise InputError(f"The folder {folder} holds no .h5 file: give a folder of HDF5 files, one per volume.")
    return found


def read_target(path: Path, challenge: str = "auto", slices: tuple[int, int] | None = None) -> Images:
    """The target that a volume is scored against.

    Parameters
    ----------
    path : a fully sampled fastMRI file, or a file that holds `reconstruction`
    challenge : "multicoil" (root sum of squares), "singlecoil" (emulated single coil), or "auto": what the k-space in
        the file is, and where there is none, what target there is
    slices : (first, end), to read a part only

    Raises
    ------
    InputError
        If the file is damaged or holds no target, e.g. because it is an undersampled test file.
    """
    with _opened(path) as file:
        if challenge == "auto":
            single = "kspace" in file and file["kspace"].ndim == 3
            order = [TARGETS["singlecoil" if single else "multicoil"]]
            if "kspace" not in file:
                order += [TARGETS["singlecoil"], RECONSTRUCTION]
        else:
            order = [TARGETS[challenge]]
        for name in order:
            if name in file:
                return _images(file, name, slices)
        raise InputError(f"{path.name} holds no target ({' or '.join(order)}): references are fully sampled files.")


def read_reconstruction(path: Path) -> Images:
    """A reconstruction in the layout of a submission.

    Raises
    ------
    InputError
        If the file is damaged or holds no data set `reconstruction`.
    """
    with _opened(path) as file:
        if RECONSTRUCTION not in file:
            raise InputError(f"{path.name} holds no data set '{RECONSTRUCTION}': write results by `recon3d submit`.")
        return _images(file, RECONSTRUCTION)


def read_expected(path: Path) -> Expected:
    """What the submission of an undersampled file must be: all slices, cropped to the matrix of the header.

    Where the image is narrower than that matrix (a few FLAIR files), a square of its width is meant.

    Raises
    ------
    InputError
        If the file is damaged, or no fastMRI file.
    """
    with _opened(path) as file:
        if "kspace" not in file or "ismrmrd_header" not in file:
            raise InputError(f"{path.name} is no fastMRI file: it lacks `kspace` or `ismrmrd_header`.")
        header = parse_header(file["ismrmrd_header"][()], path.name)
        shape = file["kspace"].shape
        size = (header.recon[2], header.recon[1])
        return Expected(
            slices=int(shape[0]),
            size=size if size[1] <= shape[-1] else (int(shape[-1]), int(shape[-1])),
            acquisition=_text(file.attrs.get("acquisition", "")),
            acceleration=int(file.attrs.get("acceleration", 0)),
        )


def write_reconstruction(
    path: Path, data: NDArray[Any], attributes: Mapping[str, str | int | float] | None = None, overwrite: bool = False
) -> None:
    """Write a submission file and read it again.

    Parameters
    ----------
    path : <name of the input>.h5
    data : (slice, y, x), real, finite, not negative
    attributes : facts that the official reader ignores, e.g. method and acceleration

    Raises
    ------
    InputError
        If the data are no magnitudes, or what was read again differs.
    """
    if data.ndim != 3 or np.iscomplexobj(data):
        raise InputError(f"{path.name}: a submission holds real slices (slice, y, x), got {data.dtype} {data.shape}.")
    if not np.isfinite(data).all() or (data < 0).any():
        raise InputError(f"{path.name}: a submission holds magnitudes, got NaN, infinite or negative values.")
    import h5py

    stored = np.ascontiguousarray(data, dtype=np.float32)
    with atomic_path(path, overwrite, bytes_needed=stored.nbytes) as temporary:
        with h5py.File(temporary, "w") as file:
            file.create_dataset(RECONSTRUCTION, data=stored)
            file.attrs.update(attributes or {})
        again = read_reconstruction(temporary).data
        if again.dtype != np.float32 or not np.array_equal(again, stored):
            raise InputError(f"{path} reads differently from what was written: check the disk.")


def _images(file: Any, name: str, slices: tuple[int, int] | None = None) -> Images:
    patient = file.attrs.get("patient_id")
    return Images(
        data=file[name][() if slices is None else slice(*slices)],
        acquisition=_text(file.attrs.get("acquisition", "")),
        acceleration=int(file.attrs.get("acceleration", 0)),
        patient=None if patient is None else _text(patient),
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path) as file:
            yield file
    except PermissionError as error:
        raise InputError(f"{path.name} cannot be read: access is denied.") from error
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path.name} is damaged, truncated or not HDF5.") from error
