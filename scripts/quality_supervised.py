"""Quality of feed-forward MRI networks on the second synthetic style: fastMRI's metrics with paired intervals.

`scripts/quality supervised` prints the tables: volumes that no network was trained on and masks that none saw, R = 4
and 8, and (with RECON3D_SAMPLE_DATA) one real slice of 16 coils. Settings of the other methods were chosen by
`scripts/quality supervised tune` on two volumes of the training generator. Models that are not shipped are named by
files: RECON3D_MRI_UNET, RECON3D_MRI_VARNET, RECON3D_MRI_PRIOR; rows without a file are left out. Scores are kept in
the file RECON3D_QUALITY_CACHE, if that is set, so that a broken run goes on.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

SHAPE, COILS, SNR = (2, 160, 160), 8, 40.0
SCORED = (*(("brain", seed) for seed in range(5101, 5108)), *(("knee", seed) for seed in range(5201, 5205)))
TUNED = (("brain", 71), ("knee", 72))
SAMPLING = {4: (0.08, "equispaced_fraction"), 8: (0.04, "equispaced_fraction")}
METRICS = ("ssim", "psnr_db")
OURS = "recurrent varnet"


@dataclass(frozen=True, eq=False)
class Case:
    """One undersampled volume."""

    style: str
    anatomy: str
    seed: int
    acceleration: int

    @cached_property
    def scan(self) -> tuple[Any, Any]:
        """The scan and its target, the root sum of squares of noise-free coil images."""
        return _scored(self) if self.style == "second" else _tuning(self)

    @cached_property
    def problem(self) -> Any:
        import recon3d

        return recon3d.problem_for(self.scan[0])

    @property
    def target(self) -> Any:
        return self.scan[1]

    @property
    def name(self) -> str:
        return f"{self.style} {self.anatomy} {self.seed} R{self.acceleration}"


def _scored(case: Case) -> tuple[Any, Any]:
    from recon3d.synthetic.mri import scan_mri
    from recon3d.synthetic.mri_scoring import scoring_mri

    z, y, x = SHAPE
    field = 230.0 if case.anatomy == "brain" else 160.0
    fine = scoring_mri(case.anatomy, (z, 2 * y, 2 * x), (5.0, field / (2 * y), field / (2 * x)), case.seed)  # type: ignore[arg-type]
    centre, pattern = SAMPLING[case.acceleration]
    return scan_mri(
        fine, (y, x), coils=COILS, acceleration=case.acceleration, centre_fraction=centre, pattern=pattern, snr=SNR,
        seed=case.seed,
    )  # fmt: skip


def _tuning(case: Case) -> tuple[Any, Any]:
    import torch

    from operators.mri.kspace import remove_oversampling
    from operators.mri.sampling import column_mask
    from recon3d.grid import AffineGrid
    from recon3d.scan import Scan
    from recon3d.synthetic.mri_drawing import draw_mri

    drawn = draw_mri(case.anatomy, seed=case.seed, shape=SHAPE, coils=COILS, snr=SNR)  # type: ignore[arg-type]
    kspace = remove_oversampling(torch.from_numpy(drawn.kspace), -2, SHAPE[1]).numpy().transpose(1, 0, 2, 3)
    mask = column_mask(SHAPE[2], case.acceleration, *SAMPLING[case.acceleration], case.seed)
    voxel = tuple(length / n for length, n in zip(drawn.field_of_view_mm, SHAPE, strict=True))
    grid = AffineGrid.centred(SHAPE, voxel)  # type: ignore[arg-type]
    sampled = np.ascontiguousarray(np.where(mask, kspace, np.complex64(0)))
    return Scan("mri", sampled, ("coil", "kz", "ky", "kx"), {"encoding": "2d", "mask": mask}, grid), drawn.target


@dataclass(frozen=True, eq=False)
class Real:
    """The real slice, undersampled, and the root sum of squares of its full data, noise included."""

    acceleration: int

    @property
    def name(self) -> str:
        return f"real R{self.acceleration}"

    @cached_property
    def full(self) -> Any:
        import recon3d

        path = Path(os.environ["RECON3D_SAMPLE_DATA"]) / "mri" / "sense_tutorial_brain_16ch.mat"
        return recon3d.load(path, mapping="sense-tutorial")

    @cached_property
    def problem(self) -> Any:
        import recon3d
        from operators.mri.sampling import column_mask

        mask = column_mask(self.full.data.shape[-1], self.acceleration, *SAMPLING[self.acceleration], 1)
        data = np.where(mask, self.full.data, np.complex64(0))
        return recon3d.problem_for(replace(self.full, data=data, acquisition={"mask": mask}))

    @cached_property
    def target(self) -> Any:
        import recon3d

        plain = recon3d.reconstruct(recon3d.problem_for(self.full), "zero_filled", combine="rss").volume.data
        return np.abs(plain).astype(np.float32)


def methods() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of a row -> method and settings."""
    from recon3d.priors import list_models

    rows: dict[str, tuple[str, dict[str, Any]]] = {
        "zero-filled": ("zero_filled", {"combine": "rss"}),
        "cg-sense": ("cg_sense", {"weight": 3e-2}),
        "l1-wavelet": ("l1_wavelet", {"weight": 8e-3}),
    }
    for name, key in (("u-net", "UNET"), ("varnet", "VARNET")):
        if f"RECON3D_MRI_{key}" in os.environ:
            rows[name] = ("supervised", {"models": {"reconstructor": os.environ[f"RECON3D_MRI_{key}"]}})
    ours = os.environ.get("RECON3D_MRI_RVN", "mri-recurrent-varnet")
    known = Path(ours).is_file() or ours in {entry.name for entry in list_models()}
    if known:
        rows[OURS] = ("supervised", {"models": {"reconstructor": ours}})
    prior = os.environ.get("RECON3D_MRI_PRIOR")
    for steps in (20, 10) if prior else ():
        rows[f"dds {steps}"] = ("dds", {"models": {"prior": prior}, **DDS, "steps": steps})
    for steps in (10, 5) if prior and known else ():
        late = {"start": "supervised", "sigma_start": SIGMA_START, "steps": steps}
        rows[f"dds {steps} from {OURS}"] = ("dds", {"models": {"prior": prior, "start": ours}, **DDS, **late})
    return rows


