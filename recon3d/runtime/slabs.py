"""Slabs: a separable problem solved a few slices at a time, with the numbers of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recon3d.grid import AffineGrid
from recon3d.methods.base import Method, Reconstruction
from recon3d.problem import Problem
from recon3d.runtime.runner import CaseRun


def reconstruct_in_slabs(
    problem: Problem, method: Method, models: Mapping[str, Any], run: CaseRun, slab: int
) -> Reconstruction:
    """The reconstruction, `slab` slices at a time: equal bit for bit to the whole where slabs are separate problems."""
    slices = problem.domain.shape[-3]
    if slab >= slices:
        return method.reconstruct(problem, models, run)
    parts = []
    for start in range(0, slices, slab):
        stop = min(start + slab, slices)
        run.enter_slab(start, stop)
        parts.append(method.reconstruct(problem.slab(start, stop), models, run))
    data = np.concatenate([part.volume.data for part in parts], axis=-3)
    volume = replace(parts[0].volume, data=data, grid=problem.grid)
    uncertainty = None
    if parts[0].uncertainty is not None:
        spread = np.concatenate([part.uncertainty.data for part in parts if part.uncertainty is not None], axis=-3)
        uncertainty = replace(parts[0].uncertainty, data=spread, grid=problem.grid)
    assert isinstance(problem.grid, AffineGrid)  # only slices of voxel grids are restricted
    return Reconstruction(volume, uncertainty, {"slabs": len(parts)})
