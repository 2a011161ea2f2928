"""Beamformed RF of any ultrasound scan, as methods of dehazing see it, and the way back to the image of the scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import torch
from torch import Tensor

from operators.linear import Identity
from operators.ultrasound import decibels, envelope
from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.methods.das import parts_of
from recon3d.problem import Problem
from recon3d.volume import Volume

PERIOD = (5.0, 10.0)
"""Samples per period of the carrier that are left as they are; others are resampled to RESAMPLED."""
RESAMPLED = 7.0
LEAST_TURNS = 0.06
Image = Literal["rf", "iq", "envelope", "decibel"]


@dataclass(frozen=True)
class Beamformed:
    """RF along beams.

    Parameters
    ----------
    problem : whose scan it is
    analytic : (frame, beam, depth), complex, with its carrier; frames of one plane follow one another
    turns : of the carrier per sample of `analytic`, between 0 and 1
    """

    problem: Problem
    analytic: Tensor
    turns: float

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Beamform channel data, or take what is beamformed.

        Raises
        ------
        InputError
            For other scans, and for images without a carrier.
        """
        image = _beamformed(problem).cpu()
        if isinstance(problem.grid, AffineGrid):
            image = image.mT  # rows run into the depth
        analytic = image if image.is_complex() else _analytic(image)
        analytic = analytic.transpose(0, 1).reshape(-1, *analytic.shape[-2:]).contiguous()
        lag = (analytic[..., 1:] * analytic[..., :-1].conj()).sum()
        if not lag.abs() > 0:
            raise InputError(f"'{problem.name}' holds no echoes: everything is zero.")
        turns = (float(lag.angle()) / (2 * math.pi)) % 1.0
        if not LEAST_TURNS < turns < 1 - LEAST_TURNS:
            raise InputError(
                f"The image of '{problem.name}' has no carrier (its echoes turn {turns:.2f} times a sample): haze is "
                "taken from RF, so give RF, or an image of delay-and-sum that keeps its phase, finer in depth."
            )
        return cls(problem, analytic, turns)

    @cached_property
    def rf(self) -> Tensor:
        """(frame, beam, depth), real, five to ten samples a period."""
        if self._samples == self.analytic.shape[-1]:
            return self.analytic.real.contiguous()
        return self._resampled(self.analytic, self._samples).real.contiguous()

    @property
    def depth_step_mm(self) -> float:
        """Of `rf`."""
        return self._own_step_mm * self.analytic.shape[-1] / self._samples

    @property
    def turns_of_rf(self) -> float:
        """Of the carrier per sample of `rf`."""
        return self.turns * self.analytic.shape[-1] / self._samples

    @property
    def pitch_mm(self) -> float:
        """Between beams; of a sector half way down."""
        grid = self.problem.grid
        if isinstance(grid, AffineGrid):
            return grid.voxel_mm[2]
        assert isinstance(grid, BeamGrid)
        if math.isinf(grid.apex_mm):
            return grid.pitch_mm
        return abs(grid.angle_rad[1]) * (grid.apex_mm + grid.depth_mm[0] + 0.5 * grid.shape[-1] * grid.depth_mm[1])

    @property
    def frames(self) -> int:
        """Of a series; planes of one time follow as further series."""
        shape = self.problem.domain.shape
        return shape[0] if len(shape) > 3 else 1

    def image(self, rf: Tensor, kind: Image) -> Tensor:
        """RF like `rf` as an image on the scan's grid; "rf" is real where the scan's own image is, else complex."""
        analytic = _analytic(rf)
        if self._samples != self.analytic.shape[-1]:
            analytic = self._resampled(analytic, self.analytic.shape[-1])
        planes = analytic.reshape(-1, self.frames, *analytic.shape[-2:]).transpose(0, 1)
        image = planes.mT if isinstance(self.problem.grid, AffineGrid) else planes
        image = image.reshape(self.problem.domain.shape).contiguous()
        if kind == "iq" or (kind == "rf" and self.problem.domain.is_complex):
            return image
        if kind == "rf":
            return image.real.contiguous()
        return envelope(image) if kind == "envelope" else decibels(envelope(image))

    def volume(self, rf: Tensor, kind: Image) -> Volume:
        problem = self.problem
        units = "dB" if kind == "decibel" else problem.units
        tags = {"name": problem.name, "modality": "US"}
        return Volume(self.image(rf, kind).numpy(), problem.grid, units, problem.times_s, tags)

    def spread(self, deviation: Tensor) -> Volume:
        """The standard deviation of RF on the scan's grid; where depths were resampled, that of the nearest sample."""
        own = self.analytic.shape[-1]
        nearest = (torch.arange(own) * (self._samples / own)).round().long().clamp(max=self._samples - 1)
        planes = deviation[..., nearest].reshape(-1, self.frames, deviation.shape[-2], own).transpose(0, 1)
        image = planes.mT if isinstance(self.problem.grid, AffineGrid) else planes
        data = image.reshape(self.problem.domain.shape).contiguous().numpy()
        return Volume(data, self.problem.grid, self.problem.units, self.problem.times_s)

    @property
    def _samples(self) -> int:
        """Of `rf`, in depth."""
        if PERIOD[0] <= 1 / self.turns <= PERIOD[1]:
            return self.analytic.shape[-1]
        return round(self.analytic.shape[-1] * self.turns * RESAMPLED)

    @property
    def _own_step_mm(self) -> float:
        grid = self.problem.grid
        return grid.voxel_mm[1] if isinstance(grid, AffineGrid) else grid.depth_mm[1]  # type: ignore[union-attr]

    def _resampled(self, analytic: Tensor, samples: int) -> Tensor:
        """The same band of frequencies at another rate; exact for what is limited to it."""
        now, own = analytic.shape[-1], self.analytic.shape[-1]
        count = min(now, samples)
        first = max(0, round(own * self.turns - 0.5 * count))  # band about the carrier, in cycles over the depth
        cycles = torch.arange(first, first + count)
        out = torch.zeros((*analytic.shape[:-1], samples), dtype=analytic.dtype)
        out[..., cycles % samples] = torch.fft.fft(analytic)[..., cycles % now] * (samples / now)
        return torch.fft.ifft(out)


def _beamformed(problem: Problem) -> Tensor:
    """(t, plane, ...) of channel data or of an image."""
    if isinstance(problem.A, Identity):
        image = problem.y
    else:
        born, demodulation, frames = parts_of(problem.A, problem.name)
        y = problem.y if frames else problem.y[None]
        image = torch.stack([born.delay_and_sum(d if demodulation is None else demodulation(d)) for d in y])
    return image if image.ndim == 4 else image[None]


def _analytic(rf: Tensor) -> Tensor:
    """Analytic signal along the last axis."""
    n = rf.shape[-1]
    spectrum = torch.fft.fft(rf)
    spectrum[..., (n + 2) // 2 :] = 0
    spectrum[..., 1 : (n + 1) // 2] *= 2
    return torch.fft.ifft(spectrum)
