"""NIfTI: voxels keep their place, their unit and their time."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.io import load, save
from recon3d.io.nifti import looks_like_hounsfield
from recon3d.scan import Scan
from recon3d.volume import Volume

OBLIQUE = np.array([[0.9, -0.3, 0.1, 12.5], [0.31, 0.88, -0.2, -7.25], [-0.02, 0.2, 2.5, 3.0], [0, 0, 0, 1.0]])


def grid_of(shape: tuple[int, ...], matrix: np.ndarray = OBLIQUE) -> AffineGrid:
    return AffineGrid(shape[-3:], tuple(map(tuple, matrix)))  # type: ignore[arg-type]


def world_of_brightest(path: Path) -> np.ndarray:
    """Where nibabel, another reader, puts the brightest voxel."""
    image: Any = nibabel.load(path)
    index = np.unravel_index(np.argmax(image.get_fdata()), image.shape)
    return (image.affine @ [*index, 1.0])[:3]


affines = st.builds(
    lambda scale, shear, shift: np.block(
        [[np.diag(scale) + np.triu(np.full((3, 3), shear), 1), np.array(shift)[:, None]], [np.zeros(3), 1.0]]
    ),
    st.tuples(st.floats(-4, -0.25), st.floats(0.25, 4), st.floats(0.25, 4)),
    st.floats(-0.3, 0.3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)


@settings(max_examples=40)
@given(
    data=hnp.arrays(np.float32, st.tuples(*[st.integers(1, 5)] * 3), elements=st.floats(-9, 9, width=32)),
    matrix=affines,
    units=st.sampled_from(["HU", "1/mm", "1"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: Any, matrix: Any, units: str, suffix: str) -> None:
    path = tmp_path_factory.mktemp("nifti") / f"v{suffix}"
    save(Volume(data, grid_of(data.shape, matrix), units=units), path)
    back = load(path)
    assert isinstance(back, Volume)
    np.testing.assert_array_equal(back.data, data)
    assert back.data.dtype == np.float32
    np.testing.assert_allclose(back.grid.matrix, matrix, rtol=1e-6, atol=1e-6)  # type: ignore[union-attr]
    assert back.units == units


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.complex64])
def test_types_survive(tmp_path: Path, dtype: type) -> None:
    data = (np.arange(24).reshape(2, 3, 4) * 5).astype(dtype)
    if dtype is np.complex64:
        data = data * (1 - 2j)
    if dtype is np.int32:
        data = data * 1000
    save(Volume(data, grid_of(data.shape)), tmp_path / "v.nii")
    back = load(tmp_path / "v.nii")
    assert isinstance(back, Volume)
    assert back.data.dtype == dtype
    np.testing.assert_array_equal(back.data, data)


def test_doubles_leave_as_floats_and_int16_on_request(tmp_path: Path) -> None:
    volume = Volume(np.array([[[-1024.4, 3000.6]]]), grid_of((1, 1, 2)), units="HU")
    save(volume, tmp_path / "f.nii")
    save(volume, tmp_path / "i.nii", dtype="int16")
    assert load(tmp_path / "f.nii").data.dtype == np.float32
    np.testing.assert_array_equal(load(tmp_path / "i.nii").data, np.array([[[-1024, 3001]]], np.int16))
    with pytest.raises(InputError, match="do not fit into int16"):
        save(volume.with_data(volume.data * 100), tmp_path / "j.nii", dtype="int16")
    assert sorted(os.listdir(tmp_path)) == ["f.nii", "i.nii"]


def test_the_brightest_voxel_lies_where_another_reader_puts_it(tmp_path: Path) -> None:
    data = np.zeros((3, 4, 5), np.float32)
    data[2, 1, 3] = 1
    grid = grid_of(data.shape)
    save(Volume(data, grid), tmp_path / "v.nii.gz")
    np.testing.assert_allclose(world_of_brightest(tmp_path / "v.nii.gz"), (grid.matrix @ [3, 1, 2, 1])[:3], atol=1e-4)


def test_right_angled_axes_are_written_as_qform_too_and_sheared_ones_are_not(tmp_path: Path) -> None:
    straight, sheared = np.diag([2.0, 3.0, 4.0, 1.0]), np.diag([2.0, 3.0, 4.0, 1.0])
    sheared[1, 2] = 1.5
    for name, matrix, code in (("a.nii", straight, 1), ("b.nii", sheared, 0)):
        save(Volume(np.ones((2, 2, 2)), grid_of((2, 2, 2), matrix)), tmp_path / name)
        header: Any = nibabel.load(tmp_path / name).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, code)
        np.testing.assert_allclose(load(tmp_path / name).grid.matrix, matrix)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("sform_code", "qform_code", "offset"), [(1, 1, 10.0), (2, 0, 10.0), (0, 1, 20.0), (0, 0, 0.0)]
)
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001)])
def test_the_codes_decide_which_affine_holds(
    tmp_path: Path, sform_code: int, qform_code: int, offset: float, unit: str, mm: float
) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    sform, qform = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
    sform[:3, 3], qform[:3, 3] = 10.0, 20.0
    image.set_qform(qform, code=qform_code)
    image.set_sform(sform, code=sform_code)
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, tmp_path / "v.nii")
    back = load(tmp_path / "v.nii")
    assert isinstance(back.grid, AffineGrid)
    expected = np.diag([2.0, 2, 2, 1])
    expected[:3, 3] = offset
    expected[:3] *= mm
    np.testing.assert_allclose(back.grid.matrix, expected, rtol=1e-6)


@pytest.mark.parametrize(("unit", "seconds"), [("sec", 1.0), ("msec", 1e-3)])
def test_series_and_their_times(tmp_path: Path, unit: str, seconds: float) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header["pixdim"][4] = 250.0
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "v.nii")
    back = load(tmp_path / "v.nii")
    assert isinstance(back, Volume)
    assert back.data[4, 3, 2, 1] == data[1, 2, 3, 4]
    np.testing.assert_allclose(back.times_s, np.arange(5) * 250.0 * seconds)  # type: ignore[arg-type]
    save(back, tmp_path / "again.nii")
    np.testing.assert_allclose(load(tmp_path / "again.nii").times_s, back.times_s)  # type: ignore[union-attr, arg-type]


def test_uneven_times_are_refused(tmp_path: Path) -> None:
    volume = Volume(np.zeros((3, 1, 1, 2)), grid_of((1, 1, 2)), times_s=(0.0, 1.0, 3.0))
    with pytest.raises(InputError, match="evenly spaced"):
        save(volume, tmp_path / "v.nii")


def test_scaled_integers_and_other_byte_order(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(stored, np.eye(4), header=nibabel.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.5, -1024)
    nibabel.save(image, tmp_path / "v.nii")
    raw: Any = nibabel.load(tmp_path / "v.nii")
    expected = raw.get_fdata()
    back = load(tmp_path / "v.nii")
    assert isinstance(back, Volume)
    np.testing.assert_allclose(back.data, expected.T)
    assert back.data.dtype.isnative


@pytest.mark.parametrize(
    ("low", "high", "integer", "ct"),
    [
        (-1024, 3071, True, True),
        (-3024, 1500, True, True),
        (-1000, -700, True, True),
        (-1024, 3071, False, False),
        (-4096, 4095, True, False),  # MR phase
        (0, 4095, True, False),
        (-1000, -950, True, False),
    ],
)
def test_hounsfield_guess(tmp_path: Path, low: int, high: int, integer: bool, ct: bool) -> None:
    data = np.array([[[low, high]]], np.int16 if integer else np.float32)
    assert looks_like_hounsfield(data, stored_as_integer=integer) is ct
    nibabel.save(nibabel.Nifti1Image(data.T, np.eye(4)), tmp_path / "v.nii")
    assert load(tmp_path / "v.nii").units == ("HU" if ct else "1")
    assert load(tmp_path / "v.nii", units="1/mm").units == "1/mm"


def test_nan_voxels_are_refused_or_replaced(tmp_path: Path) -> None:
    data = np.zeros((2, 2, 2), np.float32)
    data[0, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(InputError, match=r"1 NaN.*nan="):
        load(tmp_path / "v.nii")
    back = load(tmp_path / "v.nii", nan=-5.0)
    assert isinstance(back, Volume)
    assert back.data[1, 1, 0] == -5


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_truncated(tmp_path: Path, name: str, part: float) -> None:
    rng = np.random.default_rng(0)
    save(Volume(rng.normal(size=(6, 7, 8)), grid_of((6, 7, 8))), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match="truncated"):
        load(tmp_path / name)


@pytest.mark.parametrize("content", [b"not an image at all" * 40, gzip.compress(b"nor this" * 100, mtime=0)])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_foreign(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="not a whole NIfTI"):
        load(tmp_path / name)


def test_empty_colour_and_five_dimensions_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 0, 3), np.float32), np.eye(4)), tmp_path / "empty.nii")
    with pytest.raises(InputError, match="empty volume"):
        load(tmp_path / "empty.nii")
    colours = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(InputError, match="colours"):
        load(tmp_path / "rgb.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 2, 3), np.float32), np.eye(4)), tmp_path / "five.nii")
    with pytest.raises(InputError, match="5 dimensions"):
        load(tmp_path / "five.nii")


def test_a_singular_affine_names_the_file(tmp_path: Path) -> None:
    save(Volume(np.ones((2, 2, 2)), grid_of((2, 2, 2))), tmp_path / "v.nii")
    content = bytearray((tmp_path / "v.nii").read_bytes())
    content[280:296] = bytes(16)  # srow_x
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(InputError, match=r"v\.nii.*invertible"):
        load(tmp_path / "v.nii")


def test_what_nifti_cannot_hold(tmp_path: Path) -> None:
    beam = Volume(np.zeros((1, 2, 3)), BeamGrid((1, 2, 3), (0.0, 0.1), (0.0, 0.5)))
    scan = Scan("ct", np.ones((1, 1, 1)), ("view", "row", "column"), {}, AffineGrid.centred((1, 1, 1), 1.0))
    for obj in (beam, scan):
        with pytest.raises(InputError, match=r"save it as \.h5"):
            save(obj, tmp_path / "v.nii")
    with pytest.raises(InputError, match="complex"):
        save(Volume(np.ones((1, 1, 1), complex), grid_of((1, 1, 1))), tmp_path / "v.nii", dtype="int16")


def test_real_ct_volumes() -> None:
    folder = os.environ.get("RECON3D_SAMPLE_DATA")
    if not folder:
        pytest.skip("RECON3D_SAMPLE_DATA is not set: no real volumes to read")
    ct = load(Path(folder) / "ct_volume" / "totalseg_example_ct_3mm.nii.gz")
    tilted = load(Path(folder) / "ct_volume" / "ct_gantry_tilt_shear.nii.gz")
    assert isinstance(ct, Volume)
    assert isinstance(tilted, Volume)
    assert (ct.shape, ct.units) == ((112, 101, 122), "HU")
    np.testing.assert_allclose(ct.voxel_mm, 3.0)
    assert isinstance(tilted.grid, AffineGrid)
    assert tilted.grid.is_sheared
    assert (tilted.units, tilted.data.min(), round(float(tilted.data.max()), 2)) == ("HU", -1024, 789)
    original: Any = nibabel.load(Path(folder) / "ct_volume" / "ct_gantry_tilt_shear.nii.gz")
    np.testing.assert_array_equal(tilted.grid.matrix, original.affine)
