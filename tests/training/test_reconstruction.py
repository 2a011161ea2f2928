"""Training of reconstructors: it learns, resumes to the same bits, its card says what it saw, faults are named."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recon3d.errors import ConfigError, Interrupted
from recon3d.priors import load_model, read_card
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.reconstructor import Reconstructor
from recon3d.synthetic.mri_drawing import draw_mri, write_fastmri
from recon3d.training import train
from recon3d.training.kinds import read_training
from recon3d.training.reconstructor_config import TrainReconstructorConfig
from recon3d.training.state import TrainingState

ARCHITECTURE = {"kind": "recurrent_varnet", "steps": 2, "hidden": 8, "layers": 1, "refinement": None}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("folders")
    for name, seeds in (("train", (1, 2)), ("val", (3,))):
        (home / name).mkdir()
        for seed in seeds:
            write_fastmri(home / name / f"file{seed}.h5", draw_mri("brain", seed=seed, shape=(2, 32, 32), coils=3))
    return home


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def config(work: Path, folders: Path, **changes: Any) -> TrainReconstructorConfig:
    settings: dict[str, Any] = {
        "kind": "reconstructor",
        "card": {"name": "toy", "coils": [2, 8]},
        "work": work,
        "architecture": ARCHITECTURE,
        "data": {
            "train": [folders / "train"],
            "validation": [folders / "val"],
            "validation_slices": 1,
            "sampling": [{"acceleration": 4, "centre_fraction": 0.15}],
            "rows": [16, None],
        },
        "optimiser": {"warmup_steps": 2, "accumulate": 2, "ema": 0.9, "weight_decay": 0.0},
        "budget": {"steps": 4},
        "half": False,
    }
    return TrainReconstructorConfig(**{**settings, **changes})


def test_a_resumed_training_gives_the_same_bits(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = train(config(tmp_path / "straight", folders))
    whole = TrainingState.train_step

    def interrupted(state: TrainingState) -> float:
        if state.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(state)

    monkeypatch.setattr(TrainingState, "train_step", interrupted)
    with pytest.raises(Interrupted, match=r"step 3"):
        train(config(tmp_path / "broken", folders))
    monkeypatch.undo()
    resumed = train(config(tmp_path / "broken", folders))
    for name in (straight.name, "checkpoint.safetensors"):
        first, second = load_file(straight.parent / name), load_file(resumed.parent / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert {path.name for path in resumed.parent.glob("*.png")} == {"loss.png", "slices.png"}

    card = read_card(resumed)
    assert isinstance(card, ReconstructorCard)
    assert card.training["steps"] == 4
    assert set(card.training["held_out"]["equispaced_fraction R 4"]) == {"ssim", "psnr_db", "nmse"}
    assert card.patterns == ("equispaced",)
    assert card.acceleration[0] < 4 < card.acceleration[1]
    model = load_model(resumed)
    assert isinstance(model, Reconstructor)
    with pytest.raises(ConfigError, match="belongs to a training of another"):
        train(config(tmp_path / "broken", folders, seed=1))


def test_it_learns(tmp_path: Path, folders: Path) -> None:
    """The last convolution starts at zero, so the first model is zero filling; a few steps must beat it."""
    settings = {"warmup_steps": 5, "ema": 0.5, "learning_rate": 3e-3, "weight_decay": 0.0}
    found = []
    for steps in (1, 60):
        work = tmp_path / str(steps)
        card = read_card(train(config(work, folders, optimiser=settings, budget={"steps": steps})))
        found.append(card.training["held_out"]["equispaced_fraction R 4"])
    assert found[1]["ssim"] > found[0]["ssim"] + 0.04
    assert found[1]["psnr_db"] > found[0]["psnr_db"] + 0.25


def test_the_other_networks_train_by_the_same_configuration(tmp_path: Path, folders: Path) -> None:
    for architecture in (
        {"kind": "unet_completion", "filters": 4, "pools": 2},
        {"kind": "varnet", "cascades": 1, "features": [4] * 6, "map_features": [4] * 6},
    ):
        work = tmp_path / str(architecture["kind"])
        model = load_model(train(config(work, folders, architecture=architecture, budget={"steps": 1})))
        assert model.card.architecture == architecture


def test_faults(tmp_path: Path, folders: Path) -> None:
    shared = {**config(tmp_path, folders).data.model_dump(), "validation": [folders / "train"]}
    with pytest.raises(ConfigError, match="keep the volumes apart"):
        train(config(tmp_path, folders, data=shared))
    for name in ("train-mri-recurrent-varnet", "train-mri-varnet", "train-mri-unet"):
        assert read_training(name, ["budget.steps=7"]).budget.steps == 7
    with pytest.raises(ConfigError) as caught:
        read_training("train-mri-unet", ["data.sampling=[]", "percentile=2", "card.colour=red"])
    assert all(key in str(caught.value) for key in ("data.sampling", "percentile", "card.colour"))
