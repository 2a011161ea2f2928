"""FDK: spheres keep their attenuation; full and short scans, offset, curved and tilted detectors."""

import math

import numpy as np
import pytest
import torch
from numba import config, get_num_threads, set_num_threads

from operators.errors import GeometryError
from operators.tomography import ConeProjector, ImageGrid, TomographyGeometry, fdk, filtered_backprojection
from operators.tomography.weights import full_turn_weights, mirrored_columns
from recon3d.synthetic.phantoms import Ellipsoid, chord_lengths

compiled = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="too slow without compiled kernels")
MU_PER_MM = 0.02
GRID = ImageGrid((23, 65, 61), (1.4, 1.0, 1.1), (0.0, 2.0, -3.0))
CENTRE_MM, RADIUS_MM = (2.0, -4.0, 3.0), 20.0
CONE = {"source_to_axis_mm": 250.0, "source_to_detector_mm": 400.0, "n_rows": 61, "row_mm": 1.5}
WIDE = {**CONE, "n_columns": 91, "column_mm": 1.4}
HALF = {**CONE, "n_columns": 67, "column_mm": 1.4, "detector_offset_mm": 28.0}
HALF_FAN = math.atan(45 * 1.4 / 400)
TURN = np.linspace(0, 2 * math.pi, 200, endpoint=False)
SHORT = 1.0 + np.linspace(0, math.pi + 2.2 * HALF_FAN, 130)


def sphere_integrals(geometry, centre_mm=CENTRE_MM, radius_mm=RADIUS_MM):
    point, direction = geometry.rays()
    ball = Ellipsoid(centre_mm, (radius_mm,) * 3, MU_PER_MM)
    return torch.from_numpy(chord_lengths([ball], point[..., ::-1], direction[..., ::-1]))


def distances(grid, centre_mm=CENTRE_MM):
    z, y, x = (
        first + np.arange(n) * mm - c
        for first, n, mm, c in zip(grid.first_voxel_mm, grid.shape, grid.voxel_mm, centre_mm, strict=True)
    )
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)


def upside_down():
    vectors = TomographyGeometry.cone(TURN, **WIDE).vectors * np.r_[np.ones(9), -np.ones(3)]
    return TomographyGeometry.from_vectors(vectors, 61, 91)


SCANS = {
    "flat": TomographyGeometry.cone(TURN, **WIDE),
    "shifted": TomographyGeometry.cone(-TURN, **WIDE, axis_shift_mm=4.0, detector_offset_mm=6.0, row_offset_mm=3.0),
    "curved": TomographyGeometry.cone(TURN, **WIDE, detector="curved", row_offset_mm=-2.0),
    "short": TomographyGeometry.cone(SHORT, **WIDE),
    "short curved, backwards": TomographyGeometry.cone(-SHORT, **WIDE, detector="curved"),
    "offset": TomographyGeometry.cone(TURN, **HALF),
    "offset curved, the other side": TomographyGeometry.cone(
        TURN, **{**HALF, "detector_offset_mm": -28.0}, detector="curved"
    ),
    "tilted": TomographyGeometry.cone(TURN, **WIDE, tilt_rad=0.05),
    "tilted curved": TomographyGeometry.cone(TURN, **WIDE, tilt_rad=0.05, detector="curved"),
    "upside down": upside_down(),
}


@compiled
@pytest.mark.parametrize("name", SCANS)
def test_sphere_keeps_its_attenuation(name):
    """In the plane of the source 2 % at each voxel inside and 0.1 % in the mean; 0.5 % in the mean of all slices."""
    A = ConeProjector(SCANS[name], GRID)
    image = filtered_backprojection(A, sphere_integrals(A.geometry).float()).numpy()
    distance = distances(GRID)
    middle, inside = GRID.shape[0] // 2, distance < RADIUS_MM - 3
    plane = image[middle][inside[middle]] / MU_PER_MM
    assert np.abs(plane - 1).max() < 0.02
    assert plane.mean() == pytest.approx(1.0, abs=1e-3)
    assert image[inside].mean() == pytest.approx(MU_PER_MM, rel=5e-3)
    outside = image[(distance > RADIUS_MM + 4) & (distance < RADIUS_MM + 8)]
    assert abs(outside.mean()) < 0.005 * MU_PER_MM
    assert outside.std() < 0.05 * MU_PER_MM


