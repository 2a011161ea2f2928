"""A mapping turns foreign arrays into a scan or a volume, or says in one sentence why it cannot."""

from __future__ import annotations

import math
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io import load
from recon3d.io.mapping import load_mapping
from recon3d.scan import Scan
from recon3d.volume import Volume

SINOGRAM = np.arange(4 * 2 * 6, dtype=np.float64).reshape(4, 2, 6) / 10  # (view, row, column)
ANGLES = [0.0, 40.0, 80.0, 120.0]
PARALLEL: dict[str, Any] = {
    "kind": "ct",
    "axes": ["view", "row", "column"],
    "geometry": {"type": "parallel", "angles": ANGLES, "column_pitch": 0.5},
}
FAN: dict[str, Any] = {
    "kind": "ct",
    "axes": ["view", "row", "column"],
    "geometry": {
        "type": "fan", "angles": ANGLES, "column_pitch": 0.5, "row_pitch": 2.0, "source_to_axis": 40,
        "source_to_detector": 60,
    },
}  # fmt: skip


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", SINOGRAM)
    return tmp_path / "a.npy"


def scan_of(path: Path, mapping: dict[str, Any]) -> Scan:
    scan = load(path, mapping=mapping)
    assert isinstance(scan, Scan)
    return scan


def geometry_of(scan: Scan) -> TomographyGeometry:
    return TomographyGeometry.from_dict(scan.acquisition)


def test_parallel_scan(npy: Path) -> None:
    scan = scan_of(npy, PARALLEL)
    np.testing.assert_array_equal(scan.data, SINOGRAM)
    assert (scan.kind, scan.axes, scan.units, scan.name) == ("ct", ("view", "row", "column"), "1/mm", "a")
    expected = TomographyGeometry.parallel(np.deg2rad(ANGLES), 6, 0.5, 2, 0.5)
    assert geometry_of(scan) == expected
    assert scan.grid == AffineGrid.centred((2, 6, 6), 0.5)  # assumed: what the detector sees


def test_fan_scan_and_its_assumed_grid(npy: Path) -> None:
    scan = scan_of(npy, FAN)
    assert geometry_of(scan) == TomographyGeometry.fan(np.deg2rad(ANGLES), 40, 60, 6, 0.5, 2, 2.0)
    assert scan.grid == AffineGrid.centred((2, 6, 6), (2.0, 0.5 * 40 / 60, 0.5 * 40 / 60))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order_of_axes(tmp_path: Path, order: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", SINOGRAM.transpose(order))
    axes = [("view", "row", "column")[i] for i in order]
    np.testing.assert_array_equal(scan_of(tmp_path / "a.npy", PARALLEL | {"axes": axes}).data, SINOGRAM)


def test_missing_and_single_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SINOGRAM[:, 0].T[:, None, :, None])  # (column, 1, view, 1)
    scan = scan_of(tmp_path / "a.npy", PARALLEL | {"axes": ["column", "view"]})
    np.testing.assert_array_equal(scan.data, SINOGRAM[:, :1])
    with pytest.raises(InputError, match=r"shape \(6, 1, 4, 1\)"):
        load(tmp_path / "a.npy", mapping=PARALLEL | {"axes": ["view"]})


def test_units_of_lengths_and_angles(npy: Path) -> None:
    reference = geometry_of(scan_of(npy, FAN))
    geometry = {
        "type": "fan", "angles": list(np.deg2rad(ANGLES)), "column_pitch": 0.05, "row_pitch": 0.2,
        "source_to_axis": 4.0, "source_to_detector": 6.0,
    }  # fmt: skip
    scan = scan_of(npy, FAN | {"units": {"length": "cm", "angle": "rad"}, "geometry": geometry})
    np.testing.assert_allclose(geometry_of(scan).vectors, reference.vectors, atol=1e-12)


