"""Import of published feed-forward networks: DIRECT's files by name and shape, and what they do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recon3d.errors import ModelError
from recon3d.priors import load_model
from recon3d.priors.importing import import_weights
from recon3d.priors.networks import build_network
from recon3d.priors.networks.recurrent_varnet import RecurrentVarNet
from recon3d.priors.reconstructor import Reconstructor

SAMPLING: dict[str, Any] = {
    "patterns": ["equispaced", "random"], "acceleration": [3.5, 8.5], "centre": [0.03, 0.1], "coils": [4, 32],
}  # fmt: skip
SMALL: dict[str, Any] = {"steps": 3, "hidden": 8, "layers": 2, "refinement": (4, 2)}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON3D_MODELS", str(tmp_path / "models"))


def published(path: Path, **settings: Any) -> RecurrentVarNet:
    """A file as the public toolkit saves it, optimiser and all."""
    torch.manual_seed(0)
    network = RecurrentVarNet(**{**SMALL, **settings})
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    saved = {
        "model": network.model.state_dict(), "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        "lr_scheduler": {"last_epoch": 3}, "scaler": {}, "__author__": "a person", "__version__": "1",
    }  # fmt: skip
    if network.sensitivity_model is not None:
        saved["sensitivity_model"] = network.sensitivity_model.state_dict()
    torch.save(saved, path)
    return network


@pytest.mark.parametrize(
    "settings", [{}, {"multiscale": 1}, {"multiscale": 0}, {"refinement": None}, {"layers": 1, "hidden": 4}]
)
def test_the_architecture_follows_from_the_shapes(tmp_path: Path, settings: dict[str, Any]) -> None:
    network = published(tmp_path / "model_1000.pt", **settings)
    done = import_weights(tmp_path / "model_1000.pt", SAMPLING)
    model = load_model(done.path, half=False)
    assert isinstance(model, Reconstructor)
    expected = network.state_dict()
    found = model.network.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert done.ignored == ()
    kspace = torch.randn((3, 16, 20), dtype=torch.complex64)
    mask = (torch.arange(20) % 2 == 0) | ((torch.arange(20) - 10).abs() < 4)
    assert torch.isfinite(model.complete(kspace, mask).abs()).all()


def test_what_no_shape_says_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "recurrentvarnet_5x.pt"
    published(path)
    with pytest.raises(ModelError, match=r"patterns: .*centred=false.*acceleration: .*centre: .*coils: "):
        import_weights(path)
    calgary = {**SAMPLING, "patterns": ["2d"], "architecture": {"centred": False}, "calibration_radius": 18}
    model = load_model(import_weights(path, calgary).path)
    assert not model.network.centred
    assert model.card.calibration_radius == 18


def test_shared_weights_need_their_number_of_steps(tmp_path: Path) -> None:
    published(tmp_path / "shared.pt", shared=True)
    with pytest.raises(ModelError, match=r"one block of weights.*architecture.steps=NUMBER"):
        import_weights(tmp_path / "shared.pt", SAMPLING)
    given = {**SAMPLING, "architecture": {"shared": True, "steps": 3}}
    network = load_model(import_weights(tmp_path / "shared.pt", given).path).network
    assert (network.model.steps, len(network.model.block_list)) == (3, 1)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    published(path)
    content = torch.load(path, weights_only=True)
    del content["model"]["block_list.1.learning_rate"]
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"model.block_list.1.learning_rate is missing"):
        import_weights(path, SAMPLING)


def test_the_u_net_of_fastmri(tmp_path: Path) -> None:
    network = build_network({"kind": "unet_completion", "filters": 4, "pools": 2})
    torch.save({f"classy_model.{k}": v for k, v in network.unet.state_dict().items()}, tmp_path / "knee.pt")  # type: ignore[union-attr,operator]
    model = load_model(import_weights(tmp_path / "knee.pt", SAMPLING).path)
    assert model.card.architecture == {"kind": "unet_completion", "filters": 4, "pools": 2}
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), model.network.parameters(), strict=True))
