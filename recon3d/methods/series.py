"""What methods for series share: the checks, the rule for the rank, and the start."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, cast

import torch

from operators.mri import CartesianSeries
from operators.series import Series, ViewSeries
from operators.tomography import RayTransform
from recon3d.errors import InputError
from recon3d.problem import Normalised, Problem
from recon3d.run import Run
from recon3d.solvers.partially_separable import Factors, hermite_matrix
from recon3d.solvers.psm_start import (
    cosine_start,
    factors_from,
    factors_from_windows,
    navigator_functions,
    prosep_series,
    window_image,
)

Start = Literal["auto", "prosep", "windows", "navigator", "cosines"]
UNAIDED = 6.0
"""Basis images without a penalty, at most, for each that the data carry by their number: with more they fit noise."""
COILS_THAT_COUNT = 3
"""Coils bear about this many times the samples of one: what parallel imaging usually gives along one axis."""


def series_in(problem: Problem, method: str) -> Series:
    """The operator of a problem that is a series of at least two instants.

    Raises
    ------
    InputError
        In one sentence.
    """
    if not isinstance(problem.A, Series) or problem.times_s is None:
        raise InputError(
            f"Method '{method}' is for series and '{problem.name}' has no times: give each view its time "
            "(acquisition.times_s), or scan.series.view_s, the seconds from one view to the next."
        )
    if problem.A.frames < 2:
        raise InputError(
            f"Method '{method}' needs at least two instants, '{problem.name}' has one: choose a method for images at "
            "rest, or fewer views per frame."
        )
    return problem.A


def default_rank(frames: int, carried: float = 0.0) -> int:
    """0.65 sqrt(frames): 7 for 128 frames and 10 for 256, about what RED-PSM's published settings take (7 and 11).

    Where the data carry more, as those of several coils do, as much as they carry, up to a third of the frames.
    """
    return max(1, min(round(0.65 * math.sqrt(frames)), frames - 1), min(int(carried), frames // 3))


def default_knots(problem: Problem, rank: int) -> int:
    """Two more than the rank where views follow one another (published: 9 for 7); every frame where each has its own
    navigator, so that time functions are as free as the data."""
    frames = series_in(problem, "psm").frames
    if isinstance(problem.A, CartesianSeries):
        return frames
    return min(frames, max(2, rank + 2))


def carried_rank(problem: Problem) -> float:
    """How many basis images the data could determine by their number alone: data that see the grid per voxel.

    Samples of several coils count up to three times. Below it the least squares may still be ill-posed, above it they
    are for certain, and a prior has to decide.
    """
    A = series_in(problem, "psm")
    voxels = A.frame.size
    if isinstance(A, CartesianSeries):
        coils, per_frame = A.maps.shape[1], A.mask.expand(A.frames, *A.frame.shape).count_nonzero()
        return float(per_frame) * min(coils, COILS_THAT_COUNT) / voxels
    if isinstance(A, ViewSeries):
        seen = A.still(torch.ones(A.frame.shape, dtype=A.frame.dtype, device=A.device))
        coils = A.still.maps.shape[1] if hasattr(A.still, "maps") else 1
        return float((seen != 0).sum()) / coils * min(coils, COILS_THAT_COUNT) / voxels
    return A.range.size / voxels


def rank_and_knots(
    problem: Problem, rank: int | None, knots: int | None, run: Run, *, unaided: bool = False
) -> tuple[int, int]:
    """What was asked for, or the rules; tells where the data cannot carry it. `unaided`: no penalty helps.

    Raises
    ------
    InputError
        If there are more functions than knots, or more knots than frames.
    """
    A = series_in(problem, "psm")
    carried = carried_rank(problem)
    chosen = default_rank(A.frames, carried) if rank is None else rank
    if rank is None and unaided:
        chosen = max(1, min(chosen, round(UNAIDED * carried)))
    d = default_knots(problem, chosen) if knots is None else knots
    if not chosen <= d <= A.frames:
        raise InputError(
            f"A rank of {chosen} needs as many knots at least, and {A.frames} frames allow {A.frames} at most, "
            f"got {d}: change rank or knots."
        )
    if rank is not None and rank > carried:
        run.note(
            f"The data of '{problem.name}' carry a rank of {carried:.1f} by their number ({A.frames} frames), "
            f"{rank} was asked for: what lies above is decided by the prior and the smoothness in time, or by nothing."
        )
    return chosen, d


def start_factors(
    problem: Problem, task: Normalised, rank: int, knots: int, start: Start, window: int | None
) -> Factors:
    """The factors a run starts from, in the range of `task`."""
    A, y = series_in(problem, "psm"), problem.beside(task.normalization.offset)
    assert problem.times_s is not None
    U = torch.eye(A.frames, dtype=torch.float64) if knots == A.frames else hermite_matrix(problem.times_s, knots)
    U = U.to(A.device)
    navigated = isinstance(A, CartesianSeries) and bool((A.mask > 0).all(0).any())
    parallel = isinstance(A, ViewSeries) and isinstance(A.still, RayTransform) and A.still.geometry.kind == "parallel"
    if start == "navigator" and not navigated:
        raise InputError(
            f"The start 'navigator' needs samples of k-space that every frame measured, '{problem.name}' has none: "
            "choose windows."
        )
    if start == "prosep" and not parallel:
        raise InputError(f"The start 'prosep' is for parallel CT views, '{problem.name}' is not: choose windows.")
    if start == "cosines":
        factors = cosine_start(A.frame, U, rank, window_image(A, y, A.frames // 2, A.frames))
    elif start == "prosep":
        found = prosep_series(cast(ViewSeries, A), y.cpu(), U.cpu(), rank)  # small systems in double precision
        factors = factors_from(found.to(A.device), U, rank)
    elif start == "navigator" or (start == "auto" and navigated):
        image = window_image(A, y, A.frames // 2, A.frames)
        psi = navigator_functions(cast(CartesianSeries, A), y, rank)
        factors = factors_from(image.expand(A.frames, *image.shape), U, rank, psi)
    else:
        factors = factors_from_windows(A, y, window or default_window(A), U, rank)
    return replace(factors, basis=factors.basis / task.normalization.scale)


def default_window(A: Series) -> int:
    """A quarter of the series, at least four frames: enough views to see an object, while it moves."""
    return min(A.frames, max(4, round(A.frames / 4)))
