"""The typed configuration of a training; every field has a unit or a range, unknown keys are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from recon3d.config import Section


class SyntheticSource(Section):
    """Volumes drawn by a generator ``f(shape, voxel_mm, seed) -> Volume``, by its name in `recon3d.training.data`."""

    kind: Literal["synthetic"] = "synthetic"
    generator: str = "anatomical-ct"
    count: int = Field(default=200, ge=1)
    shape: tuple[int, int, int] = (24, 192, 192)
    voxel_mm: tuple[float, float] = (1.0, 4.0)  # pixel side, log-uniform between these
    slice_mm: tuple[float, float] = (2.0, 10.0)
    first_seed: int = Field(default=0, ge=0)


class FolderSource(Section):
    """Files that recon3d.io reads (NIfTI, HDF5, DICOM folders): every match of `pattern` below `path` is a volume."""

    kind: Literal["folder"]
    path: Path
    pattern: str = "*.nii.gz"


class Data(Section):
    """Which volumes are seen, and how patches are cut out of them and varied."""

    sources: tuple[SyntheticSource | FolderSource, ...] = (SyntheticSource(),)
    held_out: int = Field(default=8, ge=1)  # volumes of the first source kept for validation
    validation: tuple[int, int] = (32, 128)  # (slices, side) of the held-out images; also of the pictures
    workers: int = Field(default=1, ge=1)  # processes that fill the bank
    patches: tuple[tuple[int, int], ...] = ((64, 16),)  # (side, batch); each step draws one of them
    zoom: tuple[float, float] = (0.85, 1.2)
    zoom_share: float = Field(default=0.3, ge=0, le=1)
    scale: tuple[float, float] = (0.95, 1.05)  # factor on the normalised values
    flip_rows: bool = True
    flip_columns: bool = True
    transpose: bool = True
    turned_share: float = Field(default=0.0, ge=0, le=1)  # of complex patches, given a global phase at random
    empty_share: float = Field(default=0.05, ge=0, le=1)  # of the patches that are nearly constant, keep this share


class Noise(Section):
    """The noise levels a denoiser is trained at, in the range of the card."""

    sigma_min: float = Field(default=0.004, gt=0)
    sigma_max: float = Field(default=8.0, gt=0)
    middle: tuple[float, float] = (0.03, 1.0)  # drawn more often, with probability middle_share
    middle_share: float = Field(default=0.3, ge=0, le=1)
    immiscible: bool = False  # pair noise and images by linear assignment


class Optimiser(Section):
    """AdamW with a warm-up, a decaying rate and an average of the weights."""

    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    decay: Literal["cosine", "linear", "sqrt", "none"] = "cosine"
    clip: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    ema: float = Field(default=0.999, ge=0, lt=1)


class Budget(Section):
    """Training ends at `steps`, or after `minutes` of training when given; the decay follows whichever is nearer."""

    steps: int = Field(default=20000, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    checkpoint_s: float = Field(default=300.0, gt=0)
    validate_s: float = Field(default=900.0, gt=0)


class CardText(Section):
    """What the card of the trained model says; see recon3d.priors.Card."""

    name: str
    summary: str = ""
    modality: str = "CT"
    units: str = "HU"
    scale: float = Field(default=2000.0, gt=0)
    offset: float = -1000.0
    range: tuple[float, float] = (0.0, 1.2)
    voxel_mm: tuple[float, float] = (1.0, 4.0)
    orientation: Literal["axial", "coronal", "sagittal", "any"] = "axial"
    smallest_side: int = Field(default=16, ge=1)
    complex_image: bool = False
    licence: str = "Apache-2.0"


class TrainingSettings(Section):
    """What every training is told: network, optimiser, budget, place."""

    task: Literal["train"] = "train"
    description: str = ""
    work: Path
    architecture: dict[str, Any]
    optimiser: Optimiser = Optimiser()
    budget: Budget = Budget()
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    device: str = "cpu"
    half: bool = True


class TrainConfig(TrainingSettings):
    """The training of a denoiser: `recon3d train CONFIG`."""

    kind: Literal["denoiser"] = "denoiser"
    card: CardText
    architecture: dict[str, Any] = Field(default_factory=lambda: {"kind": "unet2d"})
    sigma_data: float = Field(default=0.25, gt=0)
    mean: float = 0.25
    window: tuple[float, float] = (0.35, 0.65)  # normalised values (magnitudes) from black to white in the pictures
    data: Data = Data()
    noise: Noise = Noise()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.noise.sigma_min >= self.noise.sigma_max:
            raise ValueError("noise.sigma_min must be below noise.sigma_max")
        wanted = 2 if self.card.complex_image else 1
        if self.architecture.get("image_channels", 1) != wanted:
            raise ValueError(f"architecture.image_channels must be {wanted}, as card.complex_image says")
        return self
