"""Volumes keep their place, values and unit through DICOM, NIfTI and HDF5."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pydicom
import pytest

from recon3d import io
from recon3d.errors import InputError, OutputExistsError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.io.convert import convert
from recon3d.volume import Volume

MATRIX = ((0, 0.48, 1.8, 5), (-0.5, 0, 0, -7), (0, 0.36, -2.4, 3), (0, 0, 0, 1))


@pytest.fixture
def volume():
    data = np.random.default_rng(0).integers(-1000, 2000, (3, 4, 5)).astype("f4")
    return Volume(data, AffineGrid((3, 4, 5), MATRIX), "HU")


def by_place(volume):
    """World position to value, whatever the order of the axes."""
    z, y, x = (i.ravel() for i in np.indices(volume.shape))
    world = (volume.grid.matrix @ np.stack([x, y, z, np.ones_like(x)]))[:3].T
    return {tuple(np.round(w, 4) + 0.0): v for w, v in zip(world, volume.data.ravel(), strict=True)}


@pytest.mark.parametrize("chain", [("a.nii", "b", "c.h5"), ("a.h5", "b.dcm", "c.nii.gz"), ("a", "b.dcm", "c", "d.h5")])
def test_a_chain_of_formats_keeps_place_value_and_unit(volume, tmp_path, chain):
    io.save(volume, tmp_path / "start.h5")
    steps = [tmp_path / name for name in ("start.h5", *chain)]
    for source, target in pairwise(steps):
        convert(source, target)
    end = io.load(steps[-1])
    assert by_place(end) == by_place(volume)
    assert end.units == "HU"


def test_a_reference_lends_its_patient_and_study(volume, tmp_path):
    io.save(volume, tmp_path / "start.h5")
    convert(tmp_path / "start.h5", tmp_path / "first")
    convert(tmp_path / "first", tmp_path / "a.nii")
    convert(tmp_path / "a.nii", tmp_path / "second", reference=tmp_path / "first")
    first, second = (pydicom.dcmread(next((tmp_path / n).iterdir())) for n in ("first", "second"))
    assert second.StudyInstanceUID == first.StudyInstanceUID
    assert second.SeriesInstanceUID != first.SeriesInstanceUID


def test_deidentify_copies_dicom_to_a_folder_only(volume, tmp_path):
    io.save(volume, tmp_path / "start.h5")
    convert(tmp_path / "start.h5", tmp_path / "first")
    assert convert(tmp_path / "first", tmp_path / "clean", deidentify=True) is None
    assert by_place(io.load(tmp_path / "clean")) == by_place(volume)
    with pytest.raises(InputError, match="folder of DICOM"):
        convert(tmp_path / "start.h5", tmp_path / "x", deidentify=True)


def test_outputs_are_kept_and_other_objects_refused(volume, tmp_path):
    io.save(volume, tmp_path / "start.h5")
    convert(tmp_path / "start.h5", tmp_path / "out.nii")
    with pytest.raises(OutputExistsError):
        convert(tmp_path / "start.h5", tmp_path / "out.nii")
    convert(tmp_path / "start.h5", tmp_path / "out.nii", overwrite=True)
    beams = Volume(volume.data, BeamGrid((3, 4, 5), (0, 0.1), (0, 1)))
    io.save(beams, tmp_path / "beams.h5")
    with pytest.raises(InputError, match="beams of one plane"):
        convert(tmp_path / "beams.h5", tmp_path / "out")


def test_beams_become_a_picture_where_the_target_has_voxels(tmp_path):
    beams = BeamGrid((1, 9, 30), (-0.4, 0.1), (2.0, 0.5), apex_mm=0.0)
    io.save(Volume(np.ones((1, 9, 30), "f4"), beams, "dB", tags={"modality": "US"}), tmp_path / "a.h5")
    assert isinstance(convert(tmp_path / "a.h5", tmp_path / "b.h5").grid, BeamGrid)
    picture = convert(tmp_path / "a.h5", tmp_path / "c.nii.gz")
    assert isinstance(picture.grid, AffineGrid)
    assert picture.voxel_mm[1:] == pytest.approx((0.5, 0.5))
    assert io.load(tmp_path / "c.nii.gz").shape == picture.shape
