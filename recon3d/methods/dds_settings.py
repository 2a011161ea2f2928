"""What can be set of DDS, and what that asks of models, memory and time."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from operators.differences import Boundary
from recon3d.methods.base import Method
from recon3d.methods.samples import stacked
from recon3d.problem import Problem
from recon3d.sampling.ddim import EtaMode
from recon3d.sampling.grids import Final, Spacing


class DDSSettings(Method):
    """Settings of `recon3d.methods.dds.DDS`; those that follow the paper's public code say so."""

    name: ClassVar[str] = "dds"
    summary: ClassVar[str] = "diffusion prior with conjugate gradients and TV between slices; few views, minutes"
    roles: ClassVar[dict[str, str]] = {
        "prior": "denoiser of 2D slices",
        "start": "network whose image is the start, for start=supervised (MRI)",
    }
    kinds: ClassVar[dict[str, str]] = {"start": "reconstructor"}

    steps: int = Field(50, ge=1, description="steps per sample, each with a network call unless it is held")
    hold: int = Field(1, ge=1, description="call the network at each n-th step and the last, else hold its answer (CT)")
    reuse: bool = Field(False, description="odd slices take the deep features of their neighbours (thin slices)")
    order: Literal[1, 2] = Field(1, description="of the step: DDIM, or DPM-Solver++ 2M (for 'posterior')")
    samples: int = Field(1, ge=1, description="runs; their mean is the result, their spread the uncertainty")
    grid: Literal["lambda", "karras", "vp"] = Field("lambda", description="noise levels: geometric, EDM, or DDS's own")
    sigma_max: float | None = Field(
        None, gt=0, description="noise at the start, at most the prior's largest; by default 0.7, or all of grid 'vp'"
    )
    sigma_min: float = Field(0.01, gt=0, description="noise at the end; the prior's smallest if that is more")
    spacing: Spacing = Field("leading_int", description="of the times of grid 'vp'; leading_int may give more steps")
    final: Final = Field("denoise", description="the end: a denoised image, as in DDS's code, or none")
    start: Literal["noise", "fbp", "cgls", "interpolation", "supervised"] = Field(
        "noise",
        description="from noise, or late from an image: of the data alone (interpolation: of measured slices), or of a "
        "network (models.start)",
    )
    sigma_start: float = Field(1.0, gt=0, description="noise on the image of a late start")
    eta: float = Field(0.85, ge=0, le=1, description="share of the noise drawn anew at each step")
    eta_mode: EtaMode = Field("public", description="as in DDS's code (amplitude), or as in the DDIM paper")
    noise: Literal["prior", "implied"] = Field("prior", description="noise kept: the network's, or what the data imply")
    data: Literal["admm_tv", "cg", "proximal", "posterior"] = Field(
        "admm_tv", description="data step: with TV between slices, plain, near the denoised image, or exact (small)"
    )
    cg_steps: int = Field(5, ge=1, description="conjugate gradient steps per data step")
    gamma: float | None = Field(None, gt=0, description="weight of the data against the denoised image, not for 'cg'")
    noise_weight: float = Field(
        0.0, ge=0, description="without gamma: factor on the known noise variance; 0: few steps regularise"
    )
    discrepancy: float = Field(1.0, ge=0, description="'cg' stops at this multiple of known noise; 0: never")
    rho: float = Field(0.02, gt=0, description="coupling of slices (admm_tv)")
    threshold: float = Field(0.01, ge=0, description="differences of slices that TV removes, in the prior's range")
    boundary: Boundary = Field("neumann", description="at the first and last slice; circular is DDS's code")
    z_init: Literal["Dx", "zeros"] = Field("Dx", description="first split variable; zeros is DDS's code")

    @model_validator(mode="after")
    def _posterior_is_exact(self) -> DDSSettings:
        if self.data == "posterior" and (self.hold > 1 or self.reuse):
            raise ValueError("the data step 'posterior' needs the whole network at each step: leave hold and reuse out")
        return self

    @property
    def needed(self) -> dict[str, str]:
        return {role: purpose for role, purpose in self.roles.items() if role != "start" or self.start == "supervised"}

    @property
    def tunable(self) -> dict[str, tuple[float, float]]:
        if self.data == "admm_tv":
            return {"threshold": (1e-3, 0.1), "rho": (2e-3, 0.5)}
        return {"gamma": (0.1, 1e4)} if self.data == "proximal" else {"cg_steps": (1, 30)}

    @property
    def separable(self) -> bool:
        return self.data in ("cg", "proximal") and not self.reuse

    @property
    def volumes(self) -> float:
        return 10.0 + 2 * (self.samples > 1) + (self.hold > 1) + (self.order == 2)

    def spillable(self, problem: Problem) -> float:
        plain = self.data == "admm_tv" and self.start == "noise" and self.samples == self.order == 1
        return 6.0 if plain and not self.reuse and stacked(problem) else 0.0

    def calls(self, problem: Problem) -> tuple[float, float]:
        steps = float(self.steps * self.samples)
        return steps * (self.cg_steps + 1), steps / self.hold
