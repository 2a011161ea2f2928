"""The cone projector: adjoint, slow oracle, exact ellipsoids, hand-computed rays, slabs and threads."""

import math

import numpy as np
import pytest
import torch
from numba import config, get_num_threads, set_num_threads

from operators.errors import DeviceError, GeometryError
from operators.testing import adjoint_error
from operators.tomography import ConeProjector, ImageGrid, Projector, TomographyGeometry
from operators.tomography.cone_rays import cone_tables
from recon3d.grid import AffineGrid
from recon3d.synthetic.phantoms import Ellipsoid, chord_lengths, rasterise

compiled = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="too slow without compiled kernels")
ANGLES = np.array([0.1, 0.8, 1.5, 2.9, 4.4, 5.9])
GRID = ImageGrid((7, 9, 11), (1.1, 1.3, 0.9), (0.4, -0.8, 1.7))
CONE = {"source_to_axis_mm": 30.0, "source_to_detector_mm": 47.0, "n_columns": 13, "column_mm": 2.1}
ROWS = {"n_rows": 19, "row_mm": 0.9}


def steep():
    """A source high above the grid that looks down on it: some rays march along z."""
    vectors = TomographyGeometry.cone(ANGLES[:3], **CONE, **ROWS).vectors.copy()
    vectors[:, 2], vectors[:, 5] = 30.0, -25.0
    return TomographyGeometry.from_vectors(vectors, 19, 13)


def upside_down():
    flat = TomographyGeometry.cone(ANGLES, **CONE, **ROWS, row_offset_mm=1.0)
    return TomographyGeometry.from_vectors(flat.vectors * np.r_[np.ones(9), -np.ones(3)], 19, 13)


GEOMETRIES = {
    "flat": TomographyGeometry.cone(
        ANGLES, **CONE, **ROWS, axis_shift_mm=0.6, detector_offset_mm=1.1, row_offset_mm=-0.7, source_z_mm=0.5
    ),
    "curved": TomographyGeometry.cone(
        ANGLES, **CONE, **ROWS, detector="curved", detector_offset_mm=-1.7, row_offset_mm=0.3
    ),
    "helical": TomographyGeometry.cone(2 * ANGLES, advance_mm=4.0, **CONE, **ROWS),
    "fine rows": TomographyGeometry.cone(ANGLES[:4], **CONE, n_rows=75, row_mm=0.23),
    "coarse rows": TomographyGeometry.cone(ANGLES[:4], **CONE, n_rows=5, row_mm=4.9),
    "upside down": upside_down(),
    "tilted": TomographyGeometry.cone(ANGLES, **CONE, **ROWS, tilt_rad=0.1, detector_offset_mm=1.1),
    "tilted curved": TomographyGeometry.cone(ANGLES[:4], **CONE, **ROWS, detector="curved", tilt_rad=-0.2),
    "steep": steep(),
}
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def test_both_ways_are_taken():
    upright = {name: cone_tables(geometry, GRID).upright.views.size for name, geometry in GEOMETRIES.items()}
    assert upright["flat"] == upright["curved"] == upright["helical"] == upright["upside down"] == 6
    assert upright["tilted"] == upright["tilted curved"] == upright["steep"] == 0


@compiled
@each_geometry
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_adjoint(geometry, dtype, bound):
    assert adjoint_error(ConeProjector(geometry, GRID, dtype), seed=1) < bound


