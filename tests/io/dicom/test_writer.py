"""Derived and standalone series: in place over their source, the same numbers, and valid by dciodvfy."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pydicom
import pytest

from recon3d.errors import GeometryError, InputError, OutputExistsError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.io import dicom
from recon3d.io.dicom.elements import quantised
from recon3d.volume import Volume

MR = "1.2.840.10008.5.1.4.1.1.4"


def placed(volume):
    """World position and value of every voxel, in one order whatever the axes are."""
    z, y, x = (i.ravel() for i in np.indices(volume.data.shape[-3:]))
    world = (volume.grid.matrix @ np.stack([x, y, z, np.ones_like(x)]))[:3].T
    order = np.lexsort(np.round(world, 2).T)
    return world[order], volume.data.reshape(*volume.data.shape[:-3], -1)[..., order]


def upright_grid():
    turn = np.linalg.qr(np.array([[0.1, -0.9, 0.3], [0.8, 0.2, 0.1], [-0.2, 0.3, 0.9]]))[0]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * [0.7, 1.3, 2.1], [11, -32, 53]
    return AffineGrid((4, 5, 6), tuple(map(tuple, matrix)))


CASES = {
    "CT": Volume(np.random.default_rng(1).normal(0, 400, (4, 5, 6)).astype("f4"), upright_grid(), "HU"),
    "attenuation": Volume(np.random.default_rng(2).random((4, 5, 6)) / 50, upright_grid(), "1/mm"),
    "MR": Volume(np.random.default_rng(3).random((4, 5, 6)), upright_grid(), tags={"modality": "MR"}),
    "other": Volume(np.arange(120.0).reshape(4, 5, 6), upright_grid()),
    "times": Volume(
        np.random.default_rng(4).random((3, 4, 5, 6)), upright_grid(), times_s=(0, 0.25, 7.5), tags={"modality": "MR"}
    ),
}


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_standalone_series_comes_back_in_place(tmp_path, name, enhanced):
    volume, target = CASES[name], tmp_path / ("one.dcm" if enhanced else "many")
    (dicom.write_enhanced if enhanced else dicom.write_series)(volume, target)
    back = dicom.read(target)
    (world, values), (world_back, values_back) = placed(volume), placed(back)
    assert np.abs(world - world_back).max() < 1e-6
    step = quantised(volume.data, volume.units)[1]
    assert np.abs(values - values_back).max() <= step * 0.501
    assert (back.units, back.times_s) == (volume.units, volume.times_s)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_standalone_series_is_valid(tmp_path, dciodvfy, name, enhanced):
    target = tmp_path / ("one.dcm" if enhanced else "many")
    (dicom.write_enhanced if enhanced else dicom.write_series)(CASES[name], target)
    assert dciodvfy(target if enhanced else target / "IM000002.dcm") == []


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_derived_series_lies_over_its_source(series, image, tmp_path, modality, enhanced):
    source = series(images=[image(z, sop_class=MR) if modality == "MR" else image(z) for z in range(4)])
    volume = dicom.read(source)
    target = tmp_path / ("out.dcm" if enhanced else "out")
    made_by = dicom.Derivation("dds", "sha256:0123abcd", "1.2.3")
    write = dicom.write_enhanced if enhanced else dicom.write_series
    write(volume, target, source=source, derivation=made_by)
    assert np.array_equal(dicom.read(target).data, volume.data)
    assert dicom.read(target).grid == volume.grid
    file = target if enhanced else target / "IM000002.dcm"
    ds, original = pydicom.dcmread(file), pydicom.dcmread(source / "001.dcm")
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality"):
        assert ds[keyword].value == original[keyword].value
    assert ds.SeriesInstanceUID != original.SeriesInstanceUID
    assert ds.SOPInstanceUID != original.SOPInstanceUID
    assert ds.ImageType[0] == "DERIVED"
    assert ds.SeriesDescription == "recon3d dds (AI)"
    group = ds.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0] if enhanced else ds
    assert "dds, learned model sha256:0123abcd" in group.DerivationDescription
    assert "1.2.3" in group.DerivationDescription
    assert [s.ReferencedSOPInstanceUID for s in group.SourceImageSequence] == [original.SOPInstanceUID]
    assert len(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 4


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", MR])
def test_what_is_derived_from_a_source_is_valid(series, image, tmp_path, dciodvfy, sop_class):
    source = series(images=[image(z, sop_class=sop_class) for z in range(3)])
    volume = dicom.read(source)
    dicom.write_series(volume, tmp_path / "out", source=source)
    files = [tmp_path / "out" / "IM000002.dcm", dicom.write_enhanced(volume, tmp_path / "out.dcm", source=source)]
    files.append(dicom.write_parametric_map(volume, tmp_path / "map.dcm", source=source))
    files.append(dicom.write_parametric_map(volume, tmp_path / "alone.dcm"))
    assert [error for file in files for error in dciodvfy(file)] == []


def test_every_object_of_a_series_is_new(tmp_path):
    files = dicom.write_series(CASES["CT"], tmp_path / "out")
    datasets = [pydicom.dcmread(f) for f in files]
    assert len({ds.SOPInstanceUID for ds in datasets}) == 4
    assert len({ds.SeriesInstanceUID for ds in datasets}) == 1
    assert [(d.WindowCenter, d.WindowWidth) for d in datasets] == [(40, 400)] * 4


def test_a_standalone_series_shows_the_patient_from_the_feet(tmp_path):
    """Right of the patient on the left of the screen, front at the top: row and column cosines are +x and +y in LPS."""
    volume = Volume(np.zeros((3, 4, 5), "f4"), AffineGrid.centred((3, 4, 5), 1.0), "HU")
    dicom.write_series(volume, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out" / "IM000001.dcm").ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    dicom.write_series(CASES["CT"], tmp_path / "out")
    with pytest.raises(OutputExistsError, match="not empty"):
        dicom.write_series(CASES["CT"], tmp_path / "out")
    dicom.write_series(CASES["other"], tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="other files"):
        dicom.write_series(CASES["CT"], tmp_path / "out", overwrite=True)
    calls = chain([None, None], iter(lambda: 1 / 0, None))
    monkeypatch.setattr("recon3d.io.dicom.writer.save_dataset", lambda *_: next(calls))
    with pytest.raises(ZeroDivisionError):
        dicom.write_series(CASES["CT"], tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_what_dicom_cannot_hold_is_refused(tmp_path):
    grid = AffineGrid.centred((2, 3, 4), 1.0)
    for data, message in ((np.full((2, 3, 4), np.nan), "not finite"), (np.zeros((2, 3, 4), complex), "magnitude")):
        with pytest.raises(InputError, match=message):
            dicom.write_series(Volume(data, grid), tmp_path / "out")
    sheared = AffineGrid((2, 3, 4), ((1, 0.5, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)))
    with pytest.raises(GeometryError, match="right angles"):
        dicom.write_series(Volume(np.zeros((2, 3, 4)), sheared), tmp_path / "out")
    beams = BeamGrid((2, 3, 4), (0, 0.1), (0, 1))
    with pytest.raises(GeometryError, match="AffineGrid"):
        dicom.write_series(Volume(np.zeros((2, 3, 4)), beams), tmp_path / "out")


@pytest.mark.parametrize("low", [-5e4, 0.0, 123.456, 1e-7])
@pytest.mark.parametrize("span", [0.0, 1e-5, 3.3, 9e4])
def test_stored_values_are_within_half_a_step(low, span):
    data = low + span * np.random.default_rng(0).random((3, 4, 5))
    stored, slope, intercept = quantised(data, "1")
    assert stored.dtype.itemsize == 2
    assert np.abs(stored * slope + intercept - data).max() <= slope * 0.5001
    assert slope <= max(span / 60000, 1e-8) or span == 0


def test_the_uncertainty_map_holds_floats_in_place(series, tmp_path):
    source = series()
    volume = dicom.read(source)
    for name, given in (("with", source), ("without", None)):
        spread = volume.with_data(np.random.default_rng(0).random(volume.shape).astype("f4") * 1e-3)
        path = dicom.write_parametric_map(spread, tmp_path / f"{name}.dcm", source=given)
        back = dicom.read(path)
        assert back.units == "HU"
        assert np.array_equal(placed(back)[1], placed(spread)[1])
        assert np.abs(placed(back)[0] - placed(spread)[0]).max() < 1e-6
        ds = pydicom.dcmread(path)
        assert ("ReferencedSeriesSequence" in ds) == (given is not None)
        assert (ds.StudyInstanceUID == "1.2.3") == (given is not None)
