"""Benchmarks: each prints a small table of times as ratios against a named alternative in the same run."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np


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


def network() -> None:
    """The prior's network against MONAI's of like size without attention, both in bfloat16 where it is native."""
    import torch
    from monai.networks.nets import DiffusionModelUNet

    from recon3d.priors.edm import EDMDenoiser
    from recon3d.priors.networks import build_network
    from recon3d.priors.slices import fast_dtype

    ours = EDMDenoiser(build_network({"kind": "unet2d", "detail": True}), 0.25).eval()
    theirs = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        num_res_blocks=1,
        channels=(32, 64, 96, 128),
        attention_levels=(False,) * 4,
        norm_num_groups=32,
    ).eval()
    ours, theirs = ours.to(memory_format=torch.channels_last), theirs.to(memory_format=torch.channels_last)
    x = torch.rand(8, 1, 128, 128).contiguous(memory_format=torch.channels_last)
    sigma, steps = torch.full((8,), 0.1), torch.zeros(8)
    dtype = fast_dtype("cpu")
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        mine, other = median_seconds(lambda: ours(x, sigma), lambda: theirs(x, steps), repeats=5)
    count = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (ours, theirs)]
    print(
        f"network, 8 x 128 x 128, {dtype or 'float32'}: ours {1e3 * mine:.0f} ms ({count[0]:.2f} M), "
        f"MONAI {1e3 * other:.0f} ms ({count[1]:.2f} M), ratio {other / mine:.1f}"
    )


def networks() -> None:
    """Published networks at full size with random weights: memory, and CPU time per slice against our own network."""
    code = """
