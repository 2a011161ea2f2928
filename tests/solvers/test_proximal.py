from __future__ import annotations

import pytest
import torch

from recon3d.solvers.proximal import box, group_shrink, non_negative, soft_threshold


def test_soft_threshold_of_known_values() -> None:
    x = torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.5])
    assert torch.equal(soft_threshold(x, 1.0), torch.tensor([-2.0, 0.0, 0.0, 0.0, 1.5]))
    assert torch.equal(soft_threshold(x, torch.ones(5)), soft_threshold(x, 1.0))
    assert torch.equal(soft_threshold(x, 0.0), x)


def test_complex_values_keep_their_phase() -> None:
    x = torch.tensor([3 + 4j, 0.3 - 0.4j, 0j], dtype=torch.complex128)
    expected = torch.tensor([2.4 + 3.2j, 0, 0], dtype=torch.complex128)
    torch.testing.assert_close(soft_threshold(x, 1.0), expected)
    assert not torch.isnan(torch.view_as_real(soft_threshold(x, 0.0))).any()
    turn = torch.exp(torch.tensor(0.7j, dtype=torch.complex128))
    torch.testing.assert_close(soft_threshold(turn * x, 1.0), turn * expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_group_shrink_shortens_vectors(dtype: torch.dtype) -> None:
    x = torch.tensor([[3.0, 0.3], [4.0, 0.4]], dtype=dtype)
    expected = torch.tensor([[2.4, 0.0], [3.2, 0.0]], dtype=dtype)
    torch.testing.assert_close(group_shrink(x, 1.0), expected)
    torch.testing.assert_close(group_shrink(x.T, 1.0, dim=1), expected.T)


def test_bounds() -> None:
    x = torch.tensor([-1.0, 0.5, 2.0])
    assert torch.equal(non_negative(x), torch.tensor([0.0, 0.5, 2.0]))
    assert torch.equal(box(x, 0.0, 1.0), torch.tensor([0.0, 0.5, 1.0]))
