"""Calibration: how the spread of samples becomes an error bar, found on synthetic truth; kept in the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Calibration(BaseModel):
    """The error bar (one standard deviation) of a mean of samples is ``factor`` times their spread.

    It belongs to `method` with these `settings` (others do not matter) and at least `samples` samples. `found_on` says
    on which truth it was found. `coverage` holds the shares of voxels that the 90 % interval then covers on other
    truth, by the name of the scans.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    settings: dict[str, float | str | bool]
    samples: int = Field(ge=2)
    factor: float = Field(gt=0)
    found_on: str
    coverage: dict[str, float] = Field(default_factory=dict)


def error_bar(
    calibrations: Sequence[Calibration], method: str, settings: Mapping[str, Any], samples: int
) -> tuple[float, str]:
    """The factor on the spread of that many samples, and what the map must say of itself."""
    for known in calibrations:
        same = known.method == method and all(settings.get(key) == value for key, value in known.settings.items())
        if same and samples >= known.samples:
            told = f"Spread of {samples} samples times {known.factor:g}: 90 % intervals cover the truth"
            return known.factor, f"{told} on {known.found_on}; not proven for other scans."
    told = f"Spread of {samples} samples: no error bar, the prior is not calibrated"
    return 1.0, f"{told} for '{method}' with these settings."
