"""Quality of the diffusion samplers on volumes that nothing was tuned on: tables as Markdown, seconds of one core.

`scripts/quality mbir` prints all tables, `scripts/quality mbir speed wrong-prior` some of them: methods, published
(2000 levels), speed, reuse, coverage, wrong-prior, and on the training generators fast (settings of DiffusionMBIR) and
calibrate. Behind a table and a colon is the scan it is made for alone: `speed:mri`, `published:ct`. The MRI rows need a
prior: a known one, or the file in RECON3D_MRI_PRIOR.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PHOTONS = 1e6
SIDE, SLICES, CT_MM = 96, 8, 3.5
CT_SEEDS, MRI_SEEDS = (11, 12, 13), (2000, 2001)
"""Of the second generators."""
CALIBRATION_SEEDS = (9_000_011, 9_000_012, 9_000_013)
"""Of the generator that draws training data; its training seeds are smaller."""
ACQUISITIONS: dict[str, dict[str, Any]] = {
    "8 views": {"views": 8},
    "16 views": {"views": 16},
}
DDS: dict[str, dict[str, Any]] = {
    "hu": {},
    "maximum": {"data": "proximal", "cg_steps": 1, "noise_weight": 1.0, "eta": 1.0},
}
"""DDS as the recipes for CT and MRI (R = 4) have it."""
FAST: dict[str, dict[str, Any]] = {
    "hu": {"steps": 100, "sigma_max": 0.7, "cg_steps": 5},
    "maximum": {"steps": 100, "sigma_max": 0.7},
}
"""DiffusionMBIR with 100 levels; tuned on one volume of the training generator each."""
SAMPLES = 4
ROWS, COLUMNS = np.ogrid[:SIDE, :SIDE]
LESION = np.zeros((SLICES, SIDE, SIDE), dtype=bool)
"""A disc in one odd slice, inside the body."""
LESION[3] = (ROWS - 48) ** 2 + (COLUMNS - 34) ** 2 <= 4**2


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, its truth, and the prior that fits it."""

    name: str
    problem: Any
    truth: Any
    prior: Any
    range: str

    def score(self, volume: Any) -> Any:
        from recon3d.evaluation.metrics import compare
        from recon3d.io.parts import magnitude

        return compare(magnitude(volume), self.truth, range=self.range)


Row = tuple[str, str, dict[str, Any]]
"""Name, method, settings."""


def ct_case(
    seed: int,
    acquisition: str = "8 views",
    *,
    second: bool = True,
    slices: int = SLICES,
    slice_mm: float = CT_MM,
    lesion_hu: float = 0.0,
) -> Case:
    """CT of a drawn body, projected from a grid twice as fine, with noise; a disc of slice 3 can be brighter."""
    import recon3d
    from recon3d.priors import load_model
    from recon3d.synthetic.ct import anatomical_ct
    from recon3d.synthetic.ct_scoring import scoring_ct

    voxel_mm = (slice_mm, CT_MM, CT_MM)
    shape = (slices, SIDE, SIDE)
    truth = scoring_ct(shape, voxel_mm, seed) if second else anatomical_ct(shape, voxel_mm, seed)
    if lesion_hu:
        truth.data[LESION] += lesion_hu
    scan = recon3d.simulate(truth, ACQUISITIONS[acquisition], noise={"photons": PHOTONS}, seed=5)
    return Case(f"CT {seed}, {acquisition}", recon3d.problem_for(scan), truth, load_model("ct-axial"), "hu")


