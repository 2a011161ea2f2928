import math

import numpy as np
import pytest

from operators.errors import GeometryError
from operators.tomography.geometry import TomographyGeometry

ANGLES = np.array([0.0, 0.4, 2.0, 5.0])
FAN = {"source_to_axis_mm": 50.0, "source_to_detector_mm": 80.0, "n_columns": 7, "column_mm": 2.0}


PARALLEL = TomographyGeometry.parallel(ANGLES, 7, 2.0, 3, 1.5, detector_offset_mm=0.3, row_centre_mm=4.0)
FLAT = TomographyGeometry.fan(ANGLES, **FAN, n_rows=3, row_mm=1.5, axis_shift_mm=0.5)
CURVED = TomographyGeometry.fan(ANGLES, **FAN, n_rows=3, detector="curved", detector_offset_mm=3.0)


def test_parallel_rays_follow_the_convention():
    """At angle 0 rays run along y and columns step along +x; at 90 degrees columns step along +y."""
    geometry = TomographyGeometry.parallel([0.0, math.pi / 2], 3, 2.0, detector_offset_mm=0.5, axis_shift_mm=0.2)
    point, direction = geometry.rays()
    np.testing.assert_allclose(point[0], [(-1.7, 0), (0.3, 0), (2.3, 0)], atol=1e-12)
    np.testing.assert_allclose(point[1], [(0, -1.7), (0, 0.3), (0, 2.3)], atol=1e-12)
    np.testing.assert_allclose(np.abs(direction[0]), [(0, 1)] * 3, atol=1e-12)
    np.testing.assert_allclose(np.abs(direction[1]), [(1, 0)] * 3, atol=1e-12)


def test_fan_source_and_detector_follow_the_convention():
    geometry = TomographyGeometry.fan(
        [0.0, math.pi / 2], 50.0, 80.0, 3, 40.0, axis_shift_mm=1.0, detector_offset_mm=5.0
    )
    np.testing.assert_allclose(geometry.ray_source[:, :2], [(-1, -50), (50, -1)], atol=1e-12)
    np.testing.assert_allclose(geometry.detector_centre_mm[:, :2], [(4, 30), (-30, 4)], atol=1e-12)
    direction = geometry.rays()[1][0]
    np.testing.assert_allclose(direction[:, 0] / direction[:, 1], [-35 / 80, 5 / 80, 45 / 80], atol=1e-12)


def test_curved_columns_lie_at_equal_angles_and_an_offset_slides_along_the_arc():
    geometry = TomographyGeometry.fan([0.0], 50.0, 80.0, 5, 8.0, detector="curved", detector_offset_mm=4.0)
    direction = geometry.rays()[1][0]
    np.testing.assert_allclose(np.arctan2(direction[:, 0], direction[:, 1]), (np.arange(5) - 2 + 0.5) * 0.1, atol=1e-12)
    assert geometry.source_to_detector_mm == pytest.approx([80.0])


@pytest.mark.parametrize("geometry", [PARALLEL, FLAT, CURVED], ids=["parallel", "flat", "curved"])
def test_geometry_is_a_value(geometry):
    pasted = eval(repr(geometry), {"TomographyGeometry": TomographyGeometry})
    assert pasted == geometry
    assert hash(pasted) == hash(geometry)
    assert TomographyGeometry.from_dict(geometry.to_dict()) == geometry
    assert geometry[1:] != geometry
    assert geometry != "geometry"
    with pytest.raises(ValueError, match="read-only"):
        geometry.vectors[0, 0] = 1.0


def test_views_and_rows_are_cut_out_in_place():
    geometry = PARALLEL
    assert geometry[::2].shape == (2, 3, 7)
    assert geometry[::2] == geometry[[0, 2]] == geometry[np.array([True, False, True, False])]
    assert geometry[-1].vectors.tolist() == [geometry.vectors[-1].tolist()]
    np.testing.assert_allclose(geometry[1:].angles_rad, np.mod(ANGLES[1:], 2 * math.pi))
    assert len(geometry) == 4
    part = geometry.rows(0, 2)
    assert part.n_rows == 2
    assert part.row_centre_mm == pytest.approx(4.0 - 0.75)
    with pytest.raises(GeometryError, match="Rows lie within"):
        geometry.rows(2, 4)
    with pytest.raises(GeometryError, match="at least one view"):
        geometry[4:]


@pytest.mark.parametrize("geometry", [FLAT, CURVED], ids=["flat", "curved"])
def test_fan_angles_come_back(geometry):
    shift = math.atan2(0.5, 50.0) if geometry.detector == "flat" else 0.0
    np.testing.assert_allclose(geometry.angles_rad, np.mod(ANGLES - shift, 2 * math.pi), atol=1e-12)


def changed(**columns):
    vectors = PARALLEL.vectors.copy()
    for name, value in columns.items():
        vectors[0, int(name[1:])] = value
    return vectors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TomographyGeometry.parallel([], 5), "at least one angle"),
        (lambda: TomographyGeometry.parallel([[0.0]], 5), "list of at least one angle"),
        (lambda: TomographyGeometry.parallel([0.0, math.nan], 5), r"angles_rad\[1\] is nan"),
        (lambda: TomographyGeometry.parallel([0.0], 5, 0.0), "column_mm must be a positive"),
        (lambda: TomographyGeometry.parallel([0.0], 5, 1.0, 2, -1.0), "row_mm must be a positive"),
        (lambda: TomographyGeometry.parallel([0.0], 0), "n_columns from 1"),
        (lambda: TomographyGeometry.parallel([0.0], 5, axis_shift_mm=math.inf), "axis_shift_mm must be a finite"),
        (lambda: TomographyGeometry.fan([0.0], -50, 80, 5), "source_to_axis_mm must be a positive"),
        (lambda: TomographyGeometry.fan([0.0], 50, 40, 5), "must not lie between source and axis"),
        (lambda: TomographyGeometry.fan([0.0], 50, 80, 5, 70.0, detector="curved"), "less than 180 degrees"),
        (lambda: TomographyGeometry.fan([0.0], 50, 80, 5, detector="round"), "'flat', or 'curved' if fan or cone"),
        (lambda: PARALLEL.source_to_detector_mm, "no source"),
        (lambda: TomographyGeometry("ring", changed(), 3, 7), "'parallel', 'fan' or 'cone'"),
        (lambda: TomographyGeometry("parallel", changed(), 3, 7, "curved"), "'flat', or 'curved' if fan or cone"),
        (lambda: TomographyGeometry("parallel", changed()[:, :6], 3, 7), r"got shape \(4, 6\)"),
        (lambda: TomographyGeometry("parallel", changed(_3=math.nan), 3, 7), "view 0 holds NaN"),
        (lambda: TomographyGeometry("parallel", changed(_1=0.0), 3, 7), "need a direction"),
        (lambda: TomographyGeometry("parallel", changed(_0=1.0, _1=0.0), 3, 7), "edge-on"),
        (lambda: TomographyGeometry("parallel", changed(_11=0.0), 3, 7), "not zero"),
        (lambda: TomographyGeometry("parallel", changed(_2=0.1), 3, 7), "stack of slices"),
        (lambda: TomographyGeometry("parallel", changed(_5=0.1), 3, 7), "keeps its z"),
        (lambda: TomographyGeometry("fan", [[0, -50, 0, 0, 30, 0, 2, 1, 0, 0, 0, 1]], 1, 5, "curved"), "tangent"),
    ],
)
def test_impossible_geometry_is_named(make, message):
    with pytest.raises(GeometryError, match=message):
        make()