def test_values_from_the_file_with_their_own_unit(tmp_path: Path) -> None:
    scipy.io.savemat(
        tmp_path / "a.mat",
        {"scan": {"y": SINOGRAM, "par": {"theta": -np.array(ANGLES) + 7, "sod_m": 0.04, "sdd": 60.0, "noise": 0.25}}},
    )
    geometry = FAN["geometry"] | {
        "angles": {"key": "scan.par.theta", "factor": -1, "offset": 7},
        "source_to_axis": {"key": "scan.par.sod_m", "unit": "m"},
        "source_to_detector": {"key": "scan/par/sdd"},
    }
    mapping = FAN | {
        "data": "scan.y",
        "geometry": geometry,
        "noise": {"std": {"key": "scan.par.noise"}},
        "calibration": {"water_per_mm": 0.02},
        "name": "phantom",
    }
    scan = scan_of(tmp_path / "a.mat", mapping)
    expected = TomographyGeometry.fan(np.deg2rad(ANGLES), 40, 60, 6, 0.5, 2, 2.0)
    np.testing.assert_allclose(geometry_of(scan).vectors, expected.vectors, atol=1e-12)
    assert (scan.noise, scan.calibration, scan.name) == ({"std": 0.25}, {"water_per_mm": 0.02}, "phantom")


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ({"start": 10, "step": 5}, [10, 15, 20, 25]),
        ({"arc": 180}, [0, 45, 90, 135]),
        ({"start": 0, "step": 0.1, "unit": "rad"}, list(np.rad2deg([0, 0.1, 0.2, 0.3]))),
    ],
)
def test_regular_angles(npy: Path, angles: dict[str, Any], expected: list[float]) -> None:
    scan = scan_of(npy, PARALLEL | {"geometry": PARALLEL["geometry"] | {"angles": angles}})
    np.testing.assert_allclose(np.rad2deg(geometry_of(scan).angles_rad), expected, atol=1e-9)


def test_repeated_views_are_dropped_and_views_chosen(npy: Path) -> None:
    geometry = PARALLEL["geometry"] | {"angles": [0, 120, 240, 360]}
    scan = scan_of(npy, PARALLEL | {"geometry": geometry, "views": {"repeated": "drop"}})
    np.testing.assert_array_equal(scan.data, SINOGRAM[:3])
    np.testing.assert_allclose(np.rad2deg(geometry_of(scan).angles_rad), [0, 120, 240])
    scan = scan_of(npy, PARALLEL | {"geometry": geometry, "views": {"start": 1, "step": 2}})
    np.testing.assert_array_equal(scan.data, SINOGRAM[1::2])
    with pytest.raises(InputError, match="keeps no view"):
        load(npy, mapping=PARALLEL | {"views": {"start": 9}})


@pytest.mark.parametrize(("column", "beam"), [(3.5, PARALLEL), (1.0, FAN)])
def test_a_point_on_the_axis_meets_the_axis_column(npy: Path, column: float, beam: dict[str, Any]) -> None:
    scan = scan_of(npy, beam | {"geometry": beam["geometry"] | {"axis_column": column}})
    geometry = geometry_of(scan)
    centre = geometry.detector_centre_mm[:, :2]
    u = geometry.column_step_mm[:, :2]
    if geometry.kind == "parallel":
        offset = -np.einsum("vi,vi->v", centre, u) / (u**2).sum(1)
    else:
        source = geometry.ray_source[:, :2]
        # the ray from the source through the axis meets the detector line: source + s (-source) = centre + c u
        solve = np.linalg.solve
        views = zip(source, u, centre, strict=True)
        offset = np.array([solve(np.stack((-s, -step), 1), c - s)[1] for s, step, c in views])
    np.testing.assert_allclose(offset + (6 - 1) / 2, column)


def test_flip_and_scale(npy: Path) -> None:
    scan = scan_of(npy, PARALLEL | {"flip": "column", "scale": 10})
    np.testing.assert_allclose(scan.data, SINOGRAM[..., ::-1] * 10)