def mri_case(seed: int, acceleration: float = 4.0, slices: int = SLICES, *, second: bool = True) -> Case | None:
    """Eight coils around a drawn head, measured from a grid twice as fine, with noise; None without a prior."""
    import recon3d
    from recon3d.priors import list_models, load_model
    from recon3d.synthetic.mri import scan_mri
    from recon3d.synthetic.mri_anatomy import drawn_mr
    from recon3d.synthetic.mri_scoring import scoring_mri
    from recon3d.volume import Volume

    known = [entry.name for entry in list_models() if entry.card is not None and entry.card.complex_image]
    prior = os.environ.get("RECON3D_MRI_PRIOR") or next(iter(known), None)
    if prior is None:
        return None
    shape, voxel_mm = (slices, 2 * SIDE, 2 * SIDE), (3.0, 1.2, 1.2)
    fine = scoring_mri("brain", shape, voxel_mm, seed) if second else drawn_mr(shape, voxel_mm, seed, family="head")
    scan, target = scan_mri(fine, (SIDE, SIDE), acceleration=acceleration, seed=seed)
    truth = Volume(target, scan.grid)
    return Case(f"MRI {seed}, R = {acceleration:g}", recon3d.problem_for(scan), truth, load_model(prior), "maximum")


def run(case: Case, method: str, settings: dict[str, Any], micro_batch: int = 8) -> dict[str, Any]:
    """One reconstruction: what the tables print."""
    from recon3d.methods import make_method
    from recon3d.run import SilentRun

    chosen = make_method(method, settings)
    models = {"prior": case.prior} if chosen.roles else {}
    began = time.process_time()
    silent = SilentRun(micro_batch=min(micro_batch, case.problem.domain.shape[-3]))
    result = chosen.reconstruct(case.problem, models, silent)  # whether the prior fits is asked elsewhere
    seconds = time.process_time() - began
    score = case.score(result.volume)
    return {
        "result": result,
        "psnr": score.psnr_db,
        "ssim": score.ssim["axial"],
        "slice_error": score.slice_to_slice,
        "residual": result.facts.get("residual"),
        "calls": calls(method, settings),
        "seconds": seconds,
    }


def calls(method: str, settings: dict[str, Any]) -> int:
    """Network calls of each slice."""
    if method == "dds":
        steps, hold = settings.get("steps", 50), settings.get("hold", 1)
        once = len({k for k in range(steps) if k % hold == 0} | {steps - 1})
        return int(once * settings.get("samples", 1))
    return int(settings.get("steps", 2000) * (1 + settings.get("corrector_steps", 1))) if "mbir" in method else 0


def warm(case: Case) -> None:
    """Compile before the clock starts."""
    run(case, "dds", {"steps": 2})


def cases(wanted: str, slices: int = SLICES) -> list[Case]:
    """The scans of a table: "ct", "mri", or both for ""."""
    found = [
        ct_case(CT_SEEDS[0], slices=slices) if wanted in ("", "ct") else None,
        mri_case(MRI_SEEDS[0], slices=slices) if wanted in ("", "mri") else None,
    ]
    return [case for case in found if case is not None]


def methods(wanted: str = "") -> None:
    """DDS, DiffusionMBIR and the classical methods, on CT and MRI."""
    for case in cases(wanted):
        classical: list[Row] = [
            ("fbp (hann)", "fbp", {"filter": "hann"}),
            ("tv, default weight", "tv", {}),
        ]
        if case.range != "hu":
            classical = [("zero-filled", "zero_filled", {}), ("l1-wavelet", "l1_wavelet", {})]
        coupled = {**DDS[case.range], "steps": 50, "data": "admm_tv"}
        rows = [
            *classical,
            *(dds_row(case, n) for n in (20, 50)),
            ("DDS 50, TV between slices", "dds", coupled),
            ("DDS 50, the same without", "dds", {**coupled, "rho": 1e-9, "threshold": 0.0}),
            ("DDS 50, VE from the prior's largest sigma", "dds", {**DDS[case.range], "steps": 50, "sigma_max": 1e3}),
            ("DiffusionMBIR, 100 levels", "diffusion_mbir", FAST[case.range]),
        ]
        print_table(case, rows)


def published(wanted: str = "") -> None:
    """DiffusionMBIR with its 2000 levels beside DDS, on four slices."""
    for case in cases(wanted, slices=4):
        rows = [dds_row(case, n) for n in (20, 50, 100)]
        rows.append(("DiffusionMBIR, 100 levels", "diffusion_mbir", FAST[case.range]))
        rows.append(("DiffusionMBIR, 2000 levels as published", "diffusion_mbir", {}))
        print_table(case, rows)


