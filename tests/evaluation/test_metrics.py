"""Metrics against values computed by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import body_mask, compare, plane_axes, psnr_db
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

SHAPE = (9, 11, 13)
GRID = AffineGrid.centred(SHAPE, (3.0, 1.0, 1.5))


def volume(data, units="1", grid=GRID):
    return Volume(np.asarray(data), grid, units)


@pytest.fixture
def reference():
    return volume(np.random.default_rng(0).uniform(0.1, 2.0, SHAPE))


def test_constant_offset_has_the_psnr_of_its_size(reference):
    measured = compare(reference.with_data(reference.data + 0.02), reference)
    peak = reference.data.max()
    assert measured.psnr_db == pytest.approx(20 * math.log10(peak / 0.02))
    assert measured.rmse == pytest.approx(0.02)
    assert measured.slice_to_slice == pytest.approx(0.0, abs=1e-12)
    assert measured.nmse == pytest.approx(0.02**2 * reference.data.size / np.sum(reference.data**2))
    assert psnr_db(reference.data + 0.02, reference.data, 2.0) == pytest.approx(40.0)


def test_a_volume_is_perfect_against_itself(reference):
    measured = compare(reference, reference)
    assert measured.psnr_db == math.inf
    assert measured.nmse == 0.0
    assert measured.ssim == pytest.approx({"axial": 1.0, "coronal": 1.0, "sagittal": 1.0})
    assert measured.to_dict()["psnr_db"] is None


def test_independent_slice_errors_jump_by_sqrt_two(reference):
    offsets = np.random.default_rng(1).standard_normal((2000, 1, 1))
    flat = volume(np.ones((2000, 2, 2)), grid=AffineGrid.centred((2000, 2, 2), 1.0))
    measured = compare(flat.with_data(flat.data + offsets), flat)
    assert measured.slice_to_slice == pytest.approx(math.sqrt(2) * measured.rmse, rel=0.05)
    assert math.isnan(measured.ssim["axial"])  # slices smaller than the window have no SSIM


def test_ssim_is_scikit_images_mean_over_slices(reference):
    noisy = reference.data + np.random.default_rng(2).normal(0, 0.3, SHAPE)
    ssim = compare(reference.with_data(noisy), reference).ssim
    span = reference.data.max()
    for axis, plane in enumerate(("axial", "coronal", "sagittal")):
        pairs = zip(np.moveaxis(noisy, axis, 0), np.moveaxis(reference.data, axis, 0), strict=True)
        expected = np.mean([structural_similarity(a, b, data_range=span) for a, b in pairs])
        assert ssim[plane] == pytest.approx(expected, rel=1e-10)


def test_planes_follow_the_affine():
    sagittal_first = np.array([[0, 0, 2.0, 0], [1.0, 0.1, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    grid = AffineGrid(SHAPE, tuple(map(tuple, sagittal_first)))
    assert plane_axes(volume(np.zeros(SHAPE), grid=grid)) == {"axial": 1, "coronal": 2, "sagittal": 0}


def test_ranges_are_named_and_not_taken_from_the_result(reference):
    signed = reference.with_data(reference.data - 3.0)
    worse = signed.with_data(signed.data * 1.1)
    assert compare(worse, signed, range="magnitude").range.span == pytest.approx(np.abs(signed.data).max())
    assert compare(worse, reference, range="maximum").range.span == pytest.approx(reference.data.max())
    rows = compare(worse, reference, range=(0.0, 4.0)).rows()
    assert rows[0][0] == "PSNR"
    assert "[0, 4]" in rows[0][2]
    with pytest.raises(InputError, match="maximum of the reference volume"):
        compare(worse, signed, range="maximum")


def test_hounsfield_units_are_clipped_and_measured_inside_the_body():
    data = np.full(SHAPE, -1000.0)
    data[:, 3:9, 3:10] = 40.0
    result = data.copy()
    result[:, 0] = 0.0  # outside the body: does not count
    result[:, 3:9, 3:10] += 25.0
    result[0, 5, 5] = data[0, 5, 5] = 3000.0
    result[0, 5, 5] = 9000.0  # beyond the window: both are clipped
    measured = compare(volume(result, "HU"), volume(data, "HU"))
    inside = 9 * (6 * 7 - 4)  # the opening of the body mask rounds off the corners
    assert measured.voxels == inside
    assert measured.region == "inside the body mask"
    assert measured.psnr_db == pytest.approx(40.0 + 10 * math.log10(inside / (inside - 1)))
    assert measured.range.span == 2500.0
    assert "HU window [-1000, 1500]" in measured.rows()[0][2]
    energy = (inside - 1) * 1040.0**2 + 2500.0**2
    assert measured.nmse == pytest.approx((inside - 1) * 25.0**2 / energy)


def test_body_mask_fills_lungs_and_leaves_the_table():
    _z, y, x = np.mgrid[:6, :40, :40]
    data = np.full((6, 40, 40), -1000.0)
    body = (y - 17) ** 2 + (x - 20) ** 2 < 14**2
    data[body] = 30.0
    data[(y - 17) ** 2 + (x - 20) ** 2 < 5**2] = -850.0  # a lung, open through the whole stack
    data[(y == 33) & (x > 4)] = 100.0  # a table, one voxel thick
    mask = body_mask(volume(data, "HU", AffineGrid.centred(data.shape, 2.0)))
    assert (mask != body).mean() < 0.005
    assert mask[:, 17, 20].all()
    assert not mask[:, 33, 6].any()


def test_complex_volumes_are_compared_by_magnitude(reference):
    turned = reference.with_data(reference.data * np.exp(0.7j))
    assert compare(turned, reference).nmse < 1e-28


def test_a_series_is_measured_over_its_frames(reference):
    series = volume(np.stack([reference.data, reference.data]))
    wrong = series.with_data(series.data + np.array([0.0, 0.2])[:, None, None, None])
    assert compare(wrong, series).rmse == pytest.approx(math.sqrt(0.02))


def test_grids_must_agree_or_are_resampled():
    def ramp(grid):
        z, y, x = np.indices(grid.shape)
        world = np.einsum("ij,j...->i...", grid.matrix, np.stack([x, y, z, np.ones(grid.shape)]))
        return Volume(world[:3].sum(0), grid)

    fine = ramp(AffineGrid.centred((12, 14, 16), 1.0))
    coarse = ramp(AffineGrid.centred((6, 7, 10), 2.0))
    with pytest.raises(ShapeError, match="lie on different grids"):
        compare(coarse, fine)
    measured = compare(coarse, fine, resample=True)  # linear interpolation is exact on a ramp
    assert measured.rmse < 1e-5
    assert measured.voxels == 6 * 7 * 8


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"range": "minmax"}, "A range is"),
        ({"range": (1.0, 1.0)}, "low < high"),
        ({"range": "hu"}, "needs volumes in HU"),
        ({"mask": "lung"}, "A mask is"),
        ({"mask": np.zeros(SHAPE, bool)}, "selects no voxel"),
        ({"mask": np.ones((2, 2, 2), bool)}, "needs the shape"),
        ({"mask": "body"}, "needs CT in HU"),
    ],
)
def test_wrong_settings_are_told(reference, kwargs, message):
    with pytest.raises((InputError, ShapeError), match=message):
        compare(reference, reference, **kwargs)


def test_wrong_volumes_are_told(reference):
    with pytest.raises(InputError, match="one unit"):
        compare(volume(reference.data, "HU"), reference)
    broken = reference.data.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="result holds 1 NaN"):
        compare(reference.with_data(broken), reference)
    with pytest.raises(InputError, match="there is no body"):
        body_mask(volume(np.full(SHAPE, -1000.0), "HU"))
