"""Training data for the priors of `recon3d.methods.dehaze`: companded frames of tissue and of haze."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from operators.ultrasound.companding import compand
from operators.ultrasound.drawn_rf import HAZE_LEVEL, TISSUE_LEVEL, BeamSpace, haze_rf, log_uniform, tissue_rf
from recon3d.grid import BeamGrid
from recon3d.volume import Volume


def grid_of(space: BeamSpace, shape: tuple[int, ...]) -> BeamGrid:
    """The grid of beams (elevation, beam, depth), or of frames of one plane."""
    planes = shape[0] if len(shape) == 3 else 1
    depth = (space.first_depth_mm, space.depth_step_mm)
    return BeamGrid((planes, shape[-2], shape[-1]), (0.0, 0.0), depth, pitch_mm=space.pitch_mm)


def companded_tissue(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """Frames of unrelated tissue (frame, beam, depth) of one random system, companded to -1..1.

    The edge of a voxel along the last axis is the step in depth. A generator for `recon3d train`.
    """
    rng = np.random.default_rng([0x71550E, seed])
    space = BeamSpace.random(voxel_mm[2], rng)
    rf = np.concatenate([log_uniform(rng, 0.33, 2) * tissue_rf(space, (1, *shape[1:]), rng) for _ in range(shape[0])])
    return _companded(space, TISSUE_LEVEL * rf)


def companded_haze(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """The same for haze: unrelated frames of one random system."""
    rng = np.random.default_rng([0x4A2E, seed])
    space = BeamSpace.random(voxel_mm[2], rng)
    rf = np.concatenate([log_uniform(rng, 0.5, 2) * haze_rf(space, (1, *shape[1:]), rng) for _ in range(shape[0])])
    return _companded(space, HAZE_LEVEL * rf)


def _companded(space: BeamSpace, rf: NDArray[np.float64]) -> Volume:
    data = compand(torch.from_numpy(rf.astype(np.float32))).numpy()
    return Volume(data, grid_of(space, rf.shape), tags={"modality": "US"})
