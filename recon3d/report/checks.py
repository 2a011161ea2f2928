"""Checks of a result that a person should know of before trusting it: misfit, slice jumps, clipping, prior, values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.volume import Volume

MISFIT = 2.0
"""A residual of this many noise standard deviations (root mean square) is far above the noise."""
OVERFIT = 0.5
JUMP = 3.0
"""How many times its neighbourhood a step between slices must be to count as a jump."""
CLIPPED = 0.001
"""Fraction of voxels at exactly the largest value that is no accident."""
AIR_HU = -1100.0


@dataclass(frozen=True)
class Check:
    """One line of the list.

    Parameters
    ----------
    state : "ok", "look" (a person should look) or "none" (could not be checked)
    value : the number behind it, by which cases are sorted: residual over noise, largest step between slices over its
        neighbourhood, share of voxels that are clipped or out of range, ways in which the model does not fit
    """

    name: str
    state: Literal["ok", "look", "none"]
    text: str
    value: float | None = None


def check_result(volume: Volume, record: Mapping[str, Any] | None = None) -> list[Check]:
    """All checks of a volume and the record of its run."""
    record = record or {}
    data = np.abs(volume.data) if np.iscomplexobj(volume.data) else volume.data
    return [_residual(record), slice_jumps(data), clipping(data, volume.units), _prior(record)]


def slice_jumps(data: NDArray[Any]) -> Check:
    """Steps between slices (axis -3) that stand out from those around: seams of slabs, wrong slice order, motion."""
    name = "Slice jumps"
    stack = data if data.ndim == 3 else data[data.shape[0] // 2]
    if len(stack) < 8:
        return Check(name, "none", f"Too few slices to tell ({len(stack)}; 8 are needed).")
    steps = np.array([_rms(b.astype(np.float64) - a) for a, b in pairwise(stack)])
    around = np.empty_like(steps)
    for k in range(len(steps)):
        near = np.r_[steps[max(0, k - 4) : k], steps[k + 1 : k + 5]]
        around[k] = max(float(np.median(near)), 0.1 * float(np.median(steps)))
    ratio = np.divide(steps, around, out=np.ones_like(steps), where=around > 0)
    worst = int(np.argmax(ratio))
    found = np.flatnonzero(ratio > JUMP)
    if not len(found):
        text = f"The largest step between slices is {ratio[worst]:.1f} times its neighbourhood."
        return Check(name, "ok", text, float(ratio[worst]))
    where = ", ".join(f"{k + 1} and {k + 2}" for k in found[:4]) + (" and more" if len(found) > 4 else "")
    text = f"The image jumps between slices {where} (up to {ratio[worst]:.1f} times the steps around)."
    return Check(name, "look", text, float(ratio[worst]))


def clipping(data: NDArray[Any], units: str) -> Check:
    """Values that are not finite, pile up at the maximum, or lie where none should."""
    name = "Values"
    finite = np.isfinite(data)
    if not finite.all():
        wrong = data.size - int(np.count_nonzero(finite))
        return Check(name, "look", f"{wrong} voxels are not finite numbers.", wrong / data.size)
    low, high = float(data.min()), float(data.max())
    if low == high:
        return Check(name, "look", f"All voxels have the same value, {_number(low)}.", 1.0)
    at_top = float(np.mean(data == data.dtype.type(high)))
    if at_top > CLIPPED:
        share = f"{100 * at_top:.2g} % of the voxels"
        return Check(name, "look", f"{share} have exactly the largest value, {_number(high)}: clipped?", at_top)
    if units == "HU":
        below = float(np.mean(data < AIR_HU))
        if below > 0.01:
            share = f"{100 * below:.2g} % of the voxels"
            return Check(name, "look", f"{share} lie below {_number(AIR_HU)} HU, less than air.", below)
    unit = "" if units == "1" else f" {units}"
    text = f"All finite, {_number(low)} to {_number(high)}{unit}, none piled up at the maximum."
    return Check(name, "ok", text, at_top)


def _residual(record: Mapping[str, Any]) -> Check:
    name = "Residual"
    result = record.get("result")
    facts = result if isinstance(result, Mapping) else {}
    ratio, residual = facts.get("residual_to_noise"), facts.get("residual")
    if isinstance(ratio, int | float):
        text = f"The misfit to the data is {ratio:.2f} times the noise of the scan (root mean square)."
        if ratio > MISFIT:
            text += " The image does not explain the data: its model, the geometry or the stated noise may be wrong."
            return Check(name, "look", text, float(ratio))
        if ratio < OVERFIT:
            text += " Well below one: part of the noise was fitted and lies in the image."
        return Check(name, "ok", text, float(ratio))
    if isinstance(residual, int | float):
        text = f"The relative misfit to the data is {residual:.3g}; no noise is stated that it could be judged by."
        return Check(name, "none", text)
    return Check(name, "none", "The method does not say how well the image explains the data.")


def _prior(record: Mapping[str, Any]) -> Check:
    name = "Prior"
    models, config = record.get("models"), record.get("config")
    if not record:
        return Check(name, "none", "There is no record of the run.")
    if not models:
        return Check(name, "ok", "No trained model took part.", 0.0)
    misfits = record.get("misfits")
    if misfits:
        listed = "; ".join(map(str, misfits)) if isinstance(misfits, list | tuple) else str(misfits)
        count = len(misfits) if isinstance(misfits, list | tuple) else 1
        return Check(name, "look", f"The model was forced on a scan that it does not fit: {listed}.", float(count))
    if isinstance(config, Mapping) and config.get("force_prior"):
        return Check(name, "look", "--force-prior was given: the model ran whether or not it fits this scan.")
    return Check(name, "ok", "The model fits the scan: modality, voxel size and shape are those of its card.", 0.0)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
