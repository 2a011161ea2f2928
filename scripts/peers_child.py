"""What every peer's file does: read the shared data, prepare each row, time it, leave its result; needs NumPy alone."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = Callable[[Mapping[str, Any]], Callable[[], Any]]
"""From the shared data to what is timed; it returns the result as an array, or that and its network calls."""
LONG_S = 5.0
"""What takes longer is not repeated: its warm-up is a small part of it."""


def cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def serve(rows: Mapping[str, Row], version: str) -> None:
    """Answer `python peers_X.py ROW,ROW DATA.npz FOLDER REPEATS` with the median CPU seconds of each row, as JSON.

    CPU time of one thread and of the processes it starts, after one warm-up: load beside it counts little. A row that
    fails is told, the others go on.
    """
    asked, data, folder, repeats = sys.argv[1:]
    shared = dict(np.load(data))
    answer: dict[str, Any] = {"version": version}
    for row in asked.split(","):
        try:
            work, times = rows[row](shared), []
            while len(times) <= int(repeats) and max(times, default=0.0) < LONG_S:
                began = cpu_seconds()
                found = work()
                times.append(cpu_seconds() - began)
        except Exception as fault:
            answer[row] = f"{type(fault).__name__}: {fault}"
            continue
        found, calls = found if isinstance(found, tuple) else (found, None)
        np.save(Path(folder) / f"{row}.npy", np.asarray(found))
        answer[row] = {"seconds": statistics.median(times[1:] or times), "calls": calls}
    print(json.dumps(answer))
