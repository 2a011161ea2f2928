"""Memory that truly runs out (a limit on the address space): the case goes on with less, or ends in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.problem import problem_for
from recon3d.scan import Scan
from recon3d.volume import Volume

SHAPE = (64, 160, 160)
VOLUME = 4 * 64 * 160 * 160

CHILD = """
import resource, sys
from pathlib import Path
from recon3d.batch.jobs import Job
from recon3d.batch.worker import run_job
from recon3d.config import ReconstructConfig, validate

folder, method, room = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def outcome(scan, output):
    content = {"method": {"name": method, "iterations": 2}, "run": {"max_memory": "4G", "threads": 1}}
    config = validate(ReconstructConfig, content, "test").model_dump(mode="json")
    return run_job(Job("c", str(folder / scan), str(folder / output / "c.h5"), config), lambda event: None)

warm = outcome("small.h5", f"warm-{method}")
assert warm.state == "done", warm  # libraries and kernels are loaded by now
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
found = outcome("large.h5", method)
print(found.to_json())
"""


def scan_of(shape: tuple[int, int, int]) -> Scan:
    volume = Volume(np.full(shape, 0.02, np.float32), AffineGrid.centred(shape, 1.0), units="1/mm")
    return recon3d.simulate(volume, {"views": 8}, noise={"photons": 1e6}, finer=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    save(scan_of((4, 32, 32)), folder / "small.h5")
    save(scan_of(SHAPE), folder / "large.h5")
    return folder


def left_with(folder: Path, method: str, volumes: float) -> dict[str, object]:
    """What came of the large case in a process that may take `volumes` more than it has."""
    command = [sys.executable, "-c", CHILD, str(folder), method, str(int(volumes * VOLUME))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits on the address space")
def test_a_case_goes_on_with_half_of_it(folder: Path) -> None:
    """Where its memory ends is the machine's affair: somewhere between too little and enough a case goes on."""
    expected = recon3d.reconstruct(problem_for(scan_of(SHAPE)), "sirt", iterations=2).volume
    went_on = False
    for volumes in (6, 7, 8, 9, 10, 11, 13):
        found: Any = left_with(folder, "sirt", volumes)
        if found["state"] == "done":
            volume = load(folder / "sirt" / "c.h5")
            assert isinstance(volume, Volume)
            assert np.array_equal(volume.data, expected.data)
            went_on = any("Out of memory: going on" in note for note in found["facts"]["notes"])
        else:
            assert "Out of memory" in found["fault"]
            assert not list(folder.glob("sirt/*"))
        for made in ("sirt", "warm-sirt"):
            shutil.rmtree(folder / made, ignore_errors=True)
        if went_on:
            break
    assert went_on


@pytest.mark.skipif(sys.platform != "linux", reason="limits on the address space")
def test_where_nothing_can_be_halved_one_sentence_says_so(folder: Path) -> None:
    found = left_with(folder, "tv", 2.0)
    assert (found["state"], found["kind"]) == ("failed", "permanent")
    assert "Out of memory" in str(found["fault"])
    assert str(found["fault"]).count(". ") == 0
    assert not list(folder.glob("tv/*"))
