"""Series: the time and memory of a RED-PSM sweep as they grow with the number of views."""

from __future__ import annotations

import subprocess
import sys


def dynamic() -> None:
    """A RED-PSM sweep against one of half as many views, and its memory in series; with a smoothing denoiser."""
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
three, _ = run(views, 192, 3)
print((three - one) / 2, (peak() - before) / series, series / 2**20)
"""
    last = None
    for views in (128, 256, 512):
        done = subprocess.run([sys.executable, "-c", code, str(views)], capture_output=True, text=True, check=True)
        seconds, times, mebi = map(float, done.stdout.split())
        ratio = "" if last is None else f", {seconds / last:.2f} times that of half as many views"
        print(
            f"RED-PSM, {views} views of 192 x 192, rank 6: {seconds:.2f} CPU s a sweep{ratio}; "
            f"peak {times:.1f} series of {mebi:.0f} MiB beside the data"
        )
        last = seconds
