"""Drawn RF: levels, Rayleigh speckle, how far tissue and haze correlate, motion; both styles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import operators.ultrasound.drawn_rf as module
from operators.ultrasound import envelope
from operators.ultrasound.drawn_rf import BeamSpace, Spectra, haze_rf, tissue_rf
from recon3d.evaluation.ultrasound import gcnr, ks_distance
from recon3d.synthetic.ultrasound import companded_haze, companded_tissue
from recon3d.synthetic.ultrasound_scoring import hazy_frames

SPACE = BeamSpace(2.5e6, 0.6, 0.0385, 0.4, 19.0, 1.5, first_depth_mm=5.0)
SHAPE = (1, 64, 512)


@pytest.fixture
def speckle(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Tissue of one echogenicity, without gain over depth."""
    nothing = (np.zeros(0),) * 3
    monkeypatch.setattr(module, "_echogenicity", lambda space, shape, rng: np.ones(shape))
    monkeypatch.setattr(module, "_reflectors", lambda space, shape, rng: nothing)
    rf = tissue_rf(SPACE, SHAPE, np.random.default_rng(1))[0]
    return rf / np.sqrt(np.mean(rf**2, axis=0, keepdims=True))


def width(rf: np.ndarray) -> float:
    """Lateral autocorrelation, full width at half maximum, mm."""
    lags = [float(np.mean(rf[lag:] * rf[: len(rf) - lag])) for lag in range(len(rf) // 2)]
    return 2 * float(np.interp(-0.5 * lags[0], [-v for v in lags], np.arange(len(lags)))) * SPACE.pitch_mm


def test_speckle_is_rayleigh(speckle: np.ndarray) -> None:
    amplitude = envelope(torch.from_numpy(speckle)).numpy()[:, 20:-20]
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.913, abs=0.12)
    rayleigh = np.abs(
        np.random.default_rng(2).standard_normal(50000) + 1j * np.random.default_rng(3).standard_normal(50000)
    )
    assert ks_distance(amplitude[::4, ::16], rayleigh) < 0.08


def test_tissue_is_narrow_and_haze_is_wide(speckle: np.ndarray) -> None:
    haze = haze_rf(SPACE, SHAPE, np.random.default_rng(4))[0]
    assert width(speckle) < 3.0
    assert width(haze) > 5.5  # of frames 26 mm wide, whose window cuts it short


def test_levels_are_those_stated() -> None:
    whole = replace(SPACE, first_depth_mm=0.0)
    shape = (1, 64, 1299)  # 50 mm
    power = [np.mean(haze_rf(whole, shape, np.random.default_rng(seed)) ** 2) for seed in range(12)]
    assert np.mean(power) == pytest.approx(1.0, rel=0.3)
    assert np.mean([np.std(tissue_rf(SPACE, SHAPE, np.random.default_rng(seed))) for seed in range(4)]) < 3


def test_a_wavelength_of_motion_decorrelates_rf_little_by_little() -> None:
    still = tissue_rf(SPACE, (3, 64, 512), np.random.default_rng(5))
    moving = tissue_rf(SPACE, (3, 64, 512), np.random.default_rng(5), motion_mm=0.3)
    between = [float(np.corrcoef(rf[0].ravel(), rf[1].ravel())[0, 1]) for rf in (still, moving)]
    assert between[0] > 0.99
    assert between[1] < 0.95
    haze = haze_rf(SPACE, (2, 64, 512), np.random.default_rng(6), renewal=0.1)
    assert float(np.corrcoef(haze[0].ravel(), haze[1].ravel())[0, 1]) > 0.98  # sqrt(1 - 0.01)


def test_generators_for_training_are_companded_and_seeded() -> None:
    for make in (companded_tissue, companded_haze):
        first, again, other = (make((2, 40, 96), (0.03, 0.03, 0.03), seed) for seed in (1, 1, 2))
        assert np.array_equal(first.data, again.data)
        assert not np.array_equal(first.data, other.data)
        assert np.abs(first.data).max() <= 1
        assert 0.05 < first.data.std() < 0.7


def test_mean_spectra_peak_at_the_carrier() -> None:
    spectra = Spectra.drawn(SPACE, (48, 256), 2)
    for tissue, haze in (spectra.rf, spectra.companded):
        assert np.argmax(tissue.sum(0)) == pytest.approx(256 * SPACE.turns, rel=0.15)
        assert haze[0].sum() / haze.sum() > 2 * tissue[0].sum() / tissue.sum()  # wide across beams
    assert 2 * spectra.rf[0].mean() == pytest.approx(2.0, rel=0.05)


def test_second_style() -> None:
    frames = hazy_frames(2, frames=3, beams=64, samples=640)
    assert np.sqrt(np.mean(frames.haze**2)) == pytest.approx(1.0)
    assert not (frames.chamber & frames.muscle).any()
    amplitude = envelope(torch.from_numpy(frames.tissue[0])).numpy()
    chamber, muscle = amplitude[frames.chamber[0]], amplitude[frames.muscle[0]]
    assert gcnr(20 * np.log10(chamber), 20 * np.log10(muscle)) > 0.95
    between = [float(np.corrcoef(rf[0].ravel(), rf[1].ravel())[0, 1]) for rf in (frames.haze, frames.tissue)]
    assert between[0] > 0.9 > between[1]
    assert np.array_equal(frames.measured(0.5, 1), frames.measured(0.5, 1))