def slow_joseph(geometry, grid, view, row, column):
    """One ray, straight from the definition: (voxels (n, 3) as (z, y, x), weights)."""
    source, u, v = geometry.vectors[view, :3], geometry.vectors[view, 6:9], geometry.vectors[view, 9:]
    r, c = row - 0.5 * (geometry.n_rows - 1), column - 0.5 * (geometry.n_columns - 1)
    towards = geometry.vectors[view, 3:6] - source
    if geometry.detector == "flat":
        d = towards + c * u + r * v
    else:
        up = v / np.linalg.norm(v)
        ahead = towards - (towards @ up) * up
        radius = np.linalg.norm(ahead)
        angle = c * np.linalg.norm(u) / radius
        d = math.cos(angle) * ahead + math.sin(angle) * radius * u / np.linalg.norm(u) + (towards @ up) * up + r * v
    voxel = np.array(grid.voxel_mm)
    start = (source[::-1] - np.array(grid.first_voxel_mm)) / voxel
    d = d[::-1] / voxel
    axis = int(np.argmax(np.abs(d)))
    mm = np.linalg.norm(d * voxel) / abs(d[axis])
    weights = np.zeros(grid.shape)
    for plane in range(grid.shape[axis]):
        p = start + (plane - start[axis]) / d[axis] * d
        hats = [np.maximum(0, 1 - np.abs(np.arange(n) - place)) for n, place in zip(grid.shape, p, strict=True)]
        hats[axis] = (np.arange(grid.shape[axis]) == plane).astype(float)
        weights += mm * hats[0][:, None, None] * hats[1][:, None] * hats[2]
    return weights


@pytest.mark.tiny
@each_geometry
def test_rays_are_the_slow_ones(geometry):
    rng = np.random.default_rng(0)
    part = geometry[:2].rows(0, min(5, geometry.n_rows)) if config.DISABLE_JIT else geometry[:2]
    A = ConeProjector(part, GRID, torch.float64)
    x = torch.from_numpy(rng.random(GRID.shape))
    y = A(x).numpy()
    unit = torch.zeros(part.shape, dtype=torch.float64)
    hits = 0
    for _ in range(12):
        ray = tuple(int(rng.integers(n)) for n in part.shape)
        expected = slow_joseph(part, GRID, *ray)
        assert y[ray] == pytest.approx((expected * x.numpy()).sum(), abs=1e-9)
        hits += expected.any()
    unit[ray] = 1.0
    np.testing.assert_allclose(A.H(unit).numpy(), expected, atol=1e-12)
    assert hits > 3 or config.DISABLE_JIT


ELLIPSOID = Ellipsoid((1.0, -4.0, 6.0), (12.0, 18.0, 14.0), 0.02, 0.4)
SCANNER = {"source_to_axis_mm": 200.0, "source_to_detector_mm": 330.0, "n_columns": 61, "column_mm": 1.9}
TALL = {"n_rows": 47, "row_mm": 1.7}
SCANS = {
    "flat": TomographyGeometry.cone(np.linspace(0, 6, 9), **SCANNER, **TALL, axis_shift_mm=2.0),
    "curved": TomographyGeometry.cone(np.linspace(0, 6, 9), **SCANNER, **TALL, detector="curved", row_offset_mm=3.0),
    "helical": TomographyGeometry.cone(np.linspace(0, 12, 9), advance_mm=10.0, **SCANNER, **TALL),
    "tilted": TomographyGeometry.cone(np.linspace(0, 6, 9), **SCANNER, **TALL, tilt_rad=0.2),
}


@compiled
@pytest.mark.parametrize("name", SCANS)
def test_an_ellipsoid_projects_to_its_chords(name):
    """Root mean square error below 1 % of the largest integral, and 2 % of every ray with more than 0.6 of it."""
    grid = ImageGrid((61, 79, 81), (0.9, 0.7, 0.8))
    truth = rasterise([ELLIPSOID], AffineGrid.centred(grid.shape, grid.voxel_mm), 5)
    projections = ConeProjector(SCANS[name], grid)(torch.from_numpy(truth)).numpy()
    point, direction = SCANS[name].rays()
    exact = chord_lengths([ELLIPSOID], point[..., ::-1], direction[..., ::-1])
    assert np.sqrt(np.mean((projections - exact) ** 2)) < 0.01 * exact.max()
    long = exact > 0.6 * exact.max()
    assert np.abs(projections[long] / exact[long] - 1).max() < 0.02


