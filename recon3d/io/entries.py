"""Array files as named entries: .npy, .npz, .mat (v5, v7.3), HDF5, BART .cfl and TIFF; nothing in them is run."""

from __future__ import annotations

import fnmatch
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5")
SUFFIXES = (".npy", ".npz", ".mat", *HDF5_SUFFIXES, ".cfl", ".hdr", ".tif", ".tiff")

_MATLAB_73 = b"MATLAB 7.3"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LISTED = 40


class Entries(Mapping[str, Any]):
    """What an array file holds, by key; arrays are read when they are asked for.

    Fields of structs and groups are reached by dots or slashes (`CtDataFull.sinogram`, `exchange/data`), members of
    cell arrays by their number (`data.0`). `*` stands for anything where it matches one key only. The array of a file
    that holds a single one has the key "".

    Parameters
    ----------
    path : the file, for messages
    readers : key -> function that reads the value
    shapes : key -> shape, for those that are known without reading
    """

    def __init__(
        self, path: Path, readers: Mapping[str, Callable[[], Any]], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.path = path
        self.shapes = dict(shapes)
        self._readers = dict(readers)
        self._by_name = {_canonical(key): key for key in readers}

    def find(self, key: str) -> str | None:
        """The key of this file that `key` names, or None."""
        name = _canonical(key)
        if name in self._by_name:
            return self._by_name[name]
        found = [own for canonical, own in self._by_name.items() if fnmatch.fnmatchcase(canonical, name)]
        return found[0] if len(found) == 1 else None

    def __getitem__(self, key: str) -> Any:
        own = self.find(key)
        if own is None:
            raise KeyError(key)
        try:
            return self._readers[own]()
        except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
            if "pickle" in str(error):
                raise InputError(f"{self.path}: '{own}' holds Python objects: expected arrays of numbers.") from error
            raise InputError(f"{self.path} is damaged or truncated: '{own}' cannot be read.") from error

    def __iter__(self) -> Any:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def listing(self) -> str:
        """The keys, for messages."""
        keys = [key or "(one array)" for key in self]
        rest = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
        return ", ".join(keys[:_LISTED]) + rest


def open_entries(path: Path) -> Entries:
    """The entries of an array file.

    Raises
    ------
    InputError
        If the file is truncated or is not what its suffix says.
    """
    suffix = path.suffix.lower()
    with path.open("rb") as stream:
        head = stream.read(128)
    try:
        if suffix == ".npy":
            return _npy(path)
        if suffix == ".npz":
            return _npz(path)
        if suffix == ".mat":
            return _hdf5(path, matlab=True) if head.startswith((_MATLAB_73, _HDF5)) else _mat5(path)
        if suffix in HDF5_SUFFIXES:
            return _hdf5(path, matlab=False)
        if suffix in (".cfl", ".hdr"):
            return _bart(path)
        if suffix in (".tif", ".tiff"):
            return _tiff(path)
    except InputError:
        raise
    except PermissionError:
        raise
    except Exception as error:  # the readers of foreign formats fail in many ways on foreign bytes
        raise InputError(f"{path} is not a whole {suffix} file: it is truncated or of another format.") from error
    raise InputError(f"{path} is no array file that recon3d reads: expected one of {', '.join(SUFFIXES)}.")


def _canonical(key: str) -> str:
    return key.replace("/", ".").strip(".")


def _single(path: Path, array: NDArray[Any]) -> Entries:
    return Entries(path, {"": lambda: array}, {"": array.shape})


def _npy(path: Path) -> Entries:
    return _single(path, np.load(path, mmap_mode="r", allow_pickle=False))


def _npz(path: Path) -> Entries:
    def member(key: str) -> Any:
        # The stream is ours: NumPy leaves its own one open where the archive is damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return archive[key]

    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        keys = list(archive.files)
    return Entries(path, {key: partial(member, key) for key in keys}, {})


def _mat5(path: Path) -> Entries:
    from scipy.io import loadmat

    values: dict[str, Any] = {}
    for name, value in loadmat(path, struct_as_record=False).items():
        if isinstance(name, str) and name != "None" and not name.startswith("__"):  # "None": MATLAB's own workspace
            _flatten(name, value, values)
    return Entries(
        path,
        {key: partial(values.__getitem__, key) for key in values},
        {key: value.shape for key, value in values.items() if isinstance(value, np.ndarray)},
    )


def _flatten(key: str, value: Any, into: dict[str, Any]) -> None:
    """Structs as dotted keys, cells as numbered ones, strings as text."""
    if hasattr(value, "_fieldnames"):
        for name in value._fieldnames:
            _flatten(f"{key}.{name}", getattr(value, name), into)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        members = value.ravel(order="F")
        if members.size == 1:
            _flatten(key, members[0], into)
        else:
            for i, member in enumerate(members):
                _flatten(f"{key}.{i}", member, into)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "U":
        into[key] = str(value.item()) if value.size == 1 else tuple(str(v) for v in value.ravel())
    else:
        into[key] = value


def _hdf5(path: Path, matlab: bool) -> Entries:
    """Data sets of an HDF5 file; in a MATLAB file with the axes in MATLAB's order, as a v5 file would have them."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if name.startswith("#") or not isinstance(item, h5py.Dataset) or item.shape is None:
            return
        if item.dtype == h5py.ref_dtype:
            if item.size < 1000:
                for i in range(item.size):
                    shapes[f"{name}/{i}"] = ()
            return
        shapes[name] = item.shape[::-1] if matlab else item.shape

    with h5py.File(path) as file:
        file.visititems(visit)

    def reader(name: str) -> Callable[[], Any]:
        def read() -> Any:
            with h5py.File(path) as file:
                item = file.get(name)
                if item is None:  # a member of a cell array
                    cell, _, number = name.rpartition("/")
                    item = file[file[cell][()].ravel()[int(number)]]
                return _hdf5_value(item, matlab)

        return read

    return Entries(path, {name: reader(name) for name in shapes}, shapes)


def _hdf5_value(item: Any, matlab: bool) -> Any:
    import h5py

    if h5py.check_string_dtype(item.dtype) is not None:
        return item.asstr()[()]
    value = item[()]
    matlab_class = item.attrs.get("MATLAB_class", b"")
    if matlab and matlab_class == b"char":
        return "".join(map(chr, np.ravel(value, order="F")))
    if matlab and item.attrs.get("MATLAB_empty", 0):
        return np.zeros(0)
    names = getattr(value.dtype, "names", None)
    if names and set(names) in ({"real", "imag"}, {"r", "i"}):
        real, imag = ("real", "imag") if "real" in names else ("r", "i")
        value = value[real] + 1j * value[imag].astype(np.result_type(value[imag], np.complex64))
    return value.T if matlab and isinstance(value, np.ndarray) else value


def _bart(path: Path) -> Entries:
    """BART's pair: dimensions as text in .hdr, complex64 in Fortran order in .cfl."""
    header, data = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    for part in (header, data):
        if not part.is_file():
            raise InputError(f"A BART array is a pair of files: {part} is missing.")
    lines = [line for line in header.read_text().splitlines() if line.strip() and not line.startswith("#")]
    shape = tuple(int(n) for n in lines[0].split())
    needed, there = int(np.prod(shape)) * 8, data.stat().st_size
    if needed != there:
        raise InputError(f"{data} holds {there} bytes, its header asks for {needed} (shape {shape}): it is truncated.")
    array = np.memmap(data, dtype=np.complex64, mode="r", shape=shape, order="F")
    return _single(path, array)


def _tiff(path: Path) -> Entries:
    import tifffile

    try:
        return _single(path, tifffile.imread(path))
    except struct.error as error:
        raise InputError(f"{path} is not a whole TIFF file.") from error
