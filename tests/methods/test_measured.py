"""What a scan holds of its image: the situation of every modality, and its words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from operators.linear import Identity
from operators.mri import CartesianEncoding, CartesianSeries
from operators.mri.noncartesian import NonCartesianEncoding
from operators.seismic import TraceSampling
from operators.series import ViewSeries
from operators.slices import SliceSampling
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.grid import AffineGrid
from recon3d.methods import make_method
from recon3d.methods.candidates import CANDIDATES, classical_for
from recon3d.methods.measured import measured
from recon3d.noise import NoiseModel
from recon3d.problem import Problem


def problem(A, y=None, kind: str = "", **settings) -> Problem:
    y = torch.ones(A.range.shape, dtype=A.range.dtype) if y is None else y
    grid = AffineGrid.centred(A.domain.shape[-3:], (1.0, 1.0, 1.0))
    return Problem(y, A, NoiseModel(), grid, kind=kind, **settings)


def ct(views: int, arc_deg: float = 180.0, side: int = 24) -> Projector:
    geometry = TomographyGeometry.parallel(np.linspace(0, math.radians(arc_deg), views, endpoint=False), side, n_rows=1)
    return Projector(geometry, ImageGrid((1, side, side)))


def series(per_frame: int, frames: int = 3) -> Problem:
    whole = TomographyGeometry.parallel(np.linspace(0, math.pi * frames, per_frame * frames, endpoint=False), 24)
    A = ViewSeries(
        lambda a, b: Projector(whole[a:b], ImageGrid((1, 24, 24))), range(0, per_frame * frames + 1, per_frame), "view"
    )
    return problem(A, kind="ct", times_s=tuple(map(float, range(frames))))


def kspace(*every: int) -> Problem:
    """One acceleration, or one a frame."""
    maps = torch.ones(2, 1, 16, 16, dtype=torch.complex64)
    masks = torch.stack([(torch.arange(16) % k == 0).float().reshape(1, 1, 16) for k in every])
    A = CartesianEncoding(maps, masks[0]) if len(every) == 1 else CartesianSeries(maps, masks)
    times = tuple(map(float, range(len(every)))) if len(every) > 1 else None
    return problem(A, A(torch.randn(A.domain.shape, dtype=torch.complex64)), "mri", times_s=times)


def traces(live: np.ndarray) -> Problem:
    crossline, inline = (torch.from_numpy(axis) for axis in np.nonzero(live))
    return problem(TraceSampling((*live.shape, 4), crossline, inline), kind="seismic")


def slices(weights: np.ndarray) -> Problem:
    return problem(SliceSampling(weights, Space(("z", "y", "x"), (weights.shape[1], 4, 4))), kind="ct")


LIVE = np.ones((24, 30), dtype=bool)
SCATTERED, PATTERN, GAP = LIVE.copy(), LIVE.copy(), LIVE.copy()
SCATTERED[np.random.default_rng(0).random(LIVE.shape) < 0.5] = False
PATTERN[::2] = False
GAP[:, 10:20] = False
ONE_COIL = torch.ones(1, 1, 16, 16, dtype=torch.complex64)
SPOKES = torch.rand(4, 16, 2) - 0.5
RADIAL = NonCartesianEncoding(ONE_COIL, SPOKES, None, 1, ("coil", "z", "spoke", "sample"))
CUBE = Identity(Space(("z", "y", "x"), (2, 4, 4)))


WHOLE_FRAMES = "3 frames, the first of 20 views where 38 per half turn are complete"


@pytest.mark.parametrize(
    ("scan", "situation", "said"),
    [
        (problem(ct(30)), "complete CT", "30 views where 38 per half turn are complete"),
        (problem(ct(6)), "CT of few views", "6 views where 38 per half turn are complete"),
        (problem(ct(1)), "CT of few views", "1 view where 38 per half turn are complete"),
        (problem(ct(30, arc_deg=90.0)), "CT of a short arc", "an arc of 90 degrees"),
        (problem(ct(12, arc_deg=360.0)), "CT of few views", "12 views where 38 per half turn are complete"),
        (series(1), "CT series", "3 frames, the first of 1 view where 38 per half turn are complete"),
        (series(20), "series of complete frames", WHOLE_FRAMES),
        (kspace(1), "complete MRI", "MRI at an acceleration of 1.0"),
        (kspace(4), "MRI", "MRI at an acceleration of 4.0"),
        (kspace(8), "MRI of few lines", "MRI at an acceleration of 8.0"),
        (kspace(4, 8), "MRI series", "2 frames, the first of MRI at an acceleration of 4.0"),
        (kspace(1, 1), "series of complete frames", "2 frames, the first of MRI at an acceleration of 1.0"),
        (problem(RADIAL, kind="mri"), "non-Cartesian MRI", "non-Cartesian MRI at an acceleration of 4.0"),
        (traces(LIVE), "complete traces", "no trace missing"),
        (traces(SCATTERED), "scattered traces", "47 % of the traces missing, here and there"),
        (traces(PATTERN), "traces in a pattern", "50 % of the traces missing, in a regular pattern"),
        (traces(GAP), "traces with a wide gap", "33 % of the traces missing, a gap 9 traces wide"),
        (slices(np.eye(5)), "noisy volume", "a volume with all its slices"),
        (slices(np.eye(5)[[0, 1, 4]]), "missing slices", "2 of 5 slices missing"),
        (slices(np.kron(np.eye(3), [0.5, 0.5])), "thick slices", "3 thick slices for 6"),
        (problem(CUBE), "other", "1 measurements for each voxel"),
        (problem(2.0 * CUBE, kind="ultrasound"), "ultrasound", "channel data"),
        (problem(CUBE, kind="ultrasound"), "beamformed", "beamformed ultrasound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_modality_has_its_situation(scan: Problem, situation: str, said: str) -> None:
    found = measured(scan)
    assert (found.situation, found.said) == (situation, said)
    name, _ = classical_for(scan)
    assert not make_method(name, {}).roles


def test_every_candidate_exists_and_every_row_ends_with_one_that_needs_no_model() -> None:
    for row in CANDIDATES.values():
        for candidate in row:
            make_method(candidate.name, candidate.settings)
        assert not row[-1].learned
        assert any(not candidate.patient for candidate in row)
    assert classical_for(problem(ct(6))) == ("tv", {"iterations": 100})