import re, sys, time, torch
from recon3d.priors.networks import build_network
from recon3d.priors.slices import fast_dtype
def memory(line):
    return 1024 * int(re.search(line + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
def seconds(network, x, level, dtype):
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        began = time.process_time()
        network(x, level)
        return time.process_time() - began
torch.set_num_threads(1)
settings, channels, side, level = eval(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), torch.tensor([20.0])
with torch.device("meta"):
    network = build_network(settings)
before = memory("VmRSS")
network = network.to_empty(device="cpu").eval().requires_grad_(False)
for tensor in network.state_dict().values():
    tensor.uniform_(-0.02, 0.02)
network = network.to(memory_format=torch.channels_last)
weights = memory("VmRSS") - before
x = torch.rand(1, channels, side, side).contiguous(memory_format=torch.channels_last)
full = seconds(network, x, level, None)
working = memory("VmHWM") - before - weights
half = seconds(network, x, level, fast_dtype("cpu")) if fast_dtype("cpu") else full
own = build_network({"kind": "unet2d", "detail": True}).eval().requires_grad_(False)
pair = torch.rand(1, 2, side, side)
ours = min(seconds(own, pair, level, None) for _ in range(3))
print(weights, working, working / side**2 / network.bytes_per_pixel, full, half, full / ours)
"""
    aapm = {"kind": "adm", "attention": [4]}
    knee = {"kind": "adm", "image_channels": 2, "out_channels": 4}
    rows = (("AAPM256 ADM", aapm, 1, 256), ("fastMRI ADM", knee, 2, 320), ("NCSN++", {"kind": "ncsnpp"}, 1, 256))
    print("published networks, one slice on one thread, random weights; CPU seconds, so load beside it counts little")
    for name, settings, channels, side in rows:
        arguments = [sys.executable, "-c", code, repr(settings), str(channels), str(side)]
        line = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        weights, working, share, full, half, ratio = map(float, line.split())
        print(
            f"  {name:12s} {side} x {side}: weights {weights / 2**30:.2f} GiB, working {working / 2**20:.0f} MiB "
            f"({share:.2f} of what plans allow), float32 {full:.1f} s, bfloat16 {half:.1f} s; "
            f"our own U-Net is {ratio:.0f} times as fast in float32"
        )


def dds() -> None:
    """What DDS costs beyond its network and its operator: 64 x 128 x 128, 8 views, 20 steps, CPU time."""
    import torch

    import recon3d
    from recon3d.priors import Card
    from recon3d.priors.edm import EDMDenoiser
    from recon3d.priors.model import Model
    from recon3d.priors.networks import build_network
    from recon3d.synthetic.phantoms import shepp_logan

    architecture = {"kind": "unet2d", "detail": True}
    net = EDMDenoiser(build_network(architecture), 0.25, 0.25).eval().requires_grad_(False)
    card = Card(
        name="untrained", modality="CT", units="HU", scale=2000.0, offset=-1000.0, range=(0, 1.2), voxel_mm=(0.5, 5),
        sigma_min=0.004, sigma_max=8.0, sigma_data=0.25, mean=0.25, architecture=architecture,
        licence="Apache-2.0",
    )  # fmt: skip
    prior = Model(card, net.to(memory_format=torch.channels_last), micro_batch=8)
    truth = shepp_logan((64, 128, 128), (2.0, 2.0, 2.0))
    scan = recon3d.simulate(truth.with_data(1000 * truth.data - 1000, units="HU"), {"views": 8}, finer=1)
    problem = recon3d.problem_for(scan)
    steps, cg_steps = 20, 5

    def whole() -> None:
        recon3d.reconstruct(problem, "dds", models={"prior": prior}, steps=steps, cg_steps=cg_steps)

    batch = torch.rand(8, 1, 128, 128).contiguous(memory_format=torch.channels_last)
    sigma = torch.full((8,), 0.1)
    x = torch.rand(64, 128, 128)
    y = problem.A(x)

    def bare() -> None:
        with torch.inference_mode(), torch.autocast("cpu", enabled=prior.compute_dtype is not None):
            for _ in range(8 * steps):
                net(batch, sigma)
        for _ in range(steps * (1 + cg_steps)):
            problem.A(x)
            problem.A.H(y)

    def cpu_seconds(function: Callable[[], None]) -> float:
        began = time.process_time()
        function()
        return time.process_time() - began

    bare(), whole()
    pairs = [(cpu_seconds(whole), cpu_seconds(bare)) for _ in range(3)]
    total, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"DDS, 64 x 128 x 128, 20 steps: {total:.1f} s, network and operator alone {least:.1f} s, "
        f"ratio {total / least:.3f}"
    )


def mri() -> None:
    """ESPIRiT and SENSE by conjugate gradients against SigPy, 8 coils, 320 x 320; memory that the coil batch takes."""
    import sigpy.mri
    import torch

    from operators.fourier import centred_fft
    from operators.mri import CartesianEncoding
    from operators.mri.espirit import espirit
    from operators.mri.sampling import column_mask
    from recon3d.solvers.cg import conjugate_gradient
    from recon3d.synthetic.mri import coil_sensitivities
    from recon3d.synthetic.phantoms import shepp_logan

    coils, side, slices, steps, weight = 8, 320, 16, 30, 1e-3
    maps = coil_sensitivities(coils, (1, side, side), np.random.default_rng(0))[:, 0]
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    image = shepp_logan((1, side, side), (1.0, 1.0, 1.0)).data[0].astype(np.complex64)
    kspace = centred_fft(torch.from_numpy(maps * image))
    centre = slice(side // 2 - 12, side // 2 + 12)

    def our_espirit() -> object:
        return espirit(kspace[:, centre, centre].contiguous(), (side, side), kernel=6)

    def their_espirit() -> object:
        return sigpy.mri.app.EspiritCalib(kspace.numpy(), calib_width=24, show_pbar=False).run()

    mask = column_mask(side, 4, 0.08).astype(np.float32)
    y = (kspace * torch.from_numpy(mask))[:, None].repeat(1, slices, 1, 1)
    A = CartesianEncoding(torch.from_numpy(maps)[:, None].repeat(1, slices, 1, 1), torch.from_numpy(mask))
    gram = A.gram

    def our_sense() -> torch.Tensor:
        return conjugate_gradient(
            lambda p: gram(p).add_(p, alpha=weight), A.H(y), max_steps=steps, rtol=0, batch_ndim=1
        ).x

    def their_sense() -> np.ndarray:
        weights = np.broadcast_to(mask, (side, side))
        return sigpy.mri.app.SenseRecon(
            y[:, 0].numpy(), maps, lamda=weight, weights=weights, max_iter=steps, show_pbar=False
        ).run()

    ours, theirs = median_seconds(our_espirit, their_espirit, repeats=3)
    print(f"ESPIRiT, 8 x 320 x 320: ours {ours:.2f} s, SigPy {theirs:.2f} s, ratio {theirs / ours:.1f}")
    ours, theirs = median_seconds(our_sense, their_sense, repeats=5)
    theirs *= slices  # it takes one slice at a time
    found, reference = our_sense()[0].numpy(), their_sense()
    print(
        f"SENSE-CG, 8 x 320 x 320, 16 slices, 30 steps: ours {ours:.2f} s, SigPy {theirs:.2f} s, "
        f"ratio {theirs / ours:.1f}, difference {np.linalg.norm(found - reference) / np.linalg.norm(reference):.0e}"
    )
    code = """
import re, sys, torch
from pathlib import Path
from operators.mri import CartesianEncoding
def resident(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def needed(coils, slices, side, batch):
    A = CartesianEncoding(torch.ones(coils, slices, side, side, dtype=torch.complex64), None, "2d", batch)
    y = torch.ones(A.range.shape, dtype=torch.complex64)
    A._weighted_maps, A._weights, A.gram
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = resident("VmRSS")
    A.gram(A.H(y))
    return resident("VmHWM") - before
needed(2, 1, 8, 1)
print(needed(32, 2, 512, int(sys.argv[1])))
"""
    for batch in (1, 4, 32):
        done = subprocess.run([sys.executable, "-c", code, str(batch)], capture_output=True, text=True, check=True)
        print(
            f"A^H and A^H A of 32 coils, 2 x 512 x 512, {batch} at a time: {float(done.stdout):.0f} MiB beside the data"
        )


def ultrasound() -> None:
    """Delay-and-sum against vectorised NumPy (whole image at once, one element and transmit after the other)."""
    import torch

    from operators.ultrasound import BornModel, Transmits, linear_array
    from recon3d.beams import image_grid, points_mm

    elements, rate, carrier = linear_array(128, 0.3), 20e6, 5e6
    transmits = Transmits.plane(np.deg2rad([-8.0, 0.0, 8.0]))
    grid = image_grid((-19.0, 19.0), (5.0, 45.0), (0.2, 0.3))
    A = BornModel(
        grid.shape, points_mm(grid), elements, transmits, samples=1400, sampling_hz=rate, first_sample_s=0.0,
        centre_hz=carrier, demodulation_hz=carrier, slowness_s_mm=1e-3 / 1540, f_number=1.5, window="boxcar",
        interpolation="linear",
    )  # fmt: skip
    y = A.range.random(torch.Generator().manual_seed(0))
    data, points = y.numpy(), A.points_mm
    there = transmits.times_s(points, A.slowness_s_mm, 0.3)

    def plain() -> np.ndarray:
        image = np.zeros(len(points), np.complex64)
        for e, element in enumerate(elements):
            back = np.sqrt(((points - element) ** 2).sum(axis=1)) * (1e-3 / 1540)
            seen = np.abs(points[:, 0] - element[0]) * 3.0 <= points[:, 2]
            for t in range(len(transmits)):
                place = ((there[t] + back) * rate).astype(np.float32)
                below = place.astype(np.int64)
                inside = seen & (below >= 1) & (below + 2 < data.shape[-1])
                below = np.where(inside, below, 0)
                part = place - below
                value = (1 - part) * data[t, e, below] + part * data[t, e, below + 1]
                image += inside * value * np.exp(2j * np.pi * (carrier / rate) * place)
        return image

    ours = A.H(y).numpy().ravel()
    difference = np.abs(ours - plain()).max() / np.abs(ours).max()
    mine, theirs = median_seconds(lambda: A.H(y), plain, repeats=3)
    print(f"{len(points)} points, 128 elements, 3 transmits: {mine * 1e3:.0f} ms, NumPy {theirs * 1e3:.0f} ms")
    print(f"ratio {theirs / mine:.1f}, largest difference {difference:.1e} of the brightest point")


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


def supervised() -> None:
    """Feed-forward networks on one slice of 15 coils, 320 x 320: the published sizes against an end-to-end VarNet."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from recon3d.priors.networks import build_network
    from recon3d.priors.reconstructor import network_masks
    from recon3d.priors.slices import fast_dtype

    coils, side = 15, 320
    sizes = {
        "VarNet, 12 cascades": {"kind": "varnet"},
        "RecurrentVarNet, T 8, h 128, n 4": {"kind": "recurrent_varnet"},
        "RecurrentVarNet as shipped": {
            "kind": "recurrent_varnet", "steps": 6, "hidden": 48, "layers": 2, "refinement": None,
        },
        "U-Net, 32 filters": {"kind": "unet_completion"},
    }  # fmt: skip
    kspace = torch.randn(1, coils, side, side, dtype=torch.complex64)
    columns = torch.zeros(side, dtype=torch.bool)
    columns[::4] = columns[side // 2 - 13 : side // 2 + 13] = True
    masks = network_masks(columns, (side, side))
    kspace = torch.where(columns, kspace, 0)
    dtype = fast_dtype("cpu")
    print(f"one slice, {coils} coils, {side} x {side}, {torch.get_num_threads()} threads, {dtype or 'float32'}")
    first = 0.0
    for name, architecture in sizes.items():
        network = build_network(architecture).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def run(network: torch.nn.Module = network) -> None:
            with torch.inference_mode(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                network(kspace, *masks)

        (seconds,) = median_seconds(run, repeats=3)
        first = first or seconds
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            run()
        spent: dict[str, float] = {"convolutions": 0.0, "Fourier transforms": 0.0, "all else, bound by memory": 0.0}
        for event in profiler.key_averages():
            kind = "convolutions" if "convolution" in event.key else "all else, bound by memory"
            spent["Fourier transforms" if "fft_c2c" in event.key else kind] += event.self_cpu_time_total
        shares = ", ".join(f"{kind} {100 * time / sum(spent.values()):.0f} %" for kind, time in spent.items())
        count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        print(
            f"  {name}: {count:.2f} M parameters, {seconds:.2f} s ({seconds / first:.2f} of the first), "
            f"{_peak_of_network(architecture, coils, side):.0f} MiB; {shares}"
        )


def _peak_of_network(architecture: dict[str, object], coils: int, side: int) -> float:
    """MiB that one slice takes in a process of its own, beside weights and data."""
    code = """
import json, re, sys, torch
from pathlib import Path
from recon3d.priors.networks import build_network
from recon3d.priors.reconstructor import network_masks
from recon3d.priors.slices import fast_dtype
def resident(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
architecture, coils, side = json.loads(sys.argv[1])
network = build_network(architecture).eval().to(memory_format=torch.channels_last)
dtype = fast_dtype("cpu")
def run(side):
    columns = (torch.arange(side) % 4 == 0) | ((torch.arange(side) - side // 2).abs() < 13)
    kspace = torch.randn(1, coils, side, side, dtype=torch.complex64)
    masks = network_masks(columns, (side, side))
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    with torch.inference_mode(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        network(kspace, *masks)
    return resident("VmHWM") - before
run(32)
print(run(side))
"""
    asked = json.dumps([architecture, coils, side])
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=True)
    return float(done.stdout)


BENCHMARKS = {
    "supervised": supervised,
    "projector": projector,
    "csr": csr,
    "cone": cone,
    "tv": tv,
    "fbp-memory": fbp_memory,
    "network": network,
    "networks": networks,
    "dds": dds,
    "mri": mri,
    "ultrasound": ultrasound,
    "dynamic": dynamic,
}


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all by default")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; the cores allotted by default")
    options = parser.parse_args()

    from recon3d.runtime.device import set_threads

    print(f"{set_threads(options.threads)} threads")
    for name in options.names or BENCHMARKS:
        BENCHMARKS[name]()
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
