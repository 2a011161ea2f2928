"""The acquisition "beamformed": ultrasound that was beamformed already, RF or complex, is itself the measurement."""

from __future__ import annotations

import numpy as np
import torch

from operators.linear import Identity, LinearOperator
from operators.space import Space, matching_dtype
from recon3d.errors import InputError
from recon3d.grid import BeamGrid
from recon3d.scan import Plain, Scan
from recon3d.volume import Volume

AXES = ("elevation", "beam", "depth")


def beamformed(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """The identity on beams (elevation, beam, depth), or on frames of them."""
    (data,) = scan.blocks
    own = torch.complex64 if np.iscomplexobj(data) else torch.float32
    return Identity(Space(scan.axes, data.shape, matching_dtype(own, dtype)), device)


def beamformed_scan(volume: Volume, name: str = "beamformed") -> Scan:
    """Beamformed RF, or the complex image of delay-and-sum, as the measurement of a better one.

    Raises
    ------
    InputError
        For volumes that do not lie on beams, or that are envelopes or decibels already: their carrier is gone.
    """
    if not isinstance(volume.grid, BeamGrid):
        raise InputError(f"Beamformed ultrasound lies on a BeamGrid, got {volume!r}.")
    data = volume.data
    if volume.units == "dB" or (not np.iscomplexobj(data) and not (data < 0).any()):
        raise InputError(
            f"Beamformed RF swings about zero, {volume!r} does not: it is an envelope or a picture in decibels. "
            "Give the RF, or the channel data."
        )
    times: dict[str, Plain] = {} if volume.times_s is None else {"times_s": np.asarray(volume.times_s)}
    wanted = np.complex64 if np.iscomplexobj(data) else np.float32
    axes = AXES if data.ndim == 3 else ("t", *AXES)
    acquisition: dict[str, Plain] = {"modality": "ultrasound", "signed": True, **times}
    return Scan("beamformed", data.astype(wanted), axes, acquisition, volume.grid, units=volume.units, name=name)
