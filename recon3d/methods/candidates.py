"""Candidates: which methods suit which scan, best first, as `docs/quality.md` measured them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recon3d.methods import method_class
from recon3d.methods.measured import measured
from recon3d.problem import Problem


@dataclass(frozen=True)
class Candidate:
    """A method with its settings, and what it costs.

    Parameters
    ----------
    grams : applications of A^H A, with what its other work costs in their terms (where A is cheap, many)
    networks : passes of its network over all slices
    patient : only for those who gave it the time
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    grams: float = 1.0
    networks: int = 0
    patient: bool = False

    @property
    def said(self) -> str:
        steps = self.settings.get("steps")
        return self.name if steps is None else f"{self.name} with {steps} steps"

    @property
    def learned(self) -> bool:
        return bool(method_class(self.name).roles)


def dds(**settings: Any) -> list[Candidate]:
    """DDS with more steps or fewer; 100 gain little over 50."""
    costs = 1.3 * (1 + settings["cg_steps"])
    return [
        Candidate("dds", {"steps": n, **settings}, grams=costs * n, networks=n, patient=n == 100)
        for n in (100, 50, 20, 10)
    ]


FBP = Candidate("fbp", {"filter": "hann"})
TV = Candidate("tv", {"iterations": 100}, grams=200.0)
L1_WAVELET = Candidate("l1_wavelet", grams=120.0)
ZERO_FILLED = Candidate("zero_filled")
SUPERVISED = Candidate("supervised", networks=1)
PSM = Candidate("psm", grams=1000.0)
RED_PSM = Candidate("red_psm", grams=300.0, networks=25)
SLIDING_WINDOW = Candidate("sliding_window", grams=50.0)
POCS = Candidate("pocs", grams=5000.0)
MSSA = Candidate("mssa", grams=60000.0)
SEISFUSION = Candidate("seisfusion", grams=60000.0, networks=1)

CANDIDATES: dict[str, list[Candidate]] = {
    "complete CT": [FBP],
    "CT of few views": [*dds(cg_steps=5), TV, FBP],
    "CT of a short arc": [*dds(cg_steps=20), TV, FBP],
    "complete MRI": [Candidate("cg_sense", grams=35.0)],
    "MRI": [*dds(data="proximal", cg_steps=1, noise_weight=1.0, eta=1.0), L1_WAVELET, SUPERVISED, ZERO_FILLED],
    "MRI of few lines": [*dds(cg_steps=1, noise_weight=1.0, eta=1.0), SUPERVISED, L1_WAVELET, ZERO_FILLED],
    "non-Cartesian MRI": [*dds(data="proximal", cg_steps=5, noise_weight=1.0, eta=1.0), L1_WAVELET, ZERO_FILLED],
    "CT series": [RED_PSM, PSM, SLIDING_WINDOW],
    "MRI series": [PSM, Candidate("lps", grams=160.0), SLIDING_WINDOW],
    "series of complete frames": [Candidate("sliding_window", {"window": 1}, grams=15.0)],
    "other series": [PSM, SLIDING_WINDOW],
    "complete traces": [POCS],
    "traces in a pattern": [Candidate("fx_prediction", grams=1000.0), POCS],
    "traces with a wide gap": [SEISFUSION, MSSA, POCS],
    "scattered traces": [SEISFUSION, POCS],
    "ultrasound": [Candidate("das")],
    "beamformed": [Candidate("wiener")],
    "noisy volume": [
        Candidate("denoise", networks=1),
        Candidate("tv", {"weight": 0, "noise_weight": 0.4}, grams=7000.0),
    ],
    "thick slices": [Candidate("tv", {"weight": 4e-3, "iterations": 400, "rtol": 1e-5}, grams=1500.0)],
    "missing slices": [Candidate("tv", {"axes": "slices", "weight": 1e-3, "huber": 0.1}, grams=7000.0)],
    "other": [*dds(cg_steps=5), TV],
}
"""By the situation of `recon3d.methods.measured`. Settings are those of the recipes in `configs/`.

Not here, because something else is ahead of it in docs/quality.md: DiffusionMBIR (DDS comes as far with a fortieth of
the calls), RED-PSM for MRI series (PSM with total variation)."""


def classical_for(problem: Problem) -> tuple[str, dict[str, Any]]:
    """The method without a trained model that suits a scan, with its settings."""
    chosen = next(c for c in CANDIDATES[measured(problem).situation] if not c.learned)
    return chosen.name, chosen.settings
