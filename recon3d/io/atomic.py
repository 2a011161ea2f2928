"""Atomic writing: an output is either there and whole, or not there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recon3d.errors import DiskFullError, InputError, OutputExistsError


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """The path as a Path, if a file may be written there.

    Raises
    ------
    OutputExistsError
        If something is there and `overwrite` is false.
    InputError
        If its folder is missing, or a folder stands in its place.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"The output {path} is a folder: give the name of a file in it.")
    if path.exists() and not path.is_file():  # a device or pipe would be replaced by a file
        raise InputError(f"The output {path} is no ordinary file: give the name of one.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} of the output {path.name} does not exist: create it first.")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"The output {path} exists already: choose another name, or replace it (--force; overwrite=True in Python)."
        )
    return path


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], overwrite: bool = False, bytes_needed: int | None = None
) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well and removed when it does not.

    Parameters
    ----------
    path : where the file belongs; its suffixes are those of the temporary name too
    overwrite : whether a file may be replaced
    bytes_needed : expected size, named when the disk is full

    Raises
    ------
    OutputExistsError, InputError
        As `check_output`, before the block is entered; InputError also if the folder may not be written.
    DiskFullError
        If the disk or the quota is full.
    """
    path = check_output(path, overwrite)
    free = shutil.disk_usage(path.parent).free
    temporary = path.with_name(f".{secrets.token_hex(6)}.part.{path.name}")
    try:
        yield temporary
        _flush(temporary)
        check_output(path, overwrite)  # it may have appeared while we computed
        os.replace(temporary, path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if is_disk_full(error):
            needed = f"about {bytes_needed} bytes are needed and " if bytes_needed is not None else ""
            raise DiskFullError(
                f"The disk is full: {path} was not written, {needed}{free} bytes were free; make room."
            ) from error
        if isinstance(error, PermissionError):
            raise InputError(f"The output {path} cannot be written: the folder or the file is protected.") from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or one that caused it, says that the disk or the quota is full (HDF5 says so in text only)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(seen, OSError | RuntimeError) and os.strerror(errno.ENOSPC) in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # a file system that cannot flush a folder
            raise
    finally:
        os.close(descriptor)
