"""The card of a reconstructor: which sampling it was trained on, and whether a scan is like that; without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from operators.mri.sampling import Sampling
from recon3d.priors.cards import BaseCard


class ReconstructorCard(BaseCard):
    """The card of a feed-forward network for multi-coil MRI.

    `scaling` says by which number of its own each slice of k-space is divided: "percentile" is the `percentile` (0..1)
    of the magnitudes of all its samples, unmeasured zeros included, so it moves with the acceleration; a network must
    meet the rule it was trained with.
    `calibration_radius` makes the calibration region a disc of that many samples; None takes the fully sampled centre.
    `patterns`, `acceleration`, `centre` (share of lines) and `coils` are those of the training.
    """

    kind: Literal["reconstructor"] = "reconstructor"
    complex_image: bool = True
    scaling: Literal["percentile"] = "percentile"
    percentile: float = Field(default=0.99, gt=0, le=1)
    calibration_radius: int | None = Field(default=None, ge=1)
    patterns: tuple[str, ...]
    acceleration: tuple[float, float]
    centre: tuple[float, float]
    coils: tuple[int, int]


def sampling_misfits(card: ReconstructorCard, sampling: Sampling, coils: int) -> list[str]:
    """Every way in which the sampling of a scan is unlike the training, one sentence each."""
    misfits = []
    low, high = card.coils
    if not low <= coils <= high:
        seen = f"{low}" if low == high else f"{low} to {high}"
        misfits.append(f"the model {card.name} was trained on {seen} coils, the scan has {coils}")
    if sampling.pattern not in card.patterns:
        kinds = " and ".join(card.patterns)
        misfits.append(f"the model {card.name} was trained on {kinds} sampling, that of the scan is {sampling.pattern}")
        return misfits  # its numbers mean something else then
    for what, value, (low, high) in (
        ("accelerations", sampling.acceleration, card.acceleration),
        ("shares of calibration lines", sampling.centre, card.centre),
    ):
        if not low <= value <= high:
            misfits.append(
                f"the model {card.name} was trained on {what} of {low:g} to {high:g}, the scan has {value:.3g}"
            )
    return misfits