def test_cone_follows_the_convention():
    """At angle 0 the source lies at y = -50 and sees columns along x, rows along z; at 90 degrees it lies at x = 50."""
    geometry = TomographyGeometry.cone(
        [0.0, math.pi / 2], 50.0, 80.0, 3, 40.0, 3, 10.0, detector_offset_mm=5.0, row_offset_mm=2.0, source_z_mm=7.0
    )
    np.testing.assert_allclose(geometry.ray_source, [(0, -50, 7), (50, 0, 7)], atol=1e-12)
    np.testing.assert_allclose(geometry.detector_centre_mm, [(5, 30, 9), (-30, 5, 9)], atol=1e-12)
    direction = geometry.rays()[1][0]
    np.testing.assert_allclose(direction[..., 0] / direction[..., 1], [np.array((-35, 5, 45)) / 80] * 3, atol=1e-12)
    np.testing.assert_allclose(direction[..., 2] / direction[..., 1], np.array([(-8, 2, 12)] * 3).T / 80, atol=1e-12)
    np.testing.assert_allclose(geometry.angles_rad, [0, math.pi / 2], atol=1e-12)


def test_a_helix_advances_with_its_angle():
    """Two turns of 12 mm: z runs from -12 to 12, and each detector stands opposite its source at the same height."""
    geometry = TomographyGeometry.cone(np.linspace(0, 4 * math.pi, 5), 50.0, 80.0, 3, n_rows=2, advance_mm=12.0)
    expected = [(0, -50, -12), (0, 50, -6), (0, -50, 0), (0, 50, 6), (0, -50, 12)]
    np.testing.assert_allclose(geometry.ray_source, expected, atol=1e-12)
    opposite = np.array(expected) * (1, -0.6, 1)
    np.testing.assert_allclose(geometry.detector_centre_mm, opposite, atol=1e-12)


