"""Scores of interpolation by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.evaluation.seismic import seam_ratio, snr_db


def test_snr_on_chosen_traces() -> None:
    truth = np.ones((2, 2, 5))
    found = truth.copy()
    found[0, 0] += 0.1
    assert snr_db(truth, found, np.array([[True, False], [False, False]])) == pytest.approx(20)
    assert snr_db(truth, found) == pytest.approx(20 + 10 * np.log10(4))


def test_seams_by_hand() -> None:
    cube = np.cumsum(np.ones(8))[:, None, None] * np.ones((1, 1, 1))
    assert seam_ratio(cube, {0: [4]}) == pytest.approx(1)
    cube[4:] += 1
    assert seam_ratio(cube, {0: [4]}) == pytest.approx(2)
