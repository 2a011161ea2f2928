"""Scores of ultrasound images against numbers that are known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.evaluation.ultrasound import cnr, gcnr, ks_distance, rf_psnr_db

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("scale", "expected"), [(0.1, 0.945), (0.25, 0.779), (0.5, 0.473), (0.75, 0.209)])
def test_gcnr_of_rayleigh_speckle(scale: float, expected: float) -> None:
    """exp(-u^2 / 2) - exp(-u^2 / 2 k^2) where the densities cross, u^2 = 4 ln(1/k) / (1/k^2 - 1)."""
    a, b = (np.abs(RNG.standard_normal(400000) + 1j * RNG.standard_normal(400000)) for _ in range(2))
    assert gcnr(a, scale * b) == pytest.approx(expected, abs=0.01)
    assert gcnr(np.log(a), np.log(scale * b)) == pytest.approx(expected, abs=0.01)


def test_gcnr_at_its_ends() -> None:
    assert gcnr(np.zeros(5), np.ones(7)) == 1.0
    assert gcnr(np.ones(5), np.ones(7)) == 0.0
    assert gcnr(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == pytest.approx(0.5)


def test_cnr_and_ks_by_hand() -> None:
    assert cnr(np.array([1.0, 3.0]), np.array([6.0, 8.0])) == pytest.approx(5 / math.sqrt(2))  # variances 1 and 1
    assert ks_distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])) == pytest.approx(0.5)
    assert ks_distance(np.array([1.0, 2.0]), np.array([2.0, 1.0])) == 0.0
    assert ks_distance(np.array([1.0]), np.array([2.0])) == 1.0


def test_rf_psnr_by_hand() -> None:
    truth = np.array([0.0, -2.0, 1.0, 0.0])
    assert rf_psnr_db(truth + 0.2, truth) == pytest.approx(20.0)
    with pytest.raises(InputError, match="zero everywhere"):
        rf_psnr_db(truth, 0 * truth)
    with pytest.raises(InputError, match="empty"):
        cnr(np.zeros(0), truth)