TINY_GRID = ImageGrid((5, 7, 9))
TINY = {
    f"{detector}, {tilt_rad}": TomographyGeometry.cone(
        np.linspace(0, 2 * math.pi, 12, endpoint=False),
        30.0,
        45.0,
        11,
        1.8,
        9,
        1.5,
        detector=detector,
        tilt_rad=tilt_rad,
    )
    for detector in ("flat", "curved")
    for tilt_rad in (0.0, 0.01)
}


@pytest.mark.tiny
@pytest.mark.parametrize("name", TINY)
def test_tiny_sphere(name):
    A = ConeProjector(TINY[name], TINY_GRID)
    y = sphere_integrals(A.geometry, (0.0, 0.0, 0.0), 4.0).float()
    image = filtered_backprojection(A, y)
    assert image[2, 2:5, 3:6].mean().item() == pytest.approx(MU_PER_MM, rel=0.05)


@pytest.mark.usefixtures("many_threads")
def test_blocks_batches_and_threads(monkeypatch):
    """Threads and batches change no bit, blocks of views no more than rounding, a tilt of nothing little."""
    A = ConeProjector(TINY["flat, 0.0"], TINY_GRID)
    y = torch.randn((2, *A.range.shape), generator=torch.Generator().manual_seed(0))
    image = filtered_backprojection(A, y)
    assert image.shape == (2, *TINY_GRID.shape)
    before = get_num_threads()
    set_num_threads(1)
    assert torch.equal(filtered_backprojection(A, y[1]), image[1])
    set_num_threads(before)
    monkeypatch.setattr(fdk, "BLOCK_BYTES", 1)
    torch.testing.assert_close(filtered_backprojection(A, y), image, rtol=1e-5, atol=1e-6)
    turned = TomographyGeometry.from_vectors(A.geometry.vectors + np.r_[np.zeros(9), 1e-9, 1e-9, 0], 9, 11)
    tilted = filtered_backprojection(ConeProjector(turned, TINY_GRID), y)
    torch.testing.assert_close(tilted, image, rtol=1e-4, atol=1e-5)


def test_shares_of_opposite_rays_add_to_one():
    gamma = np.linspace(-0.1, 0.3, 81)[None]
    weights = full_turn_weights(gamma)[0]
    opposite = np.interp(-gamma[0], gamma[0], weights, left=0.0, right=1.0)
    np.testing.assert_allclose(weights + opposite, 1.0, atol=1e-9)
    assert weights[0] == pytest.approx(0.0)
    assert (weights[gamma[0] >= 0.1] == 1).all()
    np.testing.assert_array_equal(full_turn_weights(np.linspace(0.2, -0.2, 9)[None]), np.full((1, 9), 0.5))
    assert mirrored_columns(gamma) == (40, 0)
    assert mirrored_columns(gamma[:, ::-1]) == (0, 40)
    assert mirrored_columns(np.linspace(-0.2, 0.2, 9)[None]) == (0, 0)


def test_what_fdk_cannot_do_is_named():
    def run(geometry):
        A = ConeProjector(geometry, TINY_GRID)
        filtered_backprojection(A, A.range.zeros())

    with pytest.raises(GeometryError, match="on one circle"):
        run(TomographyGeometry.cone(np.linspace(0, 12, 30), 30.0, 45.0, 11, advance_mm=5.0))
    with pytest.raises(GeometryError, match="wholly to one side"):
        run(TomographyGeometry.cone(TURN, 30.0, 45.0, 11, detector_offset_mm=9.0))
    vectors = TINY["flat, 0.0"].vectors.copy()
    vectors[3, 6:9] *= 1.1
    with pytest.raises(GeometryError, match="must be one"):
        run(TomographyGeometry.from_vectors(vectors, 9, 11))
