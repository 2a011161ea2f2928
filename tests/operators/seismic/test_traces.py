"""Trace sampling: adjoint, hand-computed values, folds, and traces put back bit for bit."""

from __future__ import annotations

import pytest
import torch

from operators.errors import ShapeError
from operators.seismic import TraceSampling
from operators.testing import adjoint_error

pytestmark = pytest.mark.tiny

SHAPE = (3, 4, 5)


def sampling(crossline: list[int], inline: list[int], dtype: torch.dtype = torch.float64) -> TraceSampling:
    return TraceSampling(SHAPE, torch.tensor(crossline), torch.tensor(inline), dtype=dtype)


def test_adjoint_with_shared_bins() -> None:
    A = sampling([0, 2, 2, 1], [3, 0, 0, 1])
    assert adjoint_error(A) < 1e-10
    assert adjoint_error(A.to(dtype=torch.float32)) < 1e-5


def test_traces_are_those_of_their_bins() -> None:
    cube = torch.arange(60.0, dtype=torch.float64).reshape(SHAPE)
    A = sampling([0, 2], [3, 1])
    assert A(cube)[:, 0].tolist() == [15.0, 45.0]  # 5 samples a bin: bins 3 and 9
    assert A(torch.stack([cube, 2 * cube]))[1, 1, 4] == 98.0


def test_fold_counts_traces_and_gridded_is_their_mean() -> None:
    A = sampling([1, 1, 0], [2, 2, 0])
    y = torch.tensor([[1.0], [3.0], [7.0]], dtype=torch.float64).expand(3, 5).contiguous()
    assert A.fold[1, 2, 0] == 2
    assert A.live.sum() == 2
    assert A.gridded(y)[1, 2].tolist() == [2.0] * 5
    assert A.norm() == pytest.approx(2**0.5)


def test_insert_keeps_bits_and_fills_only_gaps() -> None:
    A = sampling([0, 2], [3, 1], torch.float32)
    y = torch.tensor([[0.1, 1 / 3, 1e-30, -7.7, 3e8]] * 2)
    cube = A.insert(torch.full(SHAPE, 9.0), y)
    assert torch.equal(cube[0, 3], y[0])
    assert int((cube == 9).sum()) == 60 - 10


def test_restates_itself_in_another_precision() -> None:
    A = sampling([0, 2], [3, 1]).to(dtype=torch.float32)
    assert torch.equal(A.bins, sampling([0, 2], [3, 1]).bins)


@pytest.mark.parametrize(
    ("crossline", "inline", "word"), [([3], [0], "crossline"), ([0], [-1], "inline"), ([0, 1], [0], "one bin")]
)
def test_bins_off_the_grid_are_refused(crossline: list[int], inline: list[int], word: str) -> None:
    with pytest.raises(ShapeError, match=word):
        sampling(crossline, inline)
