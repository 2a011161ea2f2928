"""Companding: known values, an odd and monotone round trip, and its slope."""

from __future__ import annotations

import pytest
import torch

from operators.ultrasound import compand, expand
from operators.ultrasound.companding import slope


def test_known_values() -> None:
    v = torch.tensor([0.0, 0.01, 0.1, 1.0, 7.0], dtype=torch.float64)
    assert compand(v).tolist() == pytest.approx([0.0, 0.2285, 0.5910, 1.0, 1.0], abs=1e-4)  # ln 3.55 / ln 256 ...
    assert compand(-v).tolist() == (-compand(v)).tolist()
    assert slope(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([45.99, 0.1796], abs=1e-2)


def test_round_trip_and_slope() -> None:
    v = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    u = compand(v)
    assert float((expand(u) - v).abs().max()) < 1e-12
    assert bool((u.diff() > 0).all())
    v.requires_grad_()
    (gradient,) = torch.autograd.grad(compand(v).sum(), v)
    inside = v.detach().abs() > 1e-6
    assert torch.allclose(slope(v.detach())[inside], gradient[inside], rtol=1e-9)
