"""Rank reduction of block-Hankel matrices of planes: a plane of a few plane waves has a matrix of that rank."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

__all__ = ["PlaneHankel"]

EXTRA = 6
"""Columns of the random test matrix beyond the rank."""
POWER_STEPS = 1


class PlaneHankel:
    """Block-Hankel matrices of planes (x, y): rows and columns count the corners of windows of about half size.

    Parameters
    ----------
    shape : of the planes
    """

    def __init__(self, shape: tuple[int, int], device: torch.device | str = "cpu") -> None:
        rows = [n // 2 + 1 for n in shape]
        columns = [n - r + 1 for n, r in zip(shape, rows, strict=True)]
        axes = [torch.arange(r)[:, None] + torch.arange(c)[None, :] for r, c in zip(rows, columns, strict=True)]
        index = axes[0][:, None, :, None] * shape[1] + axes[1][None, :, None, :]
        self.shape = shape
        self.size = (rows[0] * rows[1], columns[0] * columns[1])
        self.index = index.reshape(-1).to(device)

    @cached_property
    def _counts(self) -> Tensor:
        return torch.bincount(self.index, minlength=self.shape[0] * self.shape[1])

    def matrix(self, planes: Tensor) -> Tensor:
        """(batch, x, y) -> (batch, row, column)."""
        return planes.flatten(1).index_select(1, self.index).unflatten(1, self.size)

    def plane(self, matrices: Tensor) -> Tensor:
        """The mean over all entries of a matrix that stand for one point of its plane."""
        flat = matrices.flatten(1)
        out = flat.new_zeros((len(flat), self.shape[0] * self.shape[1]))
        return (out.index_add_(1, self.index, flat) / self._counts).unflatten(1, self.shape)

    def reduced(self, planes: Tensor, rank: int, damping: float | None = None) -> Tensor:
        """The planes of the best approximations of that rank, by a randomised decomposition (Halko et al. 2011).

        With `damping` N, singular value j is multiplied by ``1 - (sigma_{rank+1} / sigma_j)^N`` (Chen et al. 2016).
        """
        H = self.matrix(planes)
        width = min(rank + EXTRA, *self.size)
        rank = min(rank, width)
        test = torch.randn((self.size[1], width), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        Q = H @ test.to(H)
        for _ in range(POWER_STEPS):
            Q = torch.linalg.qr(Q).Q
            Q = H @ (H.mH @ Q)
        Q = torch.linalg.qr(Q).Q
        U, values, Vh = torch.linalg.svd(Q.mH @ H, full_matrices=False)
        kept = values[:, :rank]
        if damping is not None and width > rank:
            kept = kept * (1 - (values[:, rank : rank + 1] / kept.clamp(min=1e-30)) ** damping).clamp(min=0)
        return self.plane((Q @ U[:, :, :rank]) @ (kept[:, :, None] * Vh[:, :rank]))
