"""Envelopes, decibels and scan conversion."""

import numpy as np
import pytest
import torch

from operators.errors import GeometryError
from operators.testing import adjoint_error
from operators.ultrasound import SectorSampling, decibels, envelope


def test_the_envelope_of_a_tone_is_flat():
    n = torch.arange(256, dtype=torch.float64)
    tone = torch.cos(2 * np.pi * 0.21 * n)
    assert envelope(tone)[40:-40].numpy() == pytest.approx(np.ones(176), abs=0.02)
    assert envelope(torch.stack([tone, 2 * tone], dim=1), dim=0)[128].tolist() == pytest.approx([1, 2], abs=0.02)
    assert envelope(torch.tensor([3 + 4j])).item() == 5.0


def test_speckle_of_many_scatterers_is_rayleigh():
    z = torch.randn(20000, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    assert (envelope(z).mean() / envelope(z).std()).item() == pytest.approx(1.913, abs=0.03)


def test_decibels():
    assert decibels(torch.tensor([1.0, 0.1, 0.0])).tolist() == pytest.approx([0.0, -20.0, -60.0])
    assert decibels(torch.tensor([1.0]), reference=10.0, dynamic_range=10.0).item() == pytest.approx(-10.0)
    with pytest.raises(GeometryError, match="positive reference"):
        decibels(torch.zeros(2))


def test_sector_sampling_is_bilinear_and_zero_outside():
    beam, depth = torch.tensor([[0.0, 1.25, 2.0, 2.1]]), torch.tensor([[0.0, 2.5, 4.0, 1.0]])
    S = SectorSampling((1, 3, 5), beam, depth, dtype=torch.float64)
    b, d = torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing="ij")
    assert S((b + 10 * d).double()[None]).ravel().tolist() == pytest.approx([0.0, 26.25, 42.0, 0.0])
    assert adjoint_error(S) < 1e-10
