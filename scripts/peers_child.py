"""What every peer's file does: read the shared data, prepare a row, time it, leave its result; needs NumPy alone."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Row = Callable[[Mapping[str, Any]], Callable[[], Any]]
"""From the shared data to what is timed; it returns the result as an array."""


def serve(rows: Mapping[str, Row], version: str) -> None:
    """Answer `python peers_X.py ROW DATA.npz RESULT.npy REPEATS` with the median seconds after one warm-up, as JSON."""
    row, data, result, repeats = sys.argv[1:]
    work = rows[row](dict(np.load(data)))
    found, times = work(), []
    for _ in range(int(repeats)):
        began = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - began)
    np.save(result, np.asarray(found))
    print(
        json.dumps({"seconds": statistics.median(times), "version": version, "threads": os.environ["OMP_NUM_THREADS"]})
    )
