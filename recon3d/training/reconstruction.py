"""The training of reconstructors: undersampled slices in, root sums of squares out, L1 and SSIM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.fourier import centred_ifft
from operators.mri.coils import rss
from operators.mri.sampling import column_mask, describe_mask
from recon3d.errors import ConfigError
from recon3d.evaluation.fastmri import centre_crop, score
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.files import save_model
from recon3d.priors.networks import build_network
from recon3d.priors.reconstructor import Reconstructor, kspace_scale, network_masks
from recon3d.training.kspace import Examples, KSpaceSlices, read_slice, undersampled
from recon3d.training.loop import run_training
from recon3d.training.reconstructor_config import SamplingChoice, TrainReconstructorConfig
from recon3d.training.sheets import draw_loss, draw_sheet
from recon3d.training.similarity import ssim
from recon3d.training.state import Say, TrainingState

WIDTHS = (96, 128, 160, 256, 320, 372)
"""Numbers of columns for which the card states what the masks of the training come to."""


def train_reconstructor(config: TrainReconstructorConfig, *, resume: bool = True) -> Path:
    """Train a feed-forward network and return its model file; the folder `work` also keeps `slices.png` and what
    `run_training` writes; errors and resume are described there."""
    return run_training(config, lambda say, rank, world: Reconstruction(config), resume=resume)


class Reconstruction:
    """L1 + (1 - SSIM) of magnitudes, one slice a batch; see `recon3d.training.state.Objective`."""

    def __init__(self, config: TrainReconstructorConfig) -> None:
        self.config = config
        self.device = torch.device(config.device)
        self.model = config.work / f"{config.card.name}.safetensors"
        slices, held_out = KSpaceSlices(config.data.train), KSpaceSlices(config.data.validation)
        shared = sorted({path.resolve() for path in slices.files} & {path.resolve() for path in held_out.files})
        if shared:
            raise ConfigError(f"{shared[0].name} is in data.train and in data.validation: keep the volumes apart.")
        self.held_out = held_out
        self.examples = Examples(slices, config.data, config.seed)
        self.summary = f"{len(slices)} slices of {len(slices.files)} volumes"
        self.fingerprint = _fingerprint(config, slices)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = build_network(config.architecture)

    def batch(self, step: int, part: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """K-space (1, coil, ky, kx), mask, calibration region, target (1, y, x), in units of the slice's own scale."""
        example = self.examples.example(step, part)
        scale = kspace_scale(example.kspace, self.config.percentile)
        kspace, target = (example.kspace / scale)[None], (example.target / scale)[None]
        masks = network_masks(example.mask, kspace.shape[-2:])
        return tuple(x.to(self.device) for x in (kspace, *masks, target))  # type: ignore[return-value]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        kspace, mask, calibration, target = batch
        found = self.network(kspace, mask, calibration)
        with torch.autocast(self.device.type, enabled=False):
            image = magnitude(found, target.shape[-2:])
            l1 = (image - target).abs().mean()
            similarity = ssim(image, target, target.amax())
        return self.config.loss.l1 * l1 + self.config.loss.ssim * (1 - similarity)

    def export(self, state: TrainingState, say: Say) -> None:
        network = build_network(self.config.architecture)
        network.load_state_dict(state.averaged())
        network.eval().requires_grad_(False).to(state.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        reconstructor = Reconstructor(_card(self.config), network, half=self.config.half)
        table, rows = self.validate(reconstructor)
        for name, row in table.items():
            say(f"held out, {name}   " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()), step=state.step)
        record = {
            "steps": state.step,
            "minutes": round(state.elapsed_s / 60, 2),
            "data": self.summary,
            "held_out": table,
            "recipe": self.config.model_dump(
                mode="json", include={"percentile", "loss", "optimiser", "budget", "seed"}
            ),
            "sampling": [choice.model_dump(mode="json") for choice in self.config.data.sampling],
        }
        save_model(self.model, reconstructor.card.model_copy(update={"training": record}), network)
        draw_loss(self.config.work / "log.jsonl", self.config.work / "loss.png", "L1 + 1 - SSIM")
        labels = ["target", *(f"R {choice.acceleration:g}" for choice in self.config.data.sampling)]
        draw_sheet(self.config.work / "slices.png", rows, labels, (0.0, 1.0))

    def validate(self, reconstructor: Reconstructor) -> tuple[dict[str, dict[str, float]], list[list[Tensor]]]:
        """fastMRI's metrics, means over volumes, by sampling; rows of panels of the first slices, scaled to 1.

        Masks are those that fastMRI draws from the name of a file.
        """
        choices = self.config.data.sampling
        scores: dict[str, list[dict[str, float]]] = {_named(choice): [] for choice in choices}
        rows: list[list[Tensor]] = [[] for _ in (None, *choices)]
        for path, count in zip(self.held_out.files, self.held_out.counts, strict=True):
            used = min(count, self.config.data.validation_slices)
            first = (count - used) // 2
            full = [read_slice(path, index) for index in range(first, first + used)]
            targets = np.stack([target.numpy() for _, target in full])
            peak = float(targets.max())
            rows[0].append(torch.from_numpy(targets[0]) / peak)
            for choice, row in zip(choices, rows[1:], strict=True):
                images = []
                for kspace, target in full:
                    sampled, mask = (x.to(self.device) for x in undersampled(kspace, choice, path.name))
                    with torch.no_grad():
                        found = reconstructor.complete(sampled, mask)
                    images.append(magnitude(found[None], target.shape)[0].cpu().numpy())
                official = score(np.stack(images), targets).official
                kept = {"ssim": official.ssim, "psnr_db": official.psnr_db, "nmse": official.nmse}
                scores[_named(choice)].append(kept)
                row.append(torch.from_numpy(images[0]) / peak)
        table = {
            name: {key: round(float(np.mean([volume[key] for volume in volumes])), 5) for key in volumes[0]}
            for name, volumes in scores.items()
        }
        return table, [row[:6] for row in rows]


