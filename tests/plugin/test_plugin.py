"""A package that adds an operator, a method, a kind of model, a network and a format, without a change of ours."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.space import Space
from operators.testing import adjoint_error
from recon3d import acquisitions
from recon3d.cli import main
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.priors import list_models, load_model, save_model
from recon3d.scan import Scan
from recon3d.volume import Volume

PACKAGE = Path(__file__).with_name("package")
Command = Callable[..., str]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package with its model on the path, as pip would leave it; gone afterwards."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(acquisitions, "_REGISTRY", {})
    monkeypatch.syspath_prepend(site)
    model = importlib.import_module("recon3d_blur.model")
    card = model.CARD(
        name="blur-steps", summary="eight steps for blurred stacks", modality="microscope", voxel_mm=None,
        smallest_side=1, architecture={"kind": "step_lengths", "count": 8}, licence="Apache-2.0",
    )  # fmt: skip
    network = model.make(card)
    network.lengths.data = torch.linspace(1.0, 1.9, 8)
    save_model(model.folder() / "blur-steps.safetensors", card, network)
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "recon3d_blur"]:
        del sys.modules[name]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return call


def test_everything_is_listed(installed: Path, command: Command) -> None:
    assert "gradient steps whose lengths were trained" in command("methods")
    assert "blur-steps         eight steps for blurred stacks" in command("models", "list")
    assert "step_lengths" in command("models", "show", "blur-steps")
    assert "SHA-256" in command("models", "verify", "blur-steps")


def test_the_operator_is_right(installed: Path) -> None:
    blur = importlib.import_module("recon3d_blur.operator").Blur(
        Space(("z", "y", "x"), (3, 7, 10), torch.float64), (2.0, 3.0)
    )
    assert adjoint_error(blur) < 1e-12
    assert torch.allclose(blur(torch.ones(3, 7, 10, dtype=torch.float64)), torch.ones(3, 7, 10, dtype=torch.float64))


def test_from_its_format_by_its_method_and_model(
    installed: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = np.zeros((5, 16, 16), np.float32)
    truth[:, 5:9, 6:12] = 1.0
    grid = AffineGrid.centred(truth.shape, (2.0, 1.0, 1.0))
    scan = Scan("microscope", truth, ("z", "y", "x"), {"fwhm_mm": 3.0}, grid, noise={"std": 0.01})
    blur = acquisitions.acquisition_for("microscope")(scan, torch.device("cpu"), torch.float32)
    data = blur(torch.from_numpy(truth)).numpy()
    save(Scan("microscope", data, scan.axes, scan.acquisition, grid, noise=scan.noise), "stack.blur")
    assert "microscope" in command("inspect", "stack.blur")

    setting = "method=learned_landweber"
    command("reconstruct", "stack.blur", "sharp.h5", setting, "-q")
    found = load("sharp.h5")
    assert isinstance(found, Volume)
    assert np.linalg.norm(found.data - truth) < 0.8 * np.linalg.norm(data - truth)
    command("reconstruct", "stack.blur", "slabs.h5", setting, "--max-memory", "60K", "-q")
    np.testing.assert_array_equal(load("slabs.h5").data, found.data)
    save(Volume(truth, grid), "truth.nii.gz")
    tuned = command("tune", "stack.blur", "tuned.yaml", setting, "--reference", "truth.nii.gz", "-q")
    assert "tuned.yaml: factor=" in tuned


def test_what_is_not_installed_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "a.blur").write_bytes(b"{}\n")
    with pytest.raises(InputError, match="of no known format"):
        load(tmp_path / "a.blur")


def test_kinds_and_networks_come_by_name(installed: Path) -> None:
    assert "blur-steps" in {entry.name for entry in list_models()}
    assert load_model("blur-steps").lengths == pytest.approx(np.linspace(1.0, 1.9, 8), rel=1e-3)  # type: ignore[attr-defined]
