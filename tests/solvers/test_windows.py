"""Windows: they cover, overlap, and blend a cube back to itself."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.solvers.windows import in_windows, starts, taper, windows

pytestmark = pytest.mark.tiny


@given(count=st.integers(1, 60), side=st.integers(1, 30), overlap=st.floats(0, 0.9))
def test_starts_cover_with_the_overlap_asked_for(count: int, side: int, overlap: float) -> None:
    first = starts(count, side, overlap)
    assert first[0] == 0
    assert first[-1] == max(0, count - side)
    steps = [b - a for a, b in pairwise(first)]
    assert all(0 < step <= max(1, side * (1 - overlap) + 1e-9) for step in steps)


@settings(max_examples=25)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), side=st.integers(2, 5), overlap=st.sampled_from([0.0, 0.25, 0.5]))
def test_identity_in_windows_is_the_identity(shape: tuple[int, int, int], side: int, overlap: float) -> None:
    cube = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = in_windows(cube, (side,) * 3, overlap, lambda window: cube[window])
    torch.testing.assert_close(out, cube, rtol=1e-6, atol=1e-6)


def test_one_window_is_bit_for_bit() -> None:
    cube = torch.randn(4, 5, 6)
    assert torch.equal(in_windows(cube, (8, 8, 8), 0.5, lambda window: cube[window] * 1), cube)


def test_tapers_are_flat_at_the_faces_of_the_cube() -> None:
    window = windows((8,), (4,), 0.5)[0]
    weight = taper((8,), window)
    assert weight[:2].tolist() == [1.0, 1.0]
    assert weight[3] == pytest.approx(float(torch.sin(torch.tensor(3.5 * torch.pi / 4)) ** 2))
