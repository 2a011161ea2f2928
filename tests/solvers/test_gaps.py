"""The first guess: which ways suit which gaps is found on hidden traces, and never on what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.seismic import trace_mask
from recon3d.evaluation.seismic import snr_db
from recon3d.solvers.gaps import ITERATIONS, Trial, first_guess, trial, tried_guess
from recon3d.solvers.pocs import fourier_fill
from recon3d.synthetic.seismic import layered_cube
from recon3d.synthetic.seismic_scoring import scoring_cube

SHAPE = (24, 24, 48)
MANY, FEW, LOW_RANK, HORIZONS = range(4)


def gappy(family: str, missing: float, seed: int = 3) -> Tensor:
    """A mask (x, y, 1) of ones and zeros."""
    return torch.from_numpy(trace_mask(family, SHAPE[:2], missing, np.random.default_rng(seed)))[..., None].float()


def missing_snr(truth: Tensor, found: Tensor, live: Tensor) -> float:
    return snr_db(truth.numpy(), found.numpy(), live[..., 0].numpy() == 0)


def test_folds_in_a_wide_gap_are_followed_along_horizons() -> None:
    cube = torch.from_numpy(layered_cube(SHAPE, 5, family="folded").data)
    live = gappy("gap", 0.3)
    wide = trial(live * cube, live).wide
    assert wide[HORIZONS] == max(wide)
    guess = first_guess(live * cube, live)
    pocs = fourier_fill(live * cube, live.expand_as(cube))
    assert missing_snr(cube, guess, live) > missing_snr(cube, pocs, live) + 2
    assert torch.equal(guess[live[..., 0] > 0], cube[live[..., 0] > 0])


def test_plane_waves_that_cross_in_a_hole_are_left_to_pocs() -> None:
    """No one lag takes one side of the hole to the other, so horizons alone lose all but the strongest wave."""
    cube = torch.from_numpy(scoring_cube("linear", SHAPE, 3).data)
    live = torch.ones((*SHAPE[:2], 1))
    live[3:10, 12:19] = 0
    wide = trial(live * cube, live).wide
    assert wide[MANY] + wide[FEW] + wide[LOW_RANK] > wide[HORIZONS]
    best = max(
        missing_snr(cube, fourier_fill(live * cube, live.expand_as(cube), iterations=n), live) for n in ITERATIONS
    )
    assert missing_snr(cube, first_guess(live * cube, live), live) > best - 1


def test_noisy_traces_are_left_to_low_rank() -> None:
    """Hidden traces tell: POCS and horizons copy the noise of the traces around, a low rank leaves most of it out."""
    cube = torch.from_numpy(layered_cube(SHAPE, 5, family="layers").data)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    live = gappy("random", 0.4)
    clean, noisy = (trial(live * data, live).narrow for data in (cube, cube + noise))
    assert clean[LOW_RANK] < 0.1
    assert noisy[LOW_RANK] > 0.5


def test_the_guess_scales_with_the_traces_and_reads_nothing_that_is_missing() -> None:
    cube = torch.from_numpy(layered_cube(SHAPE, 6, family="faulted").data)
    live = gappy("block", 0.3)
    guess = first_guess(live * cube, live)
    torch.testing.assert_close(first_guess(-3 * live * cube, live), -3 * guess, rtol=1e-3, atol=1e-3)
    assert missing_snr(cube, guess, live) > 0


def test_a_survey_too_small_to_hide_anything_is_filled_all_the_same() -> None:
    data, live = torch.zeros(3, 3, 8), torch.zeros(3, 3, 1)
    data[1, 1], live[1, 1] = 1.0, 1.0
    guess = first_guess(data, live)
    assert torch.isfinite(guess).all()
    assert torch.equal(guess[1, 1], data[1, 1])


def test_the_share_of_a_correction_is_what_suits_hidden_traces() -> None:
    """All of what is missed, half of twice as much, nothing of the opposite or of what has nothing to do with it."""
    truth, guess, noise = torch.randn(3, 8, 8, 32, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[2:5, 1:7] = True
    tried = Trial(truth, (~hidden)[..., None].float(), hidden, guess, [], [])
    missed = truth - guess
    for correction, share in ((missed, 1.0), (0.3 * missed, 1.0), (2 * missed, 0.5), (-missed, 0.0), (noise, 0.0)):
        assert tried.share(guess + correction) == pytest.approx(share, abs=0.01)
    assert tried.share(guess) == 0
    unsure = guess + missed + 2 * noise  # 1/3 by least squares, as the noise has twice the energy of what is missed
    assert 0.2 < tried.share(unsure) < 0.33


def test_nothing_is_tried_where_hiding_would_break_a_regular_pattern() -> None:
    live = gappy("regular", 0.5)
    assert tried_guess(live * torch.ones(SHAPE), live)[1] is None
