"""Priors: our network against others, and what DDS costs beyond its network and its operator."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmark_timing import median_seconds


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
