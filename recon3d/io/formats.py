"""The registry of formats: which module reads or writes a path; plug-ins add more by entry point.

A format is a module (or any object) with

- ``matches(path) -> bool``: whether it claims the path, by name and first bytes, without reading it all;
- ``read(path, **options) -> Volume | Scan``;
- ``write(obj, path, **options)``, where it can write; `path` is a temporary name with the suffixes of the final one;
- ``UNDERSTOOD``: a phrase for messages, e.g. "NIfTI (.nii, .nii.gz)"; ``SUFFIXES`` it writes.

A package adds one with an entry point in the group ``recon3d.formats``.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from recon3d.errors import GeometryError, InputError, ShapeError
from recon3d.io.atomic import atomic_path
from recon3d.scan import Scan
from recon3d.volume import Volume

# Asked in this order: files with a marker of their own first, the generic array source last.
_BUILT_IN = (
    "hdf5", "zea", "uff", "fastmri", "ismrmrd", "calgary", "cmrxrecon", "twix", "nifti", "data_exchange", "nexus",
    "nikon", "tiff_stack", "segy", "dicom_ct_pd", "dicom",
)  # fmt: skip
_LAST = "arrays"
_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")


def format_names() -> tuple[str, ...]:
    """Names of all formats, built in and from plug-ins."""
    return (*_BUILT_IN, *sorted(p.name for p in entry_points(group="recon3d.formats")), _LAST)


def format_for(path: str | os.PathLike[str]) -> tuple[str, Any]:
    """Name and module of the format that claims an existing path.

    Raises
    ------
    InputError
        If nothing is there, or no format claims it.
    """
    path = existing(path)
    for name, module in _formats():
        if module.matches(path):
            return name, module
    if path.suffix.lower() in _WEIGHTS:
        raise InputError(f"{path} holds weights of a network, no data: `recon3d models import` reads them.")
    understood = "; ".join(getattr(module, "UNDERSTOOD", name) for name, module in _formats())
    raise InputError(f"{path} is of no known format: recon3d reads {understood}.")


def format_named(name: str) -> Any:
    """The module of one format."""
    for known, module in _formats():
        if known == name:
            return module
    raise InputError(f"There is no format '{name}': expected one of {', '.join(format_names())}.")


def load(path: str | os.PathLike[str], *, format: str | None = None, **options: Any) -> Volume | Scan:
    """Read a file or a folder.

    Parameters
    ----------
    path : file or folder
    format : name of the format where it is not to be found out from the file
    options : of the format, e.g. `units="HU"` (NIfTI) or `mapping="helsinki"` (arrays: a name, a YAML file or a dict)

    Raises
    ------
    InputError
        If the path is missing, damaged, or of no known format.
    """
    path = existing(path)
    if format is not None:
        name, module = format, format_named(format)
    elif "mapping" in options:
        name, module = _LAST, format_named(_LAST)
    else:
        name, module = format_for(path)
    _check_options(name, module.read, options)
    try:
        result: Volume | Scan = module.read(path, **options)
    except (GeometryError, ShapeError) as error:  # a grid or a shape that cannot be: say in which file
        raise InputError(f"{path}: {error}") from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: access is denied.") from error
    return result


def save(obj: Volume | Scan, path: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> None:
    """Write a Volume or a Scan in the format of the path's suffix: all of it, or nothing.

    Parameters
    ----------
    obj : what to write
    path : file; .nii, .nii.gz (volumes) and .h5, .hdf5 (all) are built in
    overwrite : whether a file may be replaced
    options : of the format, e.g. `dtype="int16"` (NIfTI)

    Raises
    ------
    InputError, OutputExistsError, DiskFullError
    """
    if not isinstance(obj, Volume | Scan):
        raise InputError(
            f"Files hold a Volume or a Scan, got a {type(obj).__name__}: give an array its place by "
            "recon3d.Volume(data, grid)."
        )
    path = Path(path)
    name, module = writer_for(path)
    _check_options(name, module.write, options)
    with atomic_path(path, overwrite, bytes_needed=stored_bytes(obj)) as temporary:
        module.write(obj, temporary, **options)


def writer_for(path: str | os.PathLike[str]) -> tuple[str, Any]:
    """Name and module of the format that writes the suffix of `path`.

    Raises
    ------
    InputError
        If no format does; worth asking before a long computation.
    """
    writers = [(name, m) for name, m in _formats() if hasattr(m, "write") and hasattr(m, "SUFFIXES")]
    for name, module in writers:
        if Path(path).name.lower().endswith(tuple(module.SUFFIXES)):
            return name, module
    suffixes = ", ".join(suffix for _, module in writers for suffix in module.SUFFIXES)
    raise InputError(f"{Path(path).name} has no suffix that can be written: expected one of {suffixes}.")


def stored_bytes(obj: Volume | Scan) -> int:
    """Size of the data without compression: an upper bound of what a file takes, but for its header."""
    arrays = obj.blocks if isinstance(obj, Scan) else (obj.data,)
    return sum(int(array.nbytes) for array in arrays)


def existing(path: str | os.PathLike[str]) -> Path:
    """The path, if something is there."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file or folder {path}.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"The file {path} is empty.")
    if path.is_dir() and not any(path.iterdir()):
        raise InputError(f"The folder {path} is empty.")
    return path


def _formats() -> Iterator[tuple[str, Any]]:
    for name in _BUILT_IN:
        yield name, import_module(f"recon3d.io.{name}")
    for point in sorted(entry_points(group="recon3d.formats"), key=lambda p: p.name):
        yield point.name, point.load()
    yield _LAST, import_module(f"recon3d.io.{_LAST}")


def _check_options(name: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        listed = ", ".join(known) or "none"
        raise InputError(f"The format {name} has no option {', '.join(unknown)}: expected one of {listed}.")
