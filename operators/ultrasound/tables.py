"""What the loops of delay-and-sum need to know of points, elements and transmits; delays in samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

BOXCAR, TUKEY, HANN = 0, 1, 2
WINDOWS = {"boxcar": BOXCAR, "tukey": TUKEY, "hann": HANN}


class Receive(NamedTuple):
    """How an element hears a point, and how a trace is read between its samples.

    Parameters
    ----------
    f_number, window : of the aperture, a cone of points under the element; f-number 0 for all points
    width : of an element along x, in wavelengths; 0 hears all around
    nepers_per_mm : attenuation
    spherical : whether echoes spread as spheres, of amplitude 1 / mm
    turns_per_sample : of the demodulation frequency
    cubic : interpolation by four samples, else linear by two
    """

    f_number: float
    window: int
    width: float
    nepers_per_mm: float
    spherical: bool
    turns_per_sample: float
    cubic: bool


class Tables(NamedTuple):
    """Real tensors on one device, and how echoes are received.

    Parameters
    ----------
    points : (point, 3), mm
    samples_per_mm : (point,)
    elements : (element, 3), mm
    transmit_delay : (transmit, point), from the first sample of the transmit
    transmit_weight : (transmit, point), with the loss in it
    transmit_loss : (transmit, point), the part of the weight that takes strength from a wave
    """

    points: Tensor
    samples_per_mm: Tensor
    elements: Tensor
    transmit_delay: Tensor
    transmit_weight: Tensor
    transmit_loss: Tensor
    how: Receive

    @classmethod
    def of(cls, dtype: torch.dtype, device: torch.device, *, how: Receive, **arrays: Any) -> Tables:
        """Tables in the precision of complex `dtype`."""
        real, number = (torch.float64, np.float64) if dtype == torch.complex128 else (torch.float32, np.float32)
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(array)).to(device, real) for name, array in arrays.items()
        }
        received = Receive._make(number(value) if isinstance(value, float) else value for value in how)
        return cls(**tensors, how=received)
