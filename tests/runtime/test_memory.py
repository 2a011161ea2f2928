"""The memory plan takes the largest slab that fits, and says so where none does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.linear import Diagonal
from operators.space import Space
from recon3d.errors import MemoryLimitError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.methods import make_method
from recon3d.problem import NoiseModel, Problem
from recon3d.runtime.memory import free_memory, peak_memory, plan_memory

SHAPE = (16, 32, 32)
VOLUME = 4 * 16 * 32 * 32


def problem() -> Problem:
    A = Diagonal(torch.ones(1), Space(("z", "y", "x"), SHAPE))
    return Problem(torch.ones(SHAPE), A, NoiseModel(), AffineGrid.centred(SHAPE, 1.0))


def test_enough_memory_means_the_whole() -> None:
    plan = plan_memory(problem(), make_method("sirt", {}), 100 * VOLUME, 8)
    assert (plan.slab, plan.micro_batch) == (16, 8)
    assert plan.forecast <= plan.limit == 100 * VOLUME


def test_less_memory_means_slabs_until_nothing_fits() -> None:
    sirt = make_method("sirt", {})
    slabs = [plan_memory(problem(), sirt, limit, 8).slab for limit in (6 * VOLUME, 4 * VOLUME, 3 * VOLUME)]
    assert slabs == sorted(slabs, reverse=True)
    assert slabs[-1] < slabs[0] < 16
    with pytest.raises(MemoryLimitError, match=r"'sirt' needs .* raise run.max_memory or choose a coarser grid"):
        plan_memory(problem(), sirt, VOLUME, 8)


def test_what_does_not_split_is_told_so() -> None:
    with pytest.raises(MemoryLimitError, match="or fewer slices"):
        plan_memory(problem(), make_method("tv", {}), 4 * VOLUME, 8)


def test_networks_get_smaller_batches() -> None:
    plan = plan_memory(problem(), make_method("tv", {}), 20 * VOLUME, 8, network_bytes_per_slice=2 * VOLUME)
    assert plan.micro_batch in (1, 2, 4)
    assert plan.forecast <= plan.limit


def test_surveys_have_no_slices_to_split() -> None:
    space = Space(("crossline", "inline", "sample"), SHAPE)
    survey = SurveyGrid(SHAPE, (1, 1), (1, 1), (0.0, 0.0), (12.5, 0.0), (0.0, 12.5), 0.0, 0.004)
    whole = replace(problem(), A=Diagonal(torch.ones(1), space), grid=survey)
    assert plan_memory(whole, make_method("sirt", {}), None, 8).slab == 16


def test_the_machine_is_asked() -> None:
    before = peak_memory()
    kept = np.ones(2**20)
    assert 0 < before <= peak_memory()
    assert free_memory() > kept.nbytes
