"""Policies compared on complete scans: the same prior, steps and seed, only the choice of units differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon3d.config import ReconstructConfig
from recon3d.errors import ConfigError, InputError
from recon3d.evaluation.policy_table import PolicyScore, PolicyTable, similarity
from recon3d.io.atomic import atomic_path, check_output
from recon3d.methods import make_method
from recon3d.methods.active_sampling import ActiveSampling
from recon3d.methods.roles import models_for
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.runtime.device import choose_device, set_threads
from recon3d.runtime.scans import load_scan
from recon3d.sensing.policies import ADAPTIVE, FIXED
from recon3d.solvers.cg import conjugate_gradient
from recon3d.volume import Volume

FORMATS = (".json", ".png")
COMPLETE_STEPS = 20
"""Conjugate gradient steps of the image that all data give."""


@dataclass(frozen=True)
class PolicyCase:
    """A complete scan, ready to be acquired again, and what its image is compared with."""

    name: str
    problem: Problem
    target: Volume
    models: Mapping[str, Any]


def compare_policies(
    cases: Iterable[PolicyCase],
    settings: Mapping[str, Any],
    policies: Sequence[str],
    budgets: Sequence[float],
    *,
    seed: int = 0,
    progress: Callable[[PolicyScore], None] | None = None,
) -> PolicyTable:
    """Acquire every case by every policy at every budget.

    Parameters
    ----------
    settings : of the method active_sampling, without policy and budget
    policies : names of `recon3d.sensing.policies`; "ads" is short for "variance"; the first is compared with each other
    budgets : shares or numbers of units
    """
    methods = {
        (name, budget): make_method(
            "active_sampling", {**settings, "policy": "variance" if name == "ads" else name, "budget": budget}
        )
        for name in policies
        for budget in budgets
    }
    scores = []
    for case in cases:
        for (policy, budget), method in methods.items():
            assert isinstance(method, ActiveSampling)
            slices = case.problem.domain.shape[-3]
            run = SilentRun(seed, micro_batch=min(8, method.particles * slices))
            began = time.perf_counter()
            found = method.reconstruct(case.problem, case.models, run)
            seconds = time.perf_counter() - began
            ssim, psnr_db = similarity(found.volume, case.target)
            measured = int(found.facts["measured"])
            calls = method.particles * method.steps
            scores.append(PolicyScore(policy, budget, case.name, measured, ssim, psnr_db, seconds, calls))
            if progress is not None:
                progress(scores[-1])
    return PolicyTable(scores)


def cases_of(paths: Sequence[Path], config: ReconstructConfig) -> list[PolicyCase]:
    """The cases in files of complete scans, or in folders of them; each is compared with the image of all its data."""
    files = [
        file
        for path in paths
        for file in (sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path])
    ]
    if not files:
        raise InputError("Policies are compared on complete scans: give files, or folders of them.")
    device = choose_device(config.run.device)
    set_threads(config.run.threads)
    method = make_method(config.method.name, config.method.settings)
    cases = []
    for file in files:
        problem = problem_for(load_scan(file, config), device=device)
        models = models_for(method, problem, config.models, force=config.force_prior)
        image = conjugate_gradient(problem.A.gram, problem.A.H(problem.y), max_steps=COMPLETE_STEPS).x
        cases.append(PolicyCase(file.name, problem, problem.volume(image), models))
    return cases


def evaluate_policies(
    paths: Sequence[Path],
    config: ReconstructConfig,
    policies: Sequence[str],
    budgets: Sequence[float],
    outputs: Sequence[Path] = (),
    *,
    overwrite: bool = False,
    progress: Callable[[PolicyScore], None] | None = None,
) -> PolicyTable:
    """`recon3d evaluate --policies`: the table, written as .json and drawn as .png where that is asked for.

    Raises
    ------
    ConfigError, InputError, OutputExistsError
        Before anything is computed.
    """
    known = ("ads", *ADAPTIVE, *(name for name in FIXED if name != "listed"))
    unknown = [name for name in policies if name not in known]
    if unknown:
        raise ConfigError(f"There is no policy '{unknown[0]}': expected some of {', '.join(known)}.")
    if config.method.name != "active_sampling":
        raise ConfigError(
            f"Policies are compared within the method active_sampling, the recipe has {config.method.name}: "
            "give e.g. --config mri-active."
        )
    for output in outputs:
        if output.suffix not in FORMATS:
            raise InputError(f"{output.name} has no suffix for policies: expected one of {', '.join(FORMATS)}.")
        check_output(output, overwrite)
    settings = {name: value for name, value in config.method.settings.items() if name not in ("policy", "budget")}
    table = compare_policies(
        cases_of(paths, config), settings, policies, budgets, seed=config.run.seed, progress=progress
    )
    for output in outputs:
        write_table(table, output, overwrite)
    return table


def write_table(table: PolicyTable, output: Path, overwrite: bool = False) -> None:
    """One file of a table, in the format of its suffix."""
    from recon3d.report.policy_picture import policy_json, policy_picture

    with atomic_path(output, overwrite) as temporary:
        if output.suffix == ".json":
            temporary.write_text(policy_json(table), encoding="utf-8")
        else:
            temporary.write_bytes(policy_picture(table))
