"""The lag of a pulse: its middle, however long the record around it and whatever its side lobes."""

import numpy as np
import pytest

from operators.errors import GeometryError
from operators.ultrasound import pulse_lag_s


def test_a_gaussian_pulse_is_centred_where_it_is():
    t = np.arange(400) / 100e6
    pulse = np.exp(-(((t - 1.234e-6) / 0.2e-6) ** 2)) * np.cos(2 * np.pi * 5e6 * t + 0.7)
    assert pulse_lag_s(pulse, 100e6) == pytest.approx(1.234e-6, abs=2e-9)
    weak_echo = pulse + 0.2 * np.roll(pulse, 150)
    assert pulse_lag_s(weak_echo, 100e6) == pytest.approx(1.234e-6, abs=5e-9)


def test_a_symmetric_response_convolved_twice_has_its_middle_in_the_middle():
    half = np.hanning(31) * np.cos(np.pi * 0.4 * np.arange(-15, 16))
    both = np.convolve(np.convolve(half, half), half)
    assert pulse_lag_s(both, 1.0) == pytest.approx(45.0)


def test_refusals():
    for pulse, rate in ((np.zeros(5), 1.0), ([1.0, np.nan], 1.0), ([1.0], 0.0)):
        with pytest.raises(GeometryError, match="pulse needs"):
            pulse_lag_s(pulse, rate)
