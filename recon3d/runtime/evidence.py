"""Evidence: what lies beside a learned result so that it can be judged, and what says where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from recon3d.config import EvidenceConfig
from recon3d.errors import ConfigError, Interrupted, ReconError
from recon3d.methods import make_method
from recon3d.methods.base import Method, Reconstruction
from recon3d.methods.candidates import classical_for
from recon3d.priors import Card
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.runtime.memory import MemoryPlan
from recon3d.runtime.runner import CaseRun
from recon3d.solvers.null_space import least_squares_change, undetermined
from recon3d.volume import Volume

UNKNOWN_NOISE = 1e-3
"""Directions of A^H A this weak, of the strongest, count as undetermined where the noise of a scan is unknown."""
SOLVER_VOLUMES = 6.0
"""Image volumes that the conjugate gradients of a map hold."""
NOTES = {
    "residual": "The smallest change of the image that would take away its misfit to the data: noise where the image "
    "explains them, structure where it does not.",
    "null space": "The part of the image in directions in which the data are weaker than their noise: what is seen "
    "here was not measured, it comes from the prior.",
}


@dataclass(frozen=True)
class Evidence:
    """Volumes by the names of their layers, and what is known about them.

    Parameters
    ----------
    volumes : some of "classical", "residual" and "null space"
    facts : for the record
    """

    volumes: Mapping[str, Volume] = field(default_factory=dict)
    facts: Mapping[str, float | str] = field(default_factory=dict)


def classical_method(problem: Problem, config: EvidenceConfig) -> Method | None:
    """The method whose result lies beside a learned one."""
    if config.classical == "none":
        return None
    name, settings = classical_for(problem) if config.classical == "auto" else (config.classical, {})
    method = make_method(name, settings)
    if method.roles:
        raise ConfigError(f"evidence.classical takes methods without a trained model, '{name}' needs one: try tv.")
    return method


def layers_of(config: EvidenceConfig) -> list[str]:
    """Names of the volumes that are asked for."""
    wanted = {"classical": config.classical != "none", "residual": config.residual, "null space": config.null_space}
    return [name for name, asked in wanted.items() if asked]


def affordable(config: EvidenceConfig, problem: Problem, method: Method, memory: MemoryPlan) -> EvidenceConfig | None:
    """What will lie beside the result: of a learned one, and where the whole volume fits into the memory.

    Not of a method that prepares what its models see: then the image is not theirs."""
    if not method.roles or method.prepares or memory.streamed or memory.slab < problem.domain.shape[-3]:
        return None
    classical = classical_method(problem, config)
    solver = SOLVER_VOLUMES if config.residual or config.null_space else 0.0
    volumes = 1.0 + max(solver, classical.volumes if classical else 0.0)  # the result is held, too
    whole = volumes * problem.domain.nbytes + 3 * problem.A.range.nbytes
    return config if whole <= memory.limit else None


def gathered(
    problem: Problem, result: Reconstruction, models: Mapping[str, Any], config: EvidenceConfig, run: CaseRun
) -> Evidence:
    """The evidence; that a scan does not allow it (a classical method may refuse it) costs no result, but a note."""
    try:
        return gather(problem, result, models, config, run.aside())
    except Interrupted:
        raise
    except ReconError as error:
        run.note(f"No evidence beside the result: {error}")
        return Evidence()


def gather(
    problem: Problem, result: Reconstruction, models: Mapping[str, Any], config: EvidenceConfig, run: Run
) -> Evidence:
    """The classical result, the misfit as an image, and the part of the image that the data do not determine.

    Parameters
    ----------
    result : what a learned method found for the problem
    models : its models; the range of the first sets what counts as a strong part of the image
    run : is told of the classical method's steps
    """
    volumes: dict[str, Volume] = {}
    facts: dict[str, float | str] = {}
    classical = classical_method(problem, config)
    if classical is not None:
        found = classical.reconstruct(problem, {}, run)
        volumes["classical"] = found.volume
        facts["classical"] = classical.name
        facts |= {f"classical_{name}": value for name, value in found.facts.items()}
    if (config.residual or config.null_space) and tuple(result.volume.shape) == tuple(problem.domain.shape):
        task, damping = _as_the_prior_sees_it(problem, models)
        x = task.normalization.apply(problem.image(result.volume))
        if config.residual:
            change = least_squares_change(task.A, task.y, x, damping=damping)
            volumes["residual"] = _in_units(problem, task, change)
        if config.null_space:
            free = undetermined(task.A, x, damping=damping)
            volumes["null space"] = _in_units(problem, task, free)
            facts["undetermined_share"] = float((free.abs().square().sum() / x.abs().square().sum()).sqrt())
    return Evidence(volumes, facts)


def _as_the_prior_sees_it(problem: Problem, models: Mapping[str, Any]) -> tuple[Normalised, float]:
    """The problem in the range of the first prior, and the variance of its noise over that of its images."""
    card = next((model.card for model in models.values() if isinstance(model.card, Card)), None)
    if card is None:
        return problem.normalised(), UNKNOWN_NOISE
    task = problem.normalised(problem.normalization_from(card.normalization, card.units))
    return task, UNKNOWN_NOISE if task.noise_std is None else (task.noise_std / card.sigma_data) ** 2


def _in_units(problem: Problem, task: Normalised, change: Tensor) -> Volume:
    """A difference of images as a Volume: scaled, without the offset."""
    units, output = problem.output
    data = (change * (task.normalization.scale / output.scale)).cpu().numpy()
    return Volume(np.ascontiguousarray(data), problem.grid, units=units, times_s=problem.times_s)
