"""Every method on one small drawn problem of its kind, from a seed: quality, time, peak memory and network calls."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Made = tuple[Any, Any]
"""A problem and its truth."""


def ct() -> Made:
    import recon3d
    from recon3d.synthetic.ct_scoring import scoring_ct

    truth = scoring_ct((8, 96, 96), 3.0, 11)
    return recon3d.problem_for(recon3d.simulate(truth, {"views": 8}, noise={"photons": 1e6}, seed=5)), truth


def mri() -> Made:
    import recon3d
    from recon3d.synthetic.mri_scoring import scoring_mri

    truth = scoring_mri("brain", (4, 128, 128), (4.0, 1.6, 1.6), 3)
    head = truth.with_data(np.abs(truth.data))

    def measured(acceleration: float, snr: float | None) -> Any:
        scan = recon3d.simulate(
            head, {"kind": "mri", "coils": 8, "acceleration": acceleration}, noise={"snr": snr}, seed=5
        )
        return recon3d.problem_for(scan)

    seen = recon3d.reconstruct(measured(1.0, None), "zero_filled").volume  # as the coils see it, shading included
    return measured(4.0, 40.0), seen


def series() -> Made:
    import recon3d
    from recon3d.synthetic.dynamic import draw_series

    truth = draw_series("walnut", seed=2, style="scoring", shape=(1, 64, 64), frames=32)
    scan = recon3d.simulate(truth, {"kind": "ct-series", "order": "bit-reversed"}, noise={"noise_std": 5e-3}, seed=5)
    return recon3d.problem_for(scan), truth


def seismic(mask: str = "random") -> Made:
    import recon3d
    from recon3d.synthetic.seismic import layered_cube

    truth = layered_cube((32, 32, 96), seed=5, family="faulted")
    scan = recon3d.simulate(truth, {"kind": "seismic", "mask": mask, "missing": 0.5}, seed=5)
    return recon3d.problem_for(scan), truth


def ultrasound() -> Made:
    import recon3d
    from recon3d.acquisitions.beamformed import beamformed_scan
    from recon3d.synthetic.ultrasound_scoring import hazy_frames

    frames = hazy_frames(31)
    hazy, clean = (
        recon3d.Volume(rf.astype(np.float32), frames.grid) for rf in (frames.measured(0.4, 31), frames.tissue)
    )
    return recon3d.problem_for(beamformed_scan(hazy)), clean


PROBLEMS: dict[str, tuple[Callable[[], Made], str, tuple[str, ...]]] = {
    "ct": (
        ct,
        "8 slices of 96 x 96, 8 views",
        ("ct-parallel-fbp", "ct-parallel-sirt", "ct-parallel-tv", "ct-8view-dds", "ct-8view-diffusion-mbir-fast"),
    ),
    "mri": (
        mri,
        "4 slices of 128 x 128, 8 coils, R = 4",
        (
            "mri-zero-filled", "mri-cg-sense", "mri-tv", "mri-l1-wavelet", "mri-r4-dds", "mri-diffusion-mbir-fast",
            "mri-recurrent-varnet", "mri-active",
        ),
    ),
    "series": (
        series,
        "32 frames of 64 x 64, a view each",
        ("dynamic-ct-fbp", "dynamic-ct-psm-tv", "dynamic-ct-red-psm"),
    ),
    "seismic": (
        seismic,
        "32 x 32 traces, half of them missing",
        ("seismic-pocs", "seismic-mssa", "seismic-seisfusion"),
    ),
    "seismic, regular": (
        partial(seismic, "regular"),
        "32 x 32 traces, each second line missing",
        ("seismic-fx", "seismic-seisfusion"),
    ),
    "ultrasound": (ultrasound, "hazy RF, 112 beams of 1024 samples", ("nonlocal_means", "wiener", "ultrasound-dehaze")),
}  # fmt: skip
"""Kind -> how it is made, what it is, and the recipes (or methods that have none) that take it."""
SHORT: dict[str, dict[str, Any]] = {"mri-active": {"steps": 20}, "ultrasound-dehaze": {"samples": 1}}
"""Settings other than as shipped, to keep the table to a few minutes."""


def one(kind: str, recipe: str) -> dict[str, Any]:
    """Run one recipe on its problem in this process."""
    import torch

    import recon3d
    from recon3d.config import read_recipe
    from recon3d.evaluation.metrics import compare
    from recon3d.priors import load_model

    torch.set_num_threads(1)
    problem, truth = PROBLEMS[kind][0]()
    if kind == "ct":
        problem.A.H(problem.A(problem.A.domain.zeros()))  # compiled before the clock starts
    content = read_recipe(recipe)[1] if "-" in recipe else {"method": {"name": recipe}}
    settings = {**content["method"], **SHORT.get(recipe, {})}
    name = settings.pop("name")
    models = {role: load_model(model) for role, model in content.get("models", {}).items()}
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    for model in models.values():
        model.network.register_forward_hook(count)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    result = recon3d.reconstruct(problem, name, models=models, **settings)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = result.volume
    if np.iscomplexobj(found.data):
        found = found.with_data(np.abs(found.data))
    if np.iscomplexobj(truth.data):
        truth = truth.with_data(np.abs(truth.data))
    score = compare(found, truth, range="maximum") if kind == "ultrasound" else compare(found, truth)
    return {
        "psnr": score.psnr_db,
        "ssim": float(np.nanmean(list(score.ssim.values()))),  # none across fewer than seven slices
        "seconds": seconds,
        "peak": peak / 1024,
        "calls": calls,
    }


def everything() -> None:
    """One table; each recipe in a process of its own, so that peaks are its own."""
    print("| problem | recipe | PSNR dB | SSIM | CPU s | peak MiB | network calls |")
    print("|---|---|---|---|---|---|---|")
    for kind, (_, what, recipes) in PROBLEMS.items():
        for recipe in recipes:
            command = [sys.executable, __file__, kind, recipe]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {kind} | {recipe} | {done.stderr.strip().splitlines()[-1]} |", flush=True)
                continue
            r = json.loads(done.stdout.splitlines()[-1])
            changed = "".join(f", {name}={value}" for name, value in SHORT.get(recipe, {}).items())
            print(
                f"| {kind}: {what} | {recipe}{changed} | {r['psnr']:.2f} | {r['ssim']:.3f} | {r['seconds']:.2f} "
                f"| {r['peak']:.0f} | {r['calls']} |",
                flush=True,
            )


if __name__ == "__main__":
    print(json.dumps(one(*sys.argv[1:])))
