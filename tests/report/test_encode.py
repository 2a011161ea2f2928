"""Volumes survive the page within half a level, and fewer voxels are means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.report.encode import HU_RANGE, encode, reduced, reduced_shape


@pytest.mark.tiny
@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6)),
    levels=st.sampled_from([4096, 1024, 256, 64]),
    seed=st.integers(0, 99),
)
def test_values_come_back_within_half_a_level(shape, levels, seed):
    data = np.random.default_rng(seed).normal(0, 500, shape)
    low, high = data.min() - 1, data.max() + 1
    stored = encode(data, low, high, 10**9, levels=(levels,))
    assert (stored.levels, stored.shape) == (levels, shape)
    assert stored.bytes_per_code == (1 if levels <= 256 else 2)
    assert np.abs(stored.values() - data).max() <= 0.5000001 * stored.step


@pytest.mark.tiny
def test_whole_hounsfield_units_are_exact_and_the_ends_clip():
    data = np.array([[[[-5000.0, -1024.0, -1.0, 0.0, 40.0, 3071.0, 9000.0, np.nan, np.inf]]]])
    values = encode(data, *HU_RANGE, 10**6).values()
    assert values.ravel().tolist() == [-1024, -1024, -1, 0, 40, 3071, 3071, -1024, 3071]


def test_a_small_budget_costs_levels():
    data = np.random.default_rng(0).uniform(0, 1, (1, 20, 30, 30))
    sizes = {}
    for budget in (10**6, 38_000, 1):
        stored = encode(data, 0.0, 1.0, budget)
        sizes[stored.levels] = len(stored.text)
        assert len(stored.text) <= budget or stored.levels == 256
    assert list(sizes) == [4096, 1024, 256]


@pytest.mark.tiny
def test_the_longest_axes_are_halved_first():
    assert reduced_shape((1, 256, 256, 256), 128**3) == (1, 128, 128, 128)
    assert reduced_shape((1, 28, 512, 512), 128**3) == (1, 28, 256, 256)
    assert reduced_shape((5, 3, 7, 9), 10**6) == (5, 3, 7, 9)
    assert reduced_shape((9, 1, 1, 1), 4) == (9, 1, 1, 1)  # frames are kept


@pytest.mark.tiny
@pytest.mark.parametrize("kind", [np.float32, np.complex64, np.int16, np.bool_])
def test_blocks_are_means(kind):
    data = (np.random.default_rng(1).normal(size=(2, 5, 6, 7)) * 100).astype(kind)
    small = reduced(data, (2, 3, 3, 4))
    edges = [[k * old // new for k in range(new)] + [old] for old, new in ((5, 3), (6, 3), (7, 4))]
    for z, y, x in np.ndindex(3, 3, 4):
        block = data[:, edges[0][z] : edges[0][z + 1], edges[1][y] : edges[1][y + 1], edges[2][x] : edges[2][x + 1]]
        np.testing.assert_allclose(small[:, z, y, x], block.mean(axis=(1, 2, 3)), rtol=1e-4, atol=1e-4)
