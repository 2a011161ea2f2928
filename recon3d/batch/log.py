"""The log of a batch: one JSON object a line, each written at once, for programs that watch or search it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from recon3d.io.atomic import is_disk_full


class EventLog:
    """Appends to a file; a line that a killed run left half-written is ended first."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """One line: the time in UTC, the event and what is known about it. None on a full disk: cases tell of that."""
        line = {"time": datetime.now(UTC).isoformat("T", "milliseconds"), "event": event, **facts}
        try:
            os.write(self._file, json.dumps(line, default=str).encode() + b"\n")
        except OSError as error:
            if not is_disk_full(error):
                raise
