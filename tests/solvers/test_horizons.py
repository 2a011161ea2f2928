"""Gaps filled along horizons: dips across a gap, curved and broken layers, edges of a survey, what is not read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recon3d.evaluation.seismic import snr_db
from recon3d.solvers.horizons import _marginals, horizon_fill


def dipping(shape: tuple[int, int, int], dip: float, curve: float = 0.0) -> Tensor:
    """Layers (random, below a sixth of the sampling rate) that fall by `dip` samples a line and bend by `curve`."""
    rng = np.random.default_rng(0)
    t = np.arange(shape[2], dtype=float)
    x = np.arange(shape[0]) - shape[0] / 2
    depth = t - (dip * x + curve * x**2)[:, None, None] - np.zeros((shape[1], 1))
    waves = zip(rng.uniform(0.03, 0.15, 12), rng.uniform(0, 6, 12), strict=True)
    cube = sum(np.cos(2 * np.pi * f * depth + phase) for f, phase in waves)
    return torch.from_numpy((cube / np.sqrt(np.mean(cube**2))).astype(np.float32))


def gap(shape: tuple[int, int, int], start: int, stop: int) -> Tensor:
    live = torch.ones(shape[:2], dtype=torch.bool)
    live[start:stop] = False
    return live


@pytest.mark.parametrize(("dip", "curve"), [(0.0, 0.0), (0.8, 0.0), (-1.6, 0.0), (0.3, 0.04)])
def test_layers_go_on_across_a_gap(dip: float, curve: float) -> None:
    """Ten lines are missing; zeros score 0 dB there, a wrong cycle below it."""
    cube = dipping((24, 6, 80), dip, curve)
    live = gap((24, 6, 80), 7, 17)
    filled = horizon_fill(torch.where(live[..., None], cube, torch.nan), live)
    inside = np.s_[:, :, 20:60]  # paths of steep layers leave the cube above and below
    assert snr_db(cube[inside].numpy(), filled[inside].numpy(), ~live.numpy()) > 10
    assert torch.equal(filled[live], cube[live])


def test_both_axes_and_corners_are_filled() -> None:
    cube = dipping((20, 20, 64), 0.5)
    live = torch.ones((20, 20), dtype=torch.bool)
    live[6:13, 5:12] = False
    live[15:, 16:] = False  # a corner of the survey, which has traces on one side only
    filled = horizon_fill(torch.where(live[..., None], cube, torch.nan), live)
    assert torch.isfinite(filled).all()
    hole = torch.zeros_like(live)
    hole[6:13, 5:12] = True
    assert snr_db(cube.numpy(), filled.numpy(), hole.numpy()) > 15
    assert snr_db(cube.numpy(), filled.numpy(), ~(live | hole).numpy()) > 3


def test_sides_that_do_not_agree_give_little() -> None:
    """Noise on both sides has no lag, so less is left than of a straight blend (2/3); amplitudes keep their unit."""
    noise = 1000 * torch.randn((16, 8, 64), generator=torch.Generator().manual_seed(0))
    live = gap((16, 8, 64), 4, 12)
    filled = horizon_fill(noise, live)
    assert float(filled[~live].square().mean()) < 0.5 * float(noise[live].square().mean())
    twice = horizon_fill(2 * noise, live)
    torch.testing.assert_close(twice, 2 * filled, rtol=1e-3, atol=1.0)


def test_nothing_known_and_nothing_missing() -> None:
    cube = torch.ones(4, 4, 8)
    assert horizon_fill(cube, torch.ones(4, 4, dtype=torch.bool)) is cube
    assert horizon_fill(cube, torch.zeros(4, 4, dtype=torch.bool)) is cube


def test_chain_against_all_its_paths() -> None:
    """Three states, three times: the 27 paths one by one."""
    cost = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chances = torch.zeros(3, 3, dtype=torch.float64)
    for path in np.ndindex(3, 3, 3):
        steps = np.abs(np.diff(path))
        if steps.max() <= 1:
            weight = np.exp(-sum(float(cost[0, s, k]) for k, s in enumerate(path)) - steps.sum())  # BEND is 1
            for k, s in enumerate(path):
                chances[s, k] += weight
    torch.testing.assert_close(_marginals(cost)[0], chances / chances.sum(0))
