"""What good settings are: close to a reference, or explaining the data down to their noise and no further."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.reduce import norm
from recon3d.errors import ConfigError, InputError
from recon3d.evaluation.metrics import compare
from recon3d.noise import NoiseModel
from recon3d.problem import Problem
from recon3d.volume import Volume

Criterion = Callable[[Volume], float]
"""The score of a result; less is better."""


def against(reference: Volume) -> Criterion:
    """Minus the PSNR in dB against a reference on the grid of the result, in the range that `compare` chooses."""
    return lambda volume: -compare(volume, reference).psnr_db


def discrepancy(problem: Problem) -> Criterion:
    """How far the misfit is from the noise: |log r| with r the root mean square of the whitened A x - y.

    Morozov's principle (1966): a result whose misfit is the noise (r = 1) explains the data and not their noise. The
    weight that gives it smooths a little more than the one closest to the truth.

    Raises
    ------
    ConfigError
        Where the noise is not known.
    """
    if not problem.noise.is_known:
        raise ConfigError(
            f"The noise of '{problem.name}' is not known: state scan.photons or scan.noise_std, or give a --reference."
        )
    A, y = problem.noise.whiten(problem.A, problem.y)
    measured = _count(y)

    def score(volume: Volume) -> float:
        misfit = float(norm(A(problem.image(volume)) - y)) / math.sqrt(measured)
        return abs(math.log(max(misfit, 1e-12)))

    return score


def with_noise(problem: Problem) -> tuple[Problem, str]:
    """The problem with its noise known, and a sentence where it had to be estimated.

    White noise is read in second differences along the last axis of the data (detector columns, samples), whose median
    ignores edges (Donoho and Johnstone, Biometrika 81 (1994) 425). Detail finer than that counts as noise.
    """
    if problem.noise.is_known or isinstance(problem.y, Blocks) or problem.y.shape[-1] < 3:
        return problem, ""
    y = torch.view_as_real(problem.y).movedim(-1, 0) if problem.y.is_complex() else problem.y
    std = _white_noise(y)
    if std == 0.0:
        raise InputError(
            f"The data of '{problem.name}' show no noise, so that their misfit chooses nothing: give a --reference."
        )
    told = f"Noise {std:.3g} estimated from the finest details of the data; scan.photons or scan.noise_std states it."
    return replace(problem, noise=NoiseModel(std)), told


def _white_noise(y: Tensor) -> float:
    differences = (y[..., :-2] - 2 * y[..., 1:-1] + y[..., 2:]) / math.sqrt(6)
    used = differences[differences != 0]
    return float(used.abs().median()) / 0.6745 if used.numel() else 0.0


def _count(y: Any) -> int:
    """Real numbers that were measured; zeros of k-space and dead pixels are none."""
    blocks = y.tensors if isinstance(y, Blocks) else (y,)
    return max(1, sum(int(block.count_nonzero()) * (2 if block.is_complex() else 1) for block in blocks))
