"""Classical filters of haze, without a trained network: by motion, by spectra, by patches that look alike."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from operators.ultrasound import envelope
from operators.ultrasound.drawn_rf import BeamSpace, Spectra
from recon3d.errors import InputError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.methods.beamformed import Beamformed, Image
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers import clutter

FLOOR_DB = -60.0


class _Filter(Method):
    """RF to RF in one step; a B-mode lies beside it."""

    image: Image = Field("rf", description="rf: as it came in, with a B-mode beside it; or iq, envelope, decibel alone")

    @property
    def volumes(self) -> float:
        return 20.0

    @torch.no_grad()
    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        run.begin(1, {})
        beams = Beamformed.of(problem)
        x = self._filtered(beams)
        others = {"b-mode": beams.volume(x, "decibel")} if self.image == "rf" else {}
        run.step(0, {}, {})
        removed = float((beams.rf - x).norm() / beams.rf.norm())
        return Reconstruction(beams.volume(x, self.image), facts={"removed_share": removed}, others=others)

    @abstractmethod
    def _filtered(self, beams: Beamformed) -> Tensor:
        """RF like ``beams.rf``."""


class SVDClutter(_Filter):
    """The first singular vectors of a cine taken out: haze that stays while tissue moves (Demene et al., 2015)."""

    name: ClassVar[str] = "svd_clutter"
    summary: ClassVar[str] = "ultrasound cine: takes out what stays the same from frame to frame; seconds"

    removed: int = Field(1, ge=1, description="singular vectors that count as haze")

    def _filtered(self, beams: Beamformed) -> Tensor:
        frames = beams.frames
        if frames <= self.removed:
            raise InputError(
                f"Method 'svd_clutter' needs more than {self.removed} frames, '{beams.problem.name}' has {frames}: "
                "give a cine, or take wiener or dehaze."
            )
        series = beams.rf.reshape(-1, frames, *beams.rf.shape[-2:])
        return torch.stack([clutter.svd_filter(cine, self.removed) for cine in series]).reshape(beams.rf.shape)


class WienerDehaze(_Filter):
    """One filter for the frame, from mean spectra of drawn tissue and haze and the levels found in the RF."""

    name: ClassVar[str] = "wiener"
    summary: ClassVar[str] = "ultrasound: haze taken out of RF by a Wiener filter with spectra of drawn data; seconds"

    noise: float = Field(0.02, gt=0, description="white noise, relative to the tissue")
    draws: int = Field(12, ge=1, description="frames of the training generator whose spectra are averaged")

    def _filtered(self, beams: Beamformed) -> Tensor:
        tissue, haze = clutter.levels(beams.analytic)
        step, pitch = beams.depth_step_mm, beams.pitch_mm
        space = BeamSpace.of(beams.turns_of_rf, step, pitch)
        spectra = Spectra.drawn(space, (beams.rf.shape[-2], beams.rf.shape[-1]), self.draws)
        powers = [torch.from_numpy(power).to(beams.rf.dtype) for power in spectra.rf]
        return clutter.wiener(beams.rf, tissue**2 * powers[0], haze**2 * powers[1], (self.noise * tissue) ** 2)


class NonlocalMeans(_Filter):
    """Non-local means of the envelope in decibels; the RF takes over the gain of each sample."""

    name: ClassVar[str] = "nonlocal_means"
    summary: ClassVar[str] = "ultrasound: smooths the B-mode by patches that look alike (for comparison); seconds"

    strength: float = Field(3.0, gt=0, description="decibels by which patches may differ")

    def _filtered(self, beams: Beamformed) -> Tensor:
        level = envelope(beams.rf)
        db = 20 * torch.log10((level / level.max()).clamp_min(10 ** (FLOOR_DB / 20)))
        smooth = clutter.nonlocal_means(db, self.strength)
        return beams.rf * 10 ** ((smooth - db) / 20)
