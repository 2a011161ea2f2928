"""Masks of traces: shares, families, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ReconError
from operators.seismic import MASK_FAMILIES, trace_mask
from operators.seismic.masks import WIDEST

pytestmark = pytest.mark.tiny


@pytest.mark.parametrize("family", MASK_FAMILIES)
@pytest.mark.parametrize("missing", [0.3, 0.5, 0.7])
def test_share_is_nearly_met(family: str, missing: float) -> None:
    live = trace_mask(family, (60, 60), missing, np.random.default_rng(0))
    assert 1 - live.mean() == pytest.approx(missing, abs=0.05)


@given(
    family=st.sampled_from(MASK_FAMILIES),
    shape=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    missing=st.floats(0.05, 0.7),
    seed=st.integers(0, 99),
)
def test_some_traces_live_and_the_seed_decides(family: str, shape: tuple[int, int], missing: float, seed: int) -> None:
    first, again = (trace_mask(family, shape, missing, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == shape
    assert first.any()
    np.testing.assert_array_equal(first, again)


def test_gaps_are_bands_of_lines_no_wider_than_a_third() -> None:
    for missing in (0.3, 0.7):
        live = trace_mask("gap", (60, 60), missing, np.random.default_rng(1))
        assert (live == live[:1]).all() or (live == live[:, :1]).all()
        line = live[0] if (live == live[:1]).all() else live[:, 0]
        runs = np.diff(np.flatnonzero(np.diff(np.r_[True, line, True].astype(int))))[::2]
        assert 1 < runs.max() <= 60 * WIDEST


def test_regular_keeps_or_drops_every_third_line() -> None:
    for missing, kept in ((0.67, 20), (0.33, 40)):
        live = trace_mask("regular", (60, 60), missing, np.random.default_rng(2))
        assert sorted({int(live.any(0).sum()), int(live.any(1).sum())}) == sorted({kept, 60})


def test_hiding_everything_is_one_sentence() -> None:
    with pytest.raises(ReconError, match=r"hides every trace of 1 x 1"):
        trace_mask("random", (1, 1), 0.9, np.random.default_rng(0))


@pytest.mark.parametrize("missing", [0.0, 1.0, -0.1])
def test_share_out_of_range(missing: float) -> None:
    with pytest.raises(ReconError, match="between 0 and 1"):
        trace_mask("gap", (8, 8), missing, np.random.default_rng(0))


def test_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(ReconError, match="random, regular, gap, lines, block"):
        trace_mask("holes", (8, 8), 0.5, np.random.default_rng(0))
