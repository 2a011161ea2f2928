"""The training of interpolators: what a first guess of missing traces misses, from noisy versions of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from operators.seismic import MASK_FAMILIES, trace_mask
from recon3d.priors.cards import InterpolatorCard
from recon3d.priors.files import load_model, save_model
from recon3d.priors.interpolator import Interpolator, network_of
from recon3d.priors.networks import channels_last
from recon3d.solvers.gaps import first_guess
from recon3d.training.cubes import CubePatches, prepare_cubes, read_cube
from recon3d.training.interpolation_config import InterpolatorConfig
from recon3d.training.loop import run_training
from recon3d.training.loss import draw_sigma
from recon3d.training.sheets import draw_loss
from recon3d.training.state import Say, TrainingState

VALIDATED_SHARE = 0.5
"""Of the traces, missing in the validation."""
FLOOR = 0.01
"""Root mean square error, in units of the traces, below which nothing is gained: 40 dB."""


def train_interpolator(config: InterpolatorConfig, *, resume: bool = True) -> Path:
    """Train an interpolator and return its model file, ``<work>/<name>.safetensors``; see `run_training`."""
    return run_training(config, lambda say, rank, world: Interpolation(config, say, rank, world), resume=resume)


class Interpolation:
    """Squared error on the samples nobody recorded; see `recon3d.training.state.Objective`."""

    def __init__(self, config: InterpolatorConfig, say: Say, rank: int, world: int) -> None:
        self.config = config
        exclude = {"work", "budget", "threads", "device", "card"}
        self.fingerprint = json.dumps(config.model_dump(mode="json", exclude=exclude), sort_keys=True)
        self.model = config.work / f"{config.card.name}.safetensors"
        self.device = torch.device(config.device)
        if rank == 0:
            prepare_cubes(config.data, config.work / "bank", say)
        if world > 1:
            dist.barrier()
        files = prepare_cubes(config.data, config.work / "bank", say)
        self.summary = f"bank of {len(files)} cubes"
        self.patches = CubePatches(files[: -config.data.held_out], config.data, config.seed)
        self.held_out = files[-config.data.held_out :]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network: nn.Module = network_of(_card(config))
        if config.start is not None:
            self.network.load_state_dict(load_model(config.start).network.state_dict())

    def batch(self, step: int, part: int) -> tuple[Tensor, ...]:
        """Cubes, first guesses, live samples, noise of unit variance and its level."""
        cubes, guesses, live = self.patches.batch(step, part)
        random = np.random.default_rng([self.config.seed, step, 3, part])
        sigma = draw_sigma(self.config.noise, len(cubes), random)
        noise = torch.randn(cubes.shape, generator=torch.Generator().manual_seed(int(random.integers(2**63))))
        return tuple(tensor.to(self.device) for tensor in (cubes, guesses, live, noise, sigma))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The logarithm of the squared error on missing samples, relative to that of the guess: 0 for the guess itself.

        So a cube whose guess is nearly right counts as much as one with a wide gap: what grows is the mean SNR in dB.
        """
        cubes, guesses, live, noise, sigma = batch
        missed, gaps = cubes - guesses, 1 - live
        condition = torch.stack([guesses, live], dim=1)
        found = self.network((missed + sigma[:, None, None, None] * noise)[:, None], sigma, condition)[:, 0]
        count = gaps.sum((1, 2, 3))
        size = (gaps * missed.square()).sum((1, 2, 3)) / count
        error = (gaps * (found - missed).square()).sum((1, 2, 3)) / count
        return ((error + FLOOR**2) / (size + FLOOR**2)).log().mean()

    def export(self, state: TrainingState, say: Say) -> None:
        config = self.config
        network: nn.Module = network_of(_card(config))
        network.load_state_dict(state.averaged())
        network = channels_last(network.eval().requires_grad_(False).to(state.device))
        table = self._validate(Interpolator(_card(config), network, half=config.half))
        text = "  ".join(f"{family}: {guess:.2f} -> {found:.2f}" for family, (guess, found) in table.items())
        say(f"held-out SNR in dB on missing traces, {VALIDATED_SHARE:.0%}, guess -> one call   {text}", step=state.step)
        record = {
            "steps": state.step,
            "minutes": round(state.elapsed_s / 60, 2),
            "held_out_snr_db": {family: round(found, 2) for family, (_, found) in table.items()},
            "first_guess_snr_db": {family: round(guess, 2) for family, (guess, _) in table.items()},
            "recipe": config.model_dump(mode="json", exclude={"work", "card", "architecture", "device", "threads"}),
        }
        save_model(self.model, _card(config).model_copy(update={"training": record}), network)
        draw_loss(config.work / "log.jsonl", config.work / "loss.png")

    def _validate(self, model: Interpolator) -> dict[str, tuple[float, float]]:
        """Signal over error on the missing traces of held-out cubes in dB, of the guess and of the first estimate."""
        table = {}
        sigma = self.config.noise.sigma_max
        for family in MASK_FAMILIES:
            signal, error = 0.0, np.zeros(2)
            for number, path in enumerate(self.held_out):
                cube = torch.from_numpy(read_cube(path)[0])
                mask = trace_mask(
                    family, (cube.shape[0], cube.shape[1]), VALIDATED_SHARE, np.random.default_rng(number)
                )
                live = torch.from_numpy(mask)[..., None].float()
                guess = first_guess(live * cube, live)
                noise = torch.randn(cube.shape, generator=torch.Generator().manual_seed(number))
                condition = torch.stack([guess, live.expand_as(cube)])[None].to(model.device)
                noisy = (guess + sigma * noise)[None].to(model.device)  # as a sampler starts: nothing of the truth
                found = model.denoise(noisy, sigma, condition)[0].cpu()
                signal += float(((1 - live) * cube).square().sum())
                error += np.array([float(((1 - live) * (image - cube)).square().sum()) for image in (guess, found)])
            table[family] = tuple(10 * np.log10(signal / error))
        return table


def _card(config: InterpolatorConfig) -> InterpolatorCard:
    return InterpolatorCard(
        **config.card.model_dump(),
        sigma_min=config.noise.sigma_min,
        sigma_max=config.noise.sigma_max,
        sigma_data=config.sigma_data,
        smallest_side=1,
        architecture=config.architecture,
    )
