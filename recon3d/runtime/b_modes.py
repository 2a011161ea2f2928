"""What a picture shows of an ultrasound result: B-modes before and after, on squares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.ultrasound import decibels, envelope
from recon3d.beams import scan_converted
from recon3d.grid import BeamGrid
from recon3d.methods.base import Reconstruction
from recon3d.volume import Volume

RANGE_DB = 50.0


def b_modes(result: Reconstruction) -> dict[str, Volume]:
    """Decibels below the largest amplitude of all: before, after and the haze where it was taken out, else the result.

    Parameters
    ----------
    result : RF, complex image or decibels, on beams or squares; of a cine the first frame counts
    """
    volume = result.volume
    images = {"result": volume.data}
    if "haze" in result.others and volume.units != "dB":
        haze = result.others["haze"].data
        images = {"before": volume.data + haze, "after": volume.data, "haze": haze}
    amplitudes = {name: _amplitude(data, volume) for name, data in images.items()}
    peak = max(float(amplitude.max()) for amplitude in amplitudes.values()) or 1.0
    return {name: _on_squares(decibels(a, peak, RANGE_DB).numpy(), volume) for name, a in amplitudes.items()}


def _on_squares(db: NDArray[np.floating], like: Volume) -> Volume:
    image = Volume(db, like.grid, units="dB")
    return scan_converted(image) if isinstance(like.grid, BeamGrid) else image


def _amplitude(data: NDArray[np.generic], volume: Volume) -> torch.Tensor:
    """Envelope of the first frame, on the axes of the grid."""
    frame = torch.from_numpy(np.asarray(data[0] if data.ndim == 4 else data))
    if volume.units == "dB":
        return 10 ** (frame / 20)
    return envelope(frame, -1 if isinstance(volume.grid, BeamGrid) else -2)
