"""Policies of active sampling on volumes that nothing was tuned on: SSIM against budget, and what guidance costs.

MRI: one slice of each of 32 heads and knees of the second generator, 64 x 64 pixels, drawn twice as fine and measured
by four coils at a signal to noise of 40; the target is the root sum of squares of the noise-free coil images. CT: one
slice of 8 bodies of the second generator, 96 x 96 pixels, 60 candidate views. Only the policy differs within a row
group; all have the same prior, particles, steps, start and seed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recon3d.priors import load_model
from recon3d.run import SilentRun
from recon3d.runtime.device import set_threads

FIRST_SEED = 1000
SIDE = 64
MRI_POLICIES = ("ads", "variable_density", "equispaced", "random", "centre")
CT_POLICIES = ("ads", "equispaced", "random")
SETTINGS: dict[str, Any] = {"units": "lines", "particles": 4, "steps": 30}
CT_SETTINGS: dict[str, Any] = {"units": "views", "particles": 4, "steps": 40, "sigma_max": 0.7}
GUIDANCE: dict[str, dict[str, Any]] = {
    "cg 10": {"steps": 10},
    "cg 15": {"steps": 15},
    "cg 20": {"steps": 20},
    "cg 30": {"steps": 30},
    "gradient 20": {"steps": 20, "guidance": "gradient", "weight": 3.0},
    "gradient 30": {"steps": 30, "guidance": "gradient", "weight": 3.0},
    "gradient 50": {"steps": 50, "guidance": "gradient", "weight": 3.0},
}


def mri_cases(numbers: Iterable[int], prior: Any) -> Iterator[Any]:
    """The middle of heads (even) and knees (odd), acquired completely."""
    import recon3d
    from recon3d.runtime.policies import PolicyCase
    from recon3d.synthetic.mri import scan_mri
    from recon3d.synthetic.mri_scoring import scoring_mri

    for k in numbers:
        seed = FIRST_SEED + k
        anatomy, field_mm = ("brain", 224.0) if k % 2 == 0 else ("knee", 156.0)
        fine_mm = field_mm / SIDE / 2
        truth = scoring_mri(anatomy, (1, 2 * SIDE, 2 * SIDE), (5.0, fine_mm, fine_mm), seed)  # type: ignore[arg-type]
        scan, target = scan_mri(truth, (SIDE, SIDE), coils=4, snr=40, seed=seed)
        problem = recon3d.problem_for(scan)
        yield PolicyCase(f"{anatomy} {seed}", problem, recon3d.Volume(target, scan.grid), {"prior": prior})


def ct_cases(numbers: Iterable[int], prior: Any) -> Iterator[Any]:
    """Axial slices of bodies, projected from a finer grid with noise."""
    import recon3d
    from recon3d.runtime.policies import PolicyCase
    from recon3d.synthetic.ct_scoring import scoring_ct

    for k in numbers:
        volume = scoring_ct((1, 96, 96), (3.0, 3.6, 3.6), FIRST_SEED + k)
        scan = recon3d.simulate(volume, {"views": 60, "arc_deg": 180.0}, noise={"photons": 1e6}, seed=k)
        yield PolicyCase(f"body {FIRST_SEED + k}", recon3d.problem_for(scan), volume, {"prior": prior})


def guidance(cases: Iterator[Any]) -> None:
    """SSIM and CPU seconds of both guidances on the same lines, a variable density quarter; settings take turns."""
    import recon3d
    from recon3d.evaluation.policy_table import similarity
    from recon3d.evaluation.statistics import summarise

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in GUIDANCE}
    for case in cases:
        for name, settings in GUIDANCE.items():
            began = time.process_time()
            result = recon3d.reconstruct(
                case.problem, "active_sampling", models=case.models, run=SilentRun(micro_batch=4),
                particles=4, budget=0.25, policy="variable_density", **settings,
            )  # fmt: skip
            found[name].append((similarity(result.volume, case.target)[0], time.process_time() - began))
    print("| guidance, steps | volumes | SSIM [95 %] | CPU s |\n|---|---|---|---|")
    for name, values in found.items():
        ssim = summarise([ssim for ssim, _ in values])
        seconds = sum(seconds for _, seconds in values) / len(values)
        print(f"| {name} | {ssim.count} | {ssim.mean:.4f} [{ssim.low:.4f}, {ssim.high:.4f}] | {seconds:.1f} |")


def policies(group: str, cases: Iterator[Any], names: list[str], budgets: list[float], folder: Path | None) -> None:
    """The table as Markdown; scores as they come, JSON and picture in a folder."""
    from recon3d.runtime.policies import compare_policies, write_table

    def told(score: Any) -> None:
        print(f"{score.volume} {score.policy} {score.budget:g}: {score.ssim:.4f}", file=sys.stderr, flush=True)

    settings = SETTINGS if group == "mri" else CT_SETTINGS
    table = compare_policies(cases, settings, names, budgets, progress=told)
    rows = table.lines()
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")
    if folder is not None:
        for suffix in (".json", ".png"):
            write_table(table, folder / f"policies-{group}{suffix}", overwrite=True)


def main(argv: list[str]) -> None:
    """Print the table of one group."""
    parser = argparse.ArgumentParser(prog="quality policies")
    parser.add_argument("group", choices=("mri", "ct", "guidance"))
    parser.add_argument("--first", type=int, default=0, help="number of the first volume")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--prior", default=None, help="name or file; the shipped one by default")
    parser.add_argument("--policies", default=None)
    parser.add_argument("--budgets", default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where JSON and picture go")
    options = parser.parse_args(argv)
    set_threads(int(os.environ.get("RECON3D_BENCHMARK_THREADS", "1")))
    of_ct = options.group == "ct"
    prior = load_model(options.prior or ("ct-axial" if of_ct else "mri-head-knee"))
    numbers = range(options.first, options.first + options.count)
    cases = ct_cases(numbers, prior) if of_ct else mri_cases(numbers, prior)
    if options.group == "guidance":
        guidance(cases)
        return
    names = (options.policies or ",".join(CT_POLICIES if of_ct else MRI_POLICIES)).split(",")
    budgets = [float(b) for b in (options.budgets or ("8,16" if of_ct else "0.1,0.25")).split(",")]
    policies(options.group, cases, names, budgets, options.folder)


if __name__ == "__main__":
    main(sys.argv[1:])
