"""Locks: two runs never write one output; the system gives a lock back when its process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from recon3d.errors import DiskFullError, InputError, ReconError
from recon3d.io.atomic import is_disk_full


class InUse(ReconError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[bool]:
    """Hold the lock file `path`. Gives whether it was left behind by a process that did not end in peace.

    Parameters
    ----------
    what : begins the sentences, e.g. "The folder results"

    Raises
    ------
    InUse
        If another process holds it.
    InputError, DiskFullError
        If the file cannot be made.
    """
    descriptor, left = _take(path, what)
    try:
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        with suppress(OSError):  # for people; a full disk takes nothing from the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(who).encode(), 0)
        yield left
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _take(path: Path, what: str) -> tuple[int, bool]:
    while True:
        left = path.exists()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            if is_disk_full(error):
                raise DiskFullError(f"The disk is full: {path.parent} takes no file; make room.") from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise InputError(f"{what} cannot be written: it is protected; choose another one.") from error
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise InUse(f"{what} is in use by {holder}: wait for it, or choose another one.") from error
        except OSError as error:
            os.close(descriptor)
            raise InputError(
                f"{what} lies on a file system without locks ({error.strerror}), so that two runs could write it at "
                "once: choose another one."
            ) from error
        if _same_file(descriptor, path):
            return descriptor, left
        os.close(descriptor)  # its last owner took it away between our two calls


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(who['pid'])} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
