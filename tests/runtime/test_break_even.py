"""When a stored matrix pays: the count of pairs, and one small measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recon3d.runtime.break_even import BreakEven, break_even

ROW = BreakEven(side=64, views=30, slices=4, build_s=3.0, mebibytes=1.0, kernels_s=0.05, matrix_s=0.02)


def test_pairs_make_up_for_the_matrix() -> None:
    assert ROW.pairs == pytest.approx(100.0)
    assert str(ROW) == "4 slices: pays after 100 pairs (20 ms a pair, kernels 50 ms)"
    assert str(replace(ROW, slices=1, matrix_s=0.06)) == "1 slice: never pays (60 ms a pair, kernels 50 ms)"


def test_a_measurement() -> None:
    pytest.importorskip("astra")
    one, two = break_even(16, 8, slices=(1, 2), repeats=1)
    assert (one.side, one.views, one.slices, two.slices) == (16, 8, 1, 2)
    assert one.build_s == two.build_s > 0
    assert min(one.kernels_s, one.matrix_s, two.kernels_s, two.matrix_s) > 0
    assert 0.01 < one.mebibytes < 0.1  # about 8 views x 23 rays x 16 rows x 2 pixels x 8 bytes, twice
