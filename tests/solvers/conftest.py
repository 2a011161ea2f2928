"""Small dense problems shared by the solver tests, as fixtures that give functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from operators.linear import FunctionOperator, LinearOperator
from operators.space import Space


def _dense_operator(matrix: Tensor, shape: tuple[int, int, int]) -> LinearOperator:
    """`matrix` (data, voxels) acting on volumes (z, y, x), or on each slice where it has one slice's columns."""
    slices = shape[0] if matrix.shape[1] == shape[1] * shape[2] else 1
    domain = Space(("z", "y", "x"), shape, matrix.dtype)
    range_ = Space(("slice", "row"), (slices, matrix.shape[0]), matrix.dtype)

    def forward(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-3], slices, -1) @ matrix.T

    def adjoint(y: Tensor) -> Tensor:
        return (y @ matrix.conj()).reshape(*y.shape[:-2], *shape)

    return FunctionOperator(domain, range_, forward, adjoint)


def _random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _positive_definite(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """A random Hermitian matrix with eigenvalues between 1 and 10."""
    basis = torch.linalg.qr(_random(n, n, dtype=dtype, seed=seed)).Q
    values = torch.linspace(1, 10, n, dtype=torch.float64).to(dtype)
    return basis @ (values[:, None] * basis.mH)


def _gradient_matrix(shape: tuple[int, int, int], axis: int, spacing: float = 1.0) -> Tensor:
    """The dense Neumann difference along one of the axes -3, -2, -1, written as loops over voxels."""
    n = shape[0] * shape[1] * shape[2]
    index = torch.arange(n).reshape(shape)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    here = index.narrow(axis, 0, shape[axis] - 1).reshape(-1)
    there = index.narrow(axis, 1, shape[axis] - 1).reshape(-1)
    matrix[here, here] = -1 / spacing
    matrix[here, there] = 1 / spacing
    return matrix


def _slow_tv_minimum(
    matrix: Tensor, y: Tensor, gradients: list[Tensor], weight: float, steps: int
) -> tuple[Tensor, float]:
    """min 1/2 |matrix x - y|^2 + weight sum |gradient|_2 by Condat and Vu's primal-dual steps on dense matrices."""
    stacked = torch.cat([g.to(matrix.dtype) for g in gradients])
    curvature = float(torch.linalg.matrix_norm(matrix, 2)) ** 2
    dual_step = curvature / 2 / float(torch.linalg.matrix_norm(stacked, 2)) ** 2
    x = torch.zeros(matrix.shape[1], dtype=matrix.dtype)
    q = torch.zeros(len(gradients), len(x), dtype=matrix.dtype)
    for _ in range(steps):
        new = x - (matrix.mH @ (matrix @ x - y) + stacked.mH @ q.reshape(-1)) / curvature
        q = q + dual_step * (stacked @ (2 * new - x)).reshape(q.shape)
        q = q / (torch.linalg.vector_norm(q, dim=0) / weight).clamp(min=1)
        x = new
    lengths = torch.linalg.vector_norm((stacked @ x).reshape(q.shape), dim=0)
    return x, float(0.5 * (matrix @ x - y).abs().square().sum() + weight * lengths.sum())


@pytest.fixture(name="dense_operator")
def dense_operator_fixture() -> Callable[..., object]:
    return _dense_operator


@pytest.fixture(name="random")
def random_fixture() -> Callable[..., object]:
    return _random


@pytest.fixture(name="positive_definite")
def positive_definite_fixture() -> Callable[..., object]:
    return _positive_definite


@pytest.fixture(name="gradient_matrix")
def gradient_matrix_fixture() -> Callable[..., object]:
    return _gradient_matrix


@pytest.fixture(name="slow_tv_minimum")
def slow_tv_minimum_fixture() -> Callable[..., object]:
    return _slow_tv_minimum
