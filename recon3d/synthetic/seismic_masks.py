"""Simulated seismic scans: a complete cube loses traces, and gains noise where it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from operators.seismic import MASK_FAMILIES, trace_mask
from recon3d.errors import ConfigError, InputError
from recon3d.grid import SurveyGrid
from recon3d.scan import Scan
from recon3d.volume import Volume


def simulate_seismic(
    volume: Volume,
    *,
    mask: str = "random",
    missing: float = 0.5,
    noise_share: float = 0.0,
    seed: int = 0,
    finer: int = 1,
) -> Scan:
    """The traces of a complete cube that a mask leaves; the cube itself is not kept.

    Parameters
    ----------
    volume : real cube (crossline, inline, sample) on a SurveyGrid
    mask : a family of `operators.seismic.MASK_FAMILIES`
    missing : share of traces that are missing, between 0 and 1
    noise_share : white noise on the traces that are left, as a share of their root mean square
    seed : of mask and noise
    finer : has no meaning for traces, which are samples of the cube

    Raises
    ------
    InputError, ConfigError
    """
    if not isinstance(volume.grid, SurveyGrid) or volume.data.ndim != 3 or np.iscomplexobj(volume.data):
        raise InputError("A seismic scan is simulated from a real cube on a SurveyGrid, such as a SEG-Y file.")
    if mask not in MASK_FAMILIES:
        raise ConfigError(f"'mask' is one of {', '.join(MASK_FAMILIES)}, got {mask!r}.")
    if not 0 < missing < 1:
        raise ConfigError(f"'missing' lies between 0 and 1, got {missing}.")
    if noise_share < 0:
        raise ConfigError(f"'noise_share' is not negative, got {noise_share}.")
    rng = np.random.default_rng([seed, 0x7ACE])
    scan = masked(volume, trace_mask(mask, volume.grid.shape[:2], missing, rng))
    if not noise_share:
        return scan
    data = np.asarray(scan.data, dtype=np.float32)
    std = noise_share * float(np.sqrt(np.mean(data**2, dtype=np.float64)))
    noisy = data + std * rng.standard_normal(data.shape).astype(np.float32)
    return replace(scan, data=noisy, noise={"std": std})


def masked(volume: Volume, live: NDArray[np.bool_]) -> Scan:
    """The traces of a cube at the bins (crossline, inline) where `live` is true."""
    crossline, inline = np.nonzero(live)
    if crossline.size == 0:
        raise InputError("The mask hides every trace: at least one must be left.")
    bins = {"crossline": crossline.astype(np.int32), "inline": inline.astype(np.int32)}
    return Scan("seismic", volume.data[crossline, inline], ("trace", "sample"), bins, volume.grid, units=volume.units)
