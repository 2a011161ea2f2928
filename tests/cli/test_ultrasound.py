"""Ultrasound from file to file: hazy RF becomes RF with a B-mode, the haze and the spread beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.synthetic.ultrasound_scoring import hazy_frames


def test_rf_in_and_out(cli: Callable[..., Any], here: Path) -> None:
    frames = hazy_frames(4, beams=32, samples=160)
    recon3d.save(recon3d.Volume(frames.measured(0.4).astype(np.float32), frames.grid), "rf.h5")
    short = ("method.samples=2", "method.steps=6")
    answer = cli("reconstruct", "rf.h5", "out.h5", "--config", "ultrasound-dehaze", *short)
    assert answer.code == 0, answer.err
    volumes = {name: recon3d.load(f"out{name}.h5") for name in ("", ".haze", ".b-mode", ".uncertainty")}
    assert {volume.shape for volume in volumes.values()} == {(1, 32, 160)}
    assert volumes[".b-mode"].units == "dB"
    hazy = recon3d.load("rf.h5").data
    assert np.abs(volumes[""].data + volumes[".haze"].data - hazy).max() < 0.1 * np.abs(hazy).max()
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    assert "haze" in Path("out.html").read_text(encoding="utf-8")


def test_beams_become_pictures_where_the_file_holds_them(cli: Callable[..., Any], here: Path) -> None:
    """A sector is scan-converted on its way to NIfTI and DICOM; RF is not, and that is said before any work."""
    rf = hazy_frames(4, 3, beams=24, samples=128).measured(0.4)[:, None].astype(np.float32)
    sector = BeamGrid((1, 24, 128), (-0.3, 0.6 / 23), (20.0, 0.03), 5.0)
    recon3d.save(recon3d.Volume(rf, sector, times_s=(0.0, 0.02, 0.04)), "cine.h5")
    for output in ("nifti.nii.gz", "cine.dcm"):
        answer = cli("reconstruct", "cine.h5", output, "method=wiener", "method.draws=1", "method.image=decibel")
        assert answer.code == 0, answer.err
        picture = recon3d.load(output)
        assert isinstance(picture.grid, AffineGrid)
        assert picture.shape[0] == 3
        assert picture.grid.voxel_mm[1] == pytest.approx(0.03, rel=0.01)
    assert Path("nifti.png").exists()
    short = ("method.samples=1", "method.steps=2", "method.image=decibel")
    answer = cli("reconstruct", "cine.h5", "haze.dcm", "--config", "ultrasound-dehaze", *short)
    assert answer.code == 0, answer.err
    assert recon3d.load("haze.haze.dcm").shape == picture.shape
    answer = cli("reconstruct", "cine.h5", "rf.nii.gz", "method=wiener")
    assert answer.code == 2
    assert "set method.image=decibel" in answer.sentence
