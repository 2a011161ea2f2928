"""A batch disturbed on purpose: damaged inputs, a worker killed at a named step, the driver killed and restarted.

    python scripts/batch_trial.py FOLDER [--cases 40] [--corrupt 3] [--workers 2] [--scheduler ADDRESS]

Ends with exit code 1 unless every whole case has the very numbers of an undisturbed run, every damaged one is named,
and nothing half-written is left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import recon3d
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

STEPS, KILLED_CASE, KILLED_STEP = 8, 1, 5
SIDE = 16

PLUGIN = '''
"""Landweber iterations that keep their state, and kill their own process once, at a named step of a named case."""

import os
import signal
from typing import ClassVar

from recon3d.methods.base import Method, finish


class Landweber(Method):
    name: ClassVar[str] = "trial_landweber"
    summary: ClassVar[str] = "for the trial of batches"
    iterations: int = 8

    def reconstruct(self, problem, models, run):
        task = problem.normalised()
        first, state = run.begin(self.iterations, {"x": task.A.domain.zeros(task.A.device)})
        x = state["x"]
        for step in range(first, self.iterations):
            x = x - task.A.H(task.A(x) - task.y)
            mark = os.environ.get("TRIAL_MARK")
            if mark and problem.name == os.environ["TRIAL_CASE"] and step + 1 == int(os.environ["TRIAL_STEP"]):
                if not os.path.exists(mark):
                    open(mark, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)
            if not run.step(step, {"x": x}, {}):
                break
        return finish(problem, task.physical(x), residual=task.residual(x))
'''


def make_inputs(folder: Path, cases: int, corrupt: int) -> None:
    """Small parallel-beam scans of a ball in a cylinder; the last `corrupt` ones are cut off or overwritten."""
    folder.mkdir(parents=True)
    z, y, x = np.mgrid[:SIDE, :SIDE, :SIDE] - (SIDE - 1) / 2
    rng = np.random.default_rng(16)
    for k in range(cases):
        centre, radius = rng.uniform(-2, 2, 3), rng.uniform(3, 5)
        inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        data = np.where(y**2 + x**2 < (SIDE / 2 - 1) ** 2, np.where(inside, 300.0, 0.0), -1000.0)
        volume = Volume(data.astype(np.float32), AffineGrid.centred((SIDE,) * 3, 3.0), units="HU")
        scan = recon3d.simulate(volume, {"views": 12}, noise={"photons": 1e5}, seed=k)
        path = folder / f"case-{k:02d}.h5"
        recon3d.save(replace(scan, name=path.stem), path)
        if k >= cases - corrupt:
            whole = path.read_bytes()
            path.write_bytes((b"", whole[: len(whole) // 2], b"\0" * 512 + whole[512:])[k % 3])


def install_plugin(folder: Path) -> None:
    """A package beside the inputs that brings the method by its entry point."""
    info = folder / "recon3d_trial-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "recon3d_trial.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recon3d-trial\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[recon3d.methods]\ntrial_landweber = recon3d_trial:Landweber\n")


def start(folder: Path, output: Path, options: list[str], **variables: str) -> subprocess.Popen[str]:
    """The batch command; `variables` go to its environment."""
    command = [
        *(sys.executable, "-m", "recon3d", "batch", str(folder / "in"), "-o", str(output), "--suffix", ".h5"),
        *("--threads", "1", "--config", "ct-parallel-fbp", f"method={{name: trial_landweber, iterations: {STEPS}}}"),
        *("run.checkpoint_minutes=0", *options),
    ]
    path = os.pathsep.join(filter(None, [str(folder / "plugin"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def events(output: Path) -> list[dict[str, Any]]:
    """The log of a batch so far; a line that is being written is left out."""
    log = output / "batch.jsonl"
    if not log.exists():
        return []
    found = []
    for line in log.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def killed_halfway(process: subprocess.Popen[str], output: Path, cases: int) -> bool:
    """Kill the driver, without mercy, once a third of the cases are done; whether it was still at work."""
    while process.poll() is None:
        if sum(event["event"] == "done" for event in events(output)) >= cases // 3:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.05)
    process.communicate()
    return False


def trial(folder: Path, cases: int, corrupt: int, options: list[str]) -> dict[str, Any]:
    """Run both batches; what was found."""
    make_inputs(folder / "in", cases, corrupt)
    install_plugin(folder / "plugin")
    began = time.monotonic()
    calm = start(folder, folder / "calm", [])
    calm.communicate()
    calm_s = time.monotonic() - began

    hurt = {"TRIAL_MARK": str(folder / "mark"), "TRIAL_CASE": f"case-{KILLED_CASE:02d}", "TRIAL_STEP": str(KILLED_STEP)}
    began = time.monotonic()
    driver_killed = killed_halfway(start(folder, folder / "hurt", options, **hurt), folder / "hurt", cases)
    again = start(folder, folder / "hurt", options, **hurt)
    said = again.communicate()[1]
    hurt_s = time.monotonic() - began

    whole = [f"case-{k:02d}" for k in range(cases - corrupt)]
    same = [name for name in whole if _same(folder, name)]
    record = json.loads((folder / "hurt" / whole[KILLED_CASE] / f"{whole[KILLED_CASE]}.recon.json").read_text())
    left = [p.name for p in (folder / "hurt").rglob(".*")] + [p.name for p in (folder / "hurt").rglob("*.checkpoint")]
    return {
        "cases": cases,
        "corrupt": corrupt,
        "identical": len(same),
        "named": sum(f"case-{k:02d}" in said for k in range(cases - corrupt, cases)),
        "exit codes": [calm.returncode, again.returncode],
        "worker killed": (folder / "mark").exists(),
        "driver killed": driver_killed,
        "resumed after step": record["resumed_at"],
        "retries": sum(event["event"] == "retry" for event in events(folder / "hurt")),
        "half-written": left,
        "seconds undisturbed": round(calm_s, 1),
        "seconds disturbed": round(hurt_s, 1),
    }


def _same(folder: Path, name: str) -> bool:
    files = [folder / run / name / f"{name}.h5" for run in ("calm", "hurt")]
    if not all(file.exists() for file in files):
        return False
    first, second = (recon3d.load(file) for file in files)
    return isinstance(first, Volume) and isinstance(second, Volume) and np.array_equal(first.data, second.data)


def passed(found: dict[str, Any]) -> bool:
    """Whether a trial found what it should."""
    good = found["identical"] == found["cases"] - found["corrupt"] and found["named"] == found["corrupt"]
    resumed = found["resumed after step"] == KILLED_STEP - 1
    killed = found["worker killed"] and found["driver killed"]
    return good and resumed and killed and not found["half-written"] and found["exit codes"] == [1, 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="is made; it must not exist")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--corrupt", type=int, default=3)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--scheduler", help="of workers that have FOLDER/plugin on their PYTHONPATH")
    given = parser.parse_args()
    where = ["--scheduler", given.scheduler] if given.scheduler else ["--workers", given.workers]
    found = trial(given.folder, given.cases, given.corrupt, where)
    print(json.dumps(found, indent=1))
    sys.exit(not passed(found))
