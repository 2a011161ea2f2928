"""Delay-and-sum: echoes summed along their delays are the image of an ultrasound scan; coherence may weight them."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from operators.linear import Adjoint, Composition, LinearOperator
from operators.ultrasound import BornModel, Frames, decibels, envelope
from recon3d.errors import ConfigError, InputError
from recon3d.methods.base import Method, Models, Reconstruction
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.volume import Volume


class DelayAndSum(Method):
    """Beamforming: RF is mixed down to baseband, delayed, weighted over the receive aperture, summed over transmits.

    Perrot et al., Ultrasonics 111 (2021) 106309. Coherence factor: Mallart and Fink, JASA 96 (1994) 3721, after
    compounding of all transmits. Aperture, window and speed of sound are of the scan (`scan.ultrasound`).
    """

    name: ClassVar[str] = "das"
    summary: ClassVar[str] = "ultrasound: delay-and-sum beamforming, compounding, coherence factor"

    coherence: Literal["none", "factor"] = Field("none", description="factor: weight by the coherence of the elements")
    compounding: Literal["coherent", "incoherent"] = Field(
        "coherent", description="of transmits: sum with their phase, or mean of their envelopes (smoother speckle)"
    )
    image: Literal["decibel", "envelope", "iq"] = Field(
        "decibel", description="decibel: B-mode; iq: complex, to go on with"
    )
    dynamic_range: float = Field(60.0, gt=0, description="decibels below the brightest voxel of the whole series")

    @property
    def volumes(self) -> float:
        return 3.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        born, demodulation, frames = parts_of(problem.A, problem.name)
        y = problem.y if frames else problem.y[None]
        parts = self._compounded(born)
        first, state = run.begin(len(y), {"iq": torch.zeros((len(y), *born.domain.shape), dtype=born.domain.dtype)})
        iq = state["iq"]
        assert isinstance(iq, Tensor)
        for k in range(first, len(y)):
            data = demodulation(y[k]) if demodulation is not None else y[k]
            if len(parts) == 1:
                iq[k] = self._beamformed(born, data)
            else:
                envelopes = torch.stack([self._beamformed(one, data[t : t + 1]).abs() for t, one in enumerate(parts)])
                reached = (envelopes > 0).sum(0)
                iq[k] = (envelopes.sum(0) / reached.clamp_min(1)).to(iq.dtype)
            if not run.step(k, {"iq": iq}, {}):
                break
        image = iq if frames else iq[0]
        if not image.any():
            raise InputError(f"No echo of '{problem.name}' reaches the grid: check depths, first samples and the grid.")
        facts = {"brightest": float(image.abs().max())}
        return Reconstruction(self._volume(problem, image), facts=facts)

    def _compounded(self, born: BornModel) -> list[BornModel]:
        """What is beamformed on its own: all transmits at once, or each."""
        if self.compounding == "coherent":
            return [born]
        if self.image == "iq":
            raise ConfigError(
                "method.compounding=incoherent leaves no phase for method.image=iq: take image=envelope or decibel."
            )
        return [cast(BornModel, born.subset("transmit", [t])) for t in range(born.range.shape[0])]

    def _beamformed(self, born: BornModel, data: Tensor) -> Tensor:
        if self.coherence == "none":
            return born.delay_and_sum(data)
        image, factor = born.coherence(data)
        return image * factor

    def _volume(self, problem: Problem, image: Tensor) -> Volume:
        units = problem.units
        if self.image == "decibel":
            image, units = decibels(envelope(image), dynamic_range=self.dynamic_range), "dB"
        elif self.image == "envelope":
            image = envelope(image)
        tags = {"name": problem.name, "modality": "US"}
        return Volume(image.numpy(), problem.grid, units=units, times_s=problem.times_s, tags=tags)


def parts_of(A: LinearOperator, name: str) -> tuple[BornModel, LinearOperator | None, bool]:
    """The Born model in the operator of a scan, the demodulation of RF data (None: baseband), whether it has frames.

    Raises
    ------
    InputError
        For any other scan.
    """
    frame = A.frame if isinstance(A, Frames) else A
    if isinstance(frame, BornModel):
        return frame, None, isinstance(A, Frames)
    if isinstance(frame, Composition) and isinstance(frame.inner, BornModel) and isinstance(frame.outer, Adjoint):
        return frame.inner, frame.outer.H, isinstance(A, Frames)
    raise InputError(f"Method 'das' is for ultrasound channel data, '{name}' is another scan.")
