"""Drawn seismic cubes of both styles: determinism, coherence, and scans that hold no truth."""

from __future__ import annotations

import numpy as np
import pytest

import recon3d
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.synthetic.seismic import FAMILIES, layered_cube, neighbour_correlation
from recon3d.synthetic.seismic_masks import masked
from recon3d.synthetic.seismic_scoring import REACH, SCORING_FAMILIES, _ormsby, scoring_cube
from recon3d.volume import Volume

SHAPE = (24, 20, 48)


@pytest.mark.parametrize("family", FAMILIES)
def test_first_style_is_drawn_again_and_scaled(family: str) -> None:
    cube = layered_cube(SHAPE, 7, family=family)
    np.testing.assert_array_equal(cube.data, layered_cube(SHAPE, 7, family=family).data)
    assert np.abs(cube.data - layered_cube(SHAPE, 8, family=family).data).max() > 0.1
    assert np.sqrt(np.mean(cube.data**2)) == pytest.approx(1, rel=1e-4)
    assert isinstance(cube.grid, SurveyGrid)


def test_neighbours_agree_because_the_wavelet_comes_before_the_warp() -> None:
    """The sheet asks for more than 0.9; spikes that are warped and convolved afterwards fall well below."""
    folded = np.mean([neighbour_correlation(layered_cube((32, 32, 64), s, family="layers").data) for s in range(6)])
    assert folded > 0.9
    assert neighbour_correlation(scoring_cube("folded", (48, 48, 48), 1).data) > 0.9
    noise = np.random.default_rng(0).standard_normal((8, 8, 64))
    assert abs(neighbour_correlation(noise)) < 0.1


@pytest.mark.parametrize("family", SCORING_FAMILIES)
def test_second_style(family: str) -> None:
    cube = scoring_cube(family, SHAPE, 1)
    np.testing.assert_array_equal(cube.data, scoring_cube(family, SHAPE, 1).data)
    assert np.sqrt(np.mean(cube.data**2)) == pytest.approx(1, rel=1e-4)


def test_ormsby_has_unit_peak_no_mean_and_its_band() -> None:
    t = np.arange(-64, 64, dtype=float)
    wavelet = _ormsby(t, (0.03, 0.05, 0.12, 0.18))
    assert wavelet.max() == wavelet[64] == pytest.approx(1)
    assert (wavelet[np.abs(t) >= REACH] == 0).all()
    spectrum = np.abs(np.fft.rfft(np.fft.ifftshift(wavelet)))
    frequency = np.fft.rfftfreq(128)
    assert spectrum[(frequency > 0.22)].max() < 0.02 * spectrum.max()
    assert spectrum[0] < 0.1 * spectrum.max()
    inside = spectrum[(frequency > 0.06) & (frequency < 0.11)]
    assert inside.min() > 0.9 * spectrum.max()


def test_simulated_scan_holds_the_live_traces_alone() -> None:
    cube = scoring_cube("linear", SHAPE, 0)
    scan = recon3d.simulate(cube, {"kind": "seismic", "mask": "gap", "missing": 0.3}, seed=4)
    bins = tuple(np.asarray(scan.acquisition[name]) for name in ("crossline", "inline"))
    np.testing.assert_array_equal(scan.data, cube.data[bins])
    assert set(scan.acquisition) == {"crossline", "inline"}
    assert len(bins[0]) / (24 * 20) == pytest.approx(0.7, abs=0.05)
    again = recon3d.simulate(cube, {"kind": "seismic", "mask": "gap", "missing": 0.3}, seed=4)
    np.testing.assert_array_equal(again.data, scan.data)


def test_simulated_noise_is_stated() -> None:
    cube = scoring_cube("linear", SHAPE, 0)
    scan = recon3d.simulate(cube, {"kind": "seismic"}, noise={"noise_share": 0.2})
    bins = tuple(np.asarray(scan.acquisition[name]) for name in ("crossline", "inline"))
    assert np.std(scan.data - cube.data[bins]) == pytest.approx(scan.noise["std"], rel=0.05)


def test_what_cannot_be_simulated() -> None:
    cube = scoring_cube("linear", SHAPE, 0)
    with pytest.raises(ConfigError, match="'mask' is one of random"):
        recon3d.simulate(cube, {"kind": "seismic", "mask": "holes"})
    with pytest.raises(ConfigError, match="'missing' lies between"):
        recon3d.simulate(cube, {"kind": "seismic", "missing": 1.0})
    image = Volume(np.ones((2, 2, 2)), AffineGrid.centred((2, 2, 2), 1.0))
    with pytest.raises(InputError, match="on a SurveyGrid"):
        recon3d.simulate(image, {"kind": "seismic"})
    with pytest.raises(InputError, match="hides every trace"):
        masked(cube, np.zeros(SHAPE[:2], bool))
    with pytest.raises(ConfigError, match="Unknown family"):
        layered_cube(SHAPE, 0, family="salt")
    with pytest.raises(ConfigError, match="Unknown family"):
        scoring_cube("salt", SHAPE, 0)
