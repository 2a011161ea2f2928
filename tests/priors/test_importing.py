"""Import of published weights: the card that is assumed, what must be given, and the model that comes of it."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recon3d
from recon3d.errors import ModelError, OutputExistsError
from recon3d.grid import AffineGrid
from recon3d.priors import find_model, list_models, load_model, read_card, verify
from recon3d.priors.importing import LAYOUTS, import_weights
from recon3d.priors.networks import build_network
from recon3d.priors.noise import vp_cosine, vp_linear
from recon3d.volume import Volume

SAMPLES = os.environ.get("RECON3D_SAMPLE_DATA")
with_samples = pytest.mark.skipif(not SAMPLES, reason="RECON3D_SAMPLE_DATA names no folder of sample data")

ADM = {
    "kind": "adm", "channels": [32, 64], "blocks": 1, "attention": [], "image_channels": 1, "out_channels": 2,
}  # fmt: skip
SCORE = {"kind": "ncsnpp", "channels": [8, 12], "blocks": 1, "image_channels": 1, "scales": 3}
CHAIN = {"kind": "dncnn", "depth": 4, "channels": 6}
GIVEN = {"modality": "CT", "units": "HU", "scale": 2000, "offset": -1000, "voxel_mm": [0.6, 1.6]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECON3D_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def published(path: Path, architecture: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    network = build_network(architecture).eval().requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    if architecture["kind"] == "ncsnpp":
        network.sigmas.copy_(torch.tensor([378.0, 2.0, 0.01]))  # type: ignore[operator,union-attr]
    torch.save(network.state_dict(), path)
    return network


def images() -> Tensor:
    return torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(1))


def test_a_vp_network_is_asked_at_its_times(tmp_path: Path, folder: Path) -> None:
    network = published(tmp_path / "My ADM.pt", ADM)
    done = import_weights(tmp_path / "My ADM.pt", GIVEN)
    assert done.path == find_model("my-adm") == folder / "my-adm.safetensors"
    assert (done.tensors, done.entry, done.ignored) == (len(network.state_dict()), "", ())
    assert set(done.assumed) >= {"name", "licence", "coordinates", "sigma_min", "sigma_max"}
    card = verify(done.path)
    assert card == done.card == read_card(done.path)
    assert (card.sigma_min, card.sigma_max) == pytest.approx((0.0100005, 157.4073), rel=1e-5)  # type: ignore[attr-defined]
    assert card.training["sha256"] == hashlib.sha256((tmp_path / "My ADM.pt").read_bytes()).hexdigest()
    assert "my-adm" in [entry.name for entry in list_models()]

    x, t = images(), 500
    abar = vp_linear().abar(t)
    eps = network(x[:, None] * math.sqrt(abar), torch.full((3,), float(t)))[:, 0]
    sigma = math.sqrt((1 - abar) / abar)
    torch.testing.assert_close(load_model("my-adm", half=False).denoise(x, sigma), x - sigma * eps)


def test_a_score_network_answers_x_plus_sigma2_score(tmp_path: Path) -> None:
    network = published(tmp_path / "checkpoint_185.pth", SCORE)
    done = import_weights(tmp_path / "checkpoint_185.pth", {key: GIVEN[key] for key in GIVEN if key != "modality"})
    assert (done.card.modality, done.card.orientation) == ("CT", "axial")
    assert (done.assumed["sigma_min"], done.assumed["sigma_max"]) == (0.01, 378.0)
    x = images()
    score = network(x[:, None], torch.full((3,), 0.7))[:, 0]
    torch.testing.assert_close(load_model(done.path, half=False).denoise(x, 0.7), x + 0.7**2 * score)


@pytest.mark.parametrize(
    "architecture",
    [
        {"kind": "drunet", "channels": [4, 4, 4, 4], "blocks": 1},
        {"kind": "dncnn", "depth": 4, "channels": 6, "noise_map": True},
    ],
    ids=["DRUNet", "FDnCNN"],
)
def test_a_network_with_a_noise_channel_is_told_sigma(tmp_path: Path, architecture: dict[str, Any]) -> None:
    network = published(tmp_path / "told.pth", architecture)
    done = import_weights(tmp_path / "told.pth", {**GIVEN, "sigma_min": 0.001, "sigma_max": 0.2})
    x = torch.rand(3, 8, 16, generator=torch.Generator().manual_seed(1))
    expected = network(torch.stack([x, torch.full_like(x, 0.1)], dim=1))[:, 0]
    torch.testing.assert_close(load_model(done.path).denoise(x, 0.1), expected)


def test_a_network_of_monai_predicts_at_times(tmp_path: Path) -> None:
    architecture = {"kind": "monai_unet", "spatial_dims": 3, "channels": [32, 32], "num_res_blocks": 1}
    network = published(tmp_path / "brain.pt", architecture)
    given = {**GIVEN, "coordinates": {"predicts": "v", "schedule": "cosine"}}
    done = import_weights(tmp_path / "brain.pt", given)
    assert (done.card.spatial_dims, done.card.complex_image) == (3, False)
    x, schedule = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(1)), vp_cosine()
    a, b = schedule.a(500), schedule.b(500)
    expected = a * (a * x) - b * network(a * x[None, None], torch.tensor([500.0]))[0, 0]
    torch.testing.assert_close(load_model(done.path).denoise(x, b / a), expected)
    with pytest.raises(ModelError, match="got 'spiral'"):
        import_weights(tmp_path / "brain.pt", {**given, "name": "b", "coordinates": {"schedule": "spiral"}})


def test_the_published_networks_are_told_apart() -> None:
    assume = LAYOUTS["adm"].assume
    aapm = {"kind": "adm", "channels": [256, 256, 512, 512, 1024, 1024], "blocks": 1, "attention": [4]}
    ct = assume({**aapm, "image_channels": 1, "out_channels": 2}, {}, "AAPM256_1M")
    assert (ct["modality"], ct["complex_image"], ct["coordinates"]) == ("CT", False, {"kind": "vp"})
    mri = assume({**aapm, "attention": [], "image_channels": 2, "out_channels": 4}, {}, "fastmri_knee_320_complex_1m")
    assert (mri["modality"], mri["complex_image"], mri["units"]) == ("MRI", True, "1")
    assert "modality" not in assume({**ADM, "channels": [128, 256]}, {}, "other")
    knee = LAYOUTS["ncsnpp"].assume(SCORE, {"sigmas": torch.tensor([378.0, 0.01])}, "checkpoint_95")
    assert (knee["modality"], knee["complex_image"]) == ("MRI", False)


def test_what_no_file_says_must_be_given(tmp_path: Path) -> None:
    published(tmp_path / "walnut.pt", CHAIN)
    with pytest.raises(ModelError) as told:
        import_weights(tmp_path / "walnut.pt", {"scale": 0.072, "units": "1/mm"})
    for words in ("kind dncnn", "modality: CT, MRI", "voxel_mm:", "offset: units at", "sigma_min:", "sigma_max:"):
        assert words in str(told.value)
    assert "scale" not in str(told.value)
    done = import_weights(tmp_path / "walnut.pt", {**GIVEN, "sigma_max": 0.05, "coordinates": {"residual": False}})
    assert done.card.coordinates == {"kind": "blind", "residual": False}  # type: ignore[attr-defined]
    assert (done.card.sigma_min, done.card.sigma_max) == (0.05, 0.05)  # type: ignore[attr-defined]


def test_faults_of_the_card_are_told_at_once(tmp_path: Path) -> None:
    published(tmp_path / "walnut.pt", CHAIN)
    with pytest.raises(ModelError, match=r"did you mean 'licence'.*scale|scale.*did you mean 'licence'"):
        import_weights(tmp_path / "walnut.pt", {**GIVEN, "sigma_max": 0.05, "scale": -1, "license": "MIT"})


def test_models_are_not_replaced_by_accident(tmp_path: Path) -> None:
    published(tmp_path / "walnut.pt", CHAIN)
    given = {**GIVEN, "sigma_max": 0.05}
    import_weights(tmp_path / "walnut.pt", given)
    with pytest.raises(OutputExistsError, match=r"walnut\.safetensors exists already"):
        import_weights(tmp_path / "walnut.pt", given)
    assert import_weights(tmp_path / "walnut.pt", given, overwrite=True).path.exists()
    other = import_weights(tmp_path / "walnut.pt", {**given, "name": "w"}, tmp_path / "elsewhere.safetensors")
    assert read_card(other.path).name == "w"


def test_an_imported_model_is_the_prior_of_a_reconstruction(tmp_path: Path) -> None:
    published(tmp_path / "my-adm.pt", ADM)
    published(tmp_path / "walnut.pt", CHAIN)
    import_weights(tmp_path / "my-adm.pt", {**GIVEN, "smallest_side": 8})
    import_weights(tmp_path / "walnut.pt", {**GIVEN, "sigma_max": 0.05, "smallest_side": 8})
    data = np.full((3, 12, 12), -1000.0, np.float32)
    data[:, 3:9, 2:8] = 40.0
    truth = Volume(data, AffineGrid.centred((3, 12, 12), (2.0, 1.0, 1.0)), units="HU")
    problem = recon3d.problem_for(recon3d.simulate(truth, {"views": 6}, seed=1))
    found = recon3d.reconstruct(problem, "dds", models={"prior": "my-adm"}, grid="vp", steps=2)
    assert found.volume.units == "HU"
    assert np.isfinite(found.volume.data).all()
    with pytest.raises(ModelError, match=r"at many levels of noise, walnut answers at sigma 0\.05 only"):
        recon3d.reconstruct(problem, "dds", models={"prior": "walnut"}, steps=2)


@with_samples
def test_a_published_denoiser_denoises(tmp_path: Path) -> None:
    """KAIR's DnCNN for noise of 25 of 255, against its layers one after the other, and on discs of many greys."""
    file = Path(str(SAMPLES)) / "weights" / "kair_dncnn_25.pth"
    done = import_weights(file)
    assert (done.tensors, done.numbers, done.card.licence) == (34, 555_137, "MIT")
    prior = load_model("kair-dncnn-25")

    random = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    truth = torch.full((96, 96), 0.5)
    for cy, cx, radius, grey in torch.rand(30, 4, generator=random).tolist():
        truth[(y - 96 * cy) ** 2 + (x - 96 * cx) ** 2 < (4 + 20 * radius) ** 2] = grey
    noisy = (truth + 25 / 255 * torch.randn(truth.shape, generator=random))[None]
    answer = prior.denoise(noisy, 25 / 255)

    layers = torch.load(file, weights_only=True)
    h = noisy[None]
    for k in range(0, 33, 2):
        h = F.conv2d(h, layers[f"model.{k}.weight"], layers[f"model.{k}.bias"], padding=1)
        h = h.relu() if k < 32 else h
    torch.testing.assert_close(answer, noisy - h[0])
    error, before = (answer - truth).square().mean(), (noisy - truth).square().mean()
    assert 10 * math.log10(before / error) > 8
    with pytest.raises(ModelError, match=r"asked at 0\.05"):
        prior.denoise(noisy, 0.05)


@with_samples
@pytest.mark.parametrize("name", ["direct", "residual"])
def test_published_pickles_of_whole_modules_are_refused(name: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"would run code \(red_psm_models\.dncnn\)"):
        import_weights(Path(str(SAMPLES)) / "weights" / f"redpsm_dncnn_walnut_{name}.pt")
    assert not folder.exists()
