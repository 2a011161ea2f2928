"""A GPU: what the product's main jobs take on it, against the same job on the CPU at a size that the CPU can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def gpu() -> None:
    """DDS and MBIR on a volume, MRI slices, a cone beam, RecurrentVarNet and training; peak memory of the device."""
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device: nothing to measure")
        return
    print(torch.cuda.get_device_name())
    for job in (dds, mbir_step, mri_slices, cone, recurrent_varnet, network_ceiling, training):
        job()


def measured(job: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds after one warm-up, peak GiB of the device, and what the job gave."""
    import torch

    job()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    answer = job()
    torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated() / 2**30, answer


def ct_scan(side: int, views: int) -> Any:
    from recon3d.synthetic.phantoms import shepp_logan
    from recon3d.synthetic.simulate import simulate_ct
    from recon3d.volume import Volume

    head = shepp_logan((side, side, side), (2.0, 2.0, 2.0), supersampling=1)
    return simulate_ct(Volume(1000 * head.data - 1000, head.grid, units="HU"), views=views, finer=1)


def dds() -> None:
    """DDS, 8 views, 50 steps: 256^3 on the device; 64^3 on both, in float32, whose volumes are compared."""
    import recon3d
    from recon3d.priors import load_model
    from recon3d.run import SilentRun

    scan = ct_scan(256, 8)
    problem, run = recon3d.problem_for(scan, device="cuda"), SilentRun(micro_batch=32)
    model = load_model("ct-axial", "cuda", micro_batch=32)
    seconds, peak, _ = measured(lambda: recon3d.reconstruct(problem, "dds", models={"prior": model}, run=run, steps=50))
    x = problem.domain.zeros(problem.A.device)
    calls = measured(lambda: [model.denoise(x, 0.5) for _ in range(5)])[0] / 5
    print(f"DDS 256^3, 8 views, 50 steps: {seconds:.1f} s (goal 60), of it {50 * calls:.1f} s network, "
          f"so all over network {seconds / (50 * calls):.2f} (goal 1.10); {peak:.1f} GiB")  # fmt: skip
    small, volumes, times = ct_scan(64, 8), [], []
    for device in ("cpu", "cuda"):
        prior = load_model("ct-axial", device, half=False)
        there = recon3d.problem_for(small, device=device)
        began = time.perf_counter()
        volumes.append(recon3d.reconstruct(there, "dds", models={"prior": prior}, steps=50).volume.data)
        times.append(time.perf_counter() - began)
    apart = np.linalg.norm(volumes[1] - volumes[0]) / np.linalg.norm(volumes[0])
    print(f"DDS 64^3 in float32: CPU {times[0]:.1f} s, GPU {times[1]:.1f} s, volumes {apart:.1e} apart (goal 1e-3)")


def mbir_step() -> None:
    """One level of DiffusionMBIR (predictor, corrector, ADMM-TV) on 256^3."""
    import recon3d
    from recon3d.priors import load_model

    problem, model = recon3d.problem_for(ct_scan(256, 8), device="cuda"), load_model("ct-axial", "cuda", micro_batch=32)
    few, many = (
        measured(lambda n=n: recon3d.reconstruct(problem, "diffusion_mbir", models={"prior": model}, steps=n))[:2]
        for n in (2, 6)
    )
    print(f"DiffusionMBIR 256^3: {(many[0] - few[0]) / 4:.2f} s a level, {many[1]:.1f} GiB")


def mri_slices() -> None:
    """SENSE by 30 steps of conjugate gradients, 16 slices of 15 coils and 320 x 320, against the CPU."""
    import torch

    from operators.mri import CartesianEncoding
    from operators.mri.sampling import column_mask
    from recon3d.solvers.cg import conjugate_gradient
    from recon3d.synthetic.mri import coil_sensitivities

    maps = coil_sensitivities(15, (1, 320, 320), np.random.default_rng(0))
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    mask = torch.from_numpy(column_mask(320, 4, 0.08).astype(np.float32))
    times = []
    for device in ("cpu", "cuda"):
        A = CartesianEncoding(torch.from_numpy(maps).repeat(1, 16, 1, 1).to(device), mask.to(device))
        b = A.H(A(torch.rand(16, 320, 320, dtype=torch.complex64, device=device)))
        job = lambda A=A, b=b: conjugate_gradient(A.gram, b, max_steps=30, rtol=0, batch_ndim=1).x  # noqa: E731
        if device == "cuda":
            seconds, peak, _ = measured(job)
            moved = 30 * 2 * 4 * A.range.size * 8  # two transforms, each read and written twice
            print(f"SENSE, 16 x 15 x 320 x 320, 30 steps: CPU {times[0]:.2f} s, GPU {seconds:.3f} s, "
                  f"{moved / seconds / 1e12:.2f} TB/s of coil images, {peak:.2f} GiB")  # fmt: skip
        else:
            began = time.perf_counter()
            job()
            times.append(time.perf_counter() - began)


