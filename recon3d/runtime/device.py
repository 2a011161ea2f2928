"""Device and threads: the one place that decides where a run computes."""

from __future__ import annotations

import os
from pathlib import Path

from recon3d.errors import DeviceError


def allotted_cores() -> int:
    """CPU cores this process may use: its affinity, capped by the control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def set_threads(threads: int | None) -> int:
    """Bind torch and numba to `threads` CPU threads (the allotted cores by default); returns their number."""
    import numba
    import torch

    wanted = threads or allotted_cores()
    torch.set_num_threads(wanted)
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))
    return wanted


def choose_device(name: str) -> str:
    """ "auto" takes a CUDA device if there is one; a device that is asked for and absent is an error."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    kind, _, index = name.partition(":")
    if kind != "cuda" or name.endswith(":") or (index and not index.isdigit()):
        raise DeviceError(f"run.device is auto, cpu, cuda or cuda:N, got '{name}'.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise DeviceError(
            f"run.device={name} was asked for, but this machine has {count} CUDA devices: use run.device=cpu."
        )
    return name