def fast(wanted: str = "") -> None:
    """Settings of DiffusionMBIR with 100 levels, on a volume of the training generator."""
    for case in [mri_case(CALIBRATION_SEEDS[0], slices=4, second=False)] if wanted != "ct" else []:
        if case is not None:
            start = {"sigma_max": 0.7}
            choices: list[dict[str, Any]] = [{}, start, {**start, "cg_steps": 3}, {**start, "cg_steps": 5}]
            rows = [(str(chosen), "diffusion_mbir", {"steps": 100, **chosen}) for chosen in choices]
            print_table(case, rows)


def dds_row(case: Case, steps: int) -> Row:
    return f"DDS {steps}", "dds", {**DDS[case.range], "steps": steps}


def print_table(case: Case, rows: Sequence[Row]) -> None:
    """One row of Markdown for each (name, method, settings)."""
    warm(case)
    unit = "HU" if case.range == "hu" else "of 1"
    print(f"\n### {case.name}: {case.problem.domain.shape[-3]} x {SIDE} x {SIDE} voxels\n")
    print(f"| method | PSNR dB | SSIM axial | slice error {unit} | residual | calls | s |")
    print("|---|---|---|---|---|---|---|")
    for name, method, settings in rows:
        print_row(name, run(case, method, settings))


def print_row(name: str, r: dict[str, Any]) -> None:
    residual = "" if r["residual"] is None else f"{r['residual']:.4f}"
    print(
        f"| {name} | {r['psnr']:.2f} | {r['ssim']:.3f} | {r['slice_error']:.3g} | {residual} "
        f"| {r['calls'] or ''} | {r['seconds']:.1f} |",
        flush=True,
    )


def speed(wanted: str = "") -> None:
    """PSNR against seconds: each acceleration beside the plain curve, interpolated to the same PSNR."""
    for case in [ct_case(CT_SEEDS[0], slices=16)] if wanted != "mri" else []:
        speed_of(case, 8)  # two micro-batches: reuse saves whole ones
    for case in cases("mri", slices=8) if wanted != "ct" else []:
        speed_of(case, 4)


def speed_of(case: Case, micro_batch: int) -> None:
    late = "fbp" if case.range == "hu" else "cgls"
    variants: list[tuple[str, dict[str, Any]]] = [(f"plain {n}", {"steps": n}) for n in (6, 10, 15, 20, 35, 50)]
    for n in (10, 20):
        variants += [
            (f"start from noise of sigma 5, {n}", {"steps": n, "sigma_max": 5.0}),
            (f"late start ({late}, sigma 0.5), {n}", {"steps": n, "start": late, "sigma_start": 0.5}),
            (f"late start ({late}, sigma 0.2), {n}", {"steps": n, "start": late, "sigma_start": 0.2}),
            (f"hold 2, {n}", {"steps": n, "hold": 2}),
            (f"slice reuse, {n}", {"steps": n, "reuse": True}),
            (f"second order, {n}", {"steps": n, "order": 2, "eta": 0.0}),
        ]
    variants += [(f"mean of {k} runs of {n}", {"steps": n, "samples": k}) for k, n in ((4, 5), (2, 10), (4, 10))]
    warm(case)
    print(f"\n### {case.name}: {case.problem.domain.shape[-3]} x {SIDE} x {SIDE} voxels\n")
    print("| DDS | PSNR dB | s | gain |\n|---|---|---|---|")
    curve: list[tuple[float, float]] = []
    for name, settings in variants:
        found = run(case, "dds", {**DDS[case.range], **settings}, micro_batch)
        psnr, seconds = float(found["psnr"]), float(found["seconds"])
        if name.startswith("plain"):
            curve.append((psnr, seconds))
        gain = ""
        if not name.startswith("plain"):
            levels, times = zip(*sorted(curve), strict=True)
            inside = levels[0] <= psnr <= levels[-1]
            gain = f"{np.interp(psnr, levels, times) / seconds:.2f}" if inside else f"beyond {levels[-1]:.2f} dB"
            gain = "below the curve" if psnr < levels[0] else gain
        print(f"| {name} | {psnr:.2f} | {seconds:.2f} | {gain} |", flush=True)


