"""Volumes as measurements: what becomes data, what is assumed, and restorations with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import recon3d
from operators.slices import SliceSampling
from recon3d.acquisitions.image import image_scan
from recon3d.errors import ConfigError, GeometryError, InputError
from recon3d.grid import AffineGrid
from recon3d.methods import make_method
from recon3d.problem import problem_for
from recon3d.run import SilentRun
from recon3d.solvers.total_variation import tv_prox
from recon3d.volume import Volume

GRID = AffineGrid.patient((6, 9, 8), (5.0, 1.0, 1.0))


def hu_volume(noise: float = 20.0, grid: AffineGrid = GRID) -> Volume:
    data = np.full(grid.shape, -1000.0, np.float32)
    data[:, 2:7, 1:6] = 40.0
    data[grid.shape[0] // 2 :, 3:5, 2:4] = 400.0
    data += noise * np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    return Volume(data, grid, units="HU", tags={"modality": "CT"})


def test_a_volume_is_the_data_and_leaves_in_hu() -> None:
    volume = hu_volume()
    problem = problem_for(image_scan(volume, noise_std=20.0))
    assert isinstance(problem.A, SliceSampling)
    assert (problem.kind, problem.output[0], problem.signed) == ("ct", "HU", False)
    torch.testing.assert_close(problem.A(problem.y), problem.y)
    np.testing.assert_allclose(problem.volume(problem.y).data, volume.data, atol=1e-3)
    assert problem.normalised().noise_std == pytest.approx(0.02, rel=1e-5)  # 20 HU in units of water


def test_tv_of_a_volume_is_its_proximal_map() -> None:
    """With the identity as operator the method minimises 1/2 |x - y|^2 + weight TV(x), x at least vacuum."""
    volume = hu_volume(grid=AffineGrid.patient((6, 9, 8), 1.0))
    problem = problem_for(image_scan(volume, noise_std=20.0))
    found = recon3d.reconstruct(problem, "tv", weight=0.01, noise_weight=0.5, iterations=500, rtol=1e-7).volume.data
    water = torch.from_numpy(volume.data) / 1000 + 1
    expected = 1000 * (tv_prox(water.double(), 0.01 + 0.5 * 0.02, iterations=3000, nonnegative=True) - 1)
    np.testing.assert_allclose(found, expected.numpy(), atol=0.2)


def test_thin_slices_keep_the_mean_of_the_thick_one_and_their_place() -> None:
    volume = hu_volume(noise=0.0)
    scan = image_scan(volume, slice_mm=1.25)
    assert scan.grid.shape == (24, 9, 8)
    assert scan.grid.voxel_mm == pytest.approx((1.25, 1.0, 1.0))
    np.testing.assert_allclose(scan.grid.centre_mm, GRID.centre_mm, atol=1e-12)
    result = recon3d.reconstruct(problem_for(scan), "tv", weight=1e-4, iterations=400, rtol=1e-6).volume
    means = result.data.reshape(6, 4, 9, 8).mean(1)
    np.testing.assert_allclose(means, volume.data, atol=6.0)


def test_an_edge_inside_a_thick_slice_is_found_again() -> None:
    """A step in the middle of slice 2, seen as its mean, is what TV makes of it: the step, at its place."""
    thin = np.zeros((16, 6, 6), np.float32)
    thin[10:, :, :] = 1.0
    thick = Volume(thin.reshape(4, 4, 6, 6).mean(1), AffineGrid.patient((4, 6, 6), (4.0, 1.0, 1.0)), units="1/mm")
    problem = problem_for(image_scan(thick, slice_mm=1.0, noise_std=1e-3))
    found = recon3d.reconstruct(problem, "tv", weight=1e-4, iterations=500, rtol=0, axes="slices").volume.data
    # Among volumes with these means every monotone edge has the same variation; none leaves [0, 1].
    np.testing.assert_allclose(found.reshape(4, 4, 6, 6).mean(1), thick.data, atol=2e-3)
    assert found.min() > -1e-3
    assert found.max() < 1 + 1e-3


def test_missing_slices_are_left_out_and_filled() -> None:
    volume = hu_volume(noise=0.0, grid=AffineGrid.patient((6, 9, 8), 1.0))
    data = volume.data.copy()
    data[1] = 777.0  # damaged
    data[4] = np.nan
    scan = image_scan(replace(volume, data=data), missing=(1,), noise_std=1.0)
    assert scan.blocks[0].shape == (4, 9, 8)
    assert "slices 1, 4 missing" in str(scan.acquisition["prepared"])
    result = recon3d.reconstruct(problem_for(scan), "tv", weight=1e-3, axes="slices").volume
    np.testing.assert_allclose(result.data[[1, 4]], volume.data[[1, 4]], atol=6.0)


def test_values_without_a_unit_may_be_negative() -> None:
    volume = Volume(np.random.default_rng(0).standard_normal((2, 8, 8)), AffineGrid.patient((2, 8, 8), 1.0))
    scan = image_scan(volume)
    assert "not kept above zero" in str(scan.acquisition["prepared"])
    problem = problem_for(scan)
    assert problem.signed
    assert recon3d.reconstruct(problem, "tv", weight=1e-6).volume.data.min() < -1.0
    assert problem.kind == ""


def test_padding_is_vacuum_and_noise_is_estimated_inside() -> None:
    volume = hu_volume(grid=AffineGrid.patient((4, 64, 64), 1.0))
    data = volume.data + 20 * np.random.default_rng(1).standard_normal(volume.shape).astype(np.float32)
    data[:, 30:60, 10:60] = 50 + 20 * np.random.default_rng(2).standard_normal((4, 30, 50))
    data[:, :, -4:] = -3024.0
    scan = image_scan(replace(volume, data=data))
    assert "taken as vacuum" in str(scan.acquisition["prepared"])
    assert float(scan.noise["std"]) * 1000 / 0.0193 == pytest.approx(20.0, rel=0.06)
    assert scan.blocks[0].min() > -0.003  # noise below vacuum stays


def test_faults_are_told() -> None:
    volume = hu_volume()
    series = Volume(np.zeros((2, 6, 9, 8)), GRID)
    with pytest.raises(InputError, match="one real volume"):
        image_scan(series)
    with pytest.raises(InputError, match="counts slices from 0 to 5, got 6"):
        image_scan(volume, missing=(6,))
    with pytest.raises(InputError, match="No slice of the volume is left"):
        image_scan(volume, missing=range(6))
    holes = volume.data.copy()
    holes[2, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values inside slices"):
        image_scan(replace(volume, data=holes))
    scan = image_scan(volume)
    with pytest.raises(InputError, match=r"cannot be restored on a grid of \(4, 4\) pixels"):
        problem_for(scan.on(AffineGrid.patient((6, 4, 4), 1.0)))
    turned = np.diag([1.0, -1.0, 1.0, 1.0]) @ GRID.matrix
    with pytest.raises(GeometryError, match="along the slices alone"):
        problem_for(scan.on(AffineGrid(GRID.shape, tuple(map(tuple, turned)))))
    with pytest.raises(ConfigError, match="with all its slices"):
        make_method("denoise", {}).reconstruct(problem_for(image_scan(volume, missing=(2,))), {}, SilentRun())
