"""Policies on a Gaussian toy whose best order is known, and the exact numbers of fixed plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from operators.space import Space
from recon3d.errors import ConfigError
from recon3d.sensing.policies import FIXED, Belief, choose, planned, scores
from recon3d.sensing.units import Units

COLUMNS, NOISE = 16, 0.01
UNITS = Units(Space(("y", "x"), (4, COLUMNS), torch.float64), ("x",))


def covariance() -> np.ndarray:
    """Rows are independent draws of it (sheet, 11.3): column 5 varies most, 12 alone, 4 and 6 follow 5."""
    j = np.arange(COLUMNS)
    a = np.exp(-(((j - 5) / 3) ** 2) / 2) + 0.1
    a[12] = 0.9
    return a[:, None] * a * np.exp(-np.abs(j[:, None] - j) / 2)


def conditioned(C: np.ndarray, taken: list[int]) -> np.ndarray:
    if not taken:
        return C
    gain = np.linalg.solve(C[np.ix_(taken, taken)] + NOISE * np.eye(len(taken)), C[taken])
    return C - C[:, taken] @ gain


def exact_particles(C: np.ndarray) -> Tensor:
    """Particles whose covariance is C exactly: plus and minus its scaled eigenvectors."""
    values, vectors = np.linalg.eigh(C)
    half = (vectors * np.sqrt(np.clip(values, 0, None) * len(C))).T
    rows = np.repeat(np.concatenate([half, -half])[:, None], 4, axis=1)
    return torch.from_numpy(rows)


def closed(taken: list[int]) -> Tensor:
    flags = torch.zeros(1, COLUMNS, dtype=torch.bool)
    flags[0, taken] = True
    return flags


@pytest.mark.parametrize(("policy", "width"), [("variance", None), ("entropy", 30.0), ("published", 300.0)])
def test_the_exact_greedy_order(policy: str, width: float | None) -> None:
    taken: list[int] = []
    for _ in range(6):
        belief = Belief(UNITS, exact_particles(conditioned(covariance(), taken)), closed(taken))
        taken.append(choose(UNITS, scores(policy, belief, width), 1)[0].index)
    assert taken == [5, 12, 3, 7, 4, 6]
    assert np.trace(conditioned(covariance(), taken)) == pytest.approx(1.417, abs=1e-3)


@pytest.mark.parametrize(("policy", "width"), [("variance", None), ("entropy", 2.0)])
def test_few_particles_find_a_good_first_column(policy: str, width: float | None) -> None:
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(covariance() + 1e-12 * np.eye(COLUMNS))
    good = 0
    for _ in range(100):
        drawn = torch.from_numpy(rng.standard_normal((16, 4, COLUMNS)) @ root.T)
        good += choose(UNITS, scores(policy, Belief(UNITS, drawn, closed([])), width), 1)[0].index in (4, 5, 6)
    assert good >= 93


def test_the_truth_is_asked_where_the_belief_is_wrong() -> None:
    predictions = torch.zeros(2, 4, COLUMNS, dtype=torch.float64)
    truth = torch.zeros(4, COLUMNS, dtype=torch.float64)
    truth[:, 9] = 1
    belief = Belief(UNITS, predictions, closed([]), truth=truth)
    assert choose(UNITS, scores("truth", belief), 1)[0].index == 9
    with pytest.raises(ConfigError, match="simulated sources"):
        scores("truth", Belief(UNITS, predictions, closed([])))


def test_closed_units_are_never_chosen_and_ties_go_to_the_first() -> None:
    same = torch.zeros(3, 4, COLUMNS, dtype=torch.float64)
    for policy in ("variance", "entropy", "published"):
        wanted = scores(policy, Belief(UNITS, same, closed([0, 1])))
        assert [unit.index for unit in choose(UNITS, wanted, 3)] == [2, 3, 4]


def test_coverage_keeps_units_apart() -> None:
    wanted = torch.linspace(1, 2, COLUMNS, dtype=torch.float64)[None]
    assert [u.index for u in choose(UNITS, wanted, 3)] == [15, 14, 13]
    apart = sorted(u.index for u in choose(UNITS, wanted, 3, coverage=3.0))
    assert min(np.diff(apart)) >= 3


@given(
    policy=st.sampled_from([p for p in FIXED if p != "listed"]), count=st.integers(0, 10), seed=st.integers(0, 99),
    start=st.sets(st.integers(0, COLUMNS - 1), max_size=6),
)  # fmt: skip
def test_fixed_plans_add_exactly_what_is_asked_for(policy: str, count: int, seed: int, start: set[int]) -> None:
    flags = closed(sorted(start))
    chosen = [unit.index for unit in planned(policy, UNITS, flags, count, seed)]
    assert len(set(chosen)) == len(chosen) == count
    assert not set(chosen) & start
    assert chosen == [unit.index for unit in planned(policy, UNITS, flags, count, seed)]


def test_slices_are_planned_by_their_global_index() -> None:
    units = Units(Space(("z", "x"), (3, COLUMNS)), ("x",), "z")
    flags = torch.zeros(3, COLUMNS, dtype=torch.bool)
    whole = [unit.index for unit in planned("random", units, flags, 4, seed=1)]
    last = Units(Space(("z", "x"), (1, COLUMNS)), ("x",), "z")
    alone = [unit.index for unit in planned("random", last, flags[:1], 4, seed=1, first=2)]
    assert whole[8:] == alone
    assert whole[:4] != whole[4:8]


def test_variable_density_prefers_the_middle_and_equispaced_spreads() -> None:
    flags = closed([])
    dense = [unit.index for seed in range(50) for unit in planned("variable_density", UNITS, flags, 4, seed)]
    assert np.mean(np.abs(np.array(dense) - 8) <= 3) > 0.7
    even = sorted(unit.index for unit in planned("equispaced", UNITS, flags, 4, 0))
    assert set(np.diff(even)) == {4}


def test_listed_units_are_checked() -> None:
    assert [u.index for u in planned("listed", UNITS, closed([1]), 2, 0, [7, 1, 3])] == [7, 3]
    with pytest.raises(ConfigError, match="units from 0 to 15"):
        planned("listed", UNITS, closed([]), 2, 0, [7, 16])
    with pytest.raises(ConfigError, match="gives 2 units beyond the start, the budget asks for 3"):
        planned("listed", UNITS, closed([]), 3, 0, [7, 8])
