"""Trace sampling: of a cube of bins, the traces that were recorded."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator
from operators.space import Space

AXES = ("crossline", "inline", "sample")


class TraceSampling(LinearOperator):
    """Cube (crossline, inline, sample) -> recorded traces (trace, sample): (A x)_k = x at the bin of trace k.

    Parameters
    ----------
    shape : of the cube
    crossline, inline : (trace,) whole numbers, the bin of each trace; several traces may share one
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        crossline: Tensor,
        inline: Tensor,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if crossline.shape != inline.shape or crossline.ndim != 1 or len(crossline) == 0:
            raise ShapeError(
                f"Every trace needs one bin, got {tuple(crossline.shape)} crosslines, {tuple(inline.shape)} inlines."
            )
        for name, index, count in (("crossline", crossline, shape[0]), ("inline", inline, shape[1])):
            if int(index.min()) < 0 or int(index.max()) >= count:
                found = f"{int(index.min())} to {int(index.max())}"
                raise ShapeError(f"Expected {name} bins 0 to {count - 1}, got {found}: the traces lie off the grid.")
        domain = Space(AXES, shape, dtype)
        super().__init__(domain, Space(("trace", "sample"), (len(crossline), shape[2]), dtype), device)
        self.bins = (crossline.long() * shape[1] + inline.long()).to(self.device)

    def _forward(self, x: Tensor) -> Tensor:
        return x.flatten(-3, -2).index_select(-2, self.bins)

    def _adjoint(self, y: Tensor) -> Tensor:
        shape = self.domain.shape  # type: ignore[union-attr]
        out = y.new_zeros((*y.shape[:-2], shape[0] * shape[1], shape[2]))
        return out.index_add_(-2, self.bins, y).unflatten(-2, shape[:2])

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> TraceSampling:
        shape = self.domain.shape  # type: ignore[union-attr]
        crossline, inline = self.bins.div(shape[1], rounding_mode="floor"), self.bins % shape[1]
        return TraceSampling(shape, crossline, inline, dtype=dtype, device=device)  # type: ignore[arg-type]

    @cached_property
    def fold(self) -> Tensor:
        """Traces in each bin, (crossline, inline, 1)."""
        shape = self.domain.shape  # type: ignore[union-attr]
        return torch.bincount(self.bins, minlength=shape[0] * shape[1]).reshape(*shape[:2], 1)

    @cached_property
    def live(self) -> Tensor:
        """1 where a bin has a trace, 0 where it has none, in the precision of the cube; (crossline, inline, 1)."""
        return (self.fold > 0).to(self.domain.dtype)

    def norm(self, seed: int = 0, max_steps: int = 50, rtol: float = 1e-4) -> float:
        """The square root of the largest fold, without iterating."""
        return float(self.fold.max()) ** 0.5

    def gridded(self, y: Tensor) -> Tensor:
        """The mean trace of each bin, zero where there is none."""
        return self._adjoint(y) / self.fold.clamp(min=1)

    def insert(self, x: Tensor, y: Tensor) -> Tensor:
        """The cube `x` with the traces `y` in their bins, bit for bit where a bin has one trace."""
        return torch.where(self.fold > 0, self.gridded(y), x)
