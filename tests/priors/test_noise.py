"""Noise coordinates: published values, inverses, and the network predictions that say the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon3d.errors import ModelError
from recon3d.priors.noise import (
    EDM,
    VE,
    FlowMatching,
    from_x0,
    sigma_at,
    to_x0,
    vp_cosine,
    vp_linear,
)

SCHEDULES = [VE(), EDM(), FlowMatching(), vp_linear(), vp_cosine()]


def test_vp_linear_has_the_published_values() -> None:
    """Against an extended-precision product, and the rounded values of the DDS sheet."""
    beta = np.linspace(1e-4, 2e-2, 1000).astype(np.longdouble)
    schedule = vp_linear()
    for t, rounded in ((0, 0.9999), (20, 0.99374), (500, 0.07780), (980, 5.904e-5), (999, 4.036e-5)):
        exact = float(np.prod(1 - beta[: t + 1]))
        assert schedule.abar(t) == pytest.approx(exact, rel=1e-9)
        assert schedule.abar(t) == pytest.approx(rounded, rel=1e-4)
    assert schedule.abar(-1) == 1.0
    for t, sigma in ((0, 0.0100), (20, 0.0794), (500, 3.443), (980, 130.1), (999, 157.4)):
        assert sigma_at(schedule, t) == pytest.approx(sigma, rel=6e-4)


def test_vp_cosine_follows_the_squared_cosine_until_beta_is_clipped() -> None:
    schedule = vp_cosine()
    start = np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    for t in (0, 100, 500, 900):
        expected = np.cos(((t + 1) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 / start
        assert schedule.abar(t) == pytest.approx(expected, rel=1e-9)
    assert max(schedule.beta) == 0.999


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_time_inverts_sigma(schedule: VE) -> None:
    for sigma in (0.011, 0.0123, 0.1, 0.77, 1.0, 9.3, 77.0):
        assert sigma_at(schedule, schedule.time(sigma)) == pytest.approx(sigma, rel=1e-10)


def test_vp_time_covers_what_lies_below_and_above_its_steps() -> None:
    schedule = vp_linear()
    assert sigma_at(schedule, schedule.time(0.004)) == pytest.approx(0.004, rel=1e-8)
    assert schedule.time(0.0) == -1.0
    assert schedule.time(1e6) == 999.0


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "velocity", "score"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_predictions_convert_both_ways(kind: str, schedule: VE) -> None:
    random = torch.Generator().manual_seed(1)
    x0, n = torch.randn((2, 3, 5), generator=random, dtype=torch.float64).unbind()
    t = schedule.time(0.7)
    a, b = schedule.a(t), schedule.b(t)
    x = a * x0 + b * n
    truth = {"eps": n, "x0": x0, "v": a * n - b * x0, "velocity": n - x0, "score": -n / b}[kind]
    torch.testing.assert_close(to_x0(kind, truth, x, a, b), x0)  # type: ignore[arg-type]
    torch.testing.assert_close(from_x0(kind, x0, x, a, b), truth)  # type: ignore[arg-type]


def test_an_unknown_prediction_is_named() -> None:
    x = torch.zeros(1)
    with pytest.raises(ModelError, match="'noise'"):
        to_x0("noise", x, x, 1.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="'noise'"):
        from_x0("noise", x, x, 1.0, 1.0)  # type: ignore[arg-type]
