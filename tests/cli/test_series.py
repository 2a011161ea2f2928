"""Series from the command line: drawn, scanned, reconstructed, with a moving picture; and what failures say."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import recon3d
from recon3d.cli import main
from recon3d.scan import Scan
from recon3d.volume import Volume

DRAW = ["--frames", "8", "--shape", "1", "24", "24"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "series", "walnut.nii.gz", *DRAW]) == 0
    assert main(["simulate", "walnut.nii.gz", "scan.h5", "--config", "dynamic-ct"]) == 0
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def test_from_a_drawing_to_a_report_with_a_slider(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", "dynamic-ct-psm-tv", "method.iterations=2", "--quiet"]
    assert main(["reconstruct", "scan.h5", "found.nii.gz", *config]) == 0
    found = recon3d.load("found.nii.gz")
    assert isinstance(found, Volume)
    assert found.data.shape == (8, 1, 24, 24)
    assert found.times_s == tuple(map(float, range(8)))
    with Image.open("found.gif") as picture:
        assert picture.n_frames == 8
    record = json.loads(Path("found.recon.json").read_text())
    assert set(record["trace"][-1]) >= {"primal", "dual", "data", "change", "beta"}
    page = Path("found.html").read_text()
    scene = json.loads(page.split('id="scene">')[1].split("</script>")[0])
    assert scene["times"] == list(range(8))
    assert scene["layers"][0]["parts"][0]["shape"][0] == 8
    assert 'id="frame"' in page
    Path("other.gif").touch()
    assert "other.gif exists" in fails(capsys, "reconstruct", "scan.h5", "other.h5", *config)
    assert main(["compare", "found.nii.gz", "--reference", "walnut.nii.gz"]) == 0


def test_times_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("scan.h5", "a") as file:
        del file["acquisition"]["times_s"]
    base = ["reconstruct", "scan.h5", "found.h5", "--config", "dynamic-ct-fbp", "--quiet"]
    assert "has no times: give each view its time" in fails(capsys, *base)
    assert main([*base, "scan.series.view_s=0.5", "scan.series.views_per_frame=2"]) == 0
    found = recon3d.load("found.h5")
    assert isinstance(found, Volume)
    assert found.times_s == (0.25, 1.25, 2.25, 3.25)
    assert "stated once" in fails(capsys, *base, "scan.series.frames=2", "scan.series.views_per_frame=2")


def test_a_series_taken_for_still_is_one_image(folder: Path) -> None:
    chosen = ["--config", "ct-parallel-fbp", "scan.series.still=true", "--quiet"]
    assert main(["reconstruct", "scan.h5", "still.nii.gz", *chosen]) == 0
    assert recon3d.load("still.nii.gz").data.shape == (1, 24, 24)
    assert not Path("still.gif").exists()


def test_what_a_file_cannot_hold_is_told_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("scan.h5", "a") as file:
        file["acquisition"]["times_s"][-1] = 11.0
    told = fails(capsys, "reconstruct", "scan.h5", "found.nii.gz", "--config", "dynamic-ct-fbp")
    assert "evenly spaced frames only: save this series as .h5" in told
    with h5py.File("scan.h5", "a") as file:
        file["acquisition"]["times_s"][-1] = 1.0
    told = fails(capsys, "reconstruct", "scan.h5", "found.h5", "--config", "dynamic-ct-fbp")
    assert "go back: view 7 was measured at 1 s, after view 6 at 6 s" in told


def test_cine_mri_from_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "series", "heart.h5", "--object", "heart", "--frames", "6", "--shape", "1", "32", "32"]) == 0
    chosen = ["coils=3", "acceleration=2"]
    assert main(["simulate", "heart.h5", "scan.h5", "--config", "dynamic-mri", *chosen]) == 0
    scan = recon3d.load("scan.h5")
    assert isinstance(scan, Scan)
    assert scan.axes[0] == "t"
    assert main(["reconstruct", "scan.h5", "found.h5", "--config", "cine-lps", "method.iterations=3", "--quiet"]) == 0
    found, truth = recon3d.load("found.h5"), recon3d.load("heart.h5")
    assert isinstance(found, Volume)
    assert found.times_s == truth.times_s  # type: ignore[union-attr]
    assert np.isrealobj(found.data)
    assert main(["convert", "found.h5", "cine"]) == 0  # a folder of DICOM images
    back = recon3d.load("cine")
    assert isinstance(back, Volume)
    assert back.data.shape == found.data.shape
    assert back.times_s == pytest.approx(found.times_s, abs=1e-6)
    assert main(["convert", "found.h5", "cine.dcm"]) == 0
    assert recon3d.load("cine.dcm").times_s == pytest.approx(found.times_s, abs=1e-6)  # type: ignore[union-attr]