def magnitude(kspace: Tensor, size: Any) -> Tensor:
    """Root sum of squares of the coil images of k-space (batch, coil, ky, kx), cropped to the target's (y, x)."""
    image = rss(centred_ifft(kspace), 1)
    return centre_crop(image, tuple(size))  # type: ignore[arg-type,return-value]


def _named(choice: SamplingChoice) -> str:
    return f"{choice.pattern} R {choice.acceleration:g}"


def _card(config: TrainReconstructorConfig) -> ReconstructorCard:
    """The card; what the masks of the training come to is measured, with a margin of a twentieth."""
    seen = [
        describe_mask(column_mask(width, choice.acceleration, choice.centre_fraction, choice.pattern, seed)[None])
        for choice in config.data.sampling
        for width in WIDTHS
        for seed in range(8)
    ]
    network: Any = build_network(config.architecture)
    return ReconstructorCard(
        **config.card.model_dump(),
        percentile=config.percentile,
        patterns=tuple(sorted({sampling.pattern for sampling in seen})),
        acceleration=_range([sampling.acceleration for sampling in seen]),
        centre=_range([sampling.centre for sampling in seen]),
        smallest_side=network.smallest_side,
        architecture=config.architecture,
    )


def _range(values: list[float]) -> tuple[float, float]:
    return round(min(values) / 1.05, 3), round(max(values) * 1.05, 3)


def _fingerprint(config: TrainReconstructorConfig, slices: KSpaceSlices) -> str:
    """What a resumed training must share with its beginning; budgets may be lengthened, folders may move."""
    settings = config.model_dump(mode="json", exclude={"work", "budget", "threads", "device", "card", "description"})
    settings["data"].pop("validation")
    settings["data"].pop("validation_slices")
    settings["data"]["train"] = [[path.name, count] for path, count in zip(slices.files, slices.counts, strict=True)]
    return json.dumps(settings, sort_keys=True)