def test_counts_become_line_integrals(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    flat, dark = rng.uniform(900, 1100, (2, 6)), rng.uniform(0, 9, (2, 6))
    counts = dark + (flat - dark) * np.exp(-SINOGRAM)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = counts
        file["flat"] = np.stack([flat - 3, flat + 3])  # two frames
        file["dark"] = dark
    transform = {"flat": {"key": "flat"}, "dark": {"key": "dark"}}
    scan = scan_of(tmp_path / "a.h5", PARALLEL | {"data": "data", "transform": transform})
    np.testing.assert_allclose(scan.data, SINOGRAM, atol=1e-12)
    with pytest.raises(InputError, match="no brighter than the dark one at 12 pixels"):
        load(tmp_path / "a.h5", mapping=PARALLEL | {"data": "data", "transform": transform | {"flat": {"key": "dark"}}})


def test_photons_transmission_and_opaque_rays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[1e4, 0.0]]], np.float32))
    geometry = {"angles": [0], "column_pitch": 1}
    scan = scan_of(tmp_path / "a.npy", PARALLEL | {"geometry": geometry, "transform": {"flat": "1e5"}})
    np.testing.assert_allclose(scan.data, [[[math.log(10), math.log(2e5)]]])
    np.save(tmp_path / "t.npy", np.exp(-SINOGRAM))
    np.testing.assert_allclose(
        scan_of(tmp_path / "t.npy", PARALLEL | {"transform": "transmission"}).data, SINOGRAM, atol=1e-12
    )


def test_other_kinds_keep_their_own_settings(tmp_path: Path) -> None:
    kspace = (np.arange(24) * (1 + 2j)).reshape(4, 3, 2)
    np.savez(tmp_path / "a.npz", k=kspace, mask=np.array([1, 0, 1]))
    mapping = {
        "kind": "mri", "data": "k", "axes": ["kx", "ky", "coil"], "grid": {"shape": [1, 3, 4], "voxel_mm": [5, 1, 1]},
        "acquisition": {"mask": {"key": "mask"}, "field_t": 3.0},
    }  # fmt: skip
    scan = scan_of(tmp_path / "a.npz", mapping)
    assert scan.axes == ("coil", "kz", "ky", "kx")
    np.testing.assert_array_equal(scan.data, kspace.transpose(2, 1, 0)[:, None])
    np.testing.assert_array_equal(scan.acquisition["mask"], [1, 0, 1])
    assert scan.grid.voxel_mm == (5.0, 1.0, 1.0)  # type: ignore[union-attr]
    without = scan_of(tmp_path / "a.npz", {**mapping, "grid": {}})  # k-space has the shape of its image
    assert without.grid.shape == (1, 3, 4)


def test_volume(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SINOGRAM)
    mapping = {"kind": "volume", "axes": ["x", "z", "y"], "image_units": "HU", "grid": {"voxel_mm": [3, 1, 2]}}
    volume = load(tmp_path / "a.npy", mapping=mapping)
    assert isinstance(volume, Volume)
    np.testing.assert_array_equal(volume.data, SINOGRAM.transpose(1, 2, 0))
    assert (volume.units, volume.voxel_mm) == ("HU", (3.0, 1.0, 2.0))


def test_grid_from_the_mapping(npy: Path) -> None:
    scan = scan_of(npy, PARALLEL | {"grid": {"shape": [2, 8, 9], "voxel_mm": 0.25}})
    assert scan.grid == AffineGrid.centred((2, 8, 9), (0.5, 0.25, 0.25))  # slices as thick as the rows


