"""The memory plan takes the largest slab that fits, and says so where none does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.differences import ForwardDifference
from operators.linear import Diagonal
from operators.space import Space
from recon3d.errors import MemoryLimitError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.methods import make_method
from recon3d.noise import NoiseModel
from recon3d.problem import Problem
from recon3d.runtime.memory import free_memory, is_out_of_memory, peak_memory, plan_memory

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


def test_total_variation_leaves_its_duals_on_disk() -> None:
    tv = make_method("tv", {})
    whole = plan_memory(problem(), tv, 18 * VOLUME, 8)  # 12 volumes and 6 arrays of data
    assert (whole.on_disk, whole.forecast) == (False, 18 * VOLUME)
    tight = plan_memory(problem(), tv, 12 * VOLUME, 8)
    assert (tight.on_disk, tight.forecast, tight.slab) == (True, 12 * VOLUME, 16)
    assert tight.told(16) == "whole, a part on disk"
    assert tight.host > tight.forecast - VOLUME
    with pytest.raises(MemoryLimitError):
        plan_memory(problem(), make_method("tv", {"solver": "pdhg"}), 12 * VOLUME, 8)


def test_dds_leaves_most_of_its_volumes_on_disk() -> None:
    dds = make_method("dds", {})
    whole = plan_memory(problem(), dds, 13 * VOLUME, 8)  # 10 volumes and 3 arrays of data
    assert (whole.on_disk, whole.forecast) == (False, 13 * VOLUME)
    tight = plan_memory(problem(), dds, 7 * VOLUME, 8)
    assert (tight.on_disk, tight.forecast, tight.slab) == (True, 7 * VOLUME, 16)
    roomy = plan_memory(problem(), dds, 12 * VOLUME, 8, network_bytes_per_slice=VOLUME)
    assert (roomy.on_disk, roomy.micro_batch, roomy.forecast) == (True, 4, 11 * VOLUME)
    joined = replace(problem(), A=ForwardDifference(Space(("z", "y", "x"), SHAPE), "z"))
    for refused, settings in ((problem(), {"samples": 2}), (problem(), {"reuse": True}), (joined, {})):
        with pytest.raises(MemoryLimitError):
            plan_memory(refused, make_method("dds", settings), 8 * VOLUME, 8)


def test_networks_that_see_a_slice_at_a_time_do_not_grow_with_the_batch() -> None:
    tv = make_method("tv", {})
    one, eight = (plan_memory(problem(), tv, 100 * VOLUME, n, network_bytes=2 * VOLUME) for n in (1, 8))
    assert one.forecast == eight.forecast == 20 * VOLUME
    assert eight.micro_batch == 8


def test_plans_shrink_until_they_cannot() -> None:
    plan = plan_memory(problem(), make_method("sirt", {}), 100 * VOLUME, 2, network_bytes_per_slice=1)
    seen = []
    while (smaller := plan.shrunk()) is not None:
        plan = smaller
        seen.append((plan.micro_batch, plan.slab))
    assert seen == [(1, 16), (1, 8), (1, 4), (1, 2), (1, 1)]
    spilled = plan_memory(problem(), make_method("tv", {}), 100 * VOLUME, 8).shrunk()
    assert spilled is not None
    assert spilled.on_disk
    assert spilled.shrunk() is None


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (MemoryLimitError("needs more than is allowed"), False),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


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
