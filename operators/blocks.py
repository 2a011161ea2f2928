"""Blocks: a short tuple of arrays that is one vector, for ragged data (frames, transmits) without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from operators.errors import ShapeError


class Blocks:
    """Arrays of any shapes that add, scale and multiply as one vector. Immutable.

    Parameters
    ----------
    tensors : the blocks, all on one device
    """

    __slots__ = ("tensors",)
    tensors: tuple[Tensor, ...]

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = tuple(tensors)
        if not self.tensors:
            raise ShapeError("Blocks need at least one array, got none.")

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    @property
    def dtype(self) -> torch.dtype:
        return self.tensors[0].dtype

    def map(self, function: Callable[[Tensor], Tensor]) -> Blocks:
        """`function` applied to each block."""
        return Blocks(function(t) for t in self.tensors)

    def clone(self) -> Blocks:
        """A copy with tensors of its own."""
        return self.map(torch.clone)

    def to(self, *args: object, **kwargs: object) -> Blocks:
        """As `torch.Tensor.to`, block by block."""
        return self.map(lambda t: t.to(*args, **kwargs))  # type: ignore[call-overload,no-any-return]

    def _with(self, other: object, function: Callable[[Tensor, object], Tensor]) -> Blocks:
        if isinstance(other, Blocks):
            if len(other) != len(self):
                raise ShapeError(f"Blocks combine with as many blocks, got {len(self)} and {len(other)}.")
            return Blocks(function(a, b) for a, b in zip(self.tensors, other.tensors, strict=True))
        return self.map(lambda t: function(t, other))

    def __add__(self, other: object) -> Blocks:
        return self._with(other, lambda a, b: a + b)  # type: ignore[operator]

    def __radd__(self, other: object) -> Blocks:
        return self + other

    def __sub__(self, other: object) -> Blocks:
        return self._with(other, lambda a, b: a - b)  # type: ignore[operator]

    def __rsub__(self, other: object) -> Blocks:
        return -self + other

    def __mul__(self, other: object) -> Blocks:
        return self._with(other, lambda a, b: a * b)  # type: ignore[operator]

    def __rmul__(self, other: object) -> Blocks:
        return self * other

    def __truediv__(self, other: object) -> Blocks:
        return self._with(other, lambda a, b: a / b)  # type: ignore[operator]

    def __neg__(self) -> Blocks:
        return self.map(torch.neg)

    def __len__(self) -> int:
        return len(self.tensors)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors)

    def __getitem__(self, index: int) -> Tensor:
        return self.tensors[index]

    def __repr__(self) -> str:
        return f"Blocks({', '.join(str(tuple(t.shape)) for t in self.tensors)})"