DDS: dict[str, Any] = {"data": "proximal", "noise_weight": 1.0, "eta": 1.0, "cg_steps": 1}
"""As in the recipe mri-r4-dds."""
SIGMA_START = 0.1
TRIED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "cg-sense": ("weight", (1e-3, 3e-3, 1e-2, 3e-2)),
    "l1-wavelet": ("weight", (1e-3, 2e-3, 4e-3, 8e-3)),
    f"dds 10 from {OURS}": ("sigma_start", (0.05, 0.1, 0.2)),
}
"""What was tuned, and the values tried."""


def scores(case: Case | Real, method: str, settings: dict[str, Any]) -> dict[str, float]:
    import recon3d
    from recon3d.evaluation.fastmri import score

    problem, target = case.problem, case.target
    began = time.perf_counter()
    image = np.abs(recon3d.reconstruct(problem, method, **settings).volume.data)
    seconds = time.perf_counter() - began
    found = score(image.astype(np.float32), target)
    return {
        "ssim": found.official.ssim, "psnr_db": found.official.psnr_db, "nmse": found.official.nmse,
        "front_ssim": found.foreground.ssim, "front_psnr_db": found.foreground.psnr_db, "seconds": seconds,
    }  # fmt: skip


class Kept:
    """Scores by case and row, kept in a file."""

    def __init__(self) -> None:
        self.path = os.environ.get("RECON3D_QUALITY_CACHE")
        self.found: dict[str, dict[str, float]] = {}
        if self.path and Path(self.path).exists():
            self.found = json.loads(Path(self.path).read_text())

    def __call__(self, case: str, row: str, compute: Any) -> dict[str, float]:
        key = f"{case} | {row}"
        if key not in self.found:
            self.found[key] = compute()
            if self.path:
                Path(self.path).write_text(json.dumps(self.found, indent=0))
        return self.found[key]


@cache
def cases(style: str, volumes: Any, acceleration: int) -> list[Case]:
    return [Case(style, anatomy, seed, acceleration) for anatomy, seed in volumes]


