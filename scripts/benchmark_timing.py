"""How benchmarks take time: in turn, in one process, so that drift meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_seconds(*functions: Callable[[], object], repeats: int = 7) -> list[float]:
    """Median time of each function, in turn A B A B ... after one warm-up, so that drift meets all alike."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for k, function in enumerate(functions):
            began = time.perf_counter()
            function()
            times[k].append(time.perf_counter() - began)
    return [statistics.median(t) for t in times]
