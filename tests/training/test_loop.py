"""The loop: it learns, it resumes to the same bits, it stops when told, it says what is wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from recon3d.config import load_config
from recon3d.errors import ConfigError, InputError, Interrupted
from recon3d.grid import AffineGrid
from recon3d.priors import load_model
from recon3d.priors.edm import EDMDenoiser
from recon3d.training import train
from recon3d.training.config import Noise, TrainConfig
from recon3d.training.data import GENERATORS
from recon3d.training.denoising import Denoising
from recon3d.training.loss import denoising_loss, draw_sigma, pair_noise
from recon3d.training.state import TrainingState
from recon3d.volume import Volume


def discs(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """A generator for tests: six discs in each slice."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    data = np.full(shape, -1000.0, np.float32)
    for image in data:
        for _ in range(6):
            inside = (y - random.uniform(0, shape[1])) ** 2 + (x - random.uniform(0, shape[2])) ** 2 < 60
            image[inside] = random.uniform(-200, 900)
    return Volume(data, AffineGrid.centred(shape, voxel_mm), "HU")


def _config(work: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "card": {"name": "toy"},
        "work": work,
        "architecture": {"kind": "unet2d", "channels": [16, 32], "embedding": 16, "detail": True},
        "data": {
            "sources": [{"generator": "discs", "count": 4, "shape": [3, 40, 48]}],
            "held_out": 1,
            "validation": [4, 32],
            "patches": [[16, 4], [32, 2]],
        },
        "optimiser": {"warmup_steps": 2, "accumulate": 2, "ema": 0.9},
        "budget": {"steps": 6},
        "half": False,
    }
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(autouse=True)
def _generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "discs", f"{__name__}:discs")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_resumed_training_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = train(_config(tmp_path / "straight"))

    whole = TrainingState.train_step

    def interrupted(state: TrainingState) -> float:
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(state)

    monkeypatch.setattr(TrainingState, "train_step", interrupted)
    with pytest.raises(Interrupted, match=r"step 4"):
        train(_config(tmp_path / "broken"))
    monkeypatch.undo()
    resumed = train(_config(tmp_path / "broken"))

    for name in (straight.name, "checkpoint.safetensors"):
        first, second = load_file(straight.parent / name), load_file(resumed.parent / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    card = load_model(resumed).card
    assert card.training["steps"] == 6
    assert set(card.training["held_out_psnr_db"]) >= {"0.01", "1"}
    assert {path.name for path in resumed.parent.glob("*.png")} == {"loss.png", "denoising.png", "samples.png"}


@pytest.mark.parametrize("half", [False, True])
def test_it_learns(tmp_path: Path, half: bool) -> None:
    """Loss 1 is a network that answers nothing; the model must beat the best constant answer and the noisy image."""
    settings = {"warmup_steps": 5, "ema": 0.9, "learning_rate": 5e-3}
    model = load_model(train(_config(tmp_path, optimiser=settings, budget={"steps": 250}, half=half)))
    psnr = model.card.training["held_out_psnr_db"]
    assert psnr["0.1"] > 21.5  # the noisy image has 20
    assert psnr["0.5"] > 14  # the best constant has 10, the noisy image 6


def test_the_loss_of_a_silent_network_is_one() -> None:
    class Silent(torch.nn.Module):
        detail = False

        def forward(self, x: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    random = torch.Generator().manual_seed(0)
    images = 0.25 + 0.25 * torch.randn((64, 1, 16, 16), generator=random)
    noise = torch.randn(images.shape, generator=random)
    sigma = torch.logspace(-2, 1, 64)
    assert denoising_loss(EDMDenoiser(Silent(), 0.25, 0.25), images, noise, sigma).item() == pytest.approx(1, rel=0.03)


def test_sigma_covers_its_range_and_favours_the_middle() -> None:
    sigma = draw_sigma(Noise(), 20000, np.random.default_rng(0)).numpy()
    assert 0.004 <= sigma.min() < 0.0045
    assert 7.5 < sigma.max() <= 8.0
    share = np.log(1.0 / 0.03) / np.log(8.0 / 0.004)
    inside = np.mean((sigma > 0.03) & (sigma < 1.0))
    assert inside == pytest.approx(0.3 + 0.7 * share, abs=0.015)


def test_paired_noise_is_the_nearest_permutation() -> None:
    from itertools import permutations

    images, noise = torch.randn((2, 5, 1, 3, 3), generator=torch.Generator().manual_seed(0)).unbind()
    costs = [float((images - noise[list(order)]).square().sum()) for order in permutations(range(5))]
    assert float((images - pair_noise(images, noise)).square().sum()) == pytest.approx(min(costs))


def test_decay_follows_the_nearer_budget(tmp_path: Path) -> None:
    config = _config(tmp_path, budget={"steps": 100, "minutes": 10.0}, optimiser={"warmup_steps": 0})
    state = TrainingState(Denoising(config, lambda *_: None, 0, 1), config)
    for step, elapsed_s, progress in ((0, 0.0, 0.0), (50, 60.0, 0.5), (1, 450.0, 0.75), (1, 700.0, 7 / 6)):
        state.step, state.elapsed_s = step, elapsed_s
        assert state.progress == pytest.approx(progress)
        assert state.learning_rate == pytest.approx(2e-3 * np.cos(np.pi / 2 * min(progress, 1)) ** 2, abs=1e-9)
    assert state.done


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(_config(tmp_path, budget={"steps": 1}))
    with pytest.raises(ConfigError, match=r"belongs to a training of another"):
        train(_config(tmp_path, seed=1))
    train(_config(tmp_path, budget={"steps": 2}))  # a longer budget is no other configuration
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cannot be read"):
        train(_config(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite at step"):
        train(_config(tmp_path, optimiser={"learning_rate": 1e30, "warmup_steps": 0}))


def test_too_few_volumes_are_refused(tmp_path: Path) -> None:
    config = _config(tmp_path)
    with pytest.raises(ConfigError, match=r"more than 4 volumes"):
        train(config.model_copy(update={"data": config.data.model_copy(update={"held_out": 4})}))


def test_recipes_are_valid_and_faults_come_all_at_once() -> None:
    assert load_config(TrainConfig, "train-ct-prior", ["budget.steps=7"]).budget.steps == 7
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, "train-ct-prior", ["budget.steps=0", "colour=red", "noise.sigma_min=small"])
    assert all(key in str(caught.value) for key in ("budget.steps", "colour", "noise.sigma_min"))
    with pytest.raises(ConfigError, match=r"below noise.sigma_max"):
        load_config(TrainConfig, "train-ct-prior", ["noise.sigma_min=9.0"])


def waves(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """A generator for tests: complex waves."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    turns = random.uniform(0.1, 0.3, (shape[0], 2))
    data = np.stack([np.exp(1j * (a * y + b * x)) for a, b in turns]).astype(np.complex64)
    return Volume(data, AffineGrid.centred(shape, voxel_mm), "1")


def test_complex_images_give_a_complex_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "waves", f"{__name__}:waves")
    base = _config(tmp_path)
    changes: dict[str, Any] = {
        "card": {"name": "toy", "units": "1", "scale": 2.0, "offset": 0.0, "complex_image": True},
        "mean": 0.0,
        "data": {
            **base.data.model_dump(exclude={"sources"}),
            "sources": [{"generator": "waves", "count": 3, "shape": [2, 32, 32]}],
        },
    }
    with pytest.raises(ValidationError, match="image_channels must be 2"):
        _config(tmp_path, **changes)
    model = load_model(train(_config(tmp_path, **changes, architecture={**base.architecture, "image_channels": 2})))
    assert model.card.complex_image
    answer = model.denoise(torch.ones(2, 20, 20, dtype=torch.complex64), 0.1)
    assert answer.dtype == torch.complex64