def reuse(wanted: str = "") -> None:
    """Slice reuse by the distance of slices: PSNR, and what is left of a lesion that one odd slice alone shows."""
    print("\n### Slice reuse, DDS 20, CT with 8 views\n")
    print("| slices mm | plain dB | reuse dB | lesion kept, plain | lesion kept, reuse |\n|---|---|---|---|---|")
    for slice_mm in (1.5, 3.0, 6.0):
        cells = []
        for lesion_hu in (0.0, 150.0):
            case = ct_case(CT_SEEDS[0], slice_mm=slice_mm, lesion_hu=lesion_hu)
            for wanted in (False, True):
                found = run(case, "dds", {"steps": 20, "reuse": wanted})
                cells.append((found["psnr"], float(found["result"].volume.data[LESION].mean())))
        kept = [100 * (cells[2 + k][1] - cells[k][1]) / 150.0 for k in (0, 1)]
        print(
            f"| {slice_mm:g} | {cells[0][0]:.2f} | {cells[1][0]:.2f} | {kept[0]:.0f} % | {kept[1]:.0f} % |", flush=True
        )


SPREAD = {"steps": 20, "data": "admm_tv", "cg_steps": 5}
"""Settings of DDS that are calibrated, for few views."""


def spreads(second: bool) -> Iterator[tuple[str, Any, Any]]:
    """(name, error, spread) inside the body, of the scans of one generator, without any calibration."""
    from recon3d.evaluation.metrics import body_mask

    for seed in CT_SEEDS if second else CALIBRATION_SEEDS:
        for acquisition in ACQUISITIONS:
            case = ct_case(seed, acquisition, second=second)
            case.prior.card = case.prior.card.model_copy(update={"calibration": ()})
            result = run(case, "dds", {**SPREAD, "samples": SAMPLES})["result"]
            inside = body_mask(case.truth)
            error = np.clip(result.volume.data, -1000, 1500) - np.clip(case.truth.data, -1000, 1500)
            yield case.name, error[inside], result.uncertainty.data[inside]


def calibrate(wanted: str = "") -> None:
    """The factor of the card, on the generator that draws training data."""
    from recon3d.evaluation.coverage import calibration_factor, coverage

    cases = []
    for name, error, spread in spreads(second=False):
        cases.append((error, spread))
        print(f"{name}: alone {calibration_factor([(error, spread)]):.2f}", flush=True)
    factor = calibration_factor(cases)
    shares = [coverage(error, factor * spread) for error, spread in cases]
    low, mean, high = (100 * float(share) for share in (min(shares), np.mean(shares), max(shares)))
    print(f"factor {factor:.3g}, coverage {mean:.1f} % ({low:.0f} to {high:.0f} %)")


def coverages(wanted: str = "") -> None:
    """How often the 90 % intervals of the shipped card cover the truth of the second generator."""
    from recon3d.evaluation.coverage import coverage
    from recon3d.priors import load_model
    from recon3d.priors.calibration import error_bar

    factor, told = error_bar(load_model("ct-axial").card.calibration, "dds", SPREAD, SAMPLES)
    print(f"\n### Coverage of 90 % intervals on the second generator\n\n{told}\n")
    print("| scan | error HU | error bar HU | coverage | uncalibrated |\n|---|---|---|---|---|")
    shares = []
    for name, error, spread in spreads(second=True):
        shares.append(coverage(error, factor * spread))
        rms = [float(np.sqrt(np.mean(v.astype(np.float64) ** 2))) for v in (error, factor * spread)]
        raw = 100 * coverage(error, spread)
        print(f"| {name} | {rms[0]:.0f} | {rms[1]:.0f} | {100 * shares[-1]:.1f} % | {raw:.1f} % |", flush=True)
    print(f"| mean | | | {100 * float(np.mean(shares)):.1f} % | |")


