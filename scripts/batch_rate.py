"""Cases per hour with one worker, two, and two of a scheduler in another process; then that scheduler is killed.

    python scripts/batch_rate.py FOLDER [--cases 24]

All three results must be the same numbers; the batch that lost its scheduler must say so, and go on without it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from batch_trial import events, install_plugin, make_inputs, start

import recon3d
from recon3d.volume import Volume

PORT = 28786
ADDRESS = f"tcp://127.0.0.1:{PORT}"


def dask(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A scheduler or a worker as a person starts it."""
    path = os.pathsep.join(filter(None, [str(folder / "plugin"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "dask", *arguments]
    with (folder / "dask.log").open("ab") as log:
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)


def cases_per_hour(output: Path) -> float:
    """From the first case's begin to the last one's end, so that starting processes does not count."""
    lines = [e for e in events(output) if e["event"] in ("start", "done")]
    first, last = (np.datetime64(lines[k]["time"].replace("+00:00", "")) for k in (0, -1))
    return sum(e["event"] == "done" for e in lines) / (float((last - first) / np.timedelta64(1, "ms")) / 3.6e6)


def same(folder: Path, runs: list[str], cases: int) -> bool:
    """Whether all runs have the same numbers."""
    for name in (f"case-{k:02d}" for k in range(cases)):
        found = [recon3d.load(folder / run / name / f"{name}.h5") for run in runs]
        data = [volume.data for volume in found if isinstance(volume, Volume)]
        if len(data) < len(runs) or not all(np.array_equal(data[0], other) for other in data[1:]):
            return False
    return True


def measure(folder: Path, cases: int) -> dict[str, Any]:
    """Run all of it."""
    make_inputs(folder / "in", cases, 0)
    install_plugin(folder / "plugin")
    found: dict[str, Any] = {}
    for name, options in (("one", []), ("two", ["--workers", "2"])):
        start(folder, folder / name, options).communicate()
        found[f"cases per hour, {name}"] = round(cases_per_hour(folder / name))
    scheduler = dask(folder, "scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard")
    workers = [dask(folder, "worker", ADDRESS, "--nthreads", "1", "--memory-limit", "0") for _ in range(2)]
    try:
        while b"Registered to" not in (folder / "dask.log").read_bytes():
            time.sleep(0.5)
        start(folder, folder / "remote", ["--scheduler", ADDRESS]).communicate()
        found["cases per hour, scheduler"] = round(cases_per_hour(folder / "remote"))
        lost = start(folder, folder / "lost", ["--scheduler", ADDRESS])
        while sum(e["event"] == "done" for e in events(folder / "lost")) < cases // 3:
            time.sleep(0.1)
        scheduler.send_signal(signal.SIGKILL)
        found["lost scheduler"] = lost.communicate()[1].strip().splitlines()[-1]
        found["its exit code"] = lost.returncode
    finally:
        for process in (scheduler, *workers):
            process.kill()
            process.wait()
    start(folder, folder / "lost", []).communicate()
    found["same numbers"] = same(folder, ["one", "two", "remote", "lost"], cases)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="is made; it must not exist")
    parser.add_argument("--cases", type=int, default=24)
    given = parser.parse_args()
    print(json.dumps(measure(given.folder, given.cases), indent=1))
