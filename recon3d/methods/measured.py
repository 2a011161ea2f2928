"""What a scan holds of its image: the situation in which a method is chosen, and how that is said to a person."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_cdt

from operators.linear import Identity, LinearOperator
from operators.mri import Encoding
from operators.mri.noncartesian import NonCartesianEncoding
from operators.seismic import TraceSampling
from operators.series import Series
from operators.slices import SliceSampling
from operators.space import Space
from operators.tomography import RayTransform
from recon3d.problem import Problem
from recon3d.solvers.prediction import decimation

COMPLETE_VIEWS = 0.5
"""Of pi/2 views for each pixel across (Crowther's rule): from here on filtered backprojection shows few streaks."""
COMPLETE_ARC_DEG = 150.0
COMPLETE_MRI = 1.5
"""Up to this acceleration coils alone make the image."""
HIGH_ACCELERATION = 6.0
"""From here on slices help each other, and wavelets fall behind networks trained on pairs."""
WIDE_GAP = 8
"""Missing traces in a row, along both axes, that a sparse spectrum does not bridge."""


@dataclass(frozen=True)
class Measured:
    """A situation, which is a row of `recon3d.methods.candidates.CANDIDATES`, and what was measured, in words."""

    situation: str
    said: str


def measured(problem: Problem) -> Measured:
    """How complete the data of a scan are."""
    A, y = problem.A, problem.y
    if isinstance(A, Series):
        frame = _look(*A.window(0, 1, y), problem.kind)
        said = f"{A.frames} frames, the first of {frame.said}"
        return Measured(_SERIES.get(frame.situation, "other series"), said)
    return _look(A, y, problem.kind)


def _look(A: LinearOperator, y: Any, kind: str) -> Measured:
    for physics, look in _LOOKS:
        if isinstance(A, physics):
            return look(A, y)
    if kind == "ultrasound":
        beamformed = isinstance(A, Identity)
        return Measured("beamformed", "beamformed ultrasound") if beamformed else Measured(kind, "channel data")
    share = A.range.size / A.domain.size
    return Measured("other", f"{share:.2g} measurements for each voxel")


def _ct(A: RayTransform, y: Any) -> Measured:
    views = A.geometry.n_views
    turned = np.rad2deg(np.unwrap(A.geometry.angles_rad))
    arc = float(np.ptp(turned)) * views / max(views - 1, 1)
    needed = math.ceil(math.pi / 2 * max(_shape(A)[-2:]))
    said = f"{views} view{'s' if views > 1 else ''} where {needed} per half turn are complete"
    if views > 1 and arc < COMPLETE_ARC_DEG:
        return Measured("CT of a short arc", f"an arc of {arc:.0f} degrees")
    if views * min(1.0, 180.0 / max(arc, 1.0)) >= COMPLETE_VIEWS * needed:
        return Measured("complete CT", said)
    return Measured("CT of few views", said)


def _mri(A: Encoding, y: Any) -> Measured:
    samples = int(torch.count_nonzero(y)) / A.maps.shape[-4]
    factor = A.domain.size / A.maps.shape[0] / max(samples, 1.0)
    said = f"MRI at an acceleration of {factor:.1f}"
    if factor <= COMPLETE_MRI:
        return Measured("complete MRI", said)
    if isinstance(A, NonCartesianEncoding):
        return Measured("non-Cartesian MRI", f"non-Cartesian {said}")
    return Measured("MRI" if factor < HIGH_ACCELERATION else "MRI of few lines", said)


def _seismic(A: TraceSampling, y: Any) -> Measured:
    live = A.live[..., 0] > 0
    said = f"{100 * (1 - float(live.double().mean())):.0f} % of the traces missing"
    if bool(live.all()):
        return Measured("complete traces", "no trace missing")
    if decimation(live) is not None:
        return Measured("traces in a pattern", f"{said}, in a regular pattern")
    gap = _widest_gap(live)
    if gap >= WIDE_GAP:
        return Measured("traces with a wide gap", f"{said}, a gap {gap} traces wide")
    return Measured("scattered traces", f"{said}, here and there")


def _image(A: SliceSampling, y: Any) -> Measured:
    measured_slices, slices = A.weights.shape
    if ((A.weights != 0).sum(axis=1) > 1).any():
        return Measured("thick slices", f"{measured_slices} thick slices for {slices}")
    if measured_slices < slices:
        return Measured("missing slices", f"{slices - measured_slices} of {slices} slices missing")
    return Measured("noisy volume", "a volume with all its slices")


def _widest_gap(live: torch.Tensor) -> int:
    """The side of the largest square of missing traces, or one less."""
    empty = np.pad(~live.cpu().numpy(), 1)  # beyond the survey nothing is missing
    return max(0, 2 * int(distance_transform_cdt(empty, "chessboard").max()) - 1)


def _shape(A: LinearOperator) -> tuple[int, ...]:
    assert isinstance(A.domain, Space)
    return A.domain.shape


_SERIES = {
    "complete CT": "series of complete frames",
    "complete MRI": "series of complete frames",
    "CT of few views": "CT series",
    "CT of a short arc": "CT series",
    "MRI": "MRI series",
    "MRI of few lines": "MRI series",
    "non-Cartesian MRI": "MRI series",
}
"""The situation of a series by that of its first frame."""
_LOOKS: tuple[tuple[type[LinearOperator], Callable[[Any, Any], Measured]], ...] = (
    (RayTransform, _ct),
    (Encoding, _mri),
    (TraceSampling, _seismic),
    (SliceSampling, _image),
)
