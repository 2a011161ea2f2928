"""Forecasts: what a case will take of memory and time, before its first iteration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon3d.config import ReconstructConfig
from recon3d.methods.auto import seconds_per_gram, seconds_per_network
from recon3d.runtime.plan import plan_case


@dataclass(frozen=True)
class Forecast:
    """What a case will take.

    Parameters
    ----------
    method : that will run
    host, device : bytes of the machine's memory the whole process takes, and of the GPU's
    operators, networks : applications of A^H A, and passes of all slices through the network
    seconds : from one of each, measured now
    plan : slabs, micro-batch and what lies on disk, in words
    """

    method: str
    host: int
    device: int
    operators: float
    networks: float
    seconds: float
    plan: str

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))


def forecast_case(path: Path, config: ReconstructConfig) -> Forecast:
    """Plan a case as `recon3d reconstruct --dry-run` does, and time one application of each of its parts.

    Raises
    ------
    ReconError
        As the case itself would before its first iteration.
    """
    plan = plan_case(path, config)
    operators, networks = plan.method.calls(plan.problem)
    prior = plan.models.get("prior")
    problem, slabs = plan.problem, 1.0
    if plan.memory.streamed:  # a slab stands for all of them
        slabs = plan.problem.domain.shape[0] / plan.memory.slab
        problem = plan.problem.slab(0, plan.memory.slab)
    seconds = operators * slabs * seconds_per_gram(problem) if operators else 0.0
    if networks:
        seconds += networks * slabs * seconds_per_network(problem, prior)
    device = 0 if plan.device == "cpu" else plan.memory.forecast
    told = plan.memory.told(plan.problem.domain.shape[-3])
    return Forecast(plan.method.name, plan.memory.host, device, operators, networks, seconds, told)
