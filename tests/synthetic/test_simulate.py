"""Simulated scans: chord lengths, noise, slabs, and nothing of the truth left in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from operators.tomography import TomographyGeometry
from recon3d.acquisitions import select_views
from recon3d.errors import ConfigError, GeometryError, InputError
from recon3d.grid import AffineGrid
from recon3d.problem import problem_for
from recon3d.synthetic import simulate as simulator
from recon3d.synthetic.phantoms import Ellipsoid, chord_lengths, rasterise
from recon3d.synthetic.simulate import refined, simulate, simulate_ct
from recon3d.volume import Volume

FINE = pytest.mark.parametrize("finer", [1, 2, 3])
BEAM = pytest.mark.parametrize("beam", ["parallel", "fan"])


def cylinder(radius_mm=40.0, value=0.02, units="1/mm", slices=3, outside=0.0):
    """Partial area by 8 x 8 sub-samples; anisotropic pixels."""
    grid = AffineGrid.centred((slices, 80, 100), (2.0, 1.25, 1.0))
    y = ((np.arange(640) + 0.5) / 8 - 40) * 1.25
    x = (np.arange(800) + 0.5) / 8 - 50
    inside = (y[:, None] ** 2 + x**2 < radius_mm**2).reshape(80, 8, 100, 8).mean(axis=(1, 3))
    data = np.broadcast_to(outside + (value - outside) * inside, grid.shape)
    return Volume(data.astype(np.float32), grid, units, tags={"patient": "somebody"})


@FINE
@BEAM
def test_central_rays_cross_the_diameter(beam, finer):
    scan = simulate_ct(cylinder(), beam=beam, views=7, n_columns=101, finer=finer)
    assert scan.data.shape == (7, 3, 101)
    assert scan.data[:, :, 50] == pytest.approx(2 * 40.0 * 0.02, rel=0.01)


def test_hounsfield_units_become_attenuation():
    scan = simulate_ct(cylinder(value=0.0, units="HU", outside=-1000.0), views=4, n_columns=101)
    assert scan.data[:, :, 50] == pytest.approx(80.0 * 0.0193, rel=0.01)
    assert scan.calibration == {"water_per_mm": 0.0193}
    assert scan.units == "1/mm"
    padded = simulate_ct(cylinder(value=0.0, units="HU", outside=-3000.0), views=4, n_columns=101)
    assert padded.data.min() == 0.0  # padding below -1000 HU is vacuum


@BEAM
def test_the_default_detector_sees_the_whole_grid(beam):
    full = Volume(np.ones((1, 30, 20), np.float32), AffineGrid.centred((1, 30, 20), (1.0, 1.0, 2.0)), "1/mm")
    scan = simulate_ct(full, beam=beam, views=36, arc_deg=360.0)
    assert scan.data.max() < 51.0  # the diagonal
    if beam == "parallel":  # every view collects the area of the slice, times mu
        assert simulate_ct(full, views=9, finer=1).data.sum(axis=2) == pytest.approx(30 * 40.0, rel=0.02)
    if beam == "fan":  # columns at equal angles need fewer of them than columns on a plane, here by little
        curved = simulate_ct(full, beam="fan", detector="curved", views=36)
        assert curved.data.shape[2] in (scan.data.shape[2], scan.data.shape[2] - 1)
        assert curved.data.max() == pytest.approx(scan.data.max(), rel=0.02)
    outermost = np.abs(scan.data[:, 0, [0, -1]])
    assert outermost.max() < 3.0


def test_oracle_mode_is_the_operator_of_the_problem():
    volume = cylinder(slices=17)
    scan = simulate_ct(volume, beam="fan", views=5, finer=1)
    problem = problem_for(scan)
    assert torch.equal(problem.A(torch.from_numpy(volume.data.copy())), problem.y)
    finer = simulate_ct(volume, beam="fan", views=5)
    assert not np.array_equal(finer.data, scan.data)  # not the inverse crime
    assert np.abs(finer.data - scan.data).max() < 0.1 * scan.data.max()


def test_photon_noise_has_variance_exp_y_over_photons():
    volume = cylinder(slices=200)
    clean = simulate_ct(volume, views=2, n_columns=60, finer=1).data
    noisy = simulate_ct(volume, views=2, n_columns=60, finer=1, photons=1e4, seed=3).data
    ratio = (noisy - clean) / np.exp(clean / 2) * 100
    # 24 000 samples: the variance of unit noise is known to 1 %, its mean to 0.006.
    assert ratio.var() == pytest.approx(1.0, abs=0.04)
    assert abs(ratio.mean()) < 0.05
    neighbours = np.mean(ratio[:, 1:] * ratio[:, :-1])
    assert abs(neighbours) < 0.03  # slices do not share their noise


def test_noise_belongs_to_seed_and_slice():
    volume = cylinder(slices=18)
    settings = {"views": 3, "photons": 500.0}
    whole = simulate_ct(volume, seed=7, **settings)
    assert np.array_equal(whole.data, simulate_ct(volume, seed=7, **settings).data)
    assert not np.array_equal(whole.data, simulate_ct(volume, seed=8, **settings).data)
    part = Volume(volume.data[5:9], volume.grid.slab(5, 9), volume.units)
    slab = simulate_ct(part, seed=7, first_slice=5, **settings)
    assert np.array_equal(slab.data, whole.data[:, 5:9])


def test_pixels_that_count_nothing_stay_finite():
    scan = simulate_ct(cylinder(value=2.0), views=4, photons=100.0)
    assert scan.data.max() == pytest.approx(math.log(100.0))


def test_the_truth_stays_outside_the_scan():
    scan = simulate_ct(cylinder(), views=4, photons=1e4)
    assert set(scan.acquisition) == {"kind", "vectors", "n_rows", "n_columns", "detector"}
    assert scan.noise == {"photons": 1e4}
    assert scan.calibration == {}
    assert "somebody" not in repr(vars(scan))


@FINE
def test_refining_keeps_the_mean_and_the_range(finer):
    image = np.random.default_rng(0).random((2, 5, 7)).astype(np.float32)
    fine = refined(image, finer)
    assert fine.shape == (2, 5 * finer, 7 * finer)
    assert fine.reshape(2, 5, finer, 7, finer).mean(axis=(2, 4)) == pytest.approx(image, abs=1e-6)
    assert fine.min() >= 0.0
    assert fine.max() <= image.max() + 1e-6
    assert np.array_equal(refined(image[:, :1, :1], finer)[:, 0, 0], image[:, 0, 0])
    ramp = np.broadcast_to(np.arange(7, dtype=np.float32), (1, 5, 7))
    assert np.diff(refined(ramp, finer)[0, 0, finer:-finer]) == pytest.approx(1 / finer)


def test_settings_by_name():
    scan = simulate(cylinder(), {"kind": "ct", "views": 6, "beam": "fan"}, noise={"photons": 1e5}, seed=2)
    same = simulate_ct(cylinder(), views=6, beam="fan", photons=1e5, seed=2)
    assert np.array_equal(scan.data, same.data)
    with pytest.raises(ConfigError, match="did you mean 'arc_deg'"):
        simulate(cylinder(), {"views": 6, "arc_degg": 90})
    with pytest.raises(ConfigError, match="needs views"):
        simulate(cylinder(), {"beam": "fan"})
    with pytest.raises(ConfigError, match="cannot be simulated"):
        simulate(cylinder(), {"kind": "pet"})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"views": 0}, ConfigError, "'views'"),
        ({"finer": 0}, ConfigError, "'finer'"),
        ({"photons": -1.0}, ConfigError, "'photons'"),
        ({"seed": -1}, ConfigError, "'seed'"),
        ({"beam": "ring"}, ConfigError, "'parallel', 'fan' or 'cone'"),
        ({"beam": "fan", "n_rows": 5}, ConfigError, "of a cone beam"),
        ({"beam": "cone", "row_mm": -1.0}, ConfigError, "'row_mm'"),
        ({"column_mm": 0.0}, ConfigError, "'column_mm'"),
        ({"water_per_mm": 0.0}, ConfigError, "'water_per_mm'"),
        ({"beam": "fan", "source_to_axis_mm": 30.0}, GeometryError, "turn inside the volume"),
    ],
)
def test_wrong_settings_are_told(changes, error, message):
    with pytest.raises(error, match=message):
        simulate_ct(cylinder(), **{"views": 4, **changes})


def test_wrong_volumes_are_told():
    good = cylinder()
    with pytest.raises(InputError, match="state its unit"):
        simulate_ct(good.with_data(good.data, units="1"), views=4)
    with pytest.raises(InputError, match="one real volume"):
        simulate_ct(good.with_data(good.data + 0j), views=4)
    with pytest.raises(InputError, match="NaN"):
        simulate_ct(good.with_data(good.data * np.nan), views=4)
    matrix = good.grid.matrix
    matrix[0, 1] = 0.3
    with pytest.raises(GeometryError, match="right angles"):
        simulate_ct(Volume(good.data, AffineGrid(good.grid.shape, tuple(map(tuple, matrix))), "1/mm"), views=4)


def ball(radius_mm=30.0, value=0.02, n=40):
    grid = AffineGrid.centred((n, n, n), (1.8, 2.0, 2.0))
    return Volume(rasterise([Ellipsoid((0.0, 0.0, 0.0), (radius_mm,) * 3, value)], grid, 4), grid, "1/mm")


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_cone_rays_cross_the_ball(detector):
    scan = simulate_ct(ball(), beam="cone", views=5, detector=detector, n_columns=41, n_rows=33)
    assert scan.data.shape == (5, 33, 41)
    assert scan.axes == ("view", "row", "column")
    point, direction = TomographyGeometry.from_dict(scan.acquisition).rays()
    exact = chord_lengths([Ellipsoid((0.0, 0.0, 0.0), (30.0,) * 3, 0.02)], point[..., ::-1], direction[..., ::-1])
    assert scan.data[:, 16, 20] == pytest.approx(60 * 0.02, rel=0.01)
    long = exact > 0.6
    assert np.abs(scan.data[long] / exact[long] - 1).max() < 0.02


def test_cone_detector_sees_the_whole_grid():
    full = Volume(np.ones((9, 12, 10), np.float32), AffineGrid.centred((9, 12, 10), (3.0, 2.0, 2.0)), "1/mm")
    scan = simulate_ct(full, beam="cone", views=12, source_to_axis_mm=60.0, source_to_detector_mm=100.0)
    assert np.abs(scan.data[:, [0, -1]]).max() < 0.35 * scan.data.max()
    assert np.abs(scan.data[..., [0, -1]]).max() < 0.35 * scan.data.max()
    helix = simulate_ct(full, beam="cone", views=12, arc_deg=720.0, advance_mm=9.0, source_to_axis_mm=60.0)
    z = TomographyGeometry.from_dict(helix.acquisition).ray_source[:, 2]
    assert np.ptp(z) == pytest.approx(2 * 9.0 * 11 / 12)


def test_cone_blocks_and_slabs_are_the_whole(monkeypatch):
    settings = {"beam": "cone", "views": 4, "n_columns": 21, "n_rows": 17, "photons": 1e5, "seed": 4}
    whole = simulate_ct(ball(n=12), **settings).data
    monkeypatch.setattr(simulator, "BYTES_AT_ONCE", 4 * 3 * 2 * 24**2)  # slabs of three slices
    parts = simulate_ct(ball(n=12), **settings).data
    assert np.median(np.abs(parts - whole)) < 1e-6
    assert np.abs(parts - whole).max() < 0.05  # a photon more or less where the mean differs by rounding


def test_cone_oracle_mode_is_the_operator_of_the_problem():
    volume = ball(n=20)
    scan = simulate_ct(volume, beam="cone", views=6, finer=1)
    problem = problem_for(scan)
    assert torch.equal(problem.A(torch.from_numpy(volume.data.copy())), problem.y)
    assert problem_for(select_views(scan, every=2)).y.shape[0] == 3
    clean, noisy = (simulate_ct(volume, beam="cone", views=6, photons=n).data for n in (None, 1e4))
    ratio = (noisy - clean) / np.exp(clean / 2) * 100
    assert ratio.var() == pytest.approx(1.0, abs=0.1)
