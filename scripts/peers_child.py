"""What every peer's file does: read the shared data, prepare each row, time it, leave its result; needs NumPy alone."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = Callable[[Mapping[str, Any]], Callable[[], Any]]
"""From the shared data to what is timed; it returns the result as an array."""


def serve(rows: Mapping[str, Row], version: str) -> None:
    """Answer `python peers_X.py ROW,ROW DATA.npz FOLDER REPEATS` with the median CPU seconds of each row, as JSON.

    CPU time of one thread, after one warm-up: load beside it counts little. A row that fails is told, the others go on.
    """
    asked, data, folder, repeats = sys.argv[1:]
    shared = dict(np.load(data))
    answer: dict[str, Any] = {"version": version}
    for row in asked.split(","):
        try:
            work = rows[row](shared)
            found, times = work(), []
            for _ in range(int(repeats)):
                began = time.process_time()
                found = work()
                times.append(time.process_time() - began)
        except Exception as fault:
            answer[row] = f"{type(fault).__name__}: {fault}"
            continue
        np.save(Path(folder) / f"{row}.npy", np.asarray(found))
        answer[row] = statistics.median(times)
    print(json.dumps(answer))
