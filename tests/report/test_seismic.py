"""Pictures of seismic cubes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from recon3d.report.seismic import fk_spectrum, survey_sheet
from recon3d.synthetic.seismic import layered_cube


def test_sheet_shows_recorded_and_filled() -> None:
    cube = layered_cube((12, 10, 24), 0)
    live = np.ones((12, 10), bool)
    whole = imread(io.BytesIO(survey_sheet(cube)))
    live[3:8] = False
    both = imread(io.BytesIO(survey_sheet(cube, live)))
    assert whole.shape[1] == both.shape[1]
    assert both.shape[0] == pytest.approx(2 * whole.shape[0], abs=2)
    assert whole.std() > 0.05


def test_fk_spectrum_of_a_plane_wave_is_one_point() -> None:
    x, t = np.meshgrid(np.arange(16), np.arange(32), indexing="ij")
    spectrum = fk_spectrum(np.cos(2 * np.pi * (4 * t / 32 - 3 * x / 16)))
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert (row, column - 8) == (4, -3)
    assert spectrum.max() == pytest.approx(256)
