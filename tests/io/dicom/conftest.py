"""Small synthetic DICOM series, written with plain pydicom so that the reader is tested against another hand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


def image(z: int = 0, *, rows: int = 5, columns: int = 7, sop_class: str = CT, **changes: Any) -> Dataset:
    """One axial slice whose stored values are 100 z + 10 y + x; `changes` set attributes, None removes one."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.Modality = "CT" if sop_class == CT else "MR"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    ds.PatientName, ds.PatientID = "Doe^Jane", "SECRET-77"
    ds.SeriesNumber, ds.InstanceNumber = 3, z + 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * z]
    ds.PixelSpacing, ds.SliceThickness = [0.5, 0.75], 2
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    if sop_class == CT:
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    y, x = np.mgrid[:rows, :columns]
    ds.PixelData = (100 * z + 10 * y + x).astype("<i2").tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, content in changes.items():
        if content is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, content)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(name="image")
def image_maker() -> Callable[..., Dataset]:
    """The function `image` above."""
    return image


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of slices: `series("name", [dataset, ...])`, or a plain CT of some slices."""

    def make(name: str = "series", images: list[Dataset] | int = 4) -> Path:
        slices = [image(z) for z in range(images)] if isinstance(images, int) else images
        for index, ds in enumerate(slices):
            save(ds, tmp_path / name / f"{index:03d}.dcm")
        return tmp_path / name

    return make


@pytest.fixture
def dciodvfy() -> Callable[[Path], list[str]]:
    """The errors that dicom3tools finds in a file."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")

    def errors(path: Path) -> list[str]:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert lines, "dciodvfy said nothing, not even the kind of object"
        return [line for line in lines if line.startswith("Error")]

    return errors
