"""Block-Hankel rank reduction against dense matrices and plane waves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon3d.solvers.hankel import PlaneHankel

pytestmark = pytest.mark.tiny


def waves(shape: tuple[int, int], count: int) -> torch.Tensor:
    x, y = np.meshgrid(*map(np.arange, shape), indexing="ij")
    rng = np.random.default_rng(0)
    plane = sum(
        rng.uniform(1, 2) * np.exp(1j * (rng.uniform(-2, 2) * x + rng.uniform(-2, 2) * y)) for _ in range(count)
    )
    return torch.from_numpy(np.asarray(plane))[None]


def test_matrix_by_hand() -> None:
    plane = torch.arange(12.0).reshape(1, 3, 4)
    hankel = PlaneHankel((3, 4))
    dense = torch.empty(hankel.size)  # rows: corners of a 2 x 3 block; columns: shifts of 2 x 2
    for row in range(6):
        for column in range(4):
            dense[row, column] = plane[0, row // 3 + column // 2, row % 3 + column % 2]
    assert torch.equal(hankel.matrix(plane)[0], dense)


def test_plane_inverts_matrix() -> None:
    plane = torch.randn(2, 5, 6, dtype=torch.complex128)
    hankel = PlaneHankel((5, 6))
    torch.testing.assert_close(hankel.plane(hankel.matrix(plane)), plane)


def test_rank_is_the_number_of_waves() -> None:
    plane = waves((9, 8), 3)
    hankel = PlaneHankel((9, 8))
    values = torch.linalg.svdvals(hankel.matrix(plane)[0])
    assert values[3] < 1e-10 * values[0]
    torch.testing.assert_close(hankel.reduced(plane, 3), plane)
    assert (hankel.reduced(plane, 2) - plane).abs().max() > 0.1


def test_reduction_is_the_truncated_decomposition() -> None:
    plane = torch.randn(1, 6, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    hankel = PlaneHankel((6, 6))
    U, values, Vh = torch.linalg.svd(hankel.matrix(plane), full_matrices=False)
    rank = 8  # with 6 further columns the random test spans most of the 9 right singular vectors
    wanted = hankel.plane((U[..., :rank] * values[:, None, :rank]) @ Vh[:, :rank])
    torch.testing.assert_close(hankel.reduced(plane, rank), wanted)


def test_damping_weakens_noise() -> None:
    clean = waves((12, 12), 2)
    noisy = clean + 0.5 * torch.randn(clean.shape, dtype=clean.dtype, generator=torch.Generator().manual_seed(2))
    hankel = PlaneHankel((12, 12))
    plain, damped = (float((hankel.reduced(noisy, 4, d) - clean).norm()) for d in (None, 3.0))
    assert damped < plain
