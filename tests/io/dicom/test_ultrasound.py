"""Ultrasound cine as DICOM: 8 bits, calibrated in cm, times of frames, and back."""

import numpy as np
import pydicom
import pytest

from recon3d import io
from recon3d.beams import image_grid
from recon3d.io import dicom
from recon3d.volume import Volume


def cine(times_s=(0.0, 0.02, 0.04), frames=3, tags=None):
    data = np.random.default_rng(0).uniform(-60, 0, (frames, 1, 5, 7)).astype(np.float32)
    grid = image_grid((-3.0, 3.0), (10.0, 12.0), (0.5, 1.0))
    return Volume(data, grid, "dB", times_s, {"modality": "US"} if tags is None else tags)


def test_a_cine_comes_back(tmp_path):
    volume = cine()
    io.save(volume, tmp_path / "a.dcm")
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert ds.SOPClassUID.name == "Ultrasound Multi-frame Image Storage"
    assert (ds.NumberOfFrames, ds.Rows, ds.Columns, ds.BitsAllocated) == (3, 5, 7, 8)
    assert (ds.FrameIncrementPointer, ds.FrameTime) == (0x00181063, 20)
    region = ds.SequenceOfUltrasoundRegions[0]
    assert region.PhysicalDeltaX == pytest.approx(0.1)
    assert region.PhysicalDeltaY == pytest.approx(0.05)
    assert region.ReferencePixelPhysicalValueX == pytest.approx(-0.3)
    assert region.ReferencePixelPhysicalValueY == pytest.approx(1.0)
    back = dicom.read(tmp_path / "a.dcm")
    assert back.data == pytest.approx(volume.data, abs=0.5 * 60 / 255)
    assert back.times_s == pytest.approx(volume.times_s)
    assert back.voxel_mm[1:] == pytest.approx((0.5, 1.0))


def test_uneven_times_and_a_single_frame(tmp_path):
    io.save(cine((0.0, 0.02, 0.05)), tmp_path / "a.dcm")
    assert list(pydicom.dcmread(tmp_path / "a.dcm").FrameTimeVector) == [0, 20, 30]
    one = Volume(cine(None, 1).data[0], cine().grid, "dB", tags={"modality": "US"})
    io.save(one, tmp_path / "b.dcm")
    assert pydicom.dcmread(tmp_path / "b.dcm").NumberOfFrames == 1
    assert len(pydicom.dcmread(tmp_path / "b.dcm").PixelData) == 36  # an even number of bytes


def test_other_volumes_stay_what_they_were(tmp_path):
    io.save(cine(tags={"modality": "MR"}), tmp_path / "a.dcm")
    assert "Enhanced MR" in pydicom.dcmread(tmp_path / "a.dcm").SOPClassUID.name
