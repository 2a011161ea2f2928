"""What methods for seismic cubes share: the traces, windows as iterations of a run, recorded traces kept exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from operators.seismic import TraceSampling
from recon3d.errors import InputError
from recon3d.methods.base import Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.solvers.windows import Window, add_window, total_weight, windows


def sampling_of(problem: Problem, method: str) -> TraceSampling:
    """The operator of a seismic scan.

    Raises
    ------
    InputError
        For any other scan, or where every trace is zero.
    """
    if not isinstance(problem.A, TraceSampling):
        raise InputError(f"Method '{method}' is for seismic traces, '{problem.name}' is another scan.")
    if not problem.y.any():
        raise InputError(f"Every recorded trace of '{problem.name}' is zero, so there is nothing to fill gaps from.")
    return problem.A


def windowed(
    run: Run, cube: Tensor, sides: Sequence[int] | None, overlap: float, solve: Callable[[Window], Tensor]
) -> Tensor:
    """The answers of all windows, blended; each is an iteration of the run, which goes on where it had got to."""
    parts = windows(cube.shape, sides or cube.shape, overlap)
    first, state = run.begin(len(parts), {"sum": torch.zeros_like(cube)})
    out = cast(Tensor, state["sum"])
    for index in range(first, len(parts)):
        add_window(out, parts[index], solve(parts[index]))
        if not run.step(index, {"sum": out}, {}):
            break
    return out / total_weight(cube.shape, parts, cube.device)


def finish_cube(
    problem: Problem, cube: Tensor, uncertainty: Tensor | None = None, *, exact: bool = True, **facts: float | str
) -> Reconstruction:
    """The reconstruction of a cube in the problem's units; if `exact`, with the recorded traces bit for bit."""
    A = cast(TraceSampling, problem.A)
    if exact:
        cube = A.insert(cube, problem.y)
        uncertainty = None if uncertainty is None else uncertainty * (1 - A.live)
    missing = 1 - float(A.live.mean())
    return finish(problem, cube, uncertainty, missing_share=round(missing, 4), **facts)
