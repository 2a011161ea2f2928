"""Records: a result is current while everything that decides its numbers is what it was, files named in passing too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.config import ReconstructConfig, validate
from recon3d.runtime.record import fingerprint, is_current, named_files, run_key


def plain(**content: Any) -> dict[str, Any]:
    config: ReconstructConfig = validate(ReconstructConfig, {"method": {"name": "fbp"}, **content}, "test")
    return config.model_dump(mode="json")


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.npy"
    np.save(path, np.ones((2, 2)))
    return path


def test_files_are_found_wherever_a_setting_names_them(mask: Path, tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"slice")
    config = plain(
        scan={"seismic": {"mask": str(mask)}, "support": str(series)},
        source={"data": "sinogram", "geometry": {"angles": str(mask)}},
        models={"prior": str(mask), "start": "no-such-file"},
    )
    config["method"]["steps"] = [{"weights": str(mask)}]  # of a plug-in, say
    hashes = {"scan.seismic.mask", "method.steps.0.weights", "source.geometry.angles", "models.prior"}
    assert named_files(config) == {**dict.fromkeys(hashes, fingerprint(mask)), "scan.support": fingerprint(series)}


def test_a_folder_that_happens_to_have_the_name_of_a_setting_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fbp").mkdir()
    assert named_files(plain(description="a\0b" * 5000, source="x" * 5000)) == {}


def test_contents_are_part_of_the_key(mask: Path) -> None:
    config = plain(scan={"seismic": {"mask": str(mask)}})
    before = run_key("input", config, named_files(config), {})
    assert run_key("input", config, named_files(config), {}) == before
    np.save(mask, np.zeros((2, 2)))
    assert run_key("input", config, named_files(config), {}) != before


def test_a_result_is_current_until_a_named_file_changes(mask: Path, tmp_path: Path) -> None:
    scan, output = tmp_path / "scan.h5", tmp_path / "out.h5"
    for path in (scan, output):
        path.write_bytes(b"bytes")
    config = plain(scan={"seismic": {"mask": str(mask)}})
    record = {
        "recon3d": recon3d.__version__, "config": config, "files": named_files(config), "models": {},
        "input": {"path": str(scan), "sha256": fingerprint(scan)},
    }  # fmt: skip
    (tmp_path / "out.recon.json").write_text(json.dumps(record))
    assert is_current(output, scan, config)
    np.save(mask, np.zeros((2, 2)))
    assert not is_current(output, scan, config)
    mask.unlink()
    assert not is_current(output, scan, config)