def cone() -> None:
    """Forward and back projection of 512^3 by a flat cone beam, 360 views of 512 x 512, by ASTRA."""
    import torch

    from operators.tomography import ImageGrid, TomographyGeometry, projector_for

    angles = np.arange(360) * np.pi / 180
    A = projector_for(TomographyGeometry.cone(angles, 1000.0, 1500.0, 512, 2.0, 512, 2.0),
                      ImageGrid((512, 512, 512)), device="cuda")  # fmt: skip
    x = torch.rand(512, 512, 512, device="cuda")
    forward, peak, y = measured(lambda: A(x))
    back = measured(lambda: A.H(y))[0]
    rays = 360 * 512 * 512 * 512 / 1e9
    print(f"cone 512^3, 360 x 512 x 512: FP {forward:.2f} s ({rays / forward:.0f} G samples/s), BP {back:.2f} s, "
          f"{peak:.1f} GiB")  # fmt: skip


def recurrent_varnet() -> None:
    """The published RecurrentVarNet (T = 8, 128 channels, 4 layers, refinement) on a slice of 15 coils, 320 x 320."""
    import torch

    from recon3d.priors.networks import build_network

    net = build_network({"kind": "recurrent_varnet", "steps": 8, "hidden": 128, "layers": 4}).cuda().eval()
    kspace = torch.randn(1, 15, 320, 320, dtype=torch.complex64, device="cuda")
    mask = torch.ones(1, 1, 320, 320, device="cuda")
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        seconds, peak, _ = measured(lambda: net(kspace, mask, kspace))
    print(f"RecurrentVarNet T = 8, 15 x 320 x 320: {1e3 * seconds:.0f} ms, {peak:.2f} GiB")


def network_ceiling() -> None:
    """The CT prior: slices a second, and its operations against those of a large matrix product in the same run."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from recon3d.priors import load_model

    model = load_model("ct-axial", "cuda", micro_batch=32)
    x = torch.randn(32, 256, 256, device="cuda")
    with FlopCounterMode(display=False) as counter:
        model.denoise(x, 0.5)
    seconds = measured(lambda: model.denoise(x, 0.5))[0]
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    best = 2 * 8192**3 / measured(lambda: a @ a)[0]
    share = counter.get_total_flops() / seconds / best
    print(f"prior ct-axial, 256 x 256: {32 / seconds:.0f} slices/s, {100 * share:.0f} % of a bfloat16 matrix product")


def training(devices: tuple[str, ...] = ("cpu", "cuda"), steps: int = 20) -> None:
    """Steps of the training of the CT prior with 16 patches of 64 x 64 from drawn bodies, data and update included."""
    from tempfile import TemporaryDirectory

    from recon3d.training.denoising import Denoising
    from recon3d.training.kinds import read_training
    from recon3d.training.state import TrainingState

    bodies = "data.sources=[{kind: synthetic, generator: anatomical-ct, count: 4, shape: [8, 96, 96]}]"
    for device in devices:
        with TemporaryDirectory() as folder:
            chosen = [bodies, "data.held_out=1", "data.patches=[[64, 16]]", f"work={folder}", f"device={device}"]
            config = read_training("train-ct-prior", chosen)
            state = TrainingState(Denoising(config, lambda *_, **__: None, 0, 1), config, 0, 1)  # type: ignore[arg-type]
            state.train_step()
            began = time.perf_counter()
            for _ in range(steps):
                state.train_step()  # which reads the loss, and so waits for the device
            seconds = (time.perf_counter() - began) / steps
        print(f"training of ct-axial on {device}: {1e3 * seconds:.0f} ms a step, {16 / seconds:.0f} patches/s")
