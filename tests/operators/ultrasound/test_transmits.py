"""When waves pass points: by hand, against the first element to reach a point, and in the limits of the focus."""

import numpy as np
import pytest

from operators.errors import GeometryError
from operators.ultrasound import Transmits, linear_array, matrix_array, mean_slowness, phased_array

ELEMENTS = linear_array(64, 0.3)
SLOWNESS = 1e-3 / 1540


def times(transmits, points, wavelength=0.6):
    points = np.atleast_2d(np.asarray(points, dtype=float))
    return transmits.times_s(points, np.full(len(points), SLOWNESS), wavelength)


def test_by_hand():
    assert times(Transmits.plane(np.pi / 6), [3.0, 0.0, 4.0]) / SLOWNESS == pytest.approx(1.5 + 4 * np.sqrt(0.75))
    assert times(Transmits.steered(-4.0, 0.0), [6.0, 0.0, 4.0]) / SLOWNESS == pytest.approx(10.0 - 4.0)
    assert times(Transmits.elements(np.array([[1.0, 0.0, 0.0]])), [4.0, 0.0, 4.0]) / SLOWNESS == pytest.approx(5.0)
    focused = Transmits.steered(30.0, 0.0, widths_mm=15.0)
    assert times(focused, [[0, 0, 10], [0, 0, 30], [0, 0, 40]])[0] / SLOWNESS == pytest.approx([10.0, 30.0, 40.0])
    assert times(focused, [4.0, 0.0, 27.0], wavelength=0.0) / SLOWNESS == pytest.approx(30.0 - 5.0)


@pytest.mark.parametrize(
    "transmits",
    [Transmits.plane([0.0, np.deg2rad(8)]), Transmits.steered([-10.0, -30.0], 0.0)],
    ids=["plane", "diverging"],
)
def test_the_wave_is_where_the_first_element_to_reach_a_point_says(transmits):
    """min_e (t_e + |r - r_e| / c), where the point lies inside what the array insonifies: to 0.05 samples of 20 MHz."""
    x, z = np.meshgrid(np.linspace(-3, 3, 13), np.linspace(15, 30, 16))
    points = np.stack([x.ravel(), 0 * x.ravel(), z.ravel()], axis=1)
    fired = times(transmits, ELEMENTS)
    way = np.linalg.norm(points[:, None] - ELEMENTS, axis=2) * SLOWNESS
    first = (fired[:, None] + way).min(axis=2)
    assert np.abs(times(transmits, points) - first).max() * 20e6 < 0.05


def test_a_plane_wave_is_the_limit_of_diverging_ones():
    points = [[3.0, 1.0, 20.0], [-4.0, 0.0, 35.0]]
    far = Transmits.steered(-1e7, np.deg2rad(8))
    assert times(far, points) == pytest.approx(times(Transmits.plane(np.deg2rad(8)), points), abs=1e-11)


def test_a_focused_front_is_continuous_through_its_focus():
    wave = Transmits.steered(30.0, 0.0, widths_mm=10.0)
    z = np.linspace(20, 40, 2001)
    path = times(wave, np.stack([np.full_like(z, 1.0), 0 * z, z], axis=1))[0] / SLOWNESS
    assert np.abs(np.diff(path)).max() < 0.012  # steps of 0.01 mm: no jump at the focus
    weights = wave.weights(np.array([[0.0, 0.0, 30.0], [8.0, 0.0, 30.0], [4.0, 0.0, 2.0]]), 0.6)[0]
    assert weights[0] == 1.0
    assert weights[1] == 0.0
    assert 0 < weights[2] < 1


def test_refusals():
    with pytest.raises(GeometryError, match="length 1"):
        Transmits(np.array([1.0]), np.array([[0.0, 0.0, 2.0]]), np.zeros((1, 3)), np.ones(1))
    with pytest.raises(GeometryError, match="shape"):
        Transmits(np.array([1.0]), np.array([[0.0, 0.0, 1.0]]), np.zeros((2, 3)), np.ones(1))
    with pytest.raises(GeometryError, match="NaN"):
        Transmits.steered(np.nan, 0.0)
    with pytest.raises(GeometryError, match="at least one element"):
        linear_array(0, 0.3)
    with pytest.raises(GeometryError, match="positive"):
        phased_array(4, 0.0)


def test_probes():
    assert linear_array(3, 0.5)[:, 0].tolist() == [-0.5, 0.0, 0.5]
    assert phased_array(2, 1e6, 1500.0)[:, 0].tolist() == pytest.approx([-0.375, 0.375])
    assert matrix_array((2, 2), (1.0, 3.0))[:, :2].tolist() == [[-1.5, -0.5], [1.5, -0.5], [-1.5, 0.5], [1.5, 0.5]]


def test_layers_add_up_their_times():
    depths = np.array([-1.0, 0.0, 10.0, 30.0])
    slowness = mean_slowness(depths, [1000.0, 2000.0], [0.0, 10.0])
    assert slowness * 1e6 == pytest.approx([1.0, 1.0, 1.0, (10 * 1.0 + 20 * 0.5) / 30])
    for speeds, tops in (([1500.0], [5.0]), ([1500.0, 1600.0], [0.0, 0.0]), ([-1.0], [0.0])):
        with pytest.raises(GeometryError):
            mean_slowness(depths, speeds, tops)
