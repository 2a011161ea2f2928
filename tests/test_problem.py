"""The problem that methods see: white noise, unit norm, scales from physics or data and never from the sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from operators.blocks import Blocks
from operators.linear import Diagonal, Identity
from operators.mri import CartesianEncoding
from operators.normalization import Normalization
from operators.space import Space
from operators.stack import Frames, Stack
from operators.tomography import TomographyGeometry
from recon3d.errors import InputError, ModelError, ShapeError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.noise import NoiseModel
from recon3d.problem import Problem, problem_for
from recon3d.scan import Scan
from recon3d.volume import Volume

SHAPE = (4, 9, 11)


def truth(shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ct_scan(views: int = 24, voxel_mm: float = 1.0, value: float = 1.0, **changes: Any) -> Scan:
    """A scan without noise of a random image; `voxel_mm` scales the whole world, `value` the image."""
    grid = AffineGrid.centred(SHAPE, (2 * voxel_mm, voxel_mm, voxel_mm))
    geometry = TomographyGeometry.parallel(
        np.linspace(0, np.pi, views, endpoint=False), 15, voxel_mm, n_rows=SHAPE[0], row_mm=2 * voxel_mm
    )
    data = np.zeros(geometry.shape)
    empty = Scan("ct", data, ("view", "row", "column"), geometry.to_dict(), grid, units="1/mm", name="knee", **changes)
    return replace(empty, data=problem_for(replace(empty, noise={}), dtype=torch.float64).A(value * truth()).numpy())


# Scales


def test_the_normalised_operator_has_norm_one_and_the_way_back_is_exact() -> None:
    problem = problem_for(replace(ct_scan(), noise={"std": 0.1}), dtype=torch.float64)
    task = problem.normalised()
    assert task.A.norm(max_steps=500, rtol=1e-10) == pytest.approx(1.0, abs=2e-3)
    x = truth() / task.normalization.scale
    assert task.residual(x) < 1e-12
    torch.testing.assert_close(task.physical(x), truth())
    assert problem_for(ct_scan()).normalised().noise_std is None


def test_noise_std_is_that_of_the_normalised_data() -> None:
    """Simulated noise of the stated size has `noise_std` after normalisation."""
    scan = ct_scan(views=48)
    noise = 0.3 * np.random.default_rng(0).standard_normal(scan.data.shape)  # type: ignore[union-attr]
    clean = problem_for(replace(scan, noise={"std": 0.3}), dtype=torch.float64)
    task = clean.normalised()
    noisy = problem_for(replace(scan, data=scan.data + noise, noise={"std": 0.3}), dtype=torch.float64)
    difference = noisy.normalised(task.normalization).y - task.y
    assert task.noise_std is not None
    assert float(difference.std()) == pytest.approx(task.noise_std, rel=0.05)


def test_an_offset_is_taken_out_of_the_data() -> None:
    problem = problem_for(ct_scan(), dtype=torch.float64)
    range_ = Normalization(scale=2.0, offset=-0.5)
    task = problem.normalised(range_)
    assert task.residual(range_.apply(truth())) < 1e-12
    torch.testing.assert_close(task.physical(range_.apply(truth())), truth())


def test_scales_do_not_depend_on_voxels_units_or_views() -> None:
    reference = problem_for(ct_scan(), dtype=torch.float64).image_scale
    assert problem_for(ct_scan(voxel_mm=2.0), dtype=torch.float64).image_scale == pytest.approx(reference, rel=1e-12)
    assert problem_for(ct_scan(value=1000.0), dtype=torch.float64).image_scale == pytest.approx(1000 * reference)
    assert problem_for(ct_scan(views=48), dtype=torch.float64).image_scale == pytest.approx(reference, rel=0.01)
    assert problem_for(ct_scan(views=6), dtype=torch.float64).image_scale == pytest.approx(reference, rel=0.05)
    assert reference == pytest.approx(float(truth().mean()), rel=0.1)


def test_the_scale_of_ct_is_that_of_water_where_it_is_known() -> None:
    scan = ct_scan(calibration={"water_per_mm": 0.02})
    assert problem_for(scan).image_scale == 0.02


def test_mm_doubled_gives_the_same_normalised_problem() -> None:
    """Lengths twice as long and attenuation half as much are the same measurement."""
    one = problem_for(ct_scan(), dtype=torch.float64).normalised()
    two = problem_for(ct_scan(voxel_mm=2.0, value=0.5), dtype=torch.float64).normalised()
    torch.testing.assert_close(one.y, two.y, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(one.A(truth()), two.A(truth()), rtol=1e-6, atol=1e-9)


def test_nothing_to_reconstruct() -> None:
    scan = ct_scan()
    empty = problem_for(replace(scan, data=np.zeros_like(scan.data)))
    with pytest.raises(InputError, match="'knee' are zero everywhere"):
        empty.normalised()
    nothing_seen = problem_for(replace(scan, noise={"std": 1.0}))
    blind = replace(nothing_seen, A=0.0 * nothing_seen.A)
    with pytest.raises(InputError, match="No measurement of 'knee' meets"):
        _ = blind.strength


# Slabs


def test_a_slab_carries_the_scales_of_the_whole() -> None:
    std = np.random.default_rng(0).uniform(0.1, 3.0, ct_scan().data.shape)  # type: ignore[union-attr]
    problem = problem_for(replace(ct_scan(), noise={"std": std}), dtype=torch.float64)
    slab = problem.slab(1, 4).slab(0, 2)
    assert slab.first_slice == 1
    assert slab.whole is problem
    assert slab.grid == problem.grid.slab(1, 3)  # type: ignore[union-attr]
    assert (slab.image_scale, slab.strength) == (problem.image_scale, problem.strength)
    whole, part = problem.normalised(), slab.normalised()
    assert torch.equal(part.y, whole.y[:, 1:3])
    assert torch.equal(part.A(truth()[1:3]), whole.A(truth())[:, 1:3])


def test_support_goes_with_the_slab() -> None:
    support = torch.arange(4.0)[:, None, None].expand(SHAPE)
    problem = replace(problem_for(ct_scan()), support=support)
    assert float(problem.slab(2, 3).support.max()) == 2.0  # type: ignore[union-attr]


def test_no_slabs_where_slices_share_data() -> None:
    problem = problem_for(ct_scan())
    shared = replace(problem, A=Stack([problem.A]), y=Blocks([problem.y]))
    with pytest.raises(ShapeError, match="'knee' does not split"):
        shared.slab(0, 2)


# Units


def test_ct_leaves_in_hounsfield_units_where_water_is_known() -> None:
    problem = problem_for(ct_scan(calibration={"water_per_mm": 0.02}))
    image = torch.full(SHAPE, 0.02)
    image[0] = 0.0
    image[1] = 0.04
    volume = problem.volume(image)
    assert volume.units == "HU"
    np.testing.assert_allclose(volume.data[:3, 0, 0], [-1000, 1000, 0], atol=1e-3)
    torch.testing.assert_close(problem.image(volume), image)
    torch.testing.assert_close(problem.image(volume.with_data(image.numpy(), units="1/mm")), image)
    assert problem_for(ct_scan()).volume(image).units == "1/mm"


def test_volumes_from_elsewhere_are_checked() -> None:
    problem = problem_for(ct_scan())
    volume = problem.volume(torch.zeros(SHAPE))
    with pytest.raises(ShapeError, match="Expected a volume of shape"):
        problem.image(Volume(np.zeros((1, 2, 3)), AffineGrid.centred((1, 2, 3), 1.0), units="1/mm"))
    with pytest.raises(InputError, match="Expected a volume in 1/mm, got HU"):
        problem.image(volume.with_data(volume.data, units="HU"))
    with pytest.raises(InputError, match="complex volume"):
        problem.image(volume.with_data(volume.data + 1j))
    frozen = np.ones(SHAPE, ">f8")
    frozen.flags.writeable = False
    assert problem.image(volume.with_data(frozen)).dtype == torch.float32


def test_a_model_s_range_is_told_in_the_problem_s_unit() -> None:
    known = problem_for(ct_scan(calibration={"water_per_mm": 0.02}))
    hounsfield = known.normalization_from(Normalization(scale=2000.0, offset=-1000.0), "HU")
    assert (hounsfield.scale, hounsfield.offset) == (pytest.approx(0.04), pytest.approx(0.0))
    relative = known.normalization_from(Normalization(scale=2.0, offset=0.5), "1")
    assert (relative.scale, relative.offset) == (pytest.approx(0.04), pytest.approx(0.01))
    with pytest.raises(ModelError, match=r"works in HU, this scan is reconstructed in 1/mm.*scan.water_per_mm"):
        problem_for(ct_scan()).normalization_from(Normalization(), "HU")


# Mismatches


def test_a_wrong_number_of_views_is_told_with_both_numbers() -> None:
    scan = ct_scan(views=24)
    with pytest.raises(
        InputError, match=r"\(view 24, row 4, column 15\), the file holds \(view 23, row 4, column 15\)"
    ):
        problem_for(replace(scan, data=scan.data[:23]))


def test_wrong_axes_are_told_even_where_the_sizes_fit() -> None:
    scan = ct_scan()
    with pytest.raises(InputError, match="check the axis order"):
        problem_for(replace(scan, axes=("row", "view", "column")))
    with pytest.raises(InputError, match="check the axis order"):
        problem_for(replace(scan, data=scan.data[:, 0], axes=("view", "column")))
    with pytest.raises(InputError, match=r"one array .* the file holds 2 arrays"):
        problem_for(replace(scan, data=(scan.data, scan.data)))


def test_grid_and_operator_must_agree() -> None:
    space = Space(("z", "y", "x"), (2, 3, 4))
    grid = AffineGrid.centred((2, 3, 5), 1.0)
    with pytest.raises(ShapeError, match="they must agree"):
        Problem(torch.zeros(2, 3, 4), Identity(space), NoiseModel(), grid)
    with pytest.raises(ShapeError, match="The data expects"):
        Problem(torch.zeros(2, 3), Identity(space), NoiseModel(), grid)


def test_times_are_checked_before_the_run() -> None:
    space = Space(("z", "y", "x"), (2, 3, 4))
    grid = AffineGrid.centred((2, 3, 4), 1.0)
    A = Frames([Identity(space), Identity(space)])
    y = A.range.zeros()
    assert Problem(y, A, NoiseModel(), grid, times_s=(0.0, 1.0)).volume(torch.zeros(2, 2, 3, 4)).times_s == (0.0, 1.0)
    with pytest.raises(InputError, match="3 times for 2 frames"):
        Problem(y, A, NoiseModel(), grid, times_s=(0.0, 1.0, 2.0))
    with pytest.raises(InputError, match="2 times for no frames"):
        Problem(torch.zeros(2, 3, 4), Identity(space), NoiseModel(), grid, times_s=(0.0, 1.0))


@pytest.mark.parametrize("dtype", ["<u2", ">f4", "<f8", "i1", "?"])
def test_data_of_any_type_come_in_the_working_precision(dtype: str) -> None:
    scan = ct_scan()
    y = problem_for(replace(scan, data=(scan.data > 1).astype(dtype))).y
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.from_numpy((scan.data > 1).astype(np.float32)))


def test_surveys_are_problems_too() -> None:
    space = Space(("crossline", "inline", "sample"), (2, 3, 4))
    survey = SurveyGrid((2, 3, 4), (1, 1), (1, 1), (0.0, 0.0), (12.5, 0.0), (0.0, 12.5), 0.0, 0.004)
    problem = Problem(torch.ones(2, 3, 4), Diagonal(torch.ones(3, 1), space), NoiseModel(0.1), survey)
    assert problem.normalised().A.norm() == pytest.approx(1.0)
    with pytest.raises(ShapeError, match="does not split"):
        problem.slab(0, 1)


# Where the image can be


def coils(*, sets: int = 0, frames: int = 0) -> Problem:
    """Two coils, the first column of the first slice (and of the first set) out of sight of both."""
    maps = torch.full((max(sets, 1), 2, 2, 3, 4), 0.5 + 0.5j, dtype=torch.complex64)
    maps[0, :, 0, :, 0] = 0
    mask = torch.ones(frames, 1, 1, 4) if frames else torch.ones(1, 1, 4)
    A = CartesianEncoding(maps if sets else maps[0], mask)
    grid = AffineGrid.centred((2, 3, 4), (1.0, 1.0, 1.0))
    times = tuple(map(float, range(frames))) or None
    return Problem(A.range.zeros(), A, NoiseModel(), grid, kind="mri", times_s=times)


def test_no_signal_comes_from_where_no_coil_sees() -> None:
    inside = coils().inside
    assert inside is not None
    assert inside.shape == (2, 3, 4)
    assert not inside[0, :, 0].any()
    assert inside[0, :, 1:].all()
    assert inside[1].all()
    of_sets = coils(sets=2).inside
    assert of_sets is not None
    assert of_sets.shape == (2, 2, 3, 4)
    assert torch.equal(of_sets[0], inside)
    assert of_sets[1].all()
    of_frames = coils(frames=3).inside
    assert of_frames is not None
    assert torch.equal(of_frames, inside)
    assert coils().slab(1, 2).inside is None


def test_nothing_is_outside_the_support() -> None:
    support = np.ones(SHAPE)
    support[:, 0] = 0
    support[:, 1] = 0.5
    scan = ct_scan()
    assert problem_for(scan).inside is None
    inside = problem_for(scan, support=support).inside
    assert inside is not None
    assert not inside[:, 0].any()
    assert inside[:, 1:].all()
