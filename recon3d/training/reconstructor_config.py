"""The configuration of a training of a reconstructor, `kind: reconstructor`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from recon3d.config import Section
from recon3d.training.config import TrainingSettings


class ReconstructorCardText(Section):
    """What the card says that the data do not; see recon3d.priors.reconstructor_card."""

    name: str
    summary: str = ""
    modality: str = "MRI"
    voxel_mm: tuple[float, float] | None = None
    coils: tuple[int, int] = (4, 32)
    licence: str = "Apache-2.0"


class SamplingChoice(Section):
    """One way to undersample; each step draws one of them."""

    acceleration: float = Field(gt=1)
    centre_fraction: float = Field(gt=0, lt=1)
    pattern: Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"] = "equispaced_fraction"


class KSpaceData(Section):
    """Folders of fully sampled files in fastMRI's layout; masks are drawn anew each time a slice is seen."""

    train: tuple[Path, ...] = Field(min_length=1)
    validation: tuple[Path, ...] = Field(min_length=1)
    validation_slices: int = Field(default=4, ge=1)  # of each volume, around its middle
    sampling: tuple[SamplingChoice, ...] = Field(min_length=1)
    rows: tuple[int | None, ...] = (None,)  # each step takes a band of so many rows, or (null) all of them
    flip: bool = True  # both in-plane axes, where target and k-space have the same size


class LossWeights(Section):
    """Weights of the mean absolute error and of 1 - SSIM."""

    l1: float = Field(default=1.0, ge=0)
    ssim: float = Field(default=1.0, ge=0)


class TrainReconstructorConfig(TrainingSettings):
    """The training of a feed-forward network for multi-coil MRI."""

    kind: Literal["reconstructor"]
    card: ReconstructorCardText
    percentile: float = Field(default=0.99, gt=0, le=1)
    data: KSpaceData
    loss: LossWeights = LossWeights()
