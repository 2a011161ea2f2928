"""Phantoms against closed forms: volumes of balls, areas of bars, chords of ellipsoids."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import ShapeError
from recon3d.synthetic.phantoms import (
    Ellipsoid,
    bars,
    chord_lengths,
    rasterise,
    shepp_logan,
    shepp_logan_ellipsoids,
    sphere,
)


def test_chord_through_a_ball_is_two_times_the_root_of_r2_minus_d2() -> None:
    ball = Ellipsoid((1.0, -2.0, 3.0), (5.0, 5.0, 5.0), 2.0)
    offsets = np.array([0.0, 3.0, 4.0, 5.0, 7.0])
    origins = np.stack([np.full(5, 1.0), np.full(5, -1e6), 3.0 + offsets], axis=-1)
    chords = chord_lengths([ball], origins, np.array([0.0, 0.5, 0.0]))
    assert np.allclose(chords, 2 * np.array([10.0, 8.0, 6.0, 0.0, 0.0]), atol=1e-9)


def test_chord_of_a_turned_ellipsoid_agrees_with_dense_sampling() -> None:
    rng = np.random.default_rng(0)
    body = Ellipsoid((1.0, 2.0, -1.5), (7.0, 3.0, 11.0), 1.0, 0.6)
    origins, directions = rng.normal(0, 2, (6, 3)), rng.standard_normal((6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    t = (np.arange(40000) + 0.5) / 40000 * 60 - 30
    points = origins[:, None] + t[:, None] * directions[:, None] - np.array(body.centre_mm)
    c, s = np.cos(0.6), np.sin(0.6)
    along, across = c * points[..., 2] + s * points[..., 1], -s * points[..., 2] + c * points[..., 1]
    inside = (points[..., 0] / 7) ** 2 + (across / 3) ** 2 + (along / 11) ** 2 < 1
    sampled = inside.mean(axis=1) * 60
    assert (sampled > 3).sum() >= 4
    assert np.allclose(chord_lengths([body], origins, directions), sampled, atol=4e-3)


def test_rays_without_direction_are_refused() -> None:
    with pytest.raises(ShapeError, match="non-zero"):
        chord_lengths([Ellipsoid((0, 0, 0), (1, 1, 1))], np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("voxel_mm", [(1.0, 1.0, 1.0), (2.5, 0.8, 1.1)])
def test_sphere_keeps_its_volume_and_centre_below_the_voxel(voxel_mm: tuple[float, float, float]) -> None:
    shape, centre = (17, 31, 28), (0.7, -1.3, 2.1)
    ball = sphere(shape, voxel_mm, 7.3, centre, value=3.0)
    assert ball.data.sum() * np.prod(voxel_mm) == pytest.approx(3 * 4 / 3 * np.pi * 7.3**3, rel=2e-3)
    axes = [(np.arange(n) - (n - 1) / 2) * v for n, v in zip(shape, voxel_mm, strict=True)]
    for axis, line in enumerate(axes):
        others = tuple(k for k in range(3) if k != axis)
        profile = ball.data.sum(axis=others)
        assert (profile * line).sum() / profile.sum() == pytest.approx(centre[axis], abs=0.01)


def test_rasterised_turned_ellipsoid_agrees_with_its_chords() -> None:
    body = Ellipsoid((0.5, 1.0, -2.0), (4.0, 5.0, 9.0), 1.0, 0.4)
    grid = sphere((13, 27, 31), (1.0, 1.0, 1.0), 1.0).grid
    image = rasterise([body], grid, 5)
    y, z = np.meshgrid(np.arange(27) - 13.0, np.arange(13) - 6.0)
    origins = np.stack([z, y, np.zeros_like(z)], axis=-1)
    exact = chord_lengths([body], origins, np.array([0.0, 0.0, 1.0]))
    difference = image.sum(axis=2) - exact
    assert np.abs(difference).mean() < 0.05 * exact.max()
    assert image.sum() == pytest.approx(4 / 3 * np.pi * 4 * 5 * 9, rel=3e-3)


def test_shepp_logan_has_the_published_contrast() -> None:
    head = shepp_logan((33, 65, 65))
    assert head.data.dtype == np.float32
    assert head.data[0, 0, 0] == 0
    assert head.data.max() == pytest.approx(1.0, abs=1e-6)
    assert head.data[16, 32, 32] == pytest.approx(0.2, abs=1e-6)
    assert head.data[16, 32, 32 + 7] == pytest.approx(0.0, abs=1e-6)  # inside the smaller tilted ellipsoid, x = +0.22


def test_shepp_logan_mass_is_that_of_its_ellipsoids() -> None:
    head = shepp_logan((24, 48, 48), (2.0, 1.0, 1.0))
    exact = sum(4 / 3 * np.pi * np.prod(e.radii_mm) * e.value for e in shepp_logan_ellipsoids((24.0, 24.0, 24.0)))
    assert head.data.sum() * 2.0 == pytest.approx(exact, rel=3e-3)


def test_shepp_logan_refuses_oblong_slices() -> None:
    with pytest.raises(ShapeError, match="square"):
        shepp_logan((4, 16, 18))


def test_bars_keep_their_area_and_spacing() -> None:
    phantom = bars((2, 40, 50), (1.0, 1.0, 1.0), (3.3, 1.7), value=2.0)
    assert np.array_equal(phantom.data[0], phantom.data[1])
    for row, width in ((10, 3.3), (30, 1.7)):
        line = phantom.data[0, row]
        assert line.sum() == pytest.approx(2.0 * 4 * width, rel=1e-5)
        frequency = np.exp(-2j * np.pi * (np.arange(50) - 24.5) / (2 * width))
        # A train of bars with period 2 w answers at its fundamental with 2 / pi of its area, times the voxel's sinc.
        expected = line.sum() * 2 / np.pi * np.sinc(1 / (2 * width))
        assert abs((line * frequency).sum()) == pytest.approx(expected, rel=0.06)


def test_bars_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="70"):
        bars((1, 8, 40), (1.0, 1.0, 1.0), (10.0,))
