"""Auto: the method that suits a scan, chosen by what was measured, the priors at hand and the time there is."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator

from operators.mri import Encoding
from operators.tomography import RayTransform
from recon3d.errors import ModelError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.problem import Problem
from recon3d.run import Run

COMPLETE_VIEWS = 0.5
"""Of pi/2 views for each pixel across (Crowther's rule): from here on filtered backprojection shows few streaks."""
COMPLETE_ARC_DEG = 150.0
COMPLETE_MRI = 1.5
"""Up to this acceleration coils alone make the image."""
STEPS = (100, 50, 20, 10)
"""Of DDS, best first; 50 unless a time budget says otherwise."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Measured:
    """What a scan holds of its image.

    Parameters
    ----------
    complete : whether a direct or linear method suffices
    short_arc : CT over less than half a turn
    said : in words
    """

    complete: bool
    said: str
    short_arc: bool = False


@dataclass(frozen=True)
class _Candidate:
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    grams: float = 1.0
    """Applications of A^H A, about what its other work costs included."""
    networks: int = 0

    @property
    def said(self) -> str:
        steps = self.settings.get("steps")
        return self.name if steps is None else f"{self.name} with {steps} steps"


class Auto(Method):
    """Complete data: filtered backprojection (CT), SENSE (MRI). Else DDS where a prior fits, or else TV or wavelets."""

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
        from recon3d.methods.roles import models_for

        measured = measured_share(problem)
        prior, about_prior = None, ""
        if not measured.complete:
            try:
                prior = models_for(make_method("dds", {}), problem, given, force=force)["prior"]
                about_prior = f", prior {prior.card.name} fits"
            except ModelError as error:
                about_prior = f", no prior ({str(error).partition(':')[0].rstrip('.')})"
        candidates = _candidates(problem, measured, prior is not None)
        chosen, about_time = self._in_time(problem, prior, candidates)
        return make_method(chosen.name, chosen.settings), f"{measured.said}{about_prior}: {chosen.said}{about_time}."

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        from recon3d.methods.roles import settled

        method, chosen, reason = settled(self, problem, models)
        run.note(reason)
        return method.reconstruct(problem, chosen, run)

    def _in_time(self, problem: Problem, prior: Any, candidates: list[_Candidate]) -> tuple[_Candidate, str]:
        """The best candidate that is fast enough on this machine, as two short measurements tell."""
        if self.budget is None:
            return next(c for c in candidates if c.settings.get("steps") != STEPS[0]), ""
        gram, network = seconds_per_gram(problem), seconds_per_network(problem, prior)
        expected = [c.grams * gram + c.networks * network for c in candidates]
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


def measured_share(problem: Problem) -> Measured:
    """How complete the data of a scan are."""
    A = problem.A
    if isinstance(A, RayTransform):
        views = A.geometry.n_views
        turned = np.rad2deg(np.unwrap(A.geometry.angles_rad))
        arc = float(np.ptp(turned)) * views / max(views - 1, 1)
        complete = math.ceil(math.pi / 2 * max(problem.domain.shape[-2:]))
        if arc < COMPLETE_ARC_DEG:
            return Measured(False, f"an arc of {arc:.0f} degrees", short_arc=True)
        enough = views * min(1.0, 180.0 / arc) >= COMPLETE_VIEWS * complete
        return Measured(enough, f"{views} views where {complete} per half turn are complete")
    if isinstance(A, Encoding):
        samples = int(torch.count_nonzero(problem.y)) / A.maps.shape[-4]
        factor = problem.domain.size / A.maps.shape[0] / max(samples, 1.0)
        return Measured(factor <= COMPLETE_MRI, f"MRI at an acceleration of {factor:.1f}")
    share = A.range.size / problem.domain.size
    return Measured(False, f"{share:.2g} measurements for each voxel")


def classical_for(problem: Problem) -> tuple[str, dict[str, Any]]:
    """The method without a prior that suits a scan, with its settings."""
    chosen = _candidates(problem, measured_share(problem), prior_fits=False)[0]
    return chosen.name, chosen.settings


def _candidates(problem: Problem, measured: Measured, prior_fits: bool) -> list[_Candidate]:
    """What suits the scan, best first."""
    mri, ct = isinstance(problem.A, Encoding), isinstance(problem.A, RayTransform)
    if measured.complete:
        return [_Candidate("cg_sense", grams=35.0) if mri else _Candidate("fbp", {"filter": "hann"})]
    found = []
    if prior_fits:
        cg_steps = 20 if measured.short_arc else 5  # as in the recipe ct-limited-angle-dds
        for steps in STEPS:
            settings = {"steps": steps, "cg_steps": cg_steps}
            found.append(_Candidate("dds", settings, grams=1.3 * steps * (cg_steps + 1), networks=steps))
    if mri:
        return [*found, _Candidate("l1_wavelet", grams=120.0), _Candidate("zero_filled")]
    found.append(_Candidate("tv", {"iterations": 100}, grams=200.0))
    return [*found, _Candidate("fbp", {"filter": "hann"})] if ct else found


def seconds_per_gram(problem: Problem) -> float:
    """What one application of A^H A takes on this machine."""
    x = torch.ones(problem.domain.shape, dtype=problem.domain.dtype, device=problem.A.device)
    return _seconds(lambda: problem.A.gram(x))


def seconds_per_network(problem: Problem, prior: Any) -> float:
    """One pass over all slices, from one over a single micro-batch."""
    if prior is None:
        return 0.0
    slices = math.prod(problem.domain.shape[:-2])
    batch = getattr(prior, "micro_batch", 1)
    x = torch.zeros((batch, *problem.domain.shape[-2:]), dtype=problem.domain.dtype, device=problem.A.device)
    return _seconds(lambda: prior.denoise(x, prior.card.sigma_data)) * math.ceil(slices / batch)


def _seconds(work: Callable[[], Any]) -> float:
    work()  # compiled and loaded before the clock starts
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
