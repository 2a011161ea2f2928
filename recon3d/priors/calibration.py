"""Calibration: how the spread of samples becomes an error bar, found on synthetic truth; kept in the card."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

LEVEL = 0.9
"""The share of voxels that a calibrated interval is to cover."""
NORMAL_QUANTILE = 1.6448536269514722
"""Half width of an interval of that share, in standard deviations of a normal error."""


class Calibration(BaseModel):
    """The error bar (one standard deviation) of a mean of samples is ``factor`` times their spread.

    `samples` and `settings` are those of the runs it was found with; `found_on` says on which truth. `coverage` holds
    the shares of voxels that the 90 % interval then covers, by the name of the scans, found again on other truth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(gt=0)
    samples: int = Field(ge=2)
    settings: dict[str, float | str] = Field(default_factory=dict)
    found_on: str
    coverage: dict[str, float] = Field(default_factory=dict)


def error_bar(calibrations: Mapping[str, Calibration], method: str, samples: int) -> tuple[float, str]:
    """The factor on the spread of that many samples, and what the map must say of itself."""
    known = calibrations.get(method)
    if known is None:
        return 1.0, f"Spread of {samples} samples: no error bar, the prior is not calibrated for '{method}'."
    told = f"Spread of {samples} samples times {known.factor:g}: 90 % intervals cover the truth on {known.found_on}"
    return known.factor, f"{told}; not proven for other scans."
