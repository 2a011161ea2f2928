from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from recon3d.errors import ConfigError
from recon3d.sampling.grids import angle_grid, karras_grid, lambda_grid, vp_alpha_bar, vp_grid, vp_times


def test_vp_schedule_has_the_published_values() -> None:
    abar = vp_alpha_bar()
    expected = {0: 0.9999, 20: 0.99374, 500: 0.07780, 980: 5.904e-5, 999: 4.036e-5}
    for t, value in expected.items():
        assert abar[t] == pytest.approx(value, rel=1e-4)
    direct = math.prod(1 - (1e-4 + (2e-2 - 1e-4) * t / 999) for t in range(501))
    assert abar[500] == pytest.approx(direct, rel=1e-12)
    sigma = np.sqrt((1 - abar) / abar)
    assert sigma[[0, 20, 500, 980, 999]] == pytest.approx([0.0100, 0.0794, 3.443, 130.1, 157.4], rel=1e-3)


def test_vp_times_of_every_spacing() -> None:
    assert vp_times(50) == list(range(980, -1, -20))
    assert len(vp_times(99)) == 100
    assert len(vp_times(30)) == 31
    for count in (1, 7, 50, 99, 1000):
        for spacing in ("linspace", "trailing"):
            times = vp_times(count, spacing)
            assert len(set(times)) == count
            assert times == sorted(times, reverse=True)
            assert times[0] == 999
            assert times[-1] >= 0
    assert vp_times(99, "linspace")[-1] == 0
    assert vp_times(50, "trailing")[-1] == 19


def test_public_end_passes_a_clean_image_once_more() -> None:
    abar = vp_alpha_bar()
    grid = vp_grid(50)
    assert len(grid) == 50
    assert (grid[-2].a_next, grid[-2].b_next) == (grid[-1].a_next, grid[-1].b_next) == (1.0, 0.0)
    assert grid[-1].sigma == pytest.approx(math.sqrt((1 - abar[0]) / abar[0]), rel=1e-12)
    proper = vp_grid(50, final="denoise")
    assert proper[:48] == grid[:48]
    assert proper[-1] == grid[-1]
    assert proper[-2].sigma_next == grid[-1].sigma


@pytest.mark.parametrize("make", [karras_grid, lambda_grid])
def test_ve_grids_go_from_the_largest_to_the_smallest_sigma(make) -> None:
    grid = make(20, 8.0, 0.01)
    assert [step.index for step in grid] == list(range(20))
    assert grid[0].sigma == pytest.approx(8.0, rel=1e-12)
    assert grid[-1].sigma == pytest.approx(0.01, rel=1e-12)
    assert all(now.sigma_next == after.sigma for now, after in itertools.pairwise(grid))
    assert all(step.a == 1.0 and step.b == step.sigma for step in grid)
    assert grid[-1].sigma_next == 0.0
    assert [step.last for step in grid] == [False] * 19 + [True]
    noisy = make(20, 8.0, 0.01, final="none")
    assert len(noisy) == 20
    assert noisy[-1].sigma_next == pytest.approx(0.01, rel=1e-12)
    assert make(1, 8.0, 0.01)[0].b_next == 0.0


def test_spacing_of_ve_grids() -> None:
    logs = np.diff([math.log(step.sigma) for step in lambda_grid(9, 8.0, 0.01)])
    assert logs == pytest.approx(np.full(8, math.log(0.01 / 8) / 8), rel=1e-12)
    roots = np.diff([step.sigma ** (1 / 7) for step in karras_grid(9, 8.0, 0.01)])
    assert roots == pytest.approx(np.full(8, (0.01 ** (1 / 7) - 8 ** (1 / 7)) / 8), rel=1e-9)


def test_a_late_vp_start_leaves_out_noisier_times() -> None:
    grid = vp_grid(20, spacing="linspace", sigma_max=1.0)
    assert len(grid) == 20
    assert 0.95 < grid[0].sigma <= 1.0
    assert grid[-1].sigma == pytest.approx(0.01, rel=1e-3)


def test_impossible_grids_are_refused() -> None:
    for call in (
        lambda: lambda_grid(0, 1.0, 0.1),
        lambda: karras_grid(5, 0.1, 1.0),
        lambda: karras_grid(5, 1.0, 0.0),
        lambda: vp_grid(1001),
        lambda: vp_grid(5, sigma_max=1e-3),
    ):
        with pytest.raises(ConfigError):
            call()


def test_the_angle_grid_is_that_of_ads() -> None:
    """Rates of the published schedule at four times (1000 steps): signal, noise, their ratio."""
    steps = angle_grid(1000)
    for at, a, ratio in (
        (0, 0.0200, 49.99),
        (5, 0.0262, 38.2),
        (50, 0.0816, 12.2),
        (250, 0.3224, 2.94),
        (500, 0.5945, 1.35),
    ):
        assert steps[at].a == pytest.approx(a, abs=1e-4)
        assert steps[at].sigma == pytest.approx(ratio, rel=3e-3)
        assert steps[at].a ** 2 + steps[at].b ** 2 == pytest.approx(1)
    assert steps[-1].sigma == pytest.approx(0.3287, rel=0.01)
    assert steps[-1].b_next == 0


def test_a_preserving_grid_has_the_same_levels() -> None:
    plain, preserving = lambda_grid(7, 2.0, 0.1), lambda_grid(7, 2.0, 0.1, preserving=True)
    assert [s.sigma for s in preserving] == pytest.approx([s.sigma for s in plain])
    assert all(s.a**2 + s.b**2 == pytest.approx(1) for s in preserving)