def test_missing_keys_are_named_together_with_those_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", sino=SINOGRAM, theta=ANGLES)
    geometry = {"angles": {"key": "angles"}, "column_pitch": {"key": "pixel"}}
    with pytest.raises(InputError, match=r"has no 'sinogram', 'angles', 'pixel': it holds sino, theta\."):
        load(tmp_path / "a.npz", mapping=PARALLEL | {"data": "sinogram", "geometry": geometry})
    with pytest.raises(InputError, match=r"name the data by `data:`.*sino, theta"):
        load(tmp_path / "a.npz", mapping=PARALLEL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geometry": {"angles": [0, 1, 2], "column_pitch": 1}}, "4 views but 3 angles"),
        ({"geometry": {"angles": [0, 1, 2, math.nan], "column_pitch": 1}}, "angles .* hold NaN"),
        ({"geometry": {"angles": ANGLES}}, "lacks column_pitch"),
        ({"geometry": {"angles": ANGLES, "column_pitch": -1}}, r"a\.npy.*positive length"),
        ({"geometry": {"angles": ANGLES, "colum_pitch": 1}}, r"did you mean 'column_pitch'\?"),
        ({"geometry": {"angles": {"start": 0}, "column_pitch": 1}}, "start and step"),
        ({"geometry": {"angles": ANGLES, "column_pitch": "wide"}}, "one finite number, got 'wide'"),
        ({"geometry": {"type": "cone"}}, "parallel or fan, got 'cone'"),
        ({"geometry": {**PARALLEL["geometry"], "axis_shift": 1, "axis_column": 2}}, "keep one"),
        ({"axes": ["view", "row", "channel"]}, "have the axes view, row, column"),
        ({"axes": ["view", "row", "column", "echo"]}, r"shape \(4, 2, 6\)"),
        ({"flip": ["z"]}, "'flip' names axes"),
        ({"units": {"length": "furlong"}}, "'furlong' is no unit"),
        ({"data": "x"}, "has no 'x'"),
        ({"transform": {"dark": 1}}, "'transform' is"),
        ({"transform": {"flat": [1, 2, 3]}}, r"transform\.flat has shape \(3,\)"),
        ({"views": {"repeated": "average"}}, "keep or drop"),
        ({"grid": {"shape": [3, 3]}}, "three numbers of voxels"),
        ({"noise": {"std": {"kye": "a"}}}, r"did you mean 'key'\?"),
        ({"kindd": "ct"}, r"did you mean 'kind'\?"),
    ],
)
def test_one_sentence_for_each_fault(npy: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        load(npy, mapping=PARALLEL | change)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((4, 2, 6), np.nan), "48 NaN"),
        (np.zeros((4, 0, 6)), "is empty"),
        (np.full((4, 2, 6), "text"), "holds no numbers"),
    ],
)
def test_bad_data(tmp_path: Path, data: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", data)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.npy", mapping=PARALLEL)


def test_without_a_mapping_the_keys_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", sino=SINOGRAM)
    with pytest.raises(InputError, match=r"give a mapping, .*helsinki.* It holds sino\."):
        load(tmp_path / "a.npz")


def sample(name: str) -> Path:
    folder = os.environ.get("RECON3D_SAMPLE_DATA")
    if not folder:
        pytest.skip("RECON3D_SAMPLE_DATA is not set: no real measurements to read")
    return Path(folder) / "ct" / name


def test_helsinki_agrees_with_the_stored_image() -> None:
    """FBP of every second view lies on the challenge's own image, in 1/mm, with no flip and no fitted scale."""
    import torch

    from operators.tomography import filtered_backprojection
    from recon3d.problem import problem_for

    mapping = load_mapping("helsinki")
    mapping["views"]["step"] = 2
    scan = scan_of(sample("htc2022_ta_full.mat"), mapping)
    assert scan.blocks[0].shape == (360, 1, 560)
    reference = load(sample("htc2022_ta_full_recon_fbp.mat"), mapping="helsinki-image")
    assert isinstance(reference, Volume)
    assert scan.grid == reference.grid
    problem = problem_for(scan, dtype=torch.float32)
    image = filtered_backprojection(problem.A, problem.y).numpy()  # type: ignore[arg-type]
    assert np.corrcoef(image.ravel(), reference.data.ravel())[0, 1] >= 0.985
    assert (image * reference.data).sum() / (image**2).sum() == pytest.approx(1.0, abs=0.01)


def test_data_exchange() -> None:
    scan = scan_of(sample("tooth_dataexchange.h5"), load_mapping("data-exchange"))
    assert scan.blocks[0].shape == (181, 2, 640)
    assert np.median(scan.blocks[0][:, :, :20]) == pytest.approx(0.0, abs=0.05)  # air beside the tooth
    assert 1.5 < scan.blocks[0].max() < 4