class LayeredPrior:
    """A prior of horizontal layers, as of seismic sections: a stationary Gaussian that knows no body."""

    def __init__(self, like: Any) -> None:
        import torch

        from recon3d.priors.analytic import StationaryGaussian

        ky, kx = (torch.fft.fftfreq(SIDE).abs() for _ in range(2))
        power = 1.0 / (1.0 + (12 * ky[:, None]) ** 2 + (300 * kx[None, :]) ** 2) ** 2
        power *= like.card.sigma_data**2 / power.mean()
        self.card = like.card.model_copy(update={"name": "layers", "modality": "seismic", "calibration": ()})
        self.normalization = like.normalization
        self._gaussian = StationaryGaussian(power, mean=like.card.mean)

    def denoise(self, x: Any, sigma: float) -> Any:
        return self._gaussian.denoise(x, sigma)


def undetermined_of(case: Case, volume: Any) -> Any:
    """The part of a volume in HU that the scan does not determine, as an array."""
    from recon3d.config import EvidenceConfig
    from recon3d.methods.base import Reconstruction
    from recon3d.run import SilentRun
    from recon3d.runtime.evidence import gather

    wanted = EvidenceConfig(classical="none", residual=False)
    return (
        gather(case.problem, Reconstruction(volume), {"prior": case.prior}, wanted, SilentRun())
        .volumes["null space"]
        .data
    )


def wrong_prior(wanted: str = "") -> None:
    """What betrays a prior that does not belong to the scan."""
    from recon3d.config import EvidenceConfig
    from recon3d.methods.roles import misfits
    from recon3d.run import SilentRun
    from recon3d.runtime.evidence import gather

    right = ct_case(CT_SEEDS[0])
    layered = LayeredPrior(right.prior)
    print("\n### A wrong prior (layers, as of seismic sections) on CT with 8 views\n")
    print(
        "| prior | PSNR dB | residual | misfit as image HU | undetermined HU | of the truth HU | correlation | warned |"
    )
    print("|---|---|---|---|---|---|---|---|")
    hidden = undetermined_of(right, right.truth)
    for prior in (right.prior, layered):
        case = Case(right.name, right.problem, right.truth, prior, "hu")
        found = run(case, "dds", {"steps": 50})
        evidence = gather(
            case.problem, found["result"], {"prior": prior}, EvidenceConfig(classical="none"), SilentRun()
        )
        size = {name: float(np.sqrt(np.mean(v.data**2))) for name, v in evidence.volumes.items()}
        free = evidence.volumes["null space"].data
        alike = float(np.corrcoef(free.ravel(), hidden.ravel())[0, 1])
        warned = "; ".join(misfits(prior.card, case.problem)) or "no"
        print(
            f"| {prior.card.name} | {found['psnr']:.2f} | {found['residual']:.4f} | {size['residual']:.1f} "
            f"| {size['null space']:.0f} | {float(np.sqrt(np.mean(hidden**2))):.0f} | {alike:.2f} | {warned} |",
            flush=True,
        )


def main(arguments: Sequence[str]) -> None:
    """Print the tables that were named, or all of them."""
    from recon3d.runtime.device import set_threads

    set_threads(1)
    tables = {
        "methods": methods,
        "published": published,
        "fast": fast,
        "speed": speed,
        "reuse": reuse,
        "calibrate": calibrate,
        "coverage": coverages,
        "wrong-prior": wrong_prior,
    }
    asked = [argument.partition(":")[::2] for argument in arguments or tables]
    for name, wanted in asked:
        if name not in tables or wanted not in ("", "ct", "mri"):
            known = ", ".join(tables)
            raise SystemExit(f"There is no table '{name}:{wanted}': expected {known}, with :ct or :mri or none.")
    for name, wanted in asked:
        tables[name](wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
