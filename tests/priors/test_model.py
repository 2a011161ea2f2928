"""Model files: what is saved comes back; whatever is wrong with a file is said in one sentence."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from operators.errors import ReconError, ShapeError
from operators.normalization import Normalization
from recon3d.errors import ModelError
from recon3d.priors import Card, Denoiser, find_model, fit, list_models, load_model, read_card, save_model, verify
from recon3d.priors.cards import METADATA_KEY
from recon3d.priors.edm import EDMDenoiser, detail
from recon3d.priors.networks import build_network

ARCHITECTURE = {"kind": "unet2d", "channels": [16, 32], "blocks": 1, "patch": 2, "embedding": 16, "detail": True}


def _card(**changes: Any) -> Card:
    settings = {
        "name": "toy", "modality": "CT", "units": "HU", "scale": 2000.0, "offset": -1000.0, "sigma_min": 0.01,
        "sigma_max": 8.0, "sigma_data": 0.25, "mean": 0.25, "voxel_mm": (0.8, 4.0), "orientation": "axial",
        "architecture": ARCHITECTURE, "licence": "Apache-2.0",
    }  # fmt: skip
    return Card.model_validate({**settings, **changes})


@pytest.fixture
def network() -> EDMDenoiser:
    torch.manual_seed(0)
    denoiser = EDMDenoiser(build_network(ARCHITECTURE), 0.25, 0.25)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return denoiser.eval()


@pytest.fixture
def saved(tmp_path: Path, network: EDMDenoiser) -> Path:
    path = tmp_path / "toy.safetensors"
    save_model(path, _card(), network)
    return path


def test_what_is_saved_comes_back(tmp_path: Path, network: EDMDenoiser) -> None:
    path = tmp_path / "exact.safetensors"
    card = save_model(path, _card(), network, dtype=torch.float32)
    model = load_model(path, half=False)
    assert model.card == card == read_card(path) == verify(path)
    assert isinstance(model, Denoiser)
    x = torch.rand(3, 20, 22, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(x[:, None], (0, 2, 0, 0), mode="replicate")
    with torch.no_grad():
        expected = network(padded, torch.full((3,), 0.4))[:, 0, :, :22]
    torch.testing.assert_close(model.denoise(x, 0.4), expected)
    assert model.denoise(x.mT, 0.4).shape == (3, 22, 20)
    torch.testing.assert_close(model.configured(axis=-1).denoise(x.movedim(0, -1), 0.4), expected.movedim(0, -1))
    assert not list(tmp_path.glob("*.part"))
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_float16_weights_move_the_answer_little(saved: Path, network: EDMDenoiser) -> None:
    x = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network(x[:, None], torch.full((2,), 0.1))[:, 0]
    assert (load_model(saved, half=False).denoise(x, 0.1) - expected).norm() / expected.norm() < 5e-3


def test_preconditioning_has_unit_input_and_unit_weighted_target(network: EDMDenoiser) -> None:
    """Karras et al. 2022, appendix B.6, for x0 ~ N(mean, sigma_data^2)."""
    sigma = torch.tensor([0.01, 0.2, 5.0])
    c_skip, c_out, c_in = (c.flatten() for c in network.coefficients(sigma))
    torch.testing.assert_close(c_in**2 * (sigma**2 + 0.25**2), torch.ones(3))
    # The target of the network, (x0 - c_skip x) / c_out, has variance 1.
    torch.testing.assert_close(((1 - c_skip) ** 2 * 0.25**2 + c_skip**2 * sigma**2) / c_out**2, torch.ones(3))
    torch.testing.assert_close(network.loss_weight(sigma).flatten(), c_out**-2)


def test_detail_is_blind_to_ramps_and_measured_in_sigma() -> None:
    ramp = torch.arange(20.0).expand(1, 1, 6, 20)
    assert detail(ramp, torch.tensor([0.1]))[..., 1:-1].abs().max() < 1e-3
    spike = torch.zeros(2, 1, 5, 5)
    spike[:, :, 2, 2] = torch.tensor([0.09, 0.9])[:, None]
    values = detail(spike, torch.tensor([0.1, 1.0]))[:, 0, 2, 2]
    torch.testing.assert_close(values, torch.full((2,), 8 * float(np.tanh(0.8 / 8))))


def test_names_are_found_in_the_folders_of_the_environment(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saved.parent / "broken.safetensors").write_bytes(b"no")
    monkeypatch.setenv("RECON3D_MODELS", str(saved.parent))
    entries = {entry.name: entry for entry in list_models()}
    assert (entries["toy"].card, entries["toy"].fault) == (read_card(saved), "")
    assert entries["broken"].card is None
    assert "not a safetensors file" in entries["broken"].fault
    assert find_model("toy") == saved
    with pytest.raises(ModelError, match=r"toy.*got tor"):
        find_model("tor")


def test_shipped_models_are_whole() -> None:
    for entry in list_models():
        assert entry.card is not None, entry.fault
        assert verify(entry.path).name == entry.name
        assert entry.path.stat().st_size <= 8e6


def _rewrite(path: Path, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> None:
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(card)})


def test_a_changed_weight_is_found(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(saved)


@pytest.mark.parametrize("keep", [4, 100, 0.5, -1])
def test_a_cut_file_is_found(saved: Path, keep: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data)) if keep == 0.5 else int(keep)])
    with pytest.raises(ModelError, match=r"cut short|not a safetensors"):
        load_model(saved)


def test_weights_that_are_not_finite_are_found(saved: Path, network: EDMDenoiser) -> None:
    next(network.parameters()).data[0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        save_model(saved, _card(), network)
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    card = read_card(saved).model_dump(mode="json")
    _rewrite(saved, tensors, card)
    from recon3d.priors.cards import file_hash

    _rewrite(saved, tensors, {**card, "sha256": file_hash(saved)})
    with pytest.raises(ModelError, match="not finite"):
        load_model(saved)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"kind": "transformer"}, "got 'transformer'"),
        ({"kind": "unet2d", "wings": 2}, "wings"),
        ({"kind": "unet2d", "channels": []}, "no U-Net"),
        ({**ARCHITECTURE, "channels": [16, 48]}, "has the shape"),
    ],
)
def test_an_architecture_that_does_not_fit_is_named(saved: Path, architecture: dict[str, Any], message: str) -> None:
    card = read_card(saved).model_dump(mode="json")
    _rewrite(saved, load_file(saved), {**card, "architecture": architecture})
    with pytest.raises(ModelError, match=message):
        load_model(saved)


def test_files_that_are_no_models_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ModelError, match="found none"):
        read_card(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="no recon3d card"):
        read_card(path)
    _rewrite(path, {"a": torch.zeros(2)}, {"name": "x"})
    with pytest.raises(ModelError, match="modality"):
        read_card(path)
    _rewrite(path, {"a": torch.zeros(2)}, {"name": "x", "kind": "oracle"})
    with pytest.raises(ModelError, match="kind 'oracle', known are denoiser"):
        read_card(path)
    save_file({"a": torch.zeros(2)}, path, metadata={METADATA_KEY: "[1]"})
    with pytest.raises(ModelError, match="no JSON object"):
        read_card(path)
    path.write_bytes(struct.pack("<Q", 4) + b"abcd")
    with pytest.raises(ModelError, match="not a safetensors"):
        read_card(path)
    path.write_bytes(struct.pack("<Q", 2**60) + b"abcd")
    with pytest.raises(ModelError, match="not a safetensors"):
        read_card(path)


def test_fit_names_every_misfit() -> None:
    card = _card()
    assert fit(card, modality="ct", voxel_mm=(5.0, 0.8, 4.0), shape=(1, 16, 16), orientation="axial") == []
    assert fit(card) == []
    misfits = fit(card, modality="MR", voxel_mm=(5.0, 0.3, 0.3), shape=(30, 8, 200), orientation="coronal")
    assert len(misfits) == 4
    for misfit, words in zip(misfits, ("the scan is MR", "0.8 to 4 mm", "8 x 200", "these are coronal"), strict=True):
        assert words in misfit


def test_real_and_complex_models_refuse_each_other(saved: Path) -> None:
    with pytest.raises(ShapeError, match="takes real images"):
        load_model(saved).denoise(torch.zeros(1, 16, 16, dtype=torch.complex64), 1.0)


def test_normalization_goes_there_and_back() -> None:
    normalization = Normalization(scale=2000.0, offset=-1000.0)
    hu = np.array([-1000.0, 0.0, 1000.0])
    assert normalization.apply(hu).tolist() == [0.0, 0.5, 1.0]
    assert normalization.invert(normalization.apply(hu)).tolist() == hu.tolist()
    for wrong in ({"scale": 0.0}, {"scale": float("nan")}, {"offset": float("inf")}):
        with pytest.raises(ReconError):
            Normalization(**wrong)


def test_cards_are_read_without_torch(saved: Path) -> None:
    code = f"import sys, recon3d.priors as p; p.verify({str(saved)!r}); p.fit; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
