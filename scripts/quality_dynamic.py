"""Quality of methods for series on drawn objects that nothing was tuned on: one view per instant; cine MRI at R = 8.

Objects come from the second generator (`style="scoring"`); settings were tuned on the first one. The window of the
sliding-window images is chosen with the truth in hand, as are the weights of L+S; everything else runs at its
defaults. CT: PSNR in a window of 2500 HU inside the field of view, over all frames. MRI: PSNR of magnitudes, range:
the maximum of the series.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SEED = 11
INSTANTS = (64, 128, 256)
WINDOWS = (0.125, 0.25, 0.5)
LPS = ((0.003, 0.01), (0.01, 0.01), (0.003, 0.003), (0.03, 0.01))
CT_ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "psm, plain": ("psm", {"regulariser": "none", "iterations": 5}),
    "psm, TV": ("psm", {}),
    "red_psm, ct-axial": ("red_psm", {"models": {"prior": "ct-axial"}}),
}


def draw(folder: Path, kind: str, frames: int) -> None:
    """Truth and scan of a case as files, so that each method runs in a process that drew nothing."""
    import recon3d
    from recon3d.synthetic.dynamic import draw_series
    from recon3d.synthetic.dynamic_scans import simulate_ct_series, simulate_mri_series

    volume = draw_series(kind, seed=SEED, style="scoring", frames=frames)  # type: ignore[arg-type]
    recon3d.save(volume, folder / "truth.h5")
    ct = kind == "walnut"
    scan = simulate_ct_series(volume, noise_std=5e-3, seed=5) if ct else simulate_mri_series(volume, seed=5)
    recon3d.save(scan, folder / "scan.h5")


def psnr_db(result: np.ndarray, truth: np.ndarray, units: str) -> float:
    """See the module."""
    if units != "HU":
        return 10 * float(np.log10(truth.max() ** 2 / np.mean((np.abs(result) - truth) ** 2)))
    y, x = (np.arange(n) - (n - 1) / 2 for n in truth.shape[-2:])
    inside = y[:, None] ** 2 + x**2 <= (truth.shape[-1] / 2) ** 2
    error = (np.clip(result, -1000, 1500) - np.clip(truth, -1000, 1500))[..., inside]
    return 10 * float(np.log10(2500**2 / np.mean(error**2)))


def peak_mib() -> float:
    """Not ru_maxrss, which a child inherits."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def run_one(folder: str, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One method on the case in a folder."""
    import torch

    import recon3d
    from recon3d.methods import make_method
    from recon3d.methods.roles import models_for
    from recon3d.run import SilentRun

    torch.set_num_threads(1)
    truth, scan = recon3d.load(Path(folder) / "truth.h5"), recon3d.load(Path(folder) / "scan.h5")
    problem = recon3d.problem_for(scan)
    settings = dict(settings)
    names = settings.pop("models", None)
    made = make_method(method, settings)
    models = models_for(made, problem, names, force=True)
    problem.A.H(problem.A(problem.domain.zeros()))  # compiled before the clock starts
    run, before, began = SilentRun(), peak_mib(), time.perf_counter()
    cpu = time.process_time()
    result = made.reconstruct(problem, models, run)
    facts = {name: value for name, value in result.facts.items() if name in ("rank", "residual", "window")}
    return {
        "psnr": psnr_db(result.volume.data, truth.data, truth.units),
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "mib": peak_mib() - before,
        "sweeps": len(run.trace),
        **facts,
    }


def in_child(folder: Path, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`run_one` in a process of its own, so that its peak is its own."""
    command = [sys.executable, __file__, "--one", json.dumps([str(folder), method, settings])]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return answer


def ceiling(folder: Path, rank: int) -> float:
    """PSNR of the best series of that rank: what no choice of factors can exceed."""
    import recon3d

    truth = recon3d.load(folder / "truth.h5")
    left, values, right = np.linalg.svd(truth.data.reshape(len(truth.data), -1), full_matrices=False)
    return psnr_db(((left[:, :rank] * values[:rank]) @ right[:rank]).reshape(truth.data.shape), truth.data, truth.units)


def row(name: str, r: dict[str, Any]) -> None:
    cells = [f"{r['psnr']:.2f}", f"{r['residual']:.4f}" if "residual" in r else "", str(r["sweeps"] or "")]
    print(f"| {name} | {' | '.join(cells)} | {r['cpu']:.0f} | {r['seconds']:.0f} | {r['mib']:.0f} |", flush=True)


def table(kind: str, frames: int, priors: Sequence[str] = ()) -> None:
    """Print the rows of one case as Markdown."""
    from recon3d.methods.series import default_rank

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder, kind, frames)
        what = "one view per instant, 128 x 128" if kind == "walnut" else "cine MRI, R = 8, 8 coils, 128 x 128"
        series_mib = frames * 128 * 128 * (4 if kind == "walnut" else 8) / 2**20
        print(f"\n### {kind} (scoring style), {frames} instants, {what}; a series takes {series_mib:.0f} MiB\n")
        print("| method | PSNR dB | residual | iterations | CPU s | s | peak MiB |")
        print("|---|---|---|---|---|---|---|")
        tried = {w: in_child(folder, "sliding_window", {"window": round(w * frames)}) for w in WINDOWS}
        chosen = max(tried, key=lambda w: tried[w]["psnr"])
        inner = "fbp" if kind == "walnut" else "cg"
        row(f"sliding_window, {inner}, {round(chosen * frames)} frames (best of {len(WINDOWS)})", tried[chosen])
        if kind == "walnut":
            for name, (method, settings) in CT_ROWS.items():
                row(name, in_child(folder, method, settings))
            best = ceiling(folder, default_rank(frames))
            print(f"| best series of rank {default_rank(frames)} | {best:.2f} | | | | | |", flush=True)
            return
        results = {w: in_child(folder, "lps", {"low_rank": w[0], "sparse": w[1]}) for w in LPS}
        best_weights = max(results, key=lambda w: results[w]["psnr"])
        row(f"lps, {best_weights[0]:g} and {best_weights[1]:g} (best of {len(LPS)})", results[best_weights])
        row("temporal_tv", in_child(folder, "temporal_tv", {}))
        row("psm, TV", in_child(folder, "psm", {}))
        for prior in priors:
            row(f"red_psm, {Path(prior).stem}", in_child(folder, "red_psm", {"models": {"prior": prior}}))


def main(cases: list[str]) -> None:
    """Print the tables: "64", "128", "256" (CT), "cine", or all; names of MRI priors may follow "cine"."""
    if cases[:1] == ["--one"]:
        print(json.dumps(run_one(*json.loads(cases[1]))))
        return
    for case in cases[:1] or [*map(str, INSTANTS), "cine"]:
        table("heart", 24, cases[1:]) if case == "cine" else table("walnut", int(case))


if __name__ == "__main__":
    main(sys.argv[1:])
