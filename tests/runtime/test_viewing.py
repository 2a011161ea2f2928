"""Reports of files: made when missing, kept when fresh, never over somebody else's page."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from recon3d.errors import InputError, OutputExistsError
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.runtime.comparison import compare_files
from recon3d.runtime.preview import LivePreview
from recon3d.runtime.viewing import report_of
from recon3d.volume import Volume

SHAPE = (9, 8, 7)


@pytest.fixture
def folder(tmp_path):
    """tv.nii.gz with its record and uncertainty, fbp.nii.gz and truth.nii.gz."""
    rng = np.random.default_rng(0)
    for name in ("tv", "fbp", "truth", "tv.uncertainty"):
        data = rng.random(SHAPE).astype(np.float32)
        save(Volume(data, AffineGrid.patient(SHAPE, 2.0), "1"), tmp_path / f"{name}.nii.gz")
    (tmp_path / "tv.recon.json").write_text(json.dumps({"method": {"name": "total variation"}}))
    return tmp_path


def layers_of(page):
    text = page.read_text()
    scene = json.loads(text.split('id="scene">')[1].split("</script>")[0])
    return [layer["name"] for layer in scene["layers"]], text


def test_the_report_is_made_of_what_lies_beside_the_volume(folder):
    page = report_of(folder / "tv.nii.gz")
    assert page == folder / "tv.html"
    names, text = layers_of(page)
    assert names == ["result", "uncertainty"]
    assert "<h1>Reconstruction by total variation</h1>" in text
    assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == set()


def test_a_fresh_page_is_kept_and_an_old_one_made_anew(folder):
    page = report_of(folder / "tv.recon.json")
    page.write_text(page.read_text() + "<!-- kept -->")
    assert "kept" in report_of(page).read_text()
    os.utime(page, (0, 0))
    assert "kept" not in report_of(folder / "tv.nii.gz").read_text()
    page.write_text("a page of my own")
    with pytest.raises(OutputExistsError, match="no report of recon3d"):
        report_of(folder / "tv.nii.gz")
    assert "kept" not in report_of(folder / "tv.nii.gz", overwrite=True).read_text()


def test_layers_are_added_and_scored(folder):
    page = report_of(folder / "tv.nii.gz", {"classical": folder / "fbp.nii.gz", "reference": folder / "truth.nii.gz"})
    names, text = layers_of(page)
    assert names == ["result", "classical", "reference", "uncertainty", "difference from reference"]
    assert "Against the reference" in text


def test_what_is_not_there_is_named(folder):
    with pytest.raises(InputError, match="does not exist"):
        report_of(folder / "other.nii.gz")
    (folder / "tv.nii.gz").unlink()
    with pytest.raises(InputError, match="is gone"):
        report_of(folder / "tv.recon.json")


def test_a_comparison_is_named_by_methods_or_stems_but_not_by_folders(folder):
    other = folder / "Mustermann"
    other.mkdir()
    for name in ("tv.nii.gz", "tv.recon.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    page = folder / "all.html"
    compare_files([folder / "tv.nii.gz", folder / "fbp.nii.gz"], folder / "truth.nii.gz", page=page)
    assert layers_of(page)[0] == ["reference", "tv", "fbp"]
    with pytest.raises(OutputExistsError):
        compare_files([folder / "fbp.nii.gz"], folder / "truth.nii.gz", page=page)
    both = [folder / "tv.nii.gz", other / "tv.nii.gz"]
    compare_files(both, folder / "truth.nii.gz", page=page, overwrite=True)
    names, text = layers_of(page)
    assert names == ["reference", "1: tv", "2: tv"]
    assert "Mustermann" not in text
    (other / "tv.recon.json").write_text(json.dumps({"method": {"name": "dds"}}))
    compare_files(both, folder / "truth.nii.gz", page=page, overwrite=True)
    assert layers_of(page)[0] == ["reference", "total variation", "dds"]


def test_the_preview_follows_the_run(tmp_path):
    torch = pytest.importorskip("torch")
    preview = LivePreview(tmp_path / "tv.preview.html", "tv", seconds_between=0.0)
    preview.show(1, 4, [{"iteration": 1, "residual": 0.5}], {"x": torch.rand(3, 4, 5)})
    first = preview.path.read_text()
    assert "iteration 1 of 4" in first
    assert "<img" in first
    preview.show(4, 4, [], {})
    assert "iteration 4 of 4" in preview.path.read_text()
    preview.finish(tmp_path / "tv.html")
    assert 'href="tv.html"' in preview.path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["tv.preview.html"]


def test_the_preview_is_rare_and_never_stops_a_run(tmp_path):
    preview = LivePreview(tmp_path / "tv.preview.html", "tv", seconds_between=1000.0)
    preview.show(1, 4, [], {})
    preview.show(2, 4, [], {})
    assert "iteration 1 of 4" in preview.path.read_text()
    LivePreview(tmp_path / "gone" / "tv.preview.html", "tv").show(1, 4, [], {})
