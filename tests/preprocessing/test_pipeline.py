"""The steps on a scan: geometry and data move together, and each step is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.preprocessing.hardening import correct_hardening, fit_hardening
from recon3d.preprocessing.pipeline import axis_column, preprocess, sentences, with_axis
from recon3d.preprocessing.truncation import extend_edges, truncated_share
from recon3d.scan import Scan

ANGLES = np.deg2rad(np.arange(90) * 2.0)


def scan_of(data: Any, geometry: TomographyGeometry) -> Scan:
    n = data.shape[2]
    return Scan(
        "ct", data, ("view", "row", "column"), geometry.to_dict(), AffineGrid.centred((data.shape[1], n, n), 1.0)
    )


def parallel(data: Any, angles: Any, axis: float | None = None) -> Scan:
    n = data.shape[2]
    shift = 0.0 if axis is None else axis - (n - 1) / 2
    return scan_of(data, TomographyGeometry.parallel(angles, n, n_rows=data.shape[1], axis_shift_mm=shift))


def geometry_of(scan: Scan) -> TomographyGeometry:
    return TomographyGeometry.from_dict(scan.acquisition)


@pytest.mark.parametrize("kind", ["parallel", "fan", "cone"])
def test_the_axis_is_moved_and_read_back(kind: str) -> None:
    if kind == "parallel":
        geometry = TomographyGeometry.parallel(ANGLES, 100, 0.5)
    else:
        make = TomographyGeometry.fan if kind == "fan" else TomographyGeometry.cone
        geometry = make(ANGLES, 100.0, 200.0, 100, 0.5)
    assert axis_column(geometry) == pytest.approx(49.5)
    assert axis_column(with_axis(geometry, 41.25)) == pytest.approx(41.25, abs=1e-6)


def test_a_stated_axis_is_that_of_the_constructor() -> None:
    data = np.ones((90, 1, 100), np.float32)
    moved = preprocess(parallel(data, ANGLES), centre=41.25)
    np.testing.assert_allclose(
        geometry_of(moved).vectors, geometry_of(parallel(data, ANGLES, 41.25)).vectors, atol=1e-12
    )
    assert sentences(moved) == ["rotation axis: column 41.25 stated (was 49.50 of 100)",
                                "truncation: the object reaches over the detector in 100% of the rows of the views; "
                                "values near its edge are not quantitative (truncation=extend helps)"]  # fmt: skip


@pytest.mark.parametrize("start", [0.0, -90.0, 200.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_axis_is_found_whatever_the_order_of_the_views(
    discs: Callable[..., Any], start: float, sign: float
) -> None:
    angles = np.deg2rad(start + sign * np.arange(90) * 2.0)
    order = np.random.default_rng(0).permutation(90)
    found = preprocess(parallel(discs(128, angles, 60.3)[order], angles[order]), centre="auto")
    assert abs(axis_column(geometry_of(found)) - 60.3) < 0.1
    assert sentences(found)[0] == "views: 90 sorted by angle"
    ordered = geometry_of(found)
    np.testing.assert_allclose(found.data, discs(128, ordered.angles_rad, 60.3), atol=1e-4)


def test_a_full_turn_with_a_repeated_view_becomes_half_a_turn(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(361.0))
    narrow = discs(128, angles, 64.0)[..., 40:]
    result = preprocess(parallel(narrow, angles), centre="auto", repeated="average", half_turn=True)
    geometry = geometry_of(result)
    assert result.data.shape == geometry.shape  # type: ignore[union-attr]
    assert geometry.n_views == 180
    column = axis_column(geometry)
    np.testing.assert_allclose(result.data, discs(geometry.n_columns, geometry.angles_rad, column), atol=0.05)


def test_truncated_views_are_told_extended_or_refused(discs: Callable[..., Any]) -> None:
    data = discs(128, ANGLES, 63.5)[..., 40:90]
    scan = parallel(data, ANGLES)
    assert any("reaches over the detector" in line for line in sentences(preprocess(scan)))
    wide = preprocess(scan, truncation="extend")
    assert axis_column(geometry_of(wide)) == pytest.approx(24.5 + 25)
    np.testing.assert_array_equal(np.asarray(wide.data)[..., 25:75], data)
    with pytest.raises(InputError, match="too small"):
        preprocess(scan, truncation="refuse")
    assert truncated_share(discs(128, ANGLES, 63.5)) == (0.0, 0.0)


def test_extended_edges_fall_to_zero() -> None:
    edge = extend_edges(np.ones((1, 1, 4), np.float32), 3)
    np.testing.assert_allclose(edge[0, 0, 4 + 3 :], np.cos(np.pi / 8 * np.array([1, 2, 3])) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(edge[0, 0], edge[0, 0, ::-1])


def test_beam_hardening_is_a_polynomial_without_constant() -> None:
    data = np.array([-0.1, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(correct_hardening(data, (1.0, 0.5)), [-0.1, 0.0, 1.5, 4.0], rtol=1e-6)
    with pytest.raises(InputError, match="thinner"):
        correct_hardening(data, (1.0, -0.5))


def test_a_hardening_polynomial_is_fitted_to_a_wedge() -> None:
    """The inverse of y = t + 0.1 t^2 (in units of 1 / mu) begins as t = y - 0.1 y^2 + 0.02 y^3."""
    thickness = np.linspace(0.0, 1.0, 50)
    y = thickness + 0.1 * thickness**2
    assert fit_hardening(y, 5.0 * thickness, degree=4)[:3] == pytest.approx((1.0, -0.1, 0.02), abs=3e-3)
    straight = correct_hardening(y, fit_hardening(y, 5.0 * thickness))
    np.testing.assert_allclose(straight, thickness * straight[-1], atol=2e-4)
    with pytest.raises(InputError, match="as many thicknesses"):
        fit_hardening([1.0, 1.0, 0.0], [2.0, 2.0, 0.0])
    with pytest.raises(InputError, match="needs a thickness, got 2 and 3"):
        fit_hardening([1.0, 1.0], [2.0, 2.0, 0.0])
    with pytest.raises(InputError, match="falls for thin material"):
        fit_hardening([1.0, 2.0, 3.0], [0.1, 4.0, 12.0], degree=2)


def test_raster_scans_keep_their_columns() -> None:
    data = np.random.default_rng(0).normal(size=(90, 1, 64)).astype(np.float32)
    scan = parallel(data, ANGLES)
    raster = Scan("ct", data, scan.axes, {**scan.acquisition, "raster": True}, scan.grid)
    np.testing.assert_array_equal(preprocess(raster, stripes="all").data, data)


def test_what_cannot_be_is_told() -> None:
    data = np.zeros((90, 1, 64), np.float32)
    fan = scan_of(data, TomographyGeometry.fan(ANGLES, 100.0, 200.0, 64))
    with pytest.raises(InputError, match="parallel beams"):
        preprocess(fan, centre="auto")
    with pytest.raises(InputError, match="off the detector"):
        preprocess(parallel(data, ANGLES), centre=80.0)
    other = Scan("mri", np.zeros((1, 1, 4, 4)), ("coil", "kz", "ky", "kx"), {}, AffineGrid.centred((1, 4, 4), 1.0))
    with pytest.raises(InputError, match="for CT"):
        preprocess(other)
