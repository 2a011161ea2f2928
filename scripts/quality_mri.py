"""Quality of MRI methods on scans that nothing was tuned on: one table per case and acceleration.

Drawn volumes come from the second generator and are scanned from a grid twice as fine; the T1 series is a real volume
with simulated coils and phase; the 16 coils of the tutorial slice were measured. Noise is added to what is simulated.
The reference is the root sum of squares over the coils of everything, without the added noise. PSNR and SSIM are
fastMRI's. The weights of the methods without a prior are chosen with the truth in hand; DDS runs as its recipe says.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SNR, COILS = 30.0, 8
CENTRE = {4: 0.08, 8: 0.08}
EVERY = 7  # slice of the T1 series
DRAWN = {
    "brain-1": ("brain", 2001, 4, 128),
    "brain-2": ("brain", 2002, 4, 128),
    "knee-1": ("knee", 2003, 4, 128),
    "knee-2": ("knee", 2004, 4, 128),
    "brain-3": ("brain", 2011, 8, 256),
    "knee-3": ("knee", 2012, 8, 256),
}
"""Anatomy, seed, slices and columns of the volumes of the second generator."""
REAL = ("t1", "tutorial")
AVERAGED = ("tutorial",)
"""Cases for which a mean of four samples is made too."""
WEIGHTS = {
    "cg_sense": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "l1_wavelet": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
    "tv": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
}
FIXED: dict[str, dict[str, Any]] = {"tv": {"axes": "in-plane", "iterations": 100}}


def scan_of(case: str, acceleration: int) -> tuple[Any, Any]:
    """The undersampled scan of a case and its reference magnitude (z, y, x)."""
    import recon3d
    from recon3d.grid import AffineGrid
    from recon3d.synthetic.mri import scan_mri, simulate_mri
    from recon3d.synthetic.mri_scoring import scoring_mri
    from recon3d.volume import Volume

    sampling = {"acceleration": acceleration, "centre_fraction": CENTRE[acceleration]}
    if case in DRAWN:
        anatomy, seed, slices, side = DRAWN[case]
        field_mm = 220.0 if anatomy == "brain" else 155.0
        voxel_mm = (5.0 if anatomy == "brain" else 3.0, *(field_mm / (2 * side),) * 2)
        truth = scoring_mri(anatomy, (slices, 2 * side, 2 * side), voxel_mm, seed)
        return scan_mri(truth, (side, side), coils=COILS, snr=SNR, seed=seed, **sampling)
    folder = Path(os.environ["RECON3D_SAMPLE_DATA"])
    if case == "t1":
        series = recon3d.load(folder / "dicom" / "mr_t1_sag_HFS_35slices")
        grid = AffineGrid.centred((len(series.data[::EVERY]), *series.data.shape[1:]), (EVERY * 4.8, 1.016, 1.016))
        volume = Volume(np.asarray(series.data[::EVERY], np.float32), grid, units=series.units)
        whole = simulate_mri(volume, coils=COILS, acceleration=1, snr=None, seed=7)
        return simulate_mri(volume, coils=COILS, snr=SNR, seed=7, **sampling), sum_of_squares(whole)
    measured = recon3d.load(folder / "mri" / "sense_tutorial_brain_16ch.mat", mapping="sense-tutorial")
    return undersampled(measured, **sampling), sum_of_squares(measured)


def undersampled(scan: Any, acceleration: int, centre_fraction: float) -> Any:
    """A fully sampled scan with fewer columns."""
    from operators.mri.sampling import column_mask

    mask = column_mask(scan.data.shape[-1], acceleration, centre_fraction, "equispaced_fraction", 5)
    data = np.where(mask, scan.data, 0).astype(np.complex64)
    return replace(scan, data=data, acquisition={**scan.acquisition, "mask": mask})


def sum_of_squares(scan: Any) -> Any:
    """Root sum of squares (z, y, x) of the coil images of a fully sampled scan."""
    import torch

    from operators.fourier import centred_ifft

    return torch.linalg.vector_norm(centred_ifft(torch.from_numpy(scan.data), (-2, -1)), dim=0).numpy()


def scored(problem: Any, reference: Any, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Reconstruct and measure."""
    import recon3d
    from recon3d.evaluation.fastmri import score

    began = time.perf_counter()
    found = recon3d.reconstruct(problem, method, **settings)
    seconds = time.perf_counter() - began
    scores = score(np.abs(found.volume.data), np.asarray(reference))
    residual = found.facts.get("residual")
    return {"psnr": scores.official.psnr_db, "ssim": scores.official.ssim, "residual": residual, "s": seconds}


def table(case: str, acceleration: int) -> None:
    """Print the rows of one case as Markdown."""
    import recon3d
    from recon3d.config import read_recipe

    scan, reference = scan_of(case, acceleration)
    problem = recon3d.problem_for(scan)
    print(f"\n### {case}, R = {acceleration}, {' x '.join(map(str, reference.shape))}\n")
    print("| method | PSNR dB | SSIM | residual | s |\n|---|---|---|---|---|")
    rows = [("zero_filled", scored(problem, reference, "zero_filled", {}))]
    for method, weights in WEIGHTS.items():
        tried = [
            (weight, scored(problem, reference, method, {"weight": weight, **FIXED.get(method, {})}))
            for weight in weights
        ]
        weight, best = max(tried, key=lambda pair: pair[1]["psnr"])
        rows.append((f"{method} {weight:g} (chosen with the truth, of {len(weights)})", best))
    recipe = read_recipe(f"mri-r{acceleration}-dds")[1]
    settings = {name: value for name, value in recipe["method"].items() if name != "name"}
    models = recipe["models"]
    for samples in (1, 4) if case in AVERAGED else (1,):
        name = f"dds {settings.get('steps', 50)}" + (f", mean of {samples}" if samples > 1 else "")
        rows.append((name, scored(problem, reference, "dds", {**settings, "samples": samples, "models": models})))
    for name, r in rows:
        residual = "" if r["residual"] is None else f"{r['residual']:.4f}"
        print(f"| {name} | {r['psnr']:.2f} | {r['ssim']:.4f} | {residual} | {r['s']:.0f} |", flush=True)


def main(arguments: list[str]) -> None:
    """Print the tables of the cases that were named (``brain-1``, or ``brain-1:8`` for one acceleration), or of all."""
    cases = arguments or [*DRAWN, *(REAL if "RECON3D_SAMPLE_DATA" in os.environ else ())]
    for case in cases:
        name, _, one = case.partition(":")
        for acceleration in [int(one)] if one else [4] if name == "tutorial" else list(CENTRE):
            table(name, acceleration)


if __name__ == "__main__":
    main(sys.argv[1:])
