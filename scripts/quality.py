"""Quality of CT methods on volumes that nothing was tuned on: one table per case.

Truth is projected from a grid twice as fine, with noise. SIRT is stopped, and the weight of TV chosen, with the
truth in hand; DDS runs as its recipe says. PSNR is in a window of 2500 HU inside the body.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

TABLES = {
    "mri": "quality_mri",
    "mbir": "quality_diffusion",
    "dynamic": "quality_dynamic",
    "policies": "quality_policies",
    "supervised": "quality_supervised",
    "seismic": "quality_seismic",
    "ultrasound": "quality_ultrasound",
}
"""Tables with a module of their own, by the first word of the command."""
PHOTONS = 1e6
ACQUISITIONS: dict[str, dict[str, Any]] = {
    "8 views": {"views": 8},
    "16 views": {"views": 16},
    "90 degree arc": {"views": 90, "arc_deg": 90.0},
    "60 view cone": {"views": 60, "beam": "cone"},
}
THICK = 4
"""Slices that are averaged into a thick one, in the table "thick slices"."""
RESTORATIONS = ("thick slices", "noise")
SIRT_STOPS = (20, 40, 80, 160)
TV_WEIGHTS = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
NOISE_HU = 40.0
SCORING_SEEDS = (11, 12, 13)


def truth(case: str) -> Any:
    """The volume of a case: "totalseg" (real, needs RECON3D_SAMPLE_DATA), or one of the second generator.

    "drawn-N" has voxels of 3 mm, "fine-N" slices of 1.25 mm, as made of thick ones of 5 mm.
    """
    import recon3d
    from recon3d.synthetic.ct_scoring import scoring_ct

    if case == "totalseg":
        folder = Path(os.environ["RECON3D_SAMPLE_DATA"])
        return recon3d.load(folder / "ct_volume" / "totalseg_example_ct_3mm.nii.gz")
    style, _, seed = case.partition("-")
    if style == "fine":
        return scoring_ct((64, 96, 96), (1.25, 3.0, 3.0), int(seed))
    return scoring_ct((32, 128, 128), (3.0, 3.0, 3.0), int(seed))


def restored(volume: Any, problem: str, method: str, settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A volume restored from thick slices, or from white noise, with the facts; "cubic" and "noisy" are baselines."""
    import recon3d
    from recon3d.acquisitions.image import image_scan

    if problem == "noise":
        noise = np.random.default_rng(5).standard_normal(volume.data.shape).astype(np.float32)
        noisy = volume.with_data(volume.data + NOISE_HU * noise)
        if method == "noisy":
            return noisy, {}
        result = recon3d.reconstruct(recon3d.problem_for(image_scan(noisy)), method, **settings)
        return result.volume, dict(result.facts)
    z, y, x = volume.data.shape
    assert z % THICK == 0
    means = volume.data.reshape(z // THICK, THICK, y, x).mean(axis=1, dtype=np.float64).astype(np.float32)
    thick = recon3d.Volume(means, volume.grid.resampled(means.shape), units=volume.units)
    if method == "cubic":
        from scipy.interpolate import CubicSpline

        at = np.clip((np.arange(z) + 0.5) / THICK - 0.5, 0, len(means) - 1)
        return volume.with_data(CubicSpline(np.arange(len(means)), means, axis=0)(at).astype(np.float32)), {}
    scan = image_scan(thick, slice_mm=volume.voxel_mm[0])
    result = recon3d.reconstruct(recon3d.problem_for(scan), method, **settings)
    return result.volume, dict(result.facts)


def run_one(case: str, acquisition: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Reconstruct one case by one method in this process; metrics, seconds and peak memory above the start."""
    import torch

    import recon3d
    from recon3d.evaluation.metrics import body_mask, compare
    from recon3d.runtime.device import set_threads

    set_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    volume = truth(case)
    if acquisition not in RESTORATIONS:
        scan = recon3d.simulate(volume, ACQUISITIONS[acquisition], noise={"photons": PHOTONS}, seed=5)
        problem = recon3d.problem_for(scan)
        problem.A.H(torch.zeros(problem.A.range.shape))  # compiled before the clock starts
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if acquisition in RESTORATIONS:
        image, facts = restored(volume, acquisition, method, settings)
    else:
        result = recon3d.reconstruct(problem, method, **settings)
        image, facts = result.volume, dict(result.facts)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    score = compare(image, volume, range="hu")
    body = body_mask(volume)
    error = np.where(body, np.clip(image.data, -1000, 1500) - np.clip(volume.data, -1000, 1500), 0.0)
    counts = body.sum(axis=(1, 2))
    per_slice = [
        10 * np.log10(2500**2 / max(float((e**2).sum()) / n, 1e-9))
        for e, n in zip(error, counts, strict=True)
        if n > 50
    ]
    return {
        "psnr": score.psnr_db,
        "ssim": list(score.ssim.values()),
        "slice_error": score.slice_to_slice,
        "per_slice": [float(np.percentile(per_slice, q)) for q in (10, 50, 90)],
        "seconds": seconds,
        "peak_mib": peak / 1024,
        "residual": facts.get("residual"),
    }


def in_child(*arguments: Any) -> dict[str, Any]:
    """`run_one` in a process of its own, so that peaks are its own."""
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return answer


def best(case: str, acquisition: str, method: str, name: str, values: tuple[float, ...]) -> tuple[str, dict[str, Any]]:
    """The setting with the highest PSNR."""
    tried = {value: in_child(case, acquisition, method, {name: value}) for value in values}
    chosen = max(tried, key=lambda value: tried[value]["psnr"])
    return f"{method} ({name}={chosen:g}, of {len(values)})", tried[chosen]


def scan_rows(case: str, acquisition: str) -> list[tuple[str, dict[str, Any]]]:
    """Every method on one simulated scan."""
    dds: dict[str, Any] = {"models": {"prior": "ct-axial"}}
    if "arc" in acquisition:
        dds["cg_steps"] = 20  # as in the recipe ct-limited-angle-dds
    rows = [("fbp", in_child(case, acquisition, "fbp", {"filter": "hann"}))]
    rows.append(best(case, acquisition, "sirt", "iterations", SIRT_STOPS))
    rows.append(best(case, acquisition, "tv", "weight", TV_WEIGHTS))
    for steps in (20, 50, 100):
        rows.append((f"dds {steps} steps", in_child(case, acquisition, "dds", {"steps": steps, **dds})))
    rows.append(("dds 50 steps, mean of 4", in_child(case, acquisition, "dds", {"steps": 50, "samples": 4, **dds})))
    return rows


def restoration_rows(case: str, problem: str) -> list[tuple[str, dict[str, Any]]]:
    """The recipes that restore volumes against doing nothing or interpolation; nothing is chosen with the truth."""
    from recon3d.config import read_recipe

    baseline = "noisy" if problem == "noise" else "cubic"
    recipes = ("denoise-tv", "denoise-prior") if problem == "noise" else ("thin-slices-tv", "thin-slices-dds")
    rows = [(baseline, in_child(case, problem, baseline, {}))]
    for recipe in recipes:
        content = read_recipe(recipe)[1]
        settings = {k: v for k, v in content["method"].items() if k != "name"}
        settings |= {"models": content["models"]} if "models" in content else {}
        rows.append((recipe, in_child(case, problem, content["method"]["name"], settings)))
    return rows


def table(case: str, acquisition: str) -> None:
    """Print the rows of one case as Markdown."""
    extra = {"thick slices": f"{THICK} into 1", "noise": f"{NOISE_HU:g} HU"}.get(acquisition, f"{PHOTONS:.0e} photons")
    print(f"\n### {case}, {acquisition}, {extra}\n")
    print("| method | PSNR dB | SSIM ax/cor/sag | slice error HU | slices 10/50/90 % dB | residual | s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, r in (restoration_rows if acquisition in RESTORATIONS else scan_rows)(case, acquisition):
        ssim = "/".join(f"{s:.3f}" for s in r["ssim"])
        spread = "/".join(f"{s:.1f}" for s in r["per_slice"])
        residual = "" if r["residual"] is None else f"{r['residual']:.4f}"
        print(
            f"| {name} | {r['psnr']:.2f} | {ssim} | {r['slice_error']:.1f} | {spread} | {residual} "
            f"| {r['seconds']:.1f} | {r['peak_mib']:.0f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables of the cases that were named ("totalseg", or one table: "totalseg/8 views"), or of all."""
    if sys.argv[1:2] and sys.argv[1] in TABLES:
        import_module(TABLES[sys.argv[1]]).main(sys.argv[2:])  # beside this file
        return
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run_one(*json.loads(sys.argv[2]))))
        return
    cases = sys.argv[1:] or [
        *(["totalseg"] if "RECON3D_SAMPLE_DATA" in os.environ else []),
        *(f"drawn-{seed}" for seed in SCORING_SEEDS),
    ]
    for named in cases:
        case, _, acquisition = named.partition("/")
        for each in [acquisition] if acquisition else [*ACQUISITIONS, *RESTORATIONS]:
            table(case, each)


if __name__ == "__main__":
    main()
