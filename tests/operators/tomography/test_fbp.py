import math

import numpy as np
import pytest
import torch
from numba import config, get_num_threads, set_num_threads

from operators.errors import GeometryError, ShapeError
from operators.tomography import ImageGrid, Projector, TomographyGeometry, filtered_backprojection
from operators.tomography.weights import angular_weights, short_scan_weights

compiled = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="too slow without compiled kernels")
MU_PER_MM = 0.02
CENTRE_MM = (9.0, -6.0)
GRID = ImageGrid((1, 79, 83), (1.0, 1.2, 1.1), (0.0, 2.0, -3.0))
FAN = {"source_to_axis_mm": 250.0, "source_to_detector_mm": 400.0, "n_columns": 161, "column_mm": 1.9}
HALF_FAN = math.atan(80 * 1.9 / 400)
TURN = np.linspace(0, 2 * math.pi, 240, endpoint=False)


def disc_line_integrals(geometry, radius_mm=28.0, centre_mm=CENTRE_MM):
    point, direction = geometry.rays()
    offset = np.asarray(centre_mm) - point
    distance = offset[..., 0] * direction[..., 1] - offset[..., 1] * direction[..., 0]
    chords = 2 * np.sqrt(np.maximum(radius_mm**2 - distance**2, 0.0))
    return torch.from_numpy(MU_PER_MM * chords)[:, None].expand(geometry.shape)


def radius_of_pixels(grid, centre_mm=CENTRE_MM):
    _, y0, x0 = grid.first_voxel_mm
    y = y0 + np.arange(grid.shape[1]) * grid.voxel_mm[1] - centre_mm[1]
    x = x0 + np.arange(grid.shape[2]) * grid.voxel_mm[2] - centre_mm[0]
    return np.hypot(y[:, None], x)


def parallel(angles, **more):
    return TomographyGeometry.parallel(angles, 121, 1.0, **more)


SCANS = {
    "half turn": parallel(np.linspace(0, math.pi, 180, endpoint=False)),
    "half turn and its end": parallel(np.linspace(0, math.pi, 181)),
    "full turn, backwards, offset": parallel(-TURN, detector_offset_mm=3.3, axis_shift_mm=-1.0),
    "odd full turn": parallel(np.linspace(0, 2 * math.pi, 241, endpoint=False)),
    "unequal": parallel(math.pi * np.linspace(0, 1, 300, endpoint=False) ** 1.5),
    "fan": TomographyGeometry.fan(TURN, **FAN),
    "fan, shifted": TomographyGeometry.fan(-TURN, **FAN, axis_shift_mm=6.0, detector_offset_mm=3.0),
    "curved": TomographyGeometry.fan(TURN, **FAN, detector="curved"),
    "curved, shifted": TomographyGeometry.fan(
        TURN, **FAN, detector="curved", axis_shift_mm=6.0, detector_offset_mm=3.0
    ),
    "short fan": TomographyGeometry.fan(1 + np.linspace(0, math.pi + 2 * HALF_FAN, 241), **FAN),
    "short fan, backwards": TomographyGeometry.fan(1 - np.linspace(0, math.pi + 2.6 * HALF_FAN, 241), **FAN),
    "short curved": TomographyGeometry.fan(np.linspace(0, 5.5, 301), **FAN, detector="curved"),
    "very short fan": TomographyGeometry.fan(np.linspace(0, math.pi + 1.2 * HALF_FAN, 241), **FAN),
}


@compiled
@pytest.mark.parametrize("name", SCANS)
def test_disc_keeps_its_attenuation(name):
    """1 % at each pixel inside, 0.1 % in the mean; outside no bias, and aliasing of the sharp edge below 4 % rms."""
    geometry = SCANS[name]
    image = filtered_backprojection(Projector(geometry, GRID, torch.float64), disc_line_integrals(geometry))[0].numpy()
    radius = radius_of_pixels(GRID)
    assert image[radius < 25].mean() == pytest.approx(MU_PER_MM, rel=1e-3)
    assert np.abs(image[radius < 25] / MU_PER_MM - 1).max() < 0.01
    outside = image[(radius > 31) & (radius < 38)]
    assert abs(outside.mean()) < 0.002 * MU_PER_MM
    assert outside.std() < 0.04 * MU_PER_MM