def tune() -> None:
    """Print the scores of every value that was tried, means over the tuning volumes and both accelerations."""
    kept = Kept()
    rows = methods()
    for row, (name, values) in TRIED.items():
        if row not in rows:
            continue
        method, settings = rows[row]
        for value in values:
            changed = {**settings, name: value}
            found = [
                kept(case.name, f"{row} {name} {value}", partial(scores, case, method, changed))
                for acceleration in SAMPLING
                for case in cases("tuning", TUNED, acceleration)
            ]
            means = {key: float(np.mean([one[key] for one in found])) for key in METRICS}
            print(f"{row}, {name} {value}: SSIM {means['ssim']:.4f}, PSNR {means['psnr_db']:.2f} dB", flush=True)


def minus_ours(found: dict[str, dict[str, dict[str, float]]], metric: str, digits: int) -> dict[str, str]:
    """Each row minus ours: mean, 95 % interval, and the sign-flip p adjusted by Holm over the rows."""
    from recon3d.evaluation.statistics import holm, sign_flip_p, summarise

    gaps = {
        row: np.array([one[metric] - found[OURS][case][metric] for case, one in by_case.items()])
        for row, by_case in found.items()
        if row != OURS and OURS in found
    }
    adjusted = holm([sign_flip_p(gap) for gap in gaps.values()])
    return {
        row: f"{d.mean:+.{digits}f} [{d.low:+.{digits}f}, {d.high:+.{digits}f}], p {p:.3f}"
        for (row, d), p in zip(((row, summarise(gap)) for row, gap in gaps.items()), adjusted, strict=True)
    }


def table(acceleration: int) -> None:
    """Means over volumes with 95 % intervals, and each row against ours on the same volumes."""
    from recon3d.evaluation.statistics import summarise

    kept, rows = Kept(), methods()
    found: dict[str, dict[str, dict[str, float]]] = {row: {} for row in rows}
    for case in cases("second", SCORED, acceleration):
        for row, (method, settings) in rows.items():
            found[row][case.name] = kept(case.name, row, partial(scores, case, method, settings))
    print(f"\n### Second style, R = {acceleration}, {len(SCORED)} volumes\n")
    print("| method | SSIM | PSNR dB | SSIM, PSNR in the foreground | minus ours: SSIM | minus ours: PSNR dB | s |")
    print("|---|---|---|---|---|---|---|")
    against = {metric: minus_ours(found, metric, digits) for metric, digits in (("ssim", 4), ("psnr_db", 2))}
    for row, by_case in found.items():
        means = {key: summarise([one[key] for one in by_case.values()]) for key in next(iter(by_case.values()))}
        s, p = means["ssim"], means["psnr_db"]
        print(
            f"| {row} | {s.mean:.4f} [{s.low:.4f}, {s.high:.4f}] | {p.mean:.2f} [{p.low:.2f}, {p.high:.2f}] "
            f"| {means['front_ssim'].mean:.4f}, {means['front_psnr_db'].mean:.2f} | {against['ssim'].get(row, '')} "
            f"| {against['psnr_db'].get(row, '')} | {means['seconds'].mean:.1f} |",
            flush=True,
        )


def real_table() -> None:
    """The real slice: one, so no interval."""
    kept, slices = Kept(), [Real(acceleration) for acceleration in SAMPLING]
    print("\n### One real slice of 16 coils, 96 x 96; its target holds the noise of the scan\n")
    print("| method | R = 4: SSIM | PSNR dB | R = 8: SSIM | PSNR dB |")
    print("|---|---|---|---|---|")
    for row, (method, settings) in methods().items():
        found = [kept(case.name, row, partial(scores, case, method, settings)) for case in slices]
        cells = [f"{one['ssim']:.4f} | {one['psnr_db']:.2f}" for one in found]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def main(names: list[str]) -> None:
    """Print the tables, or tune."""
    import torch

    torch.set_num_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    if names == ["tune"]:
        tune()
        return
    for acceleration in SAMPLING:
        table(acceleration)
    if "RECON3D_SAMPLE_DATA" in os.environ:
        real_table()
