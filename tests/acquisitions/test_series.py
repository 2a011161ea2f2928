"""Times of views, spokes and frames, and the sentences about those that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from operators.series import ViewSeries
from operators.tomography import TomographyGeometry
from recon3d.acquisitions import frame_times_s, in_frames, select_views, still
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.problem import problem_for
from recon3d.scan import Scan


def scan_of(views: int = 6, **acquisition: Any) -> Scan:
    geometry = TomographyGeometry.parallel(np.arange(views) * 0.5, 8).to_dict()
    data = np.ones((views, 1, 8), np.float32)
    grid = AffineGrid.centred((1, 6, 6), 1.0)
    return Scan("ct", data, ("view", "row", "column"), {**geometry, **acquisition}, grid, units="1/mm", name="dance")


def test_views_of_one_time_make_a_frame() -> None:
    problem = problem_for(scan_of(times_s=np.array([0, 0, 1, 2, 2, 2.0])))
    assert isinstance(problem.A, ViewSeries)
    assert problem.A.edges == (0, 2, 3, 6)
    assert problem.times_s == (0.0, 1.0, 2.0)
    assert problem.domain.shape == (3, 1, 6, 6)


def test_views_in_groups_have_their_mean_time() -> None:
    scan = in_frames(scan_of(), view_s=0.5, views_per_frame=4)
    assert frame_times_s(scan) == (0.75, 2.25)
    assert problem_for(scan).A.edges == (0, 4, 6)  # type: ignore[attr-defined]
    assert frame_times_s(in_frames(scan, frames=2)) == (0.5, 2.0)


def test_without_times_nothing_moves() -> None:
    assert problem_for(scan_of()).times_s is None
    assert problem_for(still(in_frames(scan_of(), view_s=1.0))).domain.shape == (1, 6, 6)


def test_views_that_are_left_out_take_their_times_along() -> None:
    kept = select_views(in_frames(scan_of(), view_s=1.0), every=2)
    assert frame_times_s(kept) == (0.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("acquisition", "message"),
    [
        ({"times_s": np.array([0, 1, 2, 1.5, 3, 4])}, r"go back: view 3 was measured at 1.5 s, after view 2 at 2 s"),
        ({"times_s": np.arange(5.0)}, "5 times for 6 views"),
        ({"times_s": np.array([0, 1, np.nan, 3, 4, 5])}, "time of view 2 .* is not a number"),
        ({"times_s": np.arange(6.0), "views_per_frame": 0}, "at least one view"),
    ],
)
def test_times_that_cannot_be(acquisition: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem_for(scan_of(**acquisition))


def test_frames_that_cannot_be() -> None:
    with pytest.raises(InputError, match="seconds from one view to the next"):
        in_frames(scan_of(), views_per_frame=2)
    with pytest.raises(InputError, match="1 to 6 frames, not 7"):
        in_frames(scan_of(), view_s=1.0, frames=7)
    frames = Scan("mri", np.ones((3, 1, 1, 4, 4), np.complex64), ("t", "coil", "kz", "ky", "kx"), {},
                  AffineGrid.centred((1, 4, 4), 1.0))  # fmt: skip
    assert frame_times_s(in_frames(frames, view_s=0.1)) == (0.0, 0.1, 0.2)
    with pytest.raises(InputError, match="frames already"):
        in_frames(frames, view_s=0.1, views_per_frame=2)
    with pytest.raises(InputError, match="at rest"):
        still(frames)
    with pytest.raises(InputError, match="no axis along which time runs"):
        in_frames(Scan("x", np.ones((2, 2)), ("a", "b"), {}, AffineGrid.centred((1, 1, 1), 1.0)), view_s=1.0)
