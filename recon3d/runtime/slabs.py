"""Slabs: a separable problem solved a few slices at a time, with the numbers of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from recon3d.grid import AffineGrid
from recon3d.methods.base import Method, Reconstruction
from recon3d.problem import Problem
from recon3d.runtime.runner import CaseRun
from recon3d.runtime.scratch import give_back, release
from recon3d.runtime.streamed import StreamedProblem
from recon3d.volume import Volume


def reconstruct_in_slabs(
    problem: Problem, method: Method, models: Mapping[str, Any], run: CaseRun, slab: int
) -> Reconstruction:
    """The reconstruction, `slab` slices at a time: equal bit for bit to the whole where slabs are separate problems.

    Those of a streamed scan are read as they come."""
    slices = problem.domain.shape[-3]
    if slab >= slices:
        whole_of = problem.slab(0, slices) if isinstance(problem, StreamedProblem) else problem
        return method.reconstruct(whole_of, models, run)
    assert isinstance(problem.grid, AffineGrid)  # only slices of voxel grids are restricted
    whole: dict[str, Volume] = {}
    for start in range(0, slices, slab):
        stop = min(start + slab, slices)
        run.enter_slab(start, stop)
        part = method.reconstruct(problem.slab(start, stop), models, run)
        for name, piece in (("volume", part.volume), ("uncertainty", part.uncertainty)):
            if piece is None:
                continue
            if name not in whole:
                whole[name] = replace(piece, data=_assembled(piece, slices, run), grid=problem.grid)
            whole[name].data[..., start:stop, :, :] = piece.data
        del part, piece
        give_back()
        release()
    return Reconstruction(whole["volume"], whole.get("uncertainty"), {"slabs": math.ceil(slices / slab)})


def _assembled(piece: Volume, slices: int, run: CaseRun) -> NDArray[Any]:
    """Where the slabs of a result are put together: in memory, or on disk."""
    shape = (*piece.data.shape[:-3], slices, *piece.data.shape[-2:])
    return run.allocate(shape, torch.from_numpy(piece.data[..., :0, :0, :0])).numpy()
