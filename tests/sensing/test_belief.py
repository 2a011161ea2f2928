"""Entropies of mixtures against quadrature and published numbers; ranks of two toys with eight particles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from operators.space import Space
from recon3d.sensing.belief import mixture_entropy, pairwise, pooled_width, published_score, variance
from recon3d.sensing.units import Units

ONE_GAUSSIAN = 0.5 * math.log(2 * math.pi * math.e)


def squared(points: list[float]) -> Tensor:
    x = torch.tensor(points, dtype=torch.float64)
    return (x[:, None] - x).square()


@pytest.mark.parametrize(
    ("distance", "low", "true", "high"),
    [(1.0, 1.638, 1.755, 1.985), (2.0, 1.985, 2.049, 2.112), (4.0, 2.112, 2.112, 2.112)],
)
def test_two_components_are_bracketed(distance: float, low: float, true: float, high: float) -> None:
    pairs = squared([-distance, distance])
    assert float(mixture_entropy(pairs, 1.0, 1, share=0.25)) == pytest.approx(low, abs=6e-4)
    assert float(mixture_entropy(pairs, 1.0, 1)) == pytest.approx(high, abs=6e-4)
    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    density = sum(0.5 * torch.exp(-0.5 * (x - m) ** 2) / math.sqrt(2 * math.pi) for m in (-distance, distance))
    exact = float(-torch.trapezoid(density * density.clamp(min=1e-300).log(), x))
    assert exact == pytest.approx(true, abs=4e-3)  # which was found by Monte Carlo
    assert low - 1e-3 <= exact <= high + 1e-3


A, B = [-3.0, -2, -1, 0, 0, 1, 2, 3], [0.0] * 7 + [8.0]


@pytest.mark.parametrize(("width", "of_a", "of_b"), [(1.0, 2.531, 1.796), (5.0, 3.157, 3.236), (50.0, 5.332, 5.334)])
def test_the_sign_decides_between_wide_and_far(width: float, of_a: float, of_b: float) -> None:
    """Eight particles: spread evenly, or one far away. The published score always prefers the latter."""
    assert float(mixture_entropy(squared(A), width, 1)) == pytest.approx(of_a, abs=6e-4)
    assert float(mixture_entropy(squared(B), width, 1)) == pytest.approx(of_b, abs=6e-4)
    assert published_score(squared(A), width) < published_score(squared(B), width)


def test_published_values() -> None:
    assert float(published_score(squared(A), 1.0)) == pytest.approx(87.7, abs=0.1)
    assert float(published_score(squared(B), 1.0)) == pytest.approx(257.9, abs=0.1)
    assert torch.isfinite(published_score(squared([0.0, 1e3]), 1e-2))  # the published float32 overflows here


def test_limits_and_invariances() -> None:
    same, far = squared([1.0] * 5), squared([0.0, 1e4, 2e4, 3e4])
    assert float(mixture_entropy(same, 2.0, 3)) == pytest.approx(3 * (ONE_GAUSSIAN + math.log(2)))
    assert float(mixture_entropy(far, 1.0, 1)) == pytest.approx(ONE_GAUSSIAN + math.log(4))
    points = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropy = mixture_entropy(squared(points.tolist()), 0.7, 1)
    shuffled = points[torch.tensor([3, 1, 5, 0, 2, 4])] + 9.0
    assert float(mixture_entropy(squared(shuffled.tolist()), 0.7, 1)) == pytest.approx(float(entropy))
    assert mixture_entropy(squared((1.5 * points).tolist()), 0.7, 1) > entropy


def test_a_wide_kernel_ranks_by_variance() -> None:
    units = Units(Space(("coil", "kx"), (3, 5), torch.complex128), ("kx",))
    predictions = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.complex128)
    spread = variance(units, predictions)
    pairs = pairwise(units, predictions)
    by_pairs = pairs.sum((0, 1)) / (2 * len(predictions) ** 2)
    torch.testing.assert_close(by_pairs, spread)
    for score in (mixture_entropy(pairs, 1e3, 6), published_score(pairs, 1e3)):
        assert torch.equal(score.argsort(), spread.argsort())


def test_the_pooled_width_is_a_median_over_candidates() -> None:
    pairs = torch.zeros(2, 2, 1, 3, dtype=torch.float64)
    pairs[0, 1, 0] = pairs[1, 0, 0] = torch.tensor([4.0, 9.0, 1e6])
    assert pooled_width(pairs, torch.tensor([[True, True, False]])) == 2.0
    assert pooled_width(torch.zeros(2, 2, 1, 3), torch.ones(1, 3, dtype=torch.bool)) == 1.0
