"""A description states plain facts and what was assumed, and never who the data are about."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid, SurveyGrid
from recon3d.io import describe, load, save
from recon3d.io.inspect import lines, summary
from recon3d.scan import Scan
from recon3d.volume import Volume


def test_volume(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.array([[[-1024, 1000]]], np.int16), np.eye(4))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    image.header["descrip"] = b"Doe^Jane"
    nibabel.save(image, tmp_path / "v.nii")
    facts = describe(tmp_path / "v.nii")
    assert (facts["format"], facts["shape"], facts["units"]) == ("nifti", [2, 1, 1], "HU")
    assert facts["values"] == {"lowest": -1024, "highest": 1000, "mean": -12}
    assert len(facts["missing or assumed"]) == 2
    text = "\n".join(lines(facts))
    assert "position and orientation" in text
    assert "Doe" not in text
    json.dumps(facts)


def test_tags_that_may_name_somebody_are_not_shown() -> None:
    grid = AffineGrid.centred((1, 1, 2), 1.0)
    volume = Volume(np.zeros((1, 1, 2)), grid, tags={"modality": "CT", "PatientName": "Doe^Jane"})
    assert summary(volume)["tags"] == {"modality": "CT"}


def test_scan(tmp_path: Path) -> None:
    blocks = (np.ones((2, 3), complex), 3j * np.ones((1, 3)))
    grid = AffineGrid.centred((1, 2, 2), 2.0)
    scan = Scan("mri", blocks, ("line", "sample"), {"mask": np.ones(3)}, grid, units="1/mm")
    save(scan, tmp_path / "s.h5")
    facts = describe(tmp_path / "s.h5")
    assert facts["shape"] == "2 blocks, the first of shape [2, 3]"
    assert facts["values"] == {"lowest": 1, "highest": 3, "mean": round(15 / 9, 5), "of": "magnitude"}
    assert facts["acquisition"] == {"mask": "array [3] float64"}
    assert len(facts["missing or assumed"]) == 3
    assert "target grid:" in lines(facts)


def test_arrays_without_a_mapping_are_listed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    facts = describe(tmp_path / "a.npy")
    assert facts["keys"] == ["(one array) (2, 3)"]
    mapping = {"kind": "volume", "axes": ["y", "x"]}
    assert describe(tmp_path / "a.npy", mapping=mapping)["shape"] == [1, 2, 3]


def test_a_layout_that_a_shipped_mapping_knows_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", DATA=np.zeros((2, 3, 4)))
    assert describe(tmp_path / "a.npz")["keys fit"] == "--source espirit-demo"
    with pytest.raises(InputError, match="its keys fit espirit-demo"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", other=np.zeros((2, 3, 4)))
    assert "keys fit" not in describe(tmp_path / "b.npz")


def test_series_and_other_grids() -> None:
    survey = SurveyGrid((1, 1, 2), (1, 1), (1, 1), (0, 0), (25, 0), (0, 25), 0.0, 0.004)
    beam = BeamGrid((1, 1, 2), (0.0, 0.1), (0.0, 0.5))
    facts = summary(Volume(np.zeros((3, 1, 1, 2)), survey))
    assert facts["grid"]["sampling"] == "0.004 s from 0 s"
    assert facts["missing or assumed"] == ["times of the frames: unknown"]
    facts = summary(Volume(np.zeros((2, 1, 1, 2)), beam, times_s=(0.0, 0.5)))
    assert facts["times_s"] == {"first": 0.0, "last": 0.5, "frames": 2}
    assert facts["grid"]["depth step mm"] == 0.5


def test_an_mri_scan_names_what_is_assumed_and_dead_coils() -> None:
    data = np.ones((3, 1, 4, 4), np.complex64)
    data[1] = 0
    scan = Scan("mri", data, ("coil", "kz", "ky", "kx"), {}, AffineGrid.centred((1, 4, 4), 1.0))
    told = " ".join(summary(scan)["missing or assumed"])
    assert "estimated from the centre" in told
    assert "coil 1: none" in told
    assert "not zero count as measured" in told
