"""Tuning one case: from a scan file and a recipe to a recipe whose free settings were chosen on a part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recon3d.config import ReconstructConfig
from recon3d.errors import ConfigError, InputError, ShapeError
from recon3d.grid import AffineGrid
from recon3d.io import atomic_path, load
from recon3d.io.atomic import check_output
from recon3d.methods.base import Method
from recon3d.problem import Problem
from recon3d.run import SilentRun
from recon3d.runtime.plan import plan_case
from recon3d.tuning.criteria import against, discrepancy, with_noise
from recon3d.tuning.search import Trial
from recon3d.tuning.tune import Tuned, ranges_of, tune
from recon3d.volume import Volume

COUPLED_SLICES = 5
"""Slices that are tuned on where a method joins them: the fewest in which one has neighbours on both sides and they
have, too."""


@dataclass(frozen=True)
class TunedCase:
    """What `tune_case` found.

    Parameters
    ----------
    tuned : the settings, with every trial
    told : sentences for a person: what was tuned on, by which criterion, and what to beware of
    """

    tuned: Tuned
    told: tuple[str, ...]


def tune_case(
    path: Path,
    output: Path,
    config: ReconstructConfig,
    content: Mapping[str, Any],
    *,
    reference: Path | None = None,
    slices: tuple[int, int] | None = None,
    free: Sequence[str] = (),
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> TunedCase:
    """Choose the free settings of a method on slices of a scan; write the recipe with them to `output`.

    Parameters
    ----------
    path : scan
    output : .yaml file, for `recon3d reconstruct --config`
    config, content : the recipe, validated and as plain values; what is written is `content` with other settings
    reference : volume on the grid of the result to come close to; without one the misfit is to be as large as the noise
    slices : (first, end) of those that are tuned on; by default one in the middle, or five where a method joins slices
    free : settings to choose; all that the method declares by default, its first one without a reference
    progress : told each trial in a line

    Raises
    ------
    ReconError
        With one sentence; then nothing has been written.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"The tuned recipe is written as YAML: give a name that ends in .yaml, got {output.name}.")
    check_output(output, overwrite)
    plan = plan_case(path, config)
    ranges = ranges_of(plan.method, free)
    if reference is None:
        free = _one_of(list(ranges), free)
    first, end = _slices(plan.problem, plan.method, slices)
    problem = plan.problem if (first, end) == (0, plan.problem.domain.shape[-3]) else plan.problem.slab(first, end)
    told = [f"on slices {first} to {end - 1} of {path.name}"]
    if reference is not None:
        criterion, unit = against(_reference(reference, plan.problem, first, end)), "PSNR {:.2f} dB"
        told[0] += f", against {reference.name}"
    else:
        known, estimated = with_noise(problem)
        criterion, unit = discrepancy(known), "misfit {:.3g} of the noise away"
        told[0] += ", by the discrepancy principle"
        told += [estimated] if estimated else []

    def said(trial: Trial) -> str:
        values = "  ".join(f"{name}={value:g}" for name, value in trial.settings.items())
        return f"{values}  {_shown(trial.score, unit, reference is not None)}"

    run = SilentRun(config.run.seed, plan.memory.micro_batch)
    found = tune(
        problem,
        plan.method,
        criterion,
        models=plan.models,
        run=run,
        free=free,
        progress=lambda trial: progress(said(trial)),
    )
    told += [
        f"{name}={found.settings[name]:g} is an end of its range: a better value may lie beyond it."
        for name in found.at_end
    ]
    if reference is None and found.score > 0.1:
        told.append(
            "No setting gives a misfit within 10 % of the noise: it is misstated, or the model misses something."
        )
    _write(output, content, found, [said(Trial(found.settings, found.score)), *told], overwrite)
    return TunedCase(found, tuple(told))


def _shown(score: float, unit: str, reference: bool) -> str:
    return unit.format(-score if reference else score)


def _one_of(declared: list[str], free: Sequence[str]) -> list[str]:
    """The misfit is one number and chooses one setting."""
    if len(free) > 1:
        raise ConfigError(f"Without a --reference one setting can be tuned, got {', '.join(free)}: choose one of them.")
    return declared[:1]


def _slices(problem: Problem, method: Method, wanted: tuple[int, int] | None) -> tuple[int, int]:
    count = problem.domain.shape[-3]
    if wanted is not None:
        if not 0 <= wanted[0] < wanted[1] <= count:
            raise ConfigError(f"--slices takes FIRST:END within 0:{count}, got {wanted[0]}:{wanted[1]}.")
    else:
        number = min(count, 1 if method.separable else COUPLED_SLICES)
        wanted = ((count - number) // 2, (count - number) // 2 + number)
    try:
        problem.slab(*wanted)
    except ShapeError:  # its slices share measurements
        return 0, count
    return wanted


def _reference(path: Path, problem: Problem, first: int, end: int) -> Volume:
    """The slices of a reference volume."""
    units = problem.output[0]
    options = {"units": units} if path.name.endswith((".nii", ".nii.gz")) else {}
    volume = load(path, **options)
    shape = tuple(problem.grid.shape)
    if not isinstance(volume, Volume) or volume.data.shape[-3:] != shape:
        raise InputError(
            f"The reference {path} must be a volume of the result's shape {shape} (z, y, x), got {volume!r}: "
            "reconstruct on its grid with grid.like, or resample it."
        )
    grid = volume.grid.slab(first, end) if isinstance(volume.grid, AffineGrid) else volume.grid
    return Volume(volume.data[..., first:end, :, :], grid, units=volume.units, times_s=volume.times_s)


def _write(output: Path, content: Mapping[str, Any], found: Tuned, told: list[str], overwrite: bool) -> None:
    """The recipe with the chosen settings; comments say how they were chosen."""
    settings = found.method.model_dump(mode="json", exclude_unset=True)
    recipe = {**content, "method": {"name": found.method.name, **settings}}
    comments = [f"# Tuned by recon3d: {told[0]}", *(f"# {line}" for line in told[1:])]
    with atomic_path(output, overwrite) as temporary:
        text = "\n".join(comments) + "\n" + yaml.safe_dump(recipe, sort_keys=False)
        temporary.write_text(text, encoding="utf-8")
