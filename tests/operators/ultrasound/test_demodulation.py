"""Demodulation: envelopes of known pulses, also of those sampled below twice their band; adjoints; refusals."""

import numpy as np
import pytest
import torch

from operators.errors import GeometryError
from operators.testing import adjoint_error
from operators.ultrasound import Demodulation

SAMPLES = 400


def pulse(rate, carrier, width_s=0.8e-6):
    """A Gaussian pulse about sample 200, and its baseband."""
    t = torch.arange(SAMPLES, dtype=torch.float64) / rate
    envelope = torch.exp(-0.5 * ((t - 200 / rate) / width_s) ** 2)
    phase = 2 * np.pi * carrier * t
    return (envelope * torch.cos(phase + 0.4)).reshape(1, 1, -1), torch.polar(envelope, torch.full_like(t, 0.4))


@pytest.mark.parametrize("rate", [20e6, 6.667e6, 4.3e6], ids=["zone 0", "zone 1, mirrored", "zone 2"])
def test_baseband_of_a_pulse(rate):
    rf, baseband = pulse(rate, 5e6)
    found = Demodulation((1, 1, SAMPLES), rate, 5e6, dtype=torch.float64)(rf)[0, 0]
    assert (found - baseband).abs().max() < 1e-3


@pytest.mark.parametrize("rate", [20e6, 6.667e6])
@pytest.mark.parametrize("bandwidth", [None, 0.6])
def test_adjoint(rate, bandwidth):
    assert adjoint_error(Demodulation((2, 3, 101), rate, 5e6, bandwidth, torch.float64)) < 1e-10
    assert adjoint_error(Demodulation((2, 3, 101), rate, 5e6, bandwidth)) < 1e-5


def test_the_response_is_half_at_the_edges_of_the_band():
    D = Demodulation((1, 1, SAMPLES), 20e6, 5e6, 0.5, torch.float64)
    tone = torch.cos(2 * np.pi * (6.25e6 / 20e6) * torch.arange(SAMPLES, dtype=torch.float64)).reshape(1, 1, -1)
    assert D(tone).abs()[0, 0, 200].item() == pytest.approx(0.5)


def test_an_offset_of_the_receiver_is_no_echo():
    assert Demodulation((1, 1, SAMPLES), 20e6, 5e6)(torch.ones(1, 1, SAMPLES)).abs().max() < 1e-6


@pytest.mark.parametrize(("rate", "carrier", "word"), [(0, 5e6, "positive"), (10e6, 5e6, "edge"), (5e6, 5e6, "edge")])
def test_refusals(rate, carrier, word):
    with pytest.raises(GeometryError, match=word):
        Demodulation((1, 1, 8), rate, carrier)
    with pytest.raises(GeometryError, match="bandwidth"):
        Demodulation((1, 1, 8), 20e6, 5e6, 3.0)
