"""Operators over blocks: one object seen several times, and a series with its own operator per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import DeviceError, ShapeError
from operators.linear import LinearOperator
from operators.series import Series
from operators.space import BlockSpace, Space


class Stack(LinearOperator):
    """[A_1; A_2; ...]: one object, several measurements of differing shapes, as `Blocks`.

    Parameters
    ----------
    operators : at least one, all with the same domain and array ranges
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        self.operators = tuple(operators)
        if not self.operators:
            raise ShapeError("A stack needs at least one operator, got none.")
        first = self.operators[0]
        if any(op.domain != first.domain for op in self.operators):
            raise ShapeError(f"Stacked operators share one domain, got {[str(op.domain) for op in self.operators]}.")
        super().__init__(first.domain, _blocks(self.operators), first.device)

    def _forward(self, x: Tensor) -> Blocks:
        return Blocks(op._forward(x) for op in self.operators)

    def _adjoint(self, y: Blocks) -> Tensor:
        parts = (op.H._forward(block) for op, block in zip(self.operators, y, strict=True))
        total = next(parts).clone()
        for part in parts:
            total += part
        return total

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Stack([op.to(device, dtype) for op in self.operators])


class Frames(Series):
    """A time series, each frame seen by its own operator: (t, ...) to one block per frame.

    Parameters
    ----------
    operators : one per frame, all with the same array domain
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        self.operators = tuple(operators)
        if not self.operators:
            raise ShapeError("A series needs at least one frame, got none.")
        frame = cast(Space, self.operators[0].domain)
        if any(op.domain != frame for op in self.operators):
            raise ShapeError(f"Frames share one domain, got {[str(op.domain) for op in self.operators]}.")
        domain = Space(("t", *frame.axes), (len(self.operators), *frame.shape), frame.dtype)
        super().__init__(domain, _blocks(self.operators), self.operators[0].device)
        self._time_axis = -len(domain.axes)

    def _forward(self, x: Tensor) -> Blocks:
        frames = x.unbind(self._time_axis)
        return Blocks(op._forward(frame) for op, frame in zip(self.operators, frames, strict=True))

    def _adjoint(self, y: Blocks) -> Tensor:
        frames = [op.H._forward(block) for op, block in zip(self.operators, y, strict=True)]
        return torch.stack(frames, dim=self._time_axis)

    def frame_operator(self, t: int) -> LinearOperator:
        return self.operators[t]

    def frame_data(self, y: Blocks, t: int) -> Tensor:
        return y.tensors[t]

    def frame_normals(self, basis: Tensor, y: Blocks, weights: Any = 1.0) -> tuple[Tensor, Tensor]:
        normals = []
        wide = torch.complex128 if basis.is_complex() else torch.float64
        for op, block in zip(self.operators, y, strict=True):
            rows = (op(basis) * weights).flatten(1).to(wide)
            normals.append((rows.conj() @ rows.mT, rows.conj() @ block.flatten().to(wide)))
        H, b = zip(*normals, strict=True)
        return torch.stack(H), torch.stack(b)

    def window(self, start: int, stop: int, y: Blocks) -> tuple[LinearOperator, Blocks]:
        return Stack(self.operators[start:stop]), Blocks(y.tensors[start:stop])

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Frames([op.to(device, dtype) for op in self.operators])


def _blocks(operators: Sequence[LinearOperator]) -> BlockSpace:
    """The ranges of operators on one device, as blocks."""
    if len({op.device for op in operators}) > 1:
        raise DeviceError(f"Operators combine on one device, got {sorted({str(op.device) for op in operators})}.")
    nested = [op for op in operators if not isinstance(op.range, Space)]
    if nested:
        raise ShapeError(f"Blocks hold arrays, not blocks again, got {nested[0]!r}.")
    return BlockSpace(tuple(cast(Space, op.range) for op in operators))