def test_a_tilted_detector_turns_about_its_centre():
    """A quarter turn from u to v: columns run up, rows run along -x; the central ray stays."""
    geometry = TomographyGeometry.cone([0.0], 50.0, 80.0, 3, 8.0, 3, 4.0, tilt_rad=math.pi / 2)
    direction = geometry.rays()[1][0]
    np.testing.assert_allclose(direction[1, 1], (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(direction[1, 2] * np.hypot(80, 8), (0, 80, 8), atol=1e-12)
    np.testing.assert_allclose(direction[2, 1] * np.hypot(80, 4), (-4, 80, 0), atol=1e-12)


@pytest.mark.tiny
@pytest.mark.parametrize("tilt_rad", [0.0, 0.3])
def test_the_central_ray_of_a_helix_sums_its_row_of_voxels(tilt_rad):
    """The source at z of slice 2: the ray along y through pixel x = 3 sums 5 voxels of 2 mm."""
    grid = ImageGrid((4, 5, 7), (1.0, 2.0, 1.0), (1.5, 0.0, 0.0))
    geometry = TomographyGeometry.cone(
        [0.0, 2 * math.pi], 50.0, 80.0, 1, advance_mm=2.0, tilt_rad=tilt_rad, source_z_mm=2.0
    )
    x = torch.arange(140, dtype=torch.float64).reshape(4, 5, 7)
    y = ConeProjector(geometry, grid, torch.float64)(x)[:, 0, 0]  # the sources lie at z = 1 and z = 3
    torch.testing.assert_close(y, 2 * torch.stack((x[1, :, 3].sum(), x[3, :, 3].sum())))


@compiled
@each_geometry
def test_slabs_sum_to_the_whole(geometry):
    A = ConeProjector(geometry, GRID)
    x = A.domain.random(torch.Generator().manual_seed(3))
    y = A(x)
    parts = [(A.partial(a, b), x[a:b]) for a, b in ((0, 2), (2, 3), (3, 7))]
    total = sum(part(slab) for part, slab in parts)
    torch.testing.assert_close(total, y, rtol=0, atol=1e-5 * float(y.abs().max()))
    back = torch.cat([part.H(y) for part, _ in parts])
    torch.testing.assert_close(back, A.H(y), rtol=0, atol=1e-5 * float(back.abs().max()))
    assert A.restrict("z", 0, 2) is None


@compiled
@each_geometry
def test_twice_the_millimetres_are_twice_the_integrals(geometry):
    double = TomographyGeometry.from_vectors(2 * geometry.vectors, geometry.n_rows, 13, geometry.detector)
    wide = ImageGrid(GRID.shape, *(tuple(2 * v for v in t) for t in (GRID.voxel_mm, GRID.centre_mm)))
    x = torch.randn(GRID.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    small = ConeProjector(geometry, GRID, torch.float64)(x)
    torch.testing.assert_close(ConeProjector(double, wide, torch.float64)(x), 2 * small, rtol=1e-12, atol=1e-10)


@pytest.mark.usefixtures("many_threads")
@compiled
@pytest.mark.parametrize("name", ["flat", "tilted"])
def test_threads_and_batches_change_no_bit(name):
    A = ConeProjector(SCANS[name], ImageGrid((21, 27, 33), (1.0, 1.5, 1.3)))
    x = torch.randn((2, *A.domain.shape), generator=torch.Generator().manual_seed(0))
    y = A(x)
    back = A.H(y)
    before = get_num_threads()
    set_num_threads(1)
    one, one_back = A(x[1]), A.H(y[1])
    set_num_threads(before)
    assert torch.equal(one, y[1])
    assert torch.equal(one_back, back[1])
    assert A(x[:0]).shape == (0, *A.range.shape)
    leaf = x[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(A(leaf).square().sum() / 2, leaf)
    torch.testing.assert_close(gradient, A.gram(x[0]))


def changed(**columns):
    vectors = GEOMETRIES["flat"].vectors.copy()
    for name, value in columns.items():
        vectors[0, int(name[1:])] = value
    return vectors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TomographyGeometry.cone([0.0], 50, 40, 5), "must not lie between source and axis"),
        (lambda: TomographyGeometry.cone([0.0], 50, 80, 5, row_mm=0.0), "row_mm must be a positive"),
        (lambda: TomographyGeometry.cone([0.0], 50, 80, 5, advance_mm=math.nan), "advance_mm must be a finite"),
        (lambda: TomographyGeometry.cone([0.0], 50, 80, 5, 70.0, detector="curved"), "less than 180 degrees"),
        (lambda: TomographyGeometry.from_vectors(changed(_6=0, _7=0, _8=0), 19, 13), "not zero"),
        (lambda: TomographyGeometry.from_vectors([[0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1]], 1, 5), "lies on its detector"),
        (lambda: TomographyGeometry.from_vectors([[0, 0, 0, 0, 9, 0, 1, 0, 0, 1, 1, 0]], 1, 5), "seen edge-on"),
        (lambda: TomographyGeometry.from_vectors([[0, 0, 0, 0, 9, 0, 1, 1, 0, 0, 0, 1]], 1, 5, "curved"), "a tangent"),
        (lambda: ConeProjector(GEOMETRIES["flat"], ImageGrid((7, 99, 11))), "The source of view"),
        (lambda: ConeProjector(GEOMETRIES["flat"], GRID, device="cuda"), None),
        (lambda: ConeProjector(TomographyGeometry.parallel([0.0], 5), GRID), "use Projector"),
        (lambda: TomographyGeometry.parallel([0.0], 5).columns_of_rays(), "Only cone rays"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(DeviceError if message is None else GeometryError, match=message or "on the CPU"):
        make()


def test_a_cone_is_no_stack_of_slices():
    with pytest.raises(GeometryError, match="use ConeProjector"):
        Projector(GEOMETRIES["flat"].rows(0, 7), GRID)


@each_geometry
def test_geometry_is_a_value(geometry):
    assert eval(repr(geometry), {"TomographyGeometry": TomographyGeometry}) == geometry
    assert TomographyGeometry.from_dict(geometry.to_dict()) == geometry
    part = geometry[1:3].rows(1, 4)
    np.testing.assert_allclose(part.rays()[1], geometry.rays()[1][1:3, 1:4], atol=1e-12)
