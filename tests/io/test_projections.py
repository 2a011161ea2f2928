"""CT projections of instruments: files written here and read back, bad ones, and real ones where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.io import load
from recon3d.io.dicom_ct_pd import columns_forward
from recon3d.io.formats import format_for
from recon3d.io.inspect import describe
from recon3d.io.projections import pixel_mm
from recon3d.preprocessing.pipeline import ASSUMED, axis_column, preprocess, sentences
from recon3d.scan import Scan

SAMPLES = os.environ.get("RECON3D_SAMPLE_DATA")
with_samples = pytest.mark.skipif(not SAMPLES, reason="RECON3D_SAMPLE_DATA names no folder of sample data")

VIEWS, ROWS, COLUMNS = 12, 3, 16
ANGLES = np.arange(VIEWS) * 180.0 / VIEWS


def truth() -> NDArray[np.float32]:
    """Line integrals with air at both ends."""
    data = np.zeros((VIEWS, ROWS, COLUMNS), np.float32)
    data[:, :, 5:11] = np.linspace(0.5, 1.0, VIEWS)[:, None, None] + 0.1 * np.arange(ROWS)[:, None]
    return data


def counts() -> NDArray[np.float64]:
    return 100 + 2000 * np.exp(-truth().astype(np.float64))


def read(path: Path, **options: Any) -> Scan:
    scan = load(path, **options)
    assert isinstance(scan, Scan)
    assert scan.kind == "ct"
    return scan


def geometry_of(scan: Scan) -> TomographyGeometry:
    return TomographyGeometry.from_dict(scan.acquisition)


def exchange(path: Path, **changed: Any) -> Path:
    parts = {
        "data": counts(), "data_white": np.full((2, ROWS, COLUMNS), 2100.0),
        "data_dark": np.full((2, ROWS, COLUMNS), 100.0), "theta": ANGLES, **changed,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if value is not None:
                file[f"exchange/{name}"] = value
        if parts["theta"] is not None:
            file["exchange/theta"].attrs["units"] = "degrees"
    return path


def test_data_exchange(tmp_path: Path) -> None:
    path = exchange(tmp_path / "scan.h5")
    assert format_for(path)[0] == "data_exchange"
    scan = read(path)
    np.testing.assert_allclose(scan.data, truth(), atol=1e-5)
    np.testing.assert_allclose(geometry_of(scan).angles_rad, np.deg2rad(ANGLES), atol=1e-9)
    np.testing.assert_allclose(read(path, rows=(1, 2)).data, truth()[:, 1:2], atol=1e-5)
    assert any("rotation axis" in line for line in describe(path)["missing or assumed"])
    with h5py.File(path, "a") as file:
        file["measurement/instrument/detector/actual_pixel_size_x"] = 2.6
        file["measurement/instrument/detector/actual_pixel_size_x"].attrs["units"] = "um"
    assert read(path).grid.voxel_mm == pytest.approx((0.0026,) * 3)  # type: ignore[union-attr]


def test_data_exchange_without_fields_or_angles_says_what_it_assumes(tmp_path: Path) -> None:
    scan = read(exchange(tmp_path / "a.h5", data=counts() - 100, data_white=None, data_dark=None, theta=None))
    np.testing.assert_allclose(scan.data, truth(), atol=1e-5)
    told = " ".join(sentences(scan, ASSUMED))
    assert "flat field: none" in told
    assert "equal steps over 180" in told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": counts() - 5000}, "negative"),
        ({"data_white": np.full((2, ROWS, COLUMNS), 50.0)}, "darker than its dark field"),
        ({"theta": ANGLES[:-1]}, "12 views but 11 angles"),
        ({"data": np.ones((4, 4))}, "expected \\(view, row, column\\)"),
        ({"data_dark": np.ones((2, 7, 7))}, "dark field .* has shape"),
    ],
)
def test_bad_data_exchange_is_told(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(exchange(tmp_path / "a.h5", **changed))


def test_angles_in_the_wrong_unit_are_guessed_and_told(tmp_path: Path) -> None:
    scan = read(exchange(tmp_path / "a.h5", theta=np.deg2rad(ANGLES)))
    np.testing.assert_allclose(geometry_of(scan).angles_rad, np.deg2rad(ANGLES), atol=1e-9)
    assert any("taken as rad" in line for line in sentences(scan, ASSUMED))


@pytest.mark.parametrize(
    ("value", "unit", "mm", "told"),
    [(5.5, "um", 0.0055, False), (2e-6, "m", 0.002, False), (2e-6, None, 0.002, True), (0.2, None, 0.2, True),
     (2.0, "m", 0.002, True), (None, None, 1.0, True)],
)  # fmt: skip
def test_pixel_sizes(value: float | None, unit: str | None, mm: float, told: bool) -> None:
    size, lines = pixel_mm(value, unit, "pixel")
    assert size == pytest.approx(mm)
    assert bool(lines) == told


def nxtomo(path: Path, monitor: NDArray[np.float64] | None = None) -> Path:
    """Dark, flat, projections, and one frame that went wrong."""
    frames = np.concatenate((np.full((1, ROWS, COLUMNS), 100.0), np.full((2, ROWS, COLUMNS), 2100.0), counts(),
                             np.zeros((1, ROWS, COLUMNS))))  # fmt: skip
    key = np.array([2, 1, 1, *[0] * VIEWS, 3])
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        detector = entry.create_group("instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        if monitor is not None:
            frames = (frames - 100) * monitor[:, None, None] + 100
            entry["control/data"] = monitor
        detector["data"], detector["image_key"] = frames, key
        detector["x_pixel_size"] = detector["y_pixel_size"] = 5e-6
        detector["x_pixel_size"].attrs["units"] = detector["y_pixel_size"].attrs["units"] = "m"
        entry["sample/rotation_angle"] = np.array([0.0, 0, 0, *ANGLES, 0])
        entry["sample/rotation_angle"].attrs["units"] = "degree"
    return path


@pytest.mark.parametrize("beam", [False, True])
def test_nxtomo(tmp_path: Path, beam: bool) -> None:
    monitor = np.linspace(1.0, 1.5, VIEWS + 4) if beam else None
    path = nxtomo(tmp_path / "scan.nxs", monitor)
    assert format_for(path)[0] == "nexus"
    scan = read(path)
    np.testing.assert_allclose(scan.data, truth(), atol=1e-5)
    assert scan.grid.voxel_mm == pytest.approx((0.005,) * 3)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="entry1"):
        read(path, entry="entry2")


def tiff_folder(folder: Path, angles: str = "\n".join(map(str, ANGLES))) -> Path:
    folder.mkdir()
    for i, view in enumerate(counts()[:, ::-1]):  # images begin at the top
        tifffile.imwrite(folder / f"proj_{i}.tif", view.astype(np.float32))
    tifffile.imwrite(folder / "flat_1.tif", np.full((ROWS, COLUMNS), 2100, np.uint16))
    tifffile.imwrite(folder / "dark_1.tif", np.full((ROWS, COLUMNS), 100, np.uint16))
    if angles:
        (folder / "angles.txt").write_text("# degrees\n" + angles + "\n")
    return folder


def test_a_folder_of_tiff_images(tmp_path: Path) -> None:
    path = tiff_folder(tmp_path / "scan")
    assert format_for(path)[0] == "tiff_stack"
    scan = read(path)
    np.testing.assert_allclose(scan.data, truth(), atol=1e-4)  # image 10 after image 9
    assert geometry_of(scan).kind == "parallel"


def test_a_described_folder_of_cone_images(tmp_path: Path) -> None:
    path = tiff_folder(tmp_path / "scan", angles="")
    (path / "projections.yaml").write_text(
        "projections: 'proj_*.tif'\nflats: 'flat*.tif'\ndarks: 'dark*.tif'\nangles: {start: 10, arc: 360}\n"
        "pixel: 100\npixel_unit: um\naxis_column: 7\nsource_to_axis_mm: 50\nsource_to_detector_mm: 100\n"
    )
    scan = read(path)
    geometry = geometry_of(scan)
    assert geometry.kind == "cone"
    assert axis_column(geometry) == pytest.approx(7.0)
    across = geometry.column_step_mm[:2]
    assert np.rad2deg(np.arctan2(across[:, 1], across[:, 0])) == pytest.approx([10, 40])
    assert scan.grid.voxel_mm == pytest.approx((0.05,) * 3)  # type: ignore[union-attr]
    (path / "projections.yaml").write_text("projection: 'proj_*.tif'\n")
    with pytest.raises(InputError, match="did you mean 'projections'"):
        read(path)


def test_tiff_images_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = tiff_folder(tmp_path / "scan", angles="0\n90")
    with pytest.raises(InputError, match="12 projections but 2 angles"):
        read(path)
    tifffile.imwrite(path / "proj_3.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match=r"proj_3\.tif has \(2, 2\) pixels"):
        read(path)


def nikon(folder: Path, **changed: str) -> Path:
    for i, view in enumerate(60000 * np.exp(-truth()[:, ::-1])):
        tifffile.imwrite(folder / f"tooth_{i + 1:04d}.tif", np.round(view).astype(np.uint16))
    values = {
        "Name": "tooth", "SrcToObject": "50", "SrcToDetector": "200", "DetectorPixelsX": str(COLUMNS),
        "DetectorPixelsY": str(ROWS), "DetectorPixelSizeX": "0.2", "DetectorPixelSizeY": "0.2", "WhiteLevel": "60000",
        "Projections": str(VIEWS), "InitialAngle": "5", "AngularStep": "30", **changed,
    }  # fmt: skip
    path = folder / "tooth.xtekct"
    path.write_text("[XTekCT]\n" + "\n".join(f"{k}={v}" for k, v in values.items()) + "\n[Xrays]\nXraykV=100\n")
    return path


def test_nikon(tmp_path: Path) -> None:
    path = nikon(tmp_path)
    assert format_for(path)[0] == "nikon"
    scan = read(path)
    np.testing.assert_allclose(scan.data, truth(), atol=1e-4)
    geometry = geometry_of(scan)
    assert np.rad2deg(geometry.angles_rad[:3]) == pytest.approx([5, 35, 65])
    assert geometry.source_to_detector_mm[0] == pytest.approx(200)
    assert scan.grid.voxel_mm == pytest.approx((0.05,) * 3)  # type: ignore[union-attr]
    path.with_suffix(".ang").write_text("Proj\tAngle(deg)\n" + "".join(f"{i + 1}:\t{2 * i}\n" for i in range(VIEWS)))
    assert np.rad2deg(geometry_of(read(path)).angles_rad[:3]) == pytest.approx([0, 2, 4], abs=1e-9)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Projections": "20"}, "incomplete"),
        ({"DetectorPixelsX": "99"}, "they have"),
        ({"SrcToObject": "far"}, "number"),
        ({"Name": "other"}, "no images other_0001.tif"),
    ],
)
def test_bad_nikon_is_told(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(nikon(tmp_path, **changed))


@pytest.mark.parametrize("against", [False, True])
def test_opposite_rays_tell_the_direction_of_the_columns(against: bool) -> None:
    angle = np.deg2rad(np.arange(0, 400, 2.0))
    fan = np.deg2rad(np.linspace(-20, 20, 41))
    # A disc of radius 20 at (30, 10) seen from a source on a circle of radius 200: chords in closed form.
    across, along = np.stack((np.cos(angle), np.sin(angle))), np.stack((-np.sin(angle), np.cos(angle)))
    direction = np.cos(fan) * along[..., None] + np.sin(fan) * across[..., None]
    to_disc = (np.array([[30.0], [10.0]]) + 200 * along)[..., None]
    distance = to_disc[0] * direction[1] - to_disc[1] * direction[0]
    sinogram = 2 * np.sqrt(np.maximum(400 - distance**2, 0))
    assert columns_forward(sinogram[:, ::-1] if against else sinogram, angle, fan) is not against
    assert columns_forward(sinogram[:40], angle[:40], fan) is None


def ct_pd(folder: Path, unknown: bool = False, drop: int | None = None) -> Path:
    """A helix of a cylindrical detector of 3 x 16 pixels, stored column by column as the format does."""
    import struct

    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    for i, view in enumerate(truth()):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
        header.Modality, header.InstanceNumber = "CT", i + 1
        header.Rows, header.Columns = COLUMNS, ROWS
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
        header.RescaleSlope, header.RescaleIntercept = "0.0001", "-0.5"
        header.PixelData = np.round((view.T + 0.5) * 10000).astype("<u2").tobytes()
        values = {
            0x70291002: (1.2,), 0x70291006: (1.1,), 0x70311001: (0.1 * i,), 0x70311002: (2.0 * i,),
            0x70311003: (595.0,), 0x70311031: (1085.6,), 0x70311033: (8.0, 2.0), 0x7033100B: (0.0,),
        }  # fmt: skip
        for group in (0x7029, 0x7031, 0x7033, 0x7041):
            header.add_new((group, 0x0010), "LO", "CT-PD")
        for tag, numbers in values.items():
            if tag != drop:
                stored = struct.pack(f"<{len(numbers)}f", *numbers) if unknown else list(numbers)
                header.add_new(tag, "UN" if unknown else "FL", stored)
        header.add_new(0x70291010, "US", ROWS)
        header.add_new(0x70291011, "US", COLUMNS)
        header.add_new(0x70411001, "DS", "0.0192")
        header.save_as(folder / f"{VIEWS - i:03d}.dcm", enforce_file_format=True)  # in the wrong order
    return folder


@pytest.mark.parametrize("unknown", [False, True])
def test_dicom_ct_pd(tmp_path: Path, unknown: bool) -> None:
    path = ct_pd(tmp_path / "scan", unknown)
    assert format_for(path)[0] == "dicom_ct_pd"
    scan = read(path)
    np.testing.assert_allclose(scan.data, truth(), atol=1e-4)
    geometry = geometry_of(scan)
    assert (geometry.kind, geometry.detector) == ("cone", "curved")
    np.testing.assert_allclose(np.linalg.norm(geometry.ray_source[:, :2], axis=1), 595.0, rtol=1e-6)
    np.testing.assert_allclose(np.diff(geometry.ray_source[:, 2]), 2.0, rtol=1e-5)
    np.testing.assert_allclose(geometry.ray_source[0, :2], [0, 595.0], atol=1e-3)  # phi = 0 is at +y
    # Column 8 (counted from one) looks through the axis: the ray of index 7 has no distance from it.
    source, first, _ = geometry.columns_of_rays()
    ray = first[0, 7, :2] / np.linalg.norm(first[0, 7, :2])
    assert abs(source[0, 0] * ray[1] - source[0, 1] * ray[0]) < 1e-3
    assert scan.calibration["water_per_mm"] == pytest.approx(0.0192)


def test_a_projection_without_its_geometry_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks DetectorFocalCenterAngularPosition"):
        read(ct_pd(tmp_path / "scan", drop=0x70311001))


@with_samples
def test_the_axis_of_the_tooth() -> None:
    assert SAMPLES is not None
    scan = preprocess(read(Path(SAMPLES) / "ct" / "tooth_dataexchange.h5"), centre="auto")
    assert abs(axis_column(geometry_of(scan)) - 296) < 1


@with_samples
def test_the_raster_scan_of_a_grain() -> None:
    assert SAMPLES is not None
    scan = read(Path(SAMPLES) / "ct" / "savu_mm.nxs")
    assert scan.blocks[0].shape == (52, 7, 101)
    assert scan.grid.voxel_mm == pytest.approx((0.005, 0.00198, 0.00198), rel=1e-3)  # type: ignore[union-attr]
    ready = preprocess(scan, centre="auto")
    assert sentences(ready)[1] == "views: 52 sorted by angle"
    assert np.all(np.diff(np.unwrap(geometry_of(ready).angles_rad)) > 0)


@with_samples
def test_the_neutron_sinogram_over_a_full_turn() -> None:
    assert SAMPLES is not None
    scan = read(Path(SAMPLES) / "ct" / "neutron_sinogram_360.tif", mapping="neutron-sinogram")
    ready = preprocess(scan, centre="auto", repeated="average", half_turn=True)
    assert ready.blocks[0].shape[0] == 229
    assert 240 < axis_column(geometry_of(preprocess(scan, centre="auto"))) < 250
