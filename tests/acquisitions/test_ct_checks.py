"""Mistakes in CT scans: refused where nothing could come of them, told where they are likely, each with a guess."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operators.tomography import TomographyGeometry
from recon3d.acquisitions.ct_checks import doubts, edge_distances_mm
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.preprocessing.truncation import truncation_told
from recon3d.problem import problem_for
from recon3d.scan import Scan
from recon3d.synthetic.phantoms import shepp_logan
from recon3d.synthetic.simulate import simulate

ANGLES = np.arange(24) * np.pi / 12


def scan_of(geometry: TomographyGeometry, side: int = 20, voxel_mm: float = 1.0, **changes) -> Scan:
    grid = AffineGrid.centred((geometry.n_rows, side, side), (1.0, voxel_mm, voxel_mm))
    data = np.zeros(geometry.shape, np.float32)
    return Scan("ct", data, ("view", "row", "column"), geometry.to_dict(), grid, units="1/mm", name="hand", **changes)


def fan(scale: float = 1.0, column_mm: float = 2.0, **changes) -> TomographyGeometry:
    return TomographyGeometry.fan(ANGLES, 100.0 * scale, 200.0 * scale, 30, column_mm, 1, 1.0, **changes)


def test_the_edges_of_the_detector_pass_the_axis_on_both_sides() -> None:
    left, right = edge_distances_mm(TomographyGeometry.parallel(ANGLES, 31, 0.5, detector_offset_mm=2.0))
    assert sorted((left, right)) == pytest.approx([-9.5, 5.5])
    left, right = edge_distances_mm(fan())
    assert sorted((left, right)) == pytest.approx(np.array([-1, 1]) * 100 * np.sin(np.arctan(29 / 200)))
    cone = TomographyGeometry.cone(ANGLES, 100.0, 200.0, 30, 2.0, 5, 2.0)
    assert edge_distances_mm(cone) == pytest.approx((left, right))


@pytest.mark.parametrize(
    ("scan", "told"),
    [
        (scan_of(TomographyGeometry.parallel(ANGLES, 31, detector_offset_mm=40.0)), "lies 25 columns off the detector"),
        (scan_of(fan(detector_offset_mm=300.0)), "columns off the detector of 30: check the unit of its offset"),
        (scan_of(fan(column_mm=2000.0)), "span 179 degrees .* as if they were in micrometres and not in mm"),
        (
            scan_of(TomographyGeometry.parallel(ANGLES, 31, 0.001)),
            "too small for its grid: it sees 0.03 mm .* in micro",
        ),
        (scan_of(TomographyGeometry.cone(ANGLES, 0.1, 0.2, 31, 0.002)), "too small for its grid"),
    ],
)
def test_what_cannot_be_is_refused_with_a_guess(scan: Scan, told: str) -> None:
    with pytest.raises(InputError, match=told):
        problem_for(scan)


@pytest.fixture(scope="module")
def head() -> Scan:
    truth = shepp_logan((2, 48, 48), (4.0, 4.0, 4.0))
    volume = truth.with_data(1000 * truth.data - 1000, units="HU")
    return simulate(volume, {"views": 30}, finer=1)


def test_a_good_scan_raises_no_doubt(head: Scan) -> None:
    assert doubts(head) == []
    assert doubts(replace(head, kind="image")) == []


def scaled(scan: Scan, factor: float) -> Scan:
    """The lengths of geometry and grid `factor` times too large."""
    vectors = np.array(scan.acquisition["vectors"])
    vectors[:, 3:] *= factor
    grid = AffineGrid.centred(scan.grid.shape, [factor * v for v in scan.grid.voxel_mm])  # type: ignore[union-attr]
    return replace(scan, acquisition={**scan.acquisition, "vectors": vectors}, grid=grid)


@pytest.mark.parametrize(("factor", "unit"), [(1000.0, "micrometres"), (0.001, "m"), (0.02, "cm")])
def test_attenuation_tells_the_unit_of_lengths(head: Scan, factor: float, unit: str) -> None:
    (doubt,) = doubts(scaled(head, factor))
    assert doubt.startswith("unit: the longest rays lose")
    assert f"as if they were in {unit} and not in mm" in doubt
    bare = replace(scaled(head, factor), calibration={})
    assert len(doubts(bare)) == (1 if factor == 1000.0 else 0)  # without water only what no matter has is told


def test_counts_truncation_and_a_wide_grid_are_told(head: Scan) -> None:
    (counts,) = doubts(replace(head, data=1e4 * head.data))  # type: ignore[operator]
    assert "are these counts?" in counts
    n = int(head.acquisition["n_columns"])  # type: ignore[arg-type]
    narrow = head.data[:, :, n // 4 : n - n // 4]  # type: ignore[index]
    acquisition = {**head.acquisition, "n_columns": narrow.shape[2]}
    (cut,) = truncation_told(replace(head, data=narrow, acquisition=acquisition))
    assert cut.startswith("truncation: the object reaches over the detector in")
    told_before = {**acquisition, "prepared": "truncation: told before"}
    assert truncation_told(replace(head, data=narrow, acquisition=told_before)) == []
    assert truncation_told(head) == truncation_told(replace(head, kind="image")) == []
    wide = AffineGrid.centred((2, 48, 48), (4.0, 30.0, 30.0))
    assert any("the grid is 1.44e+03 mm wide" in doubt for doubt in doubts(head.on(wide)))
