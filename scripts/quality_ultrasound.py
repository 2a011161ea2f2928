"""Quality of dehazing on RF of the second style, which nothing was trained or tuned on.

``python scripts/quality.py ultrasound table`` scores every method at four strengths of haze; ``table METHOD ...`` adds
columns to the store (RECON3D_QUALITY_STORE). ``tune METHOD SETTINGS`` scores settings, a JSON object, on RF of the
training style; ``disk FOLDER`` adds drawn haze, of the training style, to the rotating disk of RECON3D_SAMPLE_DATA and
draws it before and after; ``flicker`` scores a cine whose tissue stands still, with and without a warm start.
gCNR and CNR are of the envelope in decibels, chamber against muscle; KS is of the envelope of muscle to that of the
clean RF; PSNR is of RF, relative to the peak of the clean RF.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recon3d
from operators.ultrasound import envelope
from operators.ultrasound.drawn_rf import BeamSpace, haze_rf, tissue_rf
from recon3d.acquisitions.beamformed import beamformed_scan
from recon3d.evaluation.ultrasound import cnr, gcnr, ks_distance, rf_psnr_db
from recon3d.grid import BeamGrid
from recon3d.methods.beamformed import Beamformed
from recon3d.problem import problem_for
from recon3d.synthetic.ultrasound import grid_of
from recon3d.synthetic.ultrasound_scoring import hazy_frames

STRENGTHS = (0.1, 0.2, 0.4, 0.8)
SEEDS = (31, 32, 33)
CINE = 8
"""Frames that the filter by motion sees; its scores are of the first."""
MODELS = {role: os.environ.get(f"RECON3D_{role.upper()}_PRIOR", f"ultrasound-{role}") for role in ("tissue", "haze")}
METHODS: dict[str, dict[str, Any]] = {
    "hazy": {},
    "svd_clutter": {},
    "wiener": {},
    "nonlocal_means": {},
    "dehaze": {"samples": 8},
    "dehaze 1 sample": {"samples": 1},
    "dehaze published 1 sample": {"samples": 1, "guidance": "published"},
}
FLOOR = 1e-4
"""Added to envelopes before decibels, relative to speckle."""


def dehazed(rf: np.ndarray, grid: BeamGrid, method: str, settings: dict[str, Any]) -> np.ndarray:
    """RF (frame, beam, depth) after a method."""
    name = method.split()[0]
    if name == "hazy":
        return rf
    times = tuple(float(t) for t in range(len(rf))) if len(rf) > 1 else None
    data = rf[:, None] if times else rf
    scan = beamformed_scan(recon3d.Volume(data.astype(np.float32), grid, times_s=times))
    models = MODELS if name == "dehaze" else None
    result = recon3d.reconstruct(problem_for(scan), name, models=models, **settings)
    return result.volume.data.reshape(rf.shape)


def scores(found: np.ndarray, clean: np.ndarray, chamber: np.ndarray, muscle: np.ndarray) -> dict[str, float]:
    """Of one frame of RF (beam, depth)."""
    amplitude, true = (envelope(torch.from_numpy(np.asarray(rf, dtype=np.float64))).numpy() for rf in (found, clean))
    db, true_db = (20 * np.log10(a + FLOOR) for a in (amplitude, true))
    return {
        "gcnr": gcnr(db[chamber], db[muscle]),
        "clean gcnr": gcnr(true_db[chamber], true_db[muscle]),
        "cnr": cnr(db[chamber], db[muscle]),
        "ks": ks_distance(amplitude[muscle], true[muscle]),
        "psnr": rf_psnr_db(found, clean),
    }


def column(store: Path, methods: list[str]) -> None:
    """Score methods on every strength and seed that `store` lacks."""
    known = json.loads(store.read_text()) if store.exists() else {}
    for seed in SEEDS:
        for method in methods:
            frames = CINE if method == "svd_clutter" else 1
            truth = None
            for strength in STRENGTHS:
                key = f"{method}/{strength}/{seed}"
                if key in known:
                    continue
                truth = truth or hazy_frames(seed, frames)
                began = time.perf_counter()
                found = dehazed(truth.measured(strength, seed), truth.grid, method, METHODS[method])
                seconds = time.perf_counter() - began
                scored = scores(found[0], truth.tissue[0], truth.chamber[0], truth.muscle[0])
                known[key] = scored | {"seconds": seconds}
                store.write_text(json.dumps(known, indent=1))
                print(key, {name: round(value, 3) for name, value in known[key].items()}, flush=True)


def table(store: Path) -> None:
    """The rows of what is in `store`, means over the seeds."""
    known = json.loads(store.read_text())
    names = ("gcnr", "cnr", "ks", "psnr", "seconds")
    print("| haze | method | gCNR (clean) | CNR | KS of muscle | RF PSNR dB | s |\n|---|---|---|---|---|---|---|")
    for strength in STRENGTHS:
        for method in METHODS:
            rows = [known[key] for seed in SEEDS if (key := f"{method}/{strength}/{seed}") in known]
            if rows:
                mean = {name: float(np.mean([row[name] for row in rows])) for name in (*names, "clean gcnr")}
                print(
                    f"| {strength} | {method} | {mean['gcnr']:.3f} ({mean['clean gcnr']:.3f}) | {mean['cnr']:.2f} "
                    f"| {mean['ks']:.3f} | {mean['psnr']:.1f} | {mean['seconds']:.0f} |"
                )


def tune(method: str, settings: dict[str, Any], seeds: tuple[int, ...] = (5, 6), side: int = 512) -> None:
    """Settings on RF of the training style, a disc of no echo in speckle, at a strength of 0.2 and 0.4."""
    for strength in (0.2, 0.4):
        found = []
        for seed in seeds:
            rng = np.random.default_rng([0x7E5E, seed])
            space = replace(BeamSpace.of(1 / 7.5, 0.035, 0.3), first_depth_mm=12.0)
            clean, haze = tissue_rf(space, (1, 112, side), rng), haze_rf(space, (1, 112, side), rng)
            x, z = (np.arange(112)[:, None] - 56) * space.pitch_mm, (np.arange(side) - side / 2) * space.depth_step_mm
            from_middle = np.hypot(x, z)
            clean = np.where(from_middle < 5, 0.03, 1.0) * clean
            haze /= np.sqrt(np.mean(haze**2))
            rf = clean + strength * haze + 0.003 * rng.standard_normal(clean.shape)
            began = time.perf_counter()
            out = dehazed(rf, grid_of(space, rf.shape), method, settings)
            seconds = time.perf_counter() - began
            muscle = (from_middle > 7) & (np.abs(z) < 0.45 * side * space.depth_step_mm)
            found.append(scores(out[0], clean[0], from_middle < 4, muscle) | {"s": seconds})
        mean = {name: round(float(np.mean([row[name] for row in found])), 3) for name in found[0]}
        print(method, settings, strength, mean, flush=True)


def flicker(seed: int = 34, frames: int = 4, samples: int = 512) -> None:
    """Still tissue behind haze that drifts and noise: by how many decibels muscle changes from frame to frame."""
    truth = hazy_frames(seed, frames, samples=samples)
    still = replace(truth, tissue=np.repeat(truth.tissue[:1], frames, axis=0))
    rf, muscle = still.measured(0.2, seed), truth.muscle[0]
    runs: dict[str, dict[str, Any]] = {
        "hazy": {},
        "wiener": {},
        "dehaze": {"warm_start": 0.3},
        "dehaze, each frame from noise": {"warm_start": None},
    }
    print("| method | change of muscle from frame to frame, dB | RF PSNR of the last frame, dB |\n|---|---|---|")
    for name, settings in runs.items():
        settings = settings | ({"samples": 1} if settings else {})
        found = dehazed(rf, truth.grid, name.split(",")[0], settings)
        db = 20 * np.log10(envelope(torch.from_numpy(found.astype(np.float64))).numpy() + FLOOR)[:, muscle]
        change = float(np.mean(np.abs(np.diff(db, axis=0))))
        print(f"| {name} | {change:.2f} | {rf_psnr_db(found[-1], still.tissue[-1]):.1f} |", flush=True)


def disk(folder: Path) -> None:
    """Drawn haze added to the beamformed RF of the rotating disk: B-modes as measured, hazy and dehazed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(os.environ["RECON3D_SAMPLE_DATA"]) / "ultrasound" / "PWI_disk.mat"
    scan: Any = recon3d.load(path, mapping="pwi-disk")
    times = np.asarray(scan.acquisition["times_s"])[:1]
    first = replace(scan, data=scan.data[:1], acquisition={**scan.acquisition, "times_s": times})
    beams = Beamformed.of(problem_for(first))
    clean = beams.rf[0].numpy()
    rng = np.random.default_rng(7)
    space = BeamSpace.of(beams.turns_of_rf, beams.depth_step_mm, beams.pitch_mm)
    haze = haze_rf(space, (1, *clean.shape), rng)[0]
    haze *= np.sqrt(np.mean(clean**2) / np.mean(haze**2))
    grid = BeamGrid((1, *clean.shape), (0.0, 0.0), (0.0, beams.depth_step_mm), pitch_mm=beams.pitch_mm)
    pictures = {"as measured": clean, "haze added, 0.5": clean + 0.5 * haze}
    pictures["wiener"] = dehazed(pictures["haze added, 0.5"][None], grid, "wiener", {})[0]
    pictures["dehaze"] = dehazed(pictures["haze added, 0.5"][None], grid, "dehaze", {"samples": 2})[0]
    figure = Figure(figsize=(4 * len(pictures), 4.4))
    FigureCanvasAgg(figure)
    peak = float(envelope(torch.from_numpy(clean)).max())
    for k, (name, rf) in enumerate(pictures.items(), start=1):
        db = 20 * np.log10(envelope(torch.from_numpy(rf.astype(np.float64))).numpy() / peak + 1e-6)
        axes = figure.add_subplot(1, len(pictures), k)
        extent = (0, grid.shape[1] * grid.pitch_mm, grid.shape[2] * grid.depth_mm[1], 0)
        axes.imshow(db.T, cmap="gray", vmin=-50, vmax=0, extent=extent)
        axes.set_title(f"{name}, RF PSNR {rf_psnr_db(rf, clean):.1f} dB" if k > 1 else name, fontsize=9)
        print(name, f"{rf_psnr_db(rf, clean):.2f} dB" if k > 1 else "", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "disk.png", dpi=110)


def main(arguments: list[str]) -> None:
    """Print the part that is named: "table" (of some methods, or all), "tune", "flicker" or "disk"."""
    torch.set_num_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    part, *rest = arguments or ["table"]
    if part == "tune":
        tune(rest[0], json.loads(rest[1]) if len(rest) > 1 else {})
    elif part == "flicker":
        flicker()
    elif part == "disk":
        disk(Path(rest[0] if rest else "."))
    else:
        store = Path(os.environ.get("RECON3D_QUALITY_STORE", "quality-ultrasound.json"))
        column(store, rest or list(METHODS))
        table(store)


if __name__ == "__main__":
    main(sys.argv[1:])
