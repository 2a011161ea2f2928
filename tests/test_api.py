"""Five lines of Python give what the command line gives, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.cli import main
from recon3d.errors import ReconError
from recon3d.grid import AffineGrid
from recon3d.volume import Volume


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    monkeypatch.chdir(tmp_path)
    data = np.full((3, 14, 14), -1000.0, np.float32)
    data[:, 2:12, 3:11] = np.random.default_rng(0).uniform(-100, 400, (3, 10, 8))
    volume = Volume(data, AffineGrid.centred((3, 14, 14), (2.5, 1.0, 1.0)), units="HU")
    recon3d.save(volume, "ct.nii.gz")
    return volume


@pytest.mark.parametrize(
    ("method", "settings"),
    [("fbp", {"filter": "hann"}), ("sirt", {"iterations": 5}), ("cgls", {"iterations": 3}), ("tv", {"iterations": 5})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_api_and_the_command_line_agree(truth: Volume, method: str, settings: dict[str, Any]) -> None:
    volume = recon3d.load("ct.nii.gz")
    scan = recon3d.simulate(volume, {"views": 8}, noise={"photons": 1e4}, seed=3)  # type: ignore[arg-type]
    result = recon3d.reconstruct(recon3d.problem_for(scan), method, **settings)
    recon3d.save(result.volume, "api.nii.gz")

    overrides = [f"method.{key}={value}" for key, value in settings.items()]
    simulation = ["geometry.views=8", "noise.photons=1e4", "run.seed=3"]
    Path("method.yaml").write_text(f"method: {method}\n")
    assert main(["simulate", "ct.nii.gz", "scan.h5", *simulation]) == 0
    assert main(["reconstruct", "scan.h5", "cli.nii.gz", "--config", "method.yaml", *overrides]) == 0

    stored = recon3d.load("scan.h5")
    np.testing.assert_array_equal(stored.data, scan.data)
    one, other = recon3d.load("api.nii.gz"), recon3d.load("cli.nii.gz")
    np.testing.assert_array_equal(one.data, other.data)
    assert one.grid == other.grid
    assert isinstance(other, Volume)
    assert other.units == result.volume.units == "HU"
    assert result.volume.tags["name"] == scan.name


def test_wrong_settings_are_told_as_in_configurations(truth: Volume) -> None:
    problem = recon3d.problem_for(recon3d.simulate(truth, {"views": 3}))
    with pytest.raises(ValueError, match="did you mean 'iterations'"):
        recon3d.reconstruct(problem, "tv", iteration=3)
    with pytest.raises(ValueError, match="did you mean 'sirt'"):
        recon3d.reconstruct(problem, "sirtt")


def test_the_wrong_kind_of_thing_is_told_in_one_sentence(truth: Volume) -> None:
    scan = recon3d.simulate(truth, {"views": 3})
    problem = recon3d.problem_for(scan)
    for call, said in (
        (lambda: recon3d.reconstruct(scan, "fbp"), "takes a Problem, got a Scan"),  # type: ignore[arg-type]
        (lambda: recon3d.reconstruct(problem, "dds", models="ct-axial"), "models maps roles to models"),  # type: ignore[arg-type]
        (lambda: recon3d.problem_for("scan.h5"), "takes a Scan, got a str: read one by recon3d.load"),  # type: ignore[arg-type]
        (lambda: recon3d.problem_for(truth), "make one of a volume by recon3d.simulate"),  # type: ignore[arg-type]
        (lambda: recon3d.problem_for(scan, "gpu"), "named cpu, cuda or cuda:N, got 'gpu'"),
        (lambda: recon3d.simulate(scan, {"views": 3}), "takes a Volume, got a Scan"),  # type: ignore[arg-type]
        (lambda: recon3d.save(truth.data, "a.nii"), "got a ndarray: give an array its place"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ReconError, match=said):
            call()
