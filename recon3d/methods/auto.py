"""Auto: the method that suits a scan, chosen by what was measured, the models at hand and the time there is."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator

from recon3d.errors import ModelError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.candidates import CANDIDATES, Candidate
from recon3d.methods.measured import measured
from recon3d.priors.interpolator import Interpolator
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem
from recon3d.run import Run

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Auto(Method):
    """The first candidate for what was measured whose models fit the scan, and which is fast enough."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "chooses among the others by scan, priors and time, and says why"

    budget: str | None = Field(None, description="time it may take, e.g. 90s, 5m, 2h; no limit by default")

    @field_validator("budget", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> str | None:
        if value is not None and seconds_of(str(value)) <= 0:
            raise ValueError("a time budget is positive")
        return None if value is None else str(value)

    def settle(
        self, problem: Problem, given: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> tuple[Method, str]:
        from recon3d.methods import make_method

        found = measured(problem)
        able, models, told = _with_models(CANDIDATES[found.situation], problem, given or {}, force)
        chosen, about_time = self._in_time(problem, models, able)
        reason = "".join((found.said, *(f", {line}" for line in told), f": {chosen.said}{about_time}."))
        return make_method(chosen.name, chosen.settings), reason

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        from recon3d.methods.roles import settled

        method, chosen, reason = settled(self, problem, models)
        run.note(reason)
        return method.reconstruct(problem, chosen, run)

    def _in_time(
        self, problem: Problem, models: Mapping[str, Mapping[str, Any]], candidates: list[Candidate]
    ) -> tuple[Candidate, str]:
        """The best candidate that is fast enough on this machine, as a few short measurements tell."""
        if self.budget is None or len(candidates) == 1:
            return next(c for c in candidates if not c.patient), ""
        gram = seconds_per_gram(problem)
        network = {name: sum(seconds_per_network(problem, m) for m in of.values()) for name, of in models.items()}
        expected = [c.grams * gram + (c.networks * network[c.name] if c.networks else 0.0) for c in candidates]
        allowed = seconds_of(self.budget)
        for candidate, seconds in zip(candidates, expected, strict=True):
            if seconds <= allowed:
                return candidate, f", about {seconds:.2g} s of {self.budget}"
        fastest = int(np.argmin(expected))
        return candidates[fastest], f", about {expected[fastest]:.2g} s, although {self.budget} is too little for any"


def seconds_of(text: str) -> float:
    """``"90s"``, ``"5m"``, ``"2h"`` or plain seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(s|m|h)?(?:ec|in)?\s*", text)
    if found is None:
        raise ValueError(f"a time looks like 90s, 5m or 2h, got '{text}'")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def _with_models(
    candidates: list[Candidate], problem: Problem, given: Mapping[str, Any], force: bool
) -> tuple[list[Candidate], dict[str, Mapping[str, Any]], list[str]]:
    """The candidates whose models are at hand and fit, the models by method, and what is said about them."""
    from recon3d.methods import make_method
    from recon3d.methods.roles import models_for

    models: dict[str, Mapping[str, Any]] = {}
    told = []
    for candidate in {c.name: c for c in candidates if c.learned}.values():
        method = make_method(candidate.name, candidate.settings)
        own = {role: model for role, model in given.items() if role in method.needed}
        try:
            models[candidate.name] = models_for(method, problem, own, force=force)
            told += [f"{role} {model.card.name} fits" for role, model in models[candidate.name].items()]
        except ModelError as error:
            told.append(f"no {' or '.join(method.needed)} ({str(error).partition(':')[0].rstrip('.')})")
    return [c for c in candidates if c.name in models or not c.learned], models, told


def seconds_per_gram(problem: Problem) -> float:
    """What one application of A^H A takes on this machine."""
    x = torch.ones(problem.domain.shape, dtype=problem.domain.dtype, device=problem.A.device)
    return _seconds(lambda: problem.A.gram(x))


def seconds_per_network(problem: Problem, model: Any) -> float:
    """One pass over all slices, from one over a single micro-batch; or over a cube, from one over a small tile."""
    if isinstance(model, Reconstructor):
        return _seconds(lambda: model(problem.slab(0, 1))) * problem.domain.shape[-3]
    if isinstance(model, Interpolator):
        tile = [min(side, 32) for side in problem.domain.shape]
        x, seen = (torch.zeros((1, *channels, *tile), device=model.device) for channels in ((), (2,)))
        tiles = math.prod(problem.domain.shape) / math.prod(tile)
        return _seconds(lambda: model.denoise(x, model.card.sigma_max, seen)) * tiles
    slices = math.prod(problem.domain.shape[:-2])
    batch = getattr(model, "micro_batch", 1)
    x = torch.zeros((batch, *problem.domain.shape[-2:]), dtype=problem.domain.dtype, device=problem.A.device)
    return _seconds(lambda: model.denoise(x, model.card.sigma_data)) * math.ceil(slices / batch)


def _seconds(work: Callable[[], Any]) -> float:
    work()  # compiled and loaded before the clock starts
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
