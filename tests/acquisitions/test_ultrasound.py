"""Ultrasound scans: their operator, and what is said of bad ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.testing import adjoint_error
from recon3d.acquisitions.ultrasound import clipped_share, doubts, sound_speed_m_s, with_settings
from recon3d.beams import image_grid, points_mm, scan_converted
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.methods import reconstruct
from recon3d.problem import problem_for
from recon3d.scan import Scan
from recon3d.volume import Volume


def scan(**acquisition):
    """Sixteen elements, one plane wave, RF of a point at (1, 0, 12) mm made by the model itself."""
    known = {
        "elements_mm": np.stack([0.3 * (np.arange(16) - 7.5), np.zeros(16), np.zeros(16)], axis=1),
        "sampling_hz": 20e6, "centre_hz": 5e6, "sound_speed_m_s": 1540.0, "focus_mm": np.array([np.inf]),
        "polar_rad": np.zeros(1), "first_sample_s": np.zeros(1),
    }  # fmt: skip
    grid = image_grid((-2.0, 2.0), (10.0, 14.0), (0.1, 0.25))
    empty = Scan("ultrasound", np.zeros((1, 16, 450), np.float32), ("transmit", "element", "sample"), known, grid)
    A = problem_for(with_settings(empty, fractional_bandwidth=0.6)).A
    q = torch.zeros(grid.shape, dtype=torch.complex64)
    q[0, 20, 12] = 1.0
    return replace(empty, data=A(q).numpy(), acquisition={**known, **acquisition})


def test_a_point_comes_back_where_it_was_by_every_output():
    made = scan()
    assert adjoint_error(problem_for(made, dtype=torch.float64).A) < 1e-10
    bmode = reconstruct(problem_for(made), "das")
    assert bmode.volume.units == "dB"
    assert bmode.volume.data.max() == 0.0
    assert np.unravel_index(bmode.volume.data.argmax(), bmode.volume.data.shape) == (0, 20, 12)
    weighted = reconstruct(problem_for(made), "das", coherence="factor", image="envelope").volume.data
    assert np.unravel_index(weighted.argmax(), weighted.shape) == (0, 20, 12)
    assert np.iscomplexobj(reconstruct(problem_for(made), "das", image="iq").volume.data)


def test_frames_are_beamformed_one_by_one():
    made = scan()
    two = np.stack([made.data, 0.5 * made.data])
    timed = {**made.acquisition, "times_s": np.arange(2.0)}
    series = replace(made, data=two, axes=("t", *made.axes), acquisition=timed)
    result = reconstruct(problem_for(series), "das").volume
    assert result.data.shape[0] == 2
    assert result.data[1].max() == pytest.approx(-6.02, abs=0.01)


def test_incoherent_compounding_adds_envelopes():
    """The same wave twice, its echoes of opposite sign: they cancel as waves, their envelopes do not."""
    one = scan()
    twice = {"focus_mm": np.full(2, np.inf), "polar_rad": np.zeros(2), "first_sample_s": np.zeros(2)}
    two = replace(one, data=np.concatenate([one.data, -one.data]), acquisition={**one.acquisition, **twice})
    single = reconstruct(problem_for(one), "das", image="envelope").volume.data
    together = reconstruct(problem_for(two), "das", image="envelope", compounding="incoherent").volume.data
    assert np.allclose(together, single, atol=1e-5 * single.max())
    assert np.abs(reconstruct(problem_for(two), "das", image="iq").volume.data).max() < 1e-5 * single.max()
    with pytest.raises(ConfigError, match="leaves no phase"):
        reconstruct(problem_for(two), "das", image="iq", compounding="incoherent")


@pytest.mark.parametrize(
    ("name", "words"), [("sampling_hz", "lacks the sampling rate"), ("sound_speed_m_s", "lacks the speed of sound")]
)
def test_what_is_missing_is_named(name, words):
    made = scan()
    kept = {key: value for key, value in made.acquisition.items() if key != name}
    with pytest.raises(InputError, match=words):
        problem_for(replace(made, acquisition=kept))


def test_probe_transmits_and_data_that_disagree():
    with pytest.raises(InputError, match="probe has 15 elements, the data have 16"):
        problem_for(scan(elements_mm=np.zeros((15, 3))))
    with pytest.raises(InputError, match="of 2 transmits, the data have 1"):
        problem_for(scan(focus_mm=np.full(2, np.inf)))
    made = scan()
    with pytest.raises(InputError, match="no demodulation_hz"):
        problem_for(replace(made, data=made.data.astype(complex)))
    with pytest.raises(InputError, match="NaN"):
        replace(made, data=np.full_like(made.data, np.nan))
    with pytest.raises(InputError, match="No echo"):
        reconstruct(problem_for(made.on(image_grid((-2, 2), (200, 210), (1.0, 1.0)))), "das")
    with pytest.raises(InputError, match="is for ultrasound"):
        with_settings(replace(made, kind="ct"), f_number=1.0)


@pytest.mark.parametrize(("stated", "meant"), [(1.54, 1540), (154000, 1540), (1.54e6, 1540), (0.154, 1540)])
def test_a_speed_in_another_unit_is_guessed_and_told(stated, meant):
    made = scan(sound_speed_m_s=stated)
    speed, guess = sound_speed_m_s(made)
    assert speed[0] == pytest.approx(meant)
    assert "looks like" in guess
    assert guess in doubts(made)
    assert not sound_speed_m_s(scan())[1]


def test_a_speed_that_no_medium_has_is_refused():
    for speed in (1e-9, -1.0):
        with pytest.raises(InputError, match="speed of sound"):
            problem_for(scan(sound_speed_m_s=speed))


def test_clipped_traces_are_told_with_their_share():
    made = scan()
    assert clipped_share(made.data) == 0.0
    assert not doubts(made)
    clipped = np.clip(made.data, -0.3 * made.data.max(), 0.3 * made.data.max())
    assert clipped_share(clipped) > 1e-3
    assert any("clipped:" in line and "%" in line for line in doubts(replace(made, data=clipped)))


def test_points_of_planes_and_beams():
    plane = points_mm(image_grid((-1.0, 1.0), (2.0, 3.0), (1.0, 2.0)))
    assert plane.tolist() == [[-1, 0, 2], [1, 0, 2], [-1, 0, 3], [1, 0, 3]]
    sector = points_mm(BeamGrid((1, 2, 1), (-np.pi / 6, np.pi / 3), (8.0, 1.0), apex_mm=2.0))
    assert sector == pytest.approx(np.array([[-5, 0, 8.66025 - 2], [5, 0, 8.66025 - 2]]), abs=1e-4)
    with pytest.raises(InputError, match="one plane"):
        points_mm(BeamGrid((2, 2, 1), (0.0, 0.1), (8.0, 1.0)))


def test_scan_conversion_keeps_a_depth_ramp():
    beams = BeamGrid((1, 31, 40), (-0.6, 0.04), (1.0, 0.5), apex_mm=0.0)
    ramp = np.broadcast_to(1.0 + 0.5 * np.arange(40), beams.shape)
    picture = scan_converted(Volume(ramp, beams, units="1"))
    assert isinstance(picture.grid, AffineGrid)
    places = points_mm(picture.grid)
    radius = np.hypot(places[:, 0], places[:, 2]).reshape(picture.shape)
    inside = picture.data > 1.5
    assert np.abs(picture.data - radius)[inside].max() < 0.01
    with pytest.raises(InputError, match="for beams"):
        scan_converted(picture)
