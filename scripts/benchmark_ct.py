"""CT: projectors against ASTRA and RTK, total variation, the memory of filtered backprojection."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from benchmark_timing import median_seconds


def projector() -> None:
    """Matrix-free Joseph on 16 slices against ASTRA's CPU `linear` and `line_fanflat`, slice by slice."""
    import astra
    import torch

    from operators.tomography import ImageGrid, Projector, TomographyGeometry

    side, views, columns, slices = 256, 180, 363, 16
    x = torch.rand(slices, side, side)
    grid = ImageGrid((slices, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    volume = astra.create_vol_geom(side, side)
    half, full = np.arange(views) * np.pi / views, np.arange(views) * 2 * np.pi / views
    cases = {
        "parallel": (
            TomographyGeometry.parallel(half, columns, n_rows=slices),
            astra.create_projector("linear", astra.create_proj_geom("parallel", 1.0, columns, half), volume),
        ),
        "fan": (
            TomographyGeometry.fan(full, 500.0, 1000.0, columns, 2.0, n_rows=slices),
            astra.create_projector(
                "line_fanflat", astra.create_proj_geom("fanflat", 2.0, columns, full, 500.0, 500.0), volume
            ),
        ),
    }
    print("256 x 256, 180 views, 363 columns, 16 slices, float32; ms for all slices (ASTRA: slice by slice)")
    for name, (geometry, theirs) in cases.items():
        A = Projector(geometry, grid)
        y = A(x)
        image, sinogram = np.empty((side, side), np.float32), np.empty((views, columns), np.float32)
        slices_np, rows_np = x.numpy(), np.ascontiguousarray(y.numpy().swapaxes(0, 1))

        def astra_forward(theirs: int = theirs, out: np.ndarray = sinogram, given: np.ndarray = slices_np) -> None:
            for k in range(slices):
                astra.projector.direct_FP(theirs, given[k], out=out)

        def astra_back(theirs: int = theirs, out: np.ndarray = image, given: np.ndarray = rows_np) -> None:
            for k in range(slices):
                astra.projector.direct_BP(theirs, given[k], out=out)

        forward, back, their_forward, their_back = median_seconds(
            lambda A=A: A(x), lambda A=A, y=y: A.H(y), astra_forward, astra_back, repeats=5
        )
        for label, ours, other in (("forward", forward, their_forward), ("back", back, their_back)):
            print(f"  {name:9s} {label:8s} ours {1e3 * ours:7.1f}  ASTRA {1e3 * other:8.1f}  ratio {other / ours:5.1f}")


def csr() -> None:
    """ASTRA's matrix as CSR in torch against the matrix-free kernels, for 1, 4 and 16 slices, and when it would pay."""
    from recon3d.runtime.break_even import break_even

    rows = break_even(side=256, views=180)
    print(f"256 x 256, 180 views, float32, CPU time: the matrices take {rows[0].build_s:.1f} s and "
          f"{rows[0].mebibytes:.0f} MiB")  # fmt: skip
    for row in rows:
        print(f"  {row}")


def cone() -> None:
    """Cone beam, 128^3, 60 views, 192 x 192 pixels, against the stored seconds of itk-rtk's Joseph (one thread)."""
    import torch

    from operators.tomography import ConeProjector, ImageGrid, TomographyGeometry

    side, views, pixels = 128, 60, 192
    stored = {"forward": 0.98, "back": 1.24}  # itk-rtk 2.7.0.post1 on the machine on which these benchmarks began
    geometry = TomographyGeometry.cone(
        np.arange(views) * 2 * np.pi / views, 4.0 * side, 6.0 * side, pixels, 1.5, pixels, 1.5
    )
    A = ConeProjector(geometry, ImageGrid((side, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    x = torch.rand(side, side, side)
    y = A(x)
    seconds = dict(zip(stored, median_seconds(lambda: A(x), lambda: A.H(y), repeats=5), strict=True))
    for name, other in stored.items():
        print(f"cone {name}, 128^3, 60 views: ours {seconds[name]:.3f} s, itk-rtk {other} s (stored), "
              f"ratio {other / seconds[name]:.1f}")  # fmt: skip
    code = """
import re
import numpy as np, torch
from operators.tomography import ConeProjector, ImageGrid, TomographyGeometry
def peak():  # not ru_maxrss, which a child inherits from its parent
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def projector(n, views):
    g = TomographyGeometry.cone(np.arange(views) * 2 * np.pi / views, 4.0 * n, 6.0 * n, n, 2.0, n, 2.0)
    return ConeProjector(g, ImageGrid((n, n, n), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
projector(16, 2)(torch.rand(16, 16, 16))
before = peak()
A = projector(512, 30)
x = torch.rand(512, 512, 512)
y = A(x)
print((peak() - before) / (x.nbytes + y.nbytes))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"cone forward, 512^3, 30 views: peak {float(result.stdout):.2f} x (volume + projections), both included")


def tv() -> None:
    """The fused TV proximal map against the same iterations in plain torch."""
    import torch

    import recon3d.solvers.total_variation as module

    x = torch.rand(64, 128, 128)

    def plain() -> None:
        fused, module._fused = module._fused, lambda _: False
        try:
            module.tv_prox(x, 0.1, iterations=50)
        finally:
            module._fused = fused

    ours, other = median_seconds(lambda: module.tv_prox(x, 0.1, iterations=50), plain, repeats=3)
    print(
        f"TV proximal map, 64 x 128 x 128, 50 iterations: ours {ours:.2f} s, plain torch {other:.2f} s, "
        f"ratio {other / ours:.1f}"
    )


def fbp_memory() -> None:
    """Peak memory of a 512 x 512 x 128 FBP above the level after imports, as a multiple of volume + sinogram."""
    code = """
import math, re
import numpy as np, torch
from operators.tomography import ImageGrid, Projector, TomographyGeometry, filtered_backprojection
def peak():  # not ru_maxrss, which a child inherits from its parent
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def problem(slices, side, views, columns):
    g = TomographyGeometry.parallel(np.arange(views) * math.pi / views, columns, n_rows=slices)
    return Projector(g, ImageGrid((slices, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
A = problem(16, 16, 8, 25)
filtered_backprojection(A, torch.rand(A.range.shape))
before = peak()
A = problem(128, 512, 720, 729)
y = torch.rand(A.range.shape)
x = filtered_backprojection(A, y)
print((peak() - before) / (x.nbytes + y.nbytes))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(
        f"FBP 512 x 512 x 128, 720 views: peak {float(result.stdout):.2f} x (volume + sinogram), "
        "input and output included"
    )
