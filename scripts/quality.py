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
from pathlib import Path
from typing import Any

import numpy as np

PHOTONS = 1e6
ACQUISITIONS = {"8 views": (8, 180.0), "16 views": (16, 180.0), "90 degree arc": (90, 90.0)}
SIRT_STOPS = (20, 40, 80, 160)
TV_WEIGHTS = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
SCORING_SEEDS = (11, 12, 13)


def truth(case: str) -> Any:
    """The volume of a case: "totalseg" (real, needs RECON3D_SAMPLE_DATA) or "drawn-N" of the second generator."""
    import recon3d
    from recon3d.synthetic.ct_scoring import scoring_ct

    if case == "totalseg":
        folder = Path(os.environ["RECON3D_SAMPLE_DATA"])
        return recon3d.load(folder / "ct_volume" / "totalseg_example_ct_3mm.nii.gz")
    return scoring_ct((32, 128, 128), 3.0, int(case.removeprefix("drawn-")))


def run_one(case: str, acquisition: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Reconstruct one case by one method in this process; metrics, seconds and peak memory above the start."""
    import torch

    import recon3d
    from recon3d.evaluation.metrics import body_mask, compare
    from recon3d.runtime.device import set_threads

    set_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    volume = truth(case)
    views, arc = ACQUISITIONS[acquisition]
    scan = recon3d.simulate(volume, {"views": views, "arc_deg": arc}, noise={"photons": PHOTONS}, seed=5)
    problem = recon3d.problem_for(scan)
    problem.A.H(torch.zeros(problem.A.range.shape))  # compiled before the clock starts
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    result = recon3d.reconstruct(problem, method, **settings)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    score = compare(result.volume, volume, range="hu")
    body = body_mask(volume)
    error = np.where(body, np.clip(result.volume.data, -1000, 1500) - np.clip(volume.data, -1000, 1500), 0.0)
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
        "residual": result.facts.get("residual"),
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


def table(case: str, acquisition: str) -> None:
    """Print the rows of one case as Markdown."""
    print(f"\n### {case}, {acquisition}, {PHOTONS:.0e} photons\n")
    print("| method | PSNR dB | SSIM ax/cor/sag | slice error HU | slices 10/50/90 % dB | residual | s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    dds: dict[str, Any] = {"models": {"prior": "ct-axial"}}
    if "arc" in acquisition:
        dds["cg_steps"] = 20  # as in the recipe ct-limited-angle-dds
    rows = [("fbp", in_child(case, acquisition, "fbp", {"filter": "hann"}))]
    rows.append(best(case, acquisition, "sirt", "iterations", SIRT_STOPS))
    rows.append(best(case, acquisition, "tv", "weight", TV_WEIGHTS))
    for steps in (20, 50, 100):
        rows.append((f"dds {steps} steps", in_child(case, acquisition, "dds", {"steps": steps, **dds})))
    rows.append(("dds 50 steps, mean of 4", in_child(case, acquisition, "dds", {"steps": 50, "samples": 4, **dds})))
    for name, r in rows:
        ssim = "/".join(f"{s:.3f}" for s in r["ssim"])
        spread = "/".join(f"{s:.1f}" for s in r["per_slice"])
        residual = "" if r["residual"] is None else f"{r['residual']:.4f}"
        print(
            f"| {name} | {r['psnr']:.2f} | {ssim} | {r['slice_error']:.1f} | {spread} | {residual} "
            f"| {r['seconds']:.1f} | {r['peak_mib']:.0f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables of the cases that were named, or of all."""
    if sys.argv[1:2] == ["mbir"]:
        import quality_diffusion  # beside this file

        quality_diffusion.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["supervised"]:
        import quality_supervised

        quality_supervised.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run_one(*json.loads(sys.argv[2]))))
        return
    cases = sys.argv[1:] or [
        *(["totalseg"] if "RECON3D_SAMPLE_DATA" in os.environ else []),
        *(f"drawn-{seed}" for seed in SCORING_SEEDS),
    ]
    for case in cases:
        for acquisition in ACQUISITIONS:
            table(case, acquisition)


if __name__ == "__main__":
    main()
