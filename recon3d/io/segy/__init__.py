"""SEG-Y: post-stack and pre-stack seismic traces with their headers, by segyio (the extra ``[seismic]``)."""

from __future__ import annotations

from pathlib import Path

from recon3d.io.segy.reader import facts, read
from recon3d.io.segy.writer import write

__all__ = ["SUFFIXES", "UNDERSTOOD", "facts", "matches", "read", "write"]

UNDERSTOOD = "SEG-Y (.sgy, .segy)"
SUFFIXES = (".sgy", ".segy")


def matches(path: Path) -> bool:
    """By its name: a SEG-Y file has no mark of its own."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)
