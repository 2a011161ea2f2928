"""The training of denoisers: noisy patches of a bank of volumes, at every noise level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from recon3d.errors import ConfigError
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.files import save_model
from recon3d.priors.networks import build_network
from recon3d.training.config import TrainConfig
from recon3d.training.data import Patches, held_out_slices, prepare_bank
from recon3d.training.loop import run_training
from recon3d.training.loss import denoising_loss, draw_sigma, pair_noise
from recon3d.training.sheets import draw_denoising, draw_loss, draw_samples, psnr_table
from recon3d.training.state import Say, TrainingState

SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def train_denoiser(config: TrainConfig, *, resume: bool = True) -> Path:
    """Train a 2D denoiser and return its model file, ``<work>/<name>.safetensors``.

    The folder `work` also keeps the bank, `denoising.png`, `samples.png` and what `run_training` writes; errors and
    resume are described there.
    """
    return run_training(config, lambda say, rank, world: Denoising(config, say, rank, world), resume=resume)


class Denoising:
    """Mean squared error of a denoiser, weighted by noise level; see `recon3d.training.state.Objective`."""

    def __init__(self, config: TrainConfig, say: Say, rank: int, world: int) -> None:
        self.config = config
        self.fingerprint = _fingerprint(config)
        self.model = config.work / f"{config.card.name}.safetensors"
        self.device = torch.device(config.device)
        bank, card = config.work / "bank", config.card
        channels = 2 if card.complex_image else 1
        settings = (config.data, _card(config).normalization, card.units, bank, say)
        if rank == 0:
            prepare_bank(*settings, complex_image=card.complex_image)
        if world > 1:
            dist.barrier()
        sources = prepare_bank(*settings, complex_image=card.complex_image)
        self.summary = f"bank of {sum(len(files) for files in sources)} volumes"
        held_out, sources[0] = sources[0][-config.data.held_out :], sources[0][: -config.data.held_out]
        if not sources[0]:
            raise ConfigError(
                f"Expected more than {config.data.held_out} volumes in the first source, all are held out."
            )
        self.patches = Patches(sources, config.data, config.seed, channels)
        self.validation = held_out_slices(held_out, *config.data.validation, channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = build_network(config.architecture)
        self.network = EDMDenoiser(network, config.sigma_data, config.mean)

    def batch(self, step: int, part: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images, noise of unit variance and its level."""
        images = self.patches.batch(step, part).to(self.device)
        random = np.random.default_rng([self.config.seed, step, 3, part])
        sigma = draw_sigma(self.config.noise, len(images), random).to(self.device)
        generator = torch.Generator().manual_seed(int(random.integers(2**63)))
        noise = torch.randn(images.shape, generator=generator).to(self.device)
        return images, pair_noise(images, noise) if self.config.noise.immiscible else noise, sigma

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return denoising_loss(self.network, *batch)

    def averaged(self, state: TrainingState) -> EDMDenoiser:
        """A denoiser with the EMA weights."""
        config = self.config
        denoiser = EDMDenoiser(build_network(config.architecture), config.sigma_data, config.mean)
        denoiser.load_state_dict(state.averaged())
        return denoiser.eval().requires_grad_(False).to(state.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def export(self, state: TrainingState, say: Say) -> None:
        config = self.config
        denoiser = self.averaged(state)
        images = self.validation.to(state.device)
        table = psnr_table(denoiser, images, SIGMAS, state.compute_dtype)
        text = "  ".join(f"{sigma:g}: {psnr:.2f}" for sigma, psnr in table.items())
        say("held-out PSNR in dB (range 1) by sigma   " + text, step=state.step)
        record = {
            "steps": state.step,
            "minutes": round(state.elapsed_s / 60, 2),
            "held_out_psnr_db": {f"{sigma:g}": round(psnr, 2) for sigma, psnr in table.items()},
            "recipe": config.model_dump(mode="json", exclude={"work", "card", "architecture", "device", "threads"}),
        }
        card = _card(config).model_copy(update={"training": record})
        save_model(self.model, card, denoiser)
        draw_loss(config.work / "log.jsonl", config.work / "loss.png")
        draw_denoising(denoiser, images, config.work / "denoising.png", state.compute_dtype, config.window)
        draw_samples(
            denoiser,
            config.noise.sigma_min,
            config.noise.sigma_max,
            config.work / "samples.png",
            state.compute_dtype,
            window=config.window,
            channels=images.shape[1],
            seed=config.seed,
            side=config.data.validation[1],
            device=state.device,
        )


def _card(config: TrainConfig) -> Card:
    return Card(
        **config.card.model_dump(),
        sigma_min=config.noise.sigma_min,
        sigma_max=config.noise.sigma_max,
        sigma_data=config.sigma_data,
        mean=config.mean,
        architecture=config.architecture,
    )


def _fingerprint(config: TrainConfig) -> str:
    """What a resumed training must share with its beginning; budgets may be lengthened."""
    settings = config.model_dump(mode="json", exclude={"work", "budget", "threads", "device", "card"})
    settings["data"].pop("workers")
    settings["data"].pop("validation")
    return json.dumps(settings, sort_keys=True)
