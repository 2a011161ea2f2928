"""Memory: what is free, what a run has used, and the plan that keeps a run inside its limit."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from recon3d.errors import MemoryLimitError
from recon3d.methods.base import Method
from recon3d.problem import Problem

MEBI = 2**20


@dataclass(frozen=True)
class MemoryPlan:
    """How a run fits into its memory.

    Parameters
    ----------
    limit, forecast : bytes above the program itself
    slab : slices that are worked on at a time; all of them where slabs are not problems of their own
    micro_batch : slices a network sees at once
    """

    limit: int
    forecast: int
    slab: int
    micro_batch: int


def free_memory() -> int:
    """Bytes that this process may still take: the machine's free memory, capped by its control group."""
    free = 8 * 2**30
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except OSError:
        pass
    return free


def peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def plan_memory(
    problem: Problem, method: Method, limit: int | None, micro_batch: int, network_bytes_per_slice: int = 0
) -> MemoryPlan:
    """The largest slab and micro-batch that stay inside `limit` bytes (nine tenths of the free memory by default).

    Raises
    ------
    MemoryLimitError
        If not even the smallest plan fits.
    """
    allowed = limit if limit is not None else int(0.9 * free_memory())
    slices = problem.domain.shape[-3] if len(problem.domain.shape) >= 3 else 1
    volume, data = problem.domain.nbytes, problem.A.range.nbytes

    def forecast(slab: int, batch: int) -> int:
        share = slab / slices
        working = (method.volumes * volume + 2 * data) * share
        kept = 0 if slab == slices else volume  # the assembled result
        return math.ceil(working + kept + data + batch * network_bytes_per_slice)

    splittable = method.separable and problem.A.restrict("z", 0, slices) is not None
    batch = micro_batch
    while batch > 1 and forecast(slices, batch) > allowed and network_bytes_per_slice:
        batch //= 2
    slab = slices
    while splittable and slab > 1 and forecast(slab, batch) > allowed:
        slab = math.ceil(slab / 2)
    needed = forecast(slab, batch)
    if needed > allowed:
        advice = "a coarser grid (grid.voxel_mm)" if splittable else "a coarser grid (grid.voxel_mm) or fewer slices"
        raise MemoryLimitError(
            f"Method '{method.name}' needs {needed / MEBI:.0f} MiB for a volume of {volume / MEBI:.0f} MiB, "
            f"{allowed / MEBI:.0f} MiB are allowed: raise run.max_memory or choose {advice}."
        )
    return MemoryPlan(allowed, needed, slab, batch)
