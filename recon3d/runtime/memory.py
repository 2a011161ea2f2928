"""Memory: what is free, what a run has used, and the plan that keeps a run inside its limit."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from recon3d.errors import MemoryLimitError
from recon3d.methods.base import Method
from recon3d.problem import Problem
from recon3d.runtime.streamed import StreamedProblem

MEBI = 2**20


LATE_IMPORTS = 150 * MEBI
"""What the libraries of report and files and the compiler of the kernels take, after the plan is made."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a run fits into its memory.

    Parameters
    ----------
    limit, forecast : bytes above the program itself, where it computes (on the GPU, if that is where)
    slab : slices that are worked on at a time; all of them where slabs are not problems of their own
    micro_batch : slices a network sees at once
    on_disk : whether what the method can leave on disk lies there, in a file that is mapped into memory
    host : forecast of what the whole process takes of the machine's memory, as queues count it
    streamed : whether the scan stays in its file, from which slabs are read
    smaller : the ways left in which the plan can shrink: "micro-batch", "slabs", "disk"
    """

    limit: int
    forecast: int
    slab: int
    micro_batch: int
    on_disk: bool = False
    host: int = 0
    streamed: bool = False
    smaller: tuple[str, ...] = ()

    def shrunk(self) -> MemoryPlan | None:
        """The plan after the system had less memory than was thought; None if there is no smaller one."""
        if "micro-batch" in self.smaller and self.micro_batch > 1:
            return replace(self, micro_batch=self.micro_batch // 2)
        if "slabs" in self.smaller and self.slab > 1:
            return replace(self, slab=math.ceil(self.slab / 2))
        if "disk" in self.smaller and not self.on_disk:
            return replace(self, on_disk=True)
        return None

    def told(self, slices: int) -> str:
        """The plan in words."""
        slabs = "whole" if self.slab >= slices else f"slabs of {self.slab} slices"
        batch = f", micro-batch {self.micro_batch}" if "micro-batch" in self.smaller else ""
        read = ", read from the file one by one" if self.streamed else ""
        return slabs + read + batch + (", a part on disk" if self.on_disk else "")


def free_memory() -> int:
    """Bytes that this process may still take: the machine's free memory, capped by its control groups."""
    free = 8 * 2**30
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except OSError:
        pass
    return min([free, *_left_in_control_groups()])


def _left_in_control_groups() -> list[int]:
    """What the groups around this process (of a container, of a job of a queue) leave it, of version 2 or 1."""
    root, left = Path("/sys/fs/cgroup"), []
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        groups = []
    folders = [root]  # that of a container shows its own group at the root
    for _, controllers, path in groups:
        base = root if not controllers else root / "memory" if "memory" in controllers.split(",") else None
        if base is not None:
            group = base / path.strip("/")
            folders += [folder for folder in (group, *group.parents) if base in (folder, *folder.parents)]
    for folder in folders:
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            try:
                allowed = (folder / limit).read_text().strip()
                if allowed != "max":
                    left.append(int(allowed) - int((folder / used).read_text()))
            except (OSError, ValueError):
                continue
    return left


def resident_memory() -> int:
    """Bytes of memory that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return peak_memory()


def peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the system, or a device, had no more memory to give."""
    if isinstance(error, MemoryLimitError):  # which is said before it comes to that
        return False
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError)
        and any(said in text for said in ("out of memory", "can't allocate memory", "cannot allocate memory"))
    )


def plan_memory(
    problem: Problem,
    method: Method,
    limit: int | None,
    micro_batch: int,
    network_bytes_per_slice: int = 0,
    network_bytes: int = 0,
) -> MemoryPlan:
    """The largest slab and micro-batch that stay inside `limit` bytes (nine tenths of the free memory by default).

    Where that does not do, what the method can leave on disk goes there.

    Parameters
    ----------
    network_bytes_per_slice : of networks that see a micro-batch at once
    network_bytes : of networks that see one slice or tile at once, whatever the micro-batch

    Raises
    ------
    MemoryLimitError
        If not even the smallest plan fits.
    """
    allowed = limit if limit is not None else int(0.9 * free_memory())
    slices = problem.domain.shape[-3] if len(problem.domain.shape) >= 3 else 1
    volume, data = problem.domain.nbytes, problem.A.range.nbytes
    spilled = method.spillable(problem)

    def forecast(slab: int, batch: int, on_disk: bool = False) -> int:
        volumes = method.volumes - (spilled if on_disk else 0.0)
        share = slab / slices
        working = (volumes * volume + method.data_arrays * data) * share
        kept = 0 if slab == slices or on_disk else volume  # the assembled result
        held = math.ceil(data * share * (2 if problem.kind == "mri" else 1)) if streamed else data  # with coil maps
        return math.ceil(working + kept + held + max(batch * network_bytes_per_slice, network_bytes))

    streamed = isinstance(problem, StreamedProblem)
    splittable = method.separable and problem.splits
    batch = micro_batch
    while batch > 1 and forecast(slices, batch) > allowed and network_bytes_per_slice:
        batch //= 2

    def largest_slab(on_disk: bool) -> int:
        slab = slices
        while splittable and slab > 1 and forecast(slab, batch, on_disk) > allowed:
            slab = math.ceil(slab / 2)
        return slab

    slab, on_disk = largest_slab(False), False
    spillable = (spilled > 0 or slab < slices) and problem.A.device.type == "cpu"
    if spillable and forecast(slab, batch) > allowed:
        slab, on_disk = largest_slab(True), True
        while batch < micro_batch and forecast(slab, min(2 * batch, micro_batch), on_disk) <= allowed:
            batch = min(2 * batch, micro_batch)  # the disk made room for more
    needed = forecast(slab, batch, on_disk)
    if needed > allowed:
        advice = "a coarser grid (grid.voxel_mm)" if splittable else "a coarser grid (grid.voxel_mm) or fewer slices"
        raise MemoryLimitError(
            f"Method '{method.name}' needs {needed / MEBI:.0f} MiB for a volume of {volume / MEBI:.0f} MiB, "
            f"{allowed / MEBI:.0f} MiB are allowed: raise run.max_memory or choose {advice}."
        )
    ways = {"micro-batch": network_bytes_per_slice > 0, "slabs": splittable, "disk": spillable}
    smaller = tuple(way for way, there in ways.items() if there)
    on_gpu = problem.A.device.type != "cpu"
    above = 2 * volume if on_gpu else needed - (0 if streamed else data)  # the process may hold the data by now
    held = peak_memory() if streamed else resident_memory()  # making the problem of a slab takes what the first took
    host = max(peak_memory(), held + LATE_IMPORTS + above)
    return MemoryPlan(allowed, needed, slab, batch, on_disk, host, streamed, smaller)
