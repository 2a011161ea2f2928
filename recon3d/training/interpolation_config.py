"""The configuration of a training of an interpolator of seismic cubes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from operators.seismic import MASK_FAMILIES
from recon3d.config import Section
from recon3d.training.config import Noise, TrainingSettings


class CubeData(Section):
    """Drawn cubes (`recon3d.synthetic.seismic`), each with a mask, and a first guess in its gaps; cut into patches."""

    count: int = Field(default=400, ge=2)
    shape: tuple[int, int, int] = (48, 48, 64)  # (crossline, inline, sample)
    survey: tuple[int, int] = (64, 64)  # (crossline, inline) of the masks, of which a cube sees a part
    first_seed: int = Field(default=0, ge=0)
    held_out: int = Field(default=10, ge=1)  # cubes kept for validation
    workers: int = Field(default=1, ge=1)  # processes that fill the bank
    patches: tuple[tuple[int, int, int, int], ...] = ((48, 48, 64, 2), (32, 32, 64, 4))  # (x, y, t, batch)
    missing: tuple[float, float] = (0.1, 0.8)  # share of traces that a mask hides, uniform
    masks: dict[str, float] = Field(default_factory=lambda: dict.fromkeys(MASK_FAMILIES, 1.0))  # shares of families
    scale: tuple[float, float] = (0.5, 2.0)  # factor on the cubes, log-uniform: a tile may be quieter than its cube


class InterpolatorText(Section):
    """What the card of the trained model says; see `recon3d.priors.cards.InterpolatorCard`."""

    name: str
    summary: str = ""
    modality: str = "seismic"
    licence: str = "Apache-2.0"


class InterpolatorConfig(TrainingSettings):
    """The training of an interpolator: `recon3d train CONFIG` with kind: interpolator."""

    kind: Literal["interpolator"]
    card: InterpolatorText
    architecture: dict[str, Any] = Field(default_factory=lambda: {"kind": "unet3d"})
    sigma_data: float = Field(default=0.5, gt=0)  # of what the first guess misses
    start: str | None = None  # a model whose weights the training begins with, by name or file
    data: CubeData = CubeData()
    noise: Noise = Noise(sigma_min=0.03, sigma_max=100.0, middle=(3.0, 100.0), middle_share=0.5)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.noise.sigma_min >= self.noise.sigma_max:
            raise ValueError("noise.sigma_min must be below noise.sigma_max")
        if self.data.held_out >= self.data.count:
            raise ValueError("data.held_out must be below data.count")
        if any(side > n for *sides, _ in self.data.patches for side, n in zip(sides, self.data.shape, strict=True)):
            raise ValueError("data.patches must fit into data.shape")
        if unknown := set(self.data.masks) - set(MASK_FAMILIES):
            raise ValueError(f"data.masks are {', '.join(MASK_FAMILIES)}, got {', '.join(sorted(unknown))}")
        if any(share < 0 for share in self.data.masks.values()) or sum(self.data.masks.values()) <= 0:
            raise ValueError("data.masks are shares: not negative, and one of them positive")
        if any(side > n for side, n in zip(self.data.shape[:2], self.data.survey, strict=True)):
            raise ValueError("data.shape must fit into data.survey")
        return self
