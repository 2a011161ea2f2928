"""Quality of seismic interpolation on cubes of the second style, which nothing was trained or tuned on.

``python scripts/quality_seismic.py masks`` scores every mask on linear, folded and faulted cubes, ``large`` a cube of
64 x 64 x 128, ``memory`` one of 200 x 200 x 500, ``f3`` the real survey of RECON3D_SAMPLE_DATA. SNR is in dB on missing
traces alone, capped at 35, and the mean over three cubes. ``masks METHOD ...`` adds columns to the store
(RECON3D_QUALITY_STORE) of the table.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recon3d
import recon3d.synthetic.seismic
from operators.seismic import MASK_FAMILIES, trace_mask
from recon3d.acquisitions.seismic import fold_of
from recon3d.errors import InputError
from recon3d.evaluation.seismic import CAP_DB, seam_ratio, snr_db
from recon3d.problem import problem_for
from recon3d.scan import Scan
from recon3d.solvers.gaps import first_guess
from recon3d.solvers.windows import starts
from recon3d.synthetic.seismic_masks import masked
from recon3d.synthetic.seismic_scoring import SCORING_FAMILIES, scoring_cube

SHAPE = (48, 48, 64)
MISSING = (0.3, 0.5, 0.7)
SEEDS = (21, 22, 23)
SEED = SEEDS[0]
GUESS = "first guess"
"""Of `seisfusion`: what its network is given to refine, so that its own share can be seen."""
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "pocs": [{"iterations": 100}, {"iterations": 25}],
    "mssa": [{"rank": 6, "overlap": 0.25}],
    "fx_prediction": [{}],
    GUESS: [{}],
    "seisfusion": [{}],
}
"""Columns; of a method with several settings the best is shown, chosen with the truth."""
CLASSICAL = ("pocs", "mssa", "fx_prediction")
MODEL = os.environ.get("RECON3D_INTERPOLATOR", "seismic-cubes")


def score(truth: np.ndarray, scan: Scan, method: str, **settings: Any) -> tuple[float, float, Any]:
    """SNR on missing traces, seconds, and the reconstruction; not a number where a method refuses the mask."""
    models = {"interpolator": MODEL} if method == "seisfusion" else None
    began = time.perf_counter()
    try:
        result = recon3d.reconstruct(problem_for(scan), method, models=models, **settings)
    except InputError:
        return float("nan"), 0.0, None
    gaps = fold_of(scan) == 0
    return min(CAP_DB, snr_db(truth, result.volume.data, gaps)), time.perf_counter() - began, result


def guess_score(truth: np.ndarray, live: np.ndarray) -> float:
    """SNR of the first guess on missing traces."""
    rms = float(np.sqrt(np.mean(truth[live] ** 2)))
    data = torch.from_numpy(np.where(live[..., None], truth, 0.0).astype(np.float32)) / rms
    found = first_guess(data, torch.from_numpy(live)[..., None].float())
    return min(CAP_DB, snr_db(truth, rms * found.numpy(), ~live))


def column(store: Path, families: Sequence[str], methods: Sequence[str]) -> None:
    """Score methods on every mask of the families, each with the best of its settings, and keep it in `store`."""
    for seed, family, mask in product(SEEDS, families, MASK_FAMILIES):
        truth = scoring_cube(family, SHAPE, seed)
        for missing in MISSING:
            known = json.loads(store.read_text()) if store.exists() else {}
            live = trace_mask(mask, SHAPE[:2], missing, np.random.default_rng(seed))
            for method in methods:
                key = f"{family} {mask} {missing} {seed} {method}"
                if key in known:
                    continue
                if method == GUESS:
                    found = [guess_score(truth.data, live)]
                else:
                    scan = masked(truth, live)
                    found = [score(truth.data, scan, method, **settings)[0] for settings in SETTINGS[method]]
                known[key] = max(found)
                print(f"{key}: {known[key]:.1f}", flush=True)
            store.write_text(json.dumps(known, indent=1))


def table(store: Path, families: Sequence[str]) -> None:
    """The means over the seeds in `store`, and by how much `seisfusion` leads the best classical one on each."""
    known = json.loads(store.read_text())
    print("| cube | mask | missing | " + " | ".join(SETTINGS) + " | ahead, by cube |")
    print("|---|---|---|" + "---|" * (len(SETTINGS) + 1))
    for family, mask, missing in product(families, MASK_FAMILIES, MISSING):
        snrs = {
            method: np.array([known.get(f"{family} {mask} {missing} {seed} {method}", np.nan) for seed in SEEDS])
            for method in SETTINGS
        }
        ahead = snrs["seisfusion"] - np.nanmax([snrs[method] for method in CLASSICAL], axis=0)
        row = " | ".join("" if np.isnan(snr.mean()) else f"{snr.mean():.1f}" for snr in snrs.values())
        print(f"| {family} | {mask} | {missing:.0%} | {row} | {', '.join(f'{lead:+.1f}' for lead in ahead)} |")


def large() -> None:
    """A cube of 64 x 64 x 128 with a wide gap and with random traces missing; also in tiles, for their seams."""
    truth = scoring_cube("faulted", (64, 64, 128), SEED)
    print("| mask | pocs | seisfusion, whole | in tiles of 40 x 40 x 64 | steps across tile faces over elsewhere |")
    print("|---|---|---|---|---|")
    for mask in ("gap", "random"):
        live = trace_mask(mask, (64, 64), 0.3, np.random.default_rng(SEED))
        scan = masked(truth, live)
        whole = score(truth.data, scan, "seisfusion", tile=(64, 64, 128))[0]
        snr, _, tiled = score(truth.data, scan, "seisfusion", tile=(40, 40, 64))
        faces = {
            k: starts(n, side, 0.25)[1:] for k, (n, side) in enumerate(zip((64, 64, 128), (40, 40, 64), strict=True))
        }
        reference = seam_ratio(truth.data, faces)
        seams = seam_ratio(tiled.volume.data, faces) / reference
        pocs = max(score(truth.data, scan, "pocs", **settings)[0] for settings in SETTINGS["pocs"])
        print(f"| {mask} | {pocs:.1f} | {whole:.1f} | {snr:.1f} | {seams:.3f} |", flush=True)


def memory() -> None:
    """A cube of 200 x 200 x 500 that lacks a band of lines, with 2 steps: seconds and peak memory."""
    live = trace_mask("gap", (200, 200), 0.2, np.random.default_rng(SEED))
    crossline, inline = np.nonzero(live)
    delay = 0.3 * crossline + 0.2 * inline + 12 * np.sin(crossline / 17) * np.sin(inline / 23)  # folds
    series = np.random.default_rng(SEED).standard_normal(700) * (np.arange(700) % 5 == 0)
    layers = np.convolve(series, np.diff(np.hanning(12), 2), "same")
    data = np.interp(np.arange(500) + 50 + delay[:, None], np.arange(700), layers).astype(np.float32)
    grid = recon3d.synthetic.seismic.survey((200, 200, 500))
    bins = {"crossline": crossline.astype(np.int32), "inline": inline.astype(np.int32)}
    scan = Scan("seismic", data, ("trace", "sample"), bins, grid)
    began = time.perf_counter()
    recon3d.reconstruct(problem_for(scan), "seisfusion", models={"interpolator": MODEL}, steps=2, result="samples")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"200 x 200 x 500, 2 steps: {time.perf_counter() - began:.0f} s, peak memory {peak:.2f} GiB")


def f3() -> None:
    """The real survey with 175 missing traces, scored on the complete one."""
    folder = Path(os.environ["RECON3D_SAMPLE_DATA"]) / "seismic"
    truth, scan = recon3d.load(folder / "f3.sgy"), recon3d.load(folder / "f3-withdead.sgy")
    for method, settings in (("pocs", {}), ("mssa", {"rank": 4}), ("seisfusion", {})):
        snr, seconds, _ = score(truth.data, scan, method, **settings)
        print(f"f3-withdead, {method}: {snr:.2f} dB on 175 missing traces, {seconds:.0f} s", flush=True)


def main(arguments: list[str]) -> None:
    """Print the table that is named: "masks" (of some methods, or all), "large", "memory" or "f3"."""
    torch.set_num_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    part, *methods = arguments or ["masks"]
    if part == "masks":
        store = Path(os.environ.get("RECON3D_QUALITY_STORE", "quality-seismic.json"))
        column(store, SCORING_FAMILIES, methods or list(SETTINGS))
        table(store, SCORING_FAMILIES)
    else:
        {"large": large, "memory": memory, "f3": f3}[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
