"""Faults of cases: which of them another attempt may pass."""

from __future__ import annotations

import errno
import os

from recon3d.batch.jobs import Kind
from recon3d.batch.lock import InUse
from recon3d.errors import DiskFullError, ReconError
from recon3d.io.atomic import is_disk_full
from recon3d.runtime.memory import is_out_of_memory

TRANSIENT = (
    errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
)  # fmt: skip
"""What file servers and networks say when they are away for a while."""


def describe(error: BaseException) -> tuple[Kind, str]:
    """Kind and sentence of an error that ended a case."""
    if isinstance(error, DiskFullError) or is_disk_full(error):
        sentence = str(error) if isinstance(error, ReconError) else f"The disk is full ({error}): make room."
        return "full", sentence
    kind: Kind = "transient" if isinstance(error, InUse) or _is_transient(error) else "permanent"
    if isinstance(error, ReconError):
        return kind, str(error)
    if is_out_of_memory(error):
        return kind, "Out of memory while it was read: it needs a machine with more, or less of the scan."
    if isinstance(error, OSError):
        return kind, f"{error}."
    return kind, f"Unexpected {type(error).__name__}: {error}. This is a defect: run the case alone with --debug."


def _is_transient(error: BaseException) -> bool:
    """Whether the error, or one that caused it, is of that kind (HDF5 says so in text only)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            if seen.errno in TRANSIENT:
                return True
            if seen.errno is None and any(f"'{os.strerror(number)}'" in str(seen) for number in TRANSIENT):
                return True
        seen = seen.__cause__ or seen.__context__
    return False
