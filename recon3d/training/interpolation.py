"""The training of interpolators: clean cubes from noisy ones and the traces that were observed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from operators.seismic import MASK_FAMILIES, trace_mask
from recon3d.priors.cards import InterpolatorCard
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.files import save_model
from recon3d.priors.interpolator import Interpolator, network_of
from recon3d.priors.networks import channels_last
from recon3d.training.cubes import STEP, CubePatches, prepare_cubes
from recon3d.training.interpolation_config import InterpolatorConfig
from recon3d.training.loop import run_training
from recon3d.training.loss import draw_sigma
from recon3d.training.sheets import draw_loss
from recon3d.training.state import Say, TrainingState

VALIDATED_SHARE = 0.5
"""Of the traces, missing in the validation."""


def train_interpolator(config: InterpolatorConfig, *, resume: bool = True) -> Path:
    """Train an interpolator and return its model file, ``<work>/<name>.safetensors``; see `run_training`."""
    return run_training(config, lambda say, rank, world: Interpolation(config, say, rank, world), resume=resume)


class Interpolation:
    """Squared error on the samples nobody observed, weighted by noise level; see `recon3d.training.state.Objective`."""

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
            self.network: EDMDenoiser = network_of(_card(config))  # type: ignore[assignment]

    def batch(self, step: int, part: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cubes, live samples, noise of unit variance and its level."""
        cubes, live = self.patches.batch(step, part)
        random = np.random.default_rng([self.config.seed, step, 3, part])
        sigma = draw_sigma(self.config.noise, len(cubes), random)
        noise = torch.randn(cubes.shape, generator=torch.Generator().manual_seed(int(random.integers(2**63))))
        return tuple(tensor.to(self.device) for tensor in (cubes, live, noise, sigma))  # type: ignore[return-value]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        cubes, live, noise, sigma = batch
        noisy = cubes + sigma[:, None, None, None] * noise
        condition = torch.stack([live * cubes, live], dim=1)
        error = self.network(noisy[:, None], sigma, condition)[:, 0] - cubes
        weight = self.network.loss_weight(sigma)[:, 0] * (1 - live)
        return (weight * error.square()).sum() / (1 - live).sum()

    def export(self, state: TrainingState, say: Say) -> None:
        config = self.config
        network: nn.Module = network_of(_card(config))
        network.load_state_dict(state.averaged())
        network = channels_last(network.eval().requires_grad_(False).to(state.device))
        table = self._validate(Interpolator(_card(config), network, half=config.half))
        text = "  ".join(f"{family}: {snr:.2f}" for family, snr in table.items())
        say(f"held-out SNR in dB on missing traces, {VALIDATED_SHARE:.0%} of them, one call   {text}", step=state.step)
        record = {
            "steps": state.step,
            "minutes": round(state.elapsed_s / 60, 2),
            "held_out_snr_db": {family: round(snr, 2) for family, snr in table.items()},
            "recipe": config.model_dump(mode="json", exclude={"work", "card", "architecture", "device", "threads"}),
        }
        save_model(self.model, _card(config).model_copy(update={"training": record}), network)
        draw_loss(config.work / "log.jsonl", config.work / "loss.png")

    def _validate(self, model: Interpolator) -> dict[str, float]:
        """Signal over error on the missing traces of held-out cubes, the estimate being that of the first step."""
        table = {}
        sigma = self.config.noise.sigma_max
        for family in MASK_FAMILIES:
            signal = error = 0.0
            for number, path in enumerate(self.held_out):
                cube = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32) * np.float32(STEP))
                mask = trace_mask(family, (cube.shape[0], cube.shape[1]), VALIDATED_SHARE, np.random.default_rng(number))
                live = torch.from_numpy(mask)[..., None].expand(cube.shape).float()
                cube, live = cube.to(model.device), live.to(model.device)
                noise = torch.randn(cube.shape, generator=torch.Generator().manual_seed(number)).to(model.device)
                condition = torch.stack([live * cube, live])[None]
                found = model.denoise((cube + sigma * noise)[None], sigma, condition)[0]
                gaps = 1 - live
                signal += float((gaps * cube).square().sum())
                error += float((gaps * (found - cube)).square().sum())
            table[family] = 10 * float(np.log10(signal / error))
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
