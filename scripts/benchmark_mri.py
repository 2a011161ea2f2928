"""MRI: ESPIRiT and SENSE against SigPy, the memory of coil batches; feed-forward networks against a VarNet."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from benchmark_timing import median_seconds


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
