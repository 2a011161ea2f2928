"""Faults: file servers that are away are worth another attempt, damaged files are not."""

from __future__ import annotations

import errno
import os

import pytest

from recon3d.batch.faults import describe
from recon3d.batch.lock import InUse
from recon3d.errors import DiskFullError, InputError


def wrapped(cause: Exception) -> InputError:
    error = InputError("scan.h5 is damaged or truncated.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("scan.h5 is damaged."), "permanent"),
        (wrapped(OSError("truncated file: eof = 3000")), "permanent"),
        (wrapped(OSError(errno.EIO, "Input/output error")), "transient"),
        (wrapped(OSError(f"read failed: errno = 5, error message = '{os.strerror(errno.EIO)}'")), "transient"),
        (OSError(errno.ESTALE, "Stale file handle"), "transient"),
        (InUse("The folder is in use."), "transient"),
        (DiskFullError("The disk is full."), "full"),
        (OSError(errno.ENOSPC, "No space left on device"), "full"),
        (MemoryError(), "permanent"),
        (ZeroDivisionError("x"), "permanent"),
        (PermissionError(errno.EACCES, "Permission denied"), "permanent"),
    ],
)
def test_kinds(error: Exception, kind: str) -> None:
    found, sentence = describe(error)
    assert found == kind
    assert sentence.rstrip()[-1] in ".)"


def test_a_defect_is_called_one() -> None:
    assert "Unexpected ZeroDivisionError: x. This is a defect" in describe(ZeroDivisionError("x"))[1]
    assert describe(MemoryError())[1].startswith("Out of memory")
