"""Series: the time and memory of a RED-PSM sweep as they grow with the number of views."""

from __future__ import annotations

import subprocess
import sys

import numpy as np


def dynamic() -> None:
    """RED-PSM with a smoothing denoiser: start and sweep against those of half as many views, memory in series."""
    code = """
import re, sys, time
import numpy as np, torch
from types import SimpleNamespace
from operators.normalization import Normalization
from operators.tomography import TomographyGeometry
from operators.tomography.orders import view_angles
from recon3d.grid import AffineGrid
from recon3d.methods import reconstruct
from recon3d.problem import problem_for
from recon3d.run import SilentRun
from recon3d.scan import Scan
torch.set_num_threads(1)
class Smooth:
    card = SimpleNamespace(units="1", complex_image=False, sigma_min=0.01, sigma_max=1.0)
    normalization = Normalization()
    def denoise(self, x, sigma, cond=None):
        return (x + x.roll(1, -1) + x.roll(1, -2)) / 3
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def run(views, side, sweeps):
    geometry = TomographyGeometry.parallel(view_angles(views), side, n_rows=1).to_dict()
    data = np.random.default_rng(0).random((views, 1, side), dtype=np.float32)
    scan = Scan("ct", data, ("view", "row", "column"), {**geometry, "times_s": np.arange(float(views))},
                AffineGrid.centred((1, side, side), 1.0), {}, "1/mm", {"water_per_mm": 0.02})
    problem = problem_for(scan)
    began = time.process_time()
    run = SilentRun()
    reconstruct(problem, "red_psm", models={"prior": Smooth()}, rank=6, iterations=sweeps, tol=0, run=run)
    return time.process_time() - began, 4 * views * side * side
views = int(sys.argv[1])
run(8, 16, 1)  # compiled
before = peak()
one, series = run(views, 192, 1)
seven, _ = run(views, 192, 7)
sweep = (seven - one) / 6
print(one - sweep, sweep, (peak() - before) / 2**20, series / 2**20)
"""
    rows = []
    for views in (64, 128, 256, 512):
        done = subprocess.run([sys.executable, "-c", code, str(views)], capture_output=True, text=True, check=True)
        start, sweep, peak, series = map(float, done.stdout.split())
        ratios = f", {start / rows[-1][0]:.2f} and {sweep / rows[-1][1]:.2f} times half as many views" if rows else ""
        rows.append((start, sweep, peak, series))
        print(
            f"RED-PSM, {views} views of 192 x 192, rank 6: {start:.2f} CPU s to start, {sweep:.2f} a sweep{ratios}; "
            f"peak {peak:.0f} MiB beside the data, {peak / series:.1f} series of {series:.0f} MiB",
            flush=True,
        )
    slope, constant = np.polyfit([row[3] for row in rows], [row[2] for row in rows], 1)
    print(f"peak over the length of the series: {slope:.1f} series and {constant:.0f} MiB")