@compiled
@pytest.mark.parametrize("window", ["shepp-logan", "cosine", "hamming", "hann"])
def test_windows_smooth_and_keep_the_mean(window):
    geometry = SCANS["half turn"]
    A = Projector(geometry, GRID, torch.float64)
    noise = torch.randn(A.range.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sharp = filtered_backprojection(A, noise)
    smooth = filtered_backprojection(A, noise, filter=window)
    assert smooth.std() < 0.95 * sharp.std()
    assert filtered_backprojection(A, noise, filter=window, cutoff=0.5).std() < 0.7 * smooth.std()
    image = filtered_backprojection(A, disc_line_integrals(geometry), filter=window, cutoff=0.7)[0].numpy()
    assert image[radius_of_pixels(GRID) < 22].mean() == pytest.approx(MU_PER_MM, rel=2e-3)


TINY_GRID = ImageGrid((3, 9, 11), (1.0, 1.2, 1.0), (0.0, 0.5, -0.5))
TINY_ANGLES = np.linspace(0, 2 * math.pi, 16, endpoint=False)
TINY_FAN = {"source_to_axis_mm": 30.0, "source_to_detector_mm": 45.0, "n_columns": 17, "column_mm": 1.5, "n_rows": 3}
TINY = {
    "parallel": TomographyGeometry.parallel(TINY_ANGLES, 17, n_rows=3),
    "flat": TomographyGeometry.fan(TINY_ANGLES, **TINY_FAN),
    "curved": TomographyGeometry.fan(TINY_ANGLES, **TINY_FAN, detector="curved"),
}


@pytest.mark.parametrize("name", TINY)
def test_tiny_disc(name):
    image = filtered_backprojection(
        Projector(TINY[name], TINY_GRID, torch.float64), disc_line_integrals(TINY[name], 4.0, (0.0, 0.0))
    )
    middle = image[:, radius_of_pixels(TINY_GRID, (0.0, 0.0)) < 2]
    assert middle.mean().item() == pytest.approx(MU_PER_MM, rel=0.05)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("name", TINY)
def test_batches_slabs_and_threads_change_no_bit(name):
    A = Projector(TINY[name], TINY_GRID)
    y = torch.randn((2, *A.range.shape), generator=torch.Generator().manual_seed(0))
    whole = filtered_backprojection(A, y)
    assert whole.shape == (2, *TINY_GRID.shape)
    assert torch.equal(filtered_backprojection(A, y[1]), whole[1])
    slab = A.restrict("z", 1, 3)
    assert torch.equal(filtered_backprojection(slab.operator, slab.select(y, A.range)), whole[:, 1:3])
    before = get_num_threads()
    set_num_threads(1)
    one = filtered_backprojection(A, y)
    set_num_threads(before)
    assert torch.equal(one, whole)


def test_angular_weights_fill_the_period():
    weights, is_full = angular_weights(np.array([0.1, 2.0, 0.5 + 5 * math.pi]), math.pi)
    assert is_full
    assert weights.sum() == pytest.approx(math.pi)
    assert weights[0] == pytest.approx(0.5 * ((0.5 - 0.1) + (0.1 - 2.0 + math.pi)))


def test_angular_weights_stop_at_the_end_of_an_arc():
    weights, is_full = angular_weights(np.deg2rad(np.arange(60.0)), math.pi)
    assert not is_full
    np.testing.assert_allclose(weights, math.radians(1.0))
    assert angular_weights(np.array([0.3]), math.pi)[0] == pytest.approx([math.pi])


@pytest.mark.parametrize("arc_deg", [185.0, 200.0, 230.0, 300.0])
def test_opposite_rays_share_one(arc_deg):
    """w(beta, gamma) + w(beta + pi + 2 gamma, -gamma) = 1 wherever the second is measured, else w = 1."""
    step = math.radians(0.5)
    beta = np.arange(0, math.radians(arc_deg), step)
    gamma = np.arange(-20, 21) * 0.5 * step
    weights = short_scan_weights(beta, np.tile(gamma, (beta.size, 1)))
    assert weights.min() >= 0
    assert weights.max() <= 1 + 1e-12
    n_turn = round(2 * math.pi / step)
    for column, angle in enumerate(gamma):
        partner = (np.arange(beta.size) + round((math.pi + 2 * angle) / step)) % n_turn
        measured = partner < beta.size
        total = weights[measured, column] + weights[partner[measured], -1 - column]
        np.testing.assert_allclose(total, 1.0, atol=1e-9)
        np.testing.assert_allclose(weights[~measured, column], 1.0, atol=1e-9)


def test_short_scan_weights_are_parkers():
    """At gamma = 0 and an arc of pi + 2 delta: sin^2(pi beta / 4 delta) rises over the first 2 delta."""
    step = math.radians(0.5)
    beta = np.arange(0, math.radians(220.0), step) + 0.5 * step
    delta = math.radians(20.0)
    weights = short_scan_weights(beta, np.zeros((beta.size, 1)))[:, 0]
    rising = beta < 2 * delta
    np.testing.assert_allclose(weights[rising], np.sin(math.pi * beta[rising] / (4 * delta)) ** 2, atol=1e-9)


def test_what_cannot_be_done_is_named():
    A = Projector(TINY["flat"], TINY_GRID)
    y = A.range.zeros()
    with pytest.raises(ValueError, match="A filter is one of ram-lak"):
        filtered_backprojection(A, y, filter="gauss")
    with pytest.raises(ValueError, match="cutoff is a fraction"):
        filtered_backprojection(A, y, cutoff=0.0)
    with pytest.raises(ShapeError):
        filtered_backprojection(A, y[1:])
    vectors = TINY["parallel"].vectors.copy()
    vectors[3, 6:9] *= 1.1
    uneven = TomographyGeometry("parallel", vectors, 3, 17)
    with pytest.raises(GeometryError, match="must be one"):
        filtered_backprojection(Projector(uneven, TINY_GRID), y)
    beside = ImageGrid((3, 3, 3), centre_mm=(0.0, 10.0, 0.0))
    still = TomographyGeometry("fan", [[0, 0, 0, 0, 30, 0, 1.5, 0, 0, 0, 0, 1]], 3, 17)
    with pytest.raises(GeometryError, match="stands on the axis"):
        filtered_backprojection(Projector(still, beside), y[:1])
