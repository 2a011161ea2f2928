"""Training of interpolators: a bank with masks and guesses, patches, a loss in dB, a model that can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon3d.errors import ConfigError
from recon3d.priors import load_model
from recon3d.priors.interpolator import Interpolator
from recon3d.training import train
from recon3d.training.cubes import CubePatches, prepare_cubes, read_cube
from recon3d.training.interpolation import Interpolation
from recon3d.training.interpolation_config import CubeData, InterpolatorConfig
from recon3d.training.kinds import read_training

DATA = CubeData(count=4, shape=(12, 12, 16), survey=(16, 16), held_out=1, patches=((8, 8, 16, 2), (12, 12, 16, 1)))
ARCHITECTURE = {"kind": "unet3d", "channels": [8, 8], "fold": [2, 2, 2], "embedding": 8}


def config(work: Path, steps: int = 4) -> InterpolatorConfig:
    return InterpolatorConfig(
        kind="interpolator", card={"name": "tiny"}, work=work, architecture=ARCHITECTURE, data=DATA, half=False,
        optimiser={"warmup_steps": 0}, budget={"steps": steps},
    )  # type: ignore[arg-type] # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    prepare_cubes(DATA, folder / "bank", lambda _: None)
    return folder


def test_cubes_have_unit_size_on_their_live_traces_and_a_guess_that_keeps_them(bank: Path) -> None:
    for path in prepare_cubes(DATA, bank / "bank"):
        cube, guess, live = read_cube(path)
        assert np.sqrt(np.mean(cube[live] ** 2)) == pytest.approx(1, rel=1e-2)
        np.testing.assert_allclose(guess[live], cube[live], atol=1e-3)
        assert 0 < live.mean() < 1


def test_patches_depend_on_their_key_alone_and_move_together(bank: Path) -> None:
    patches = CubePatches(prepare_cubes(DATA, bank / "bank"), DATA, seed=3)
    first, again = patches.batch(5), patches.batch(5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for step in range(12):
        cubes, guesses, live = patches.batch(step)
        assert (live.flatten(1).mean(1) < 1).all()
        recorded = live > 0
        torch.testing.assert_close(guesses[recorded], cubes[recorded], atol=5e-3, rtol=1e-3)


def test_loss_of_the_guess_is_zero_and_observed_samples_do_not_count(bank: Path) -> None:
    task = Interpolation(config(bank), lambda *_, **__: None, 0, 1)
    cubes, guesses, live, noise, sigma = task.batch(0, 0)
    far = torch.full_like(sigma, 1e6)  # so much noise that an untrained network answers the guess
    with torch.no_grad():
        assert float(task.loss((cubes, guesses, live, noise, far)).abs()) < 1e-3
        a = task.loss((cubes, guesses, live, 0 * noise, sigma))
        b = task.loss((cubes + live * 5, guesses + live * 5, live, 0 * noise, sigma))
    assert abs(float(a - b)) < 0.05  # the shown traces change, the errors that count do not


def test_trains_and_is_loaded_and_asked(bank: Path) -> None:
    path = train(config(bank))
    model: Any = load_model(path)
    assert isinstance(model, Interpolator)
    assert model.card.training["steps"] == 4
    assert set(model.card.training["held_out_snr_db"]) == {"random", "regular", "gap", "lines", "block"}
    again = Interpolation(config(bank).model_copy(update={"start": str(path)}), lambda *_, **__: None, 0, 1)
    wanted, found = model.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    x = torch.zeros(1, 10, 9, 13)  # sides that are no multiples are padded and cropped
    assert model.denoise(x, 1.0, torch.zeros(1, 2, 10, 9, 13)).shape == x.shape


def test_untrained_answers_the_guess() -> None:
    from recon3d.priors.cards import InterpolatorCard
    from recon3d.priors.interpolator import network_of

    ranges = {"sigma_min": 0.03, "sigma_max": 3.0, "sigma_data": 1e-4}
    card = InterpolatorCard(name="t", modality="seismic", architecture=ARCHITECTURE, licence="x", **ranges)
    model = Interpolator(card, network_of(card).eval(), half=False)
    guess = torch.randn(2, 4, 8, 6)
    cond = torch.stack([guess, torch.ones_like(guess)], dim=1)
    torch.testing.assert_close(model.denoise(torch.randn(2, 4, 8, 6), 3.0, cond), guess, atol=1e-5, rtol=0)
    assert model.configured(micro_batch=3).micro_batch == 3


def test_recipes_name_what_they_train() -> None:
    assert read_training("train-seismic-interpolator").kind == "interpolator"  # type: ignore[attr-defined]
    assert read_training("train-ct-prior").kind == "denoiser"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"kind 'interpolatr' cannot be trained \(did you mean 'interpolator'\?\)"):
        read_training("train-ct-prior", ["kind=interpolatr"])
    with pytest.raises(ConfigError, match="must fit into"):
        read_training("train-seismic-interpolator", ["data.shape=[8,8,8]"])
