"""SIRT: weighted gradient steps with the operator's row and column sums, whole or in ordered subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.linear import LinearOperator
from operators.reduce import norm
from operators.space import Element
from recon3d.solvers.cg import Callback

__all__ = ["SIRTResult", "sirt"]


@dataclass(frozen=True)
class SIRTResult:
    """What the solver found and why it stopped.

    Parameters
    ----------
    x : the last iterate
    steps : passes over the data
    relative_residual : ||A x - y|| / ||y|| before the last update
    stopped_by : "rtol", "callback" or "max_steps"
    """

    x: Tensor
    steps: int
    relative_residual: Tensor
    stopped_by: str


@torch.no_grad()
def sirt(
    A: LinearOperator | Sequence[LinearOperator],
    y: Element | Sequence[Element],
    x: Tensor | None = None,
    *,
    max_steps: int = 100,
    relaxation: float = 1.0,
    rtol: float = 0.0,
    nonnegative: bool = False,
    callback: Callback | None = None,
) -> SIRTResult:
    """x <- x + relaxation C A^H R (y - A x), with R and C the inverse row and column sums of a non-negative A.

    Rows and columns that sum to 0 (rays that miss the volume, voxels no ray meets) are left alone. Holds x, one update
    and the column weights (one volume for each subset), and y, a residual and the row weights.

    Parameters
    ----------
    A : operator with non-negative entries, or a sequence of them: ordered subsets, each followed by an update (OS-SIRT)
    y : data; for a sequence of operators, the sequence of their data
    x : start, zero by default; not overwritten
    max_steps : int
        Passes over all the data.
    relaxation : float
        Between 0 and 2.
    rtol : float
        Stop at ||A x - y|| <= rtol ||y||.
    nonnegative : bool
        Set negative voxels to 0 after each update.
    callback
        See `recon3d.solvers.cg.Callback`; it gets the relative residual from before the update.

    References
    ----------
    Gregor and Benson, IEEE Trans. Med. Imaging 27 (2008) 918.
    """
    operators = [A] if isinstance(A, LinearOperator) else list(A)
    data = cast(list[Element], [y] if isinstance(A, LinearOperator) else list(cast(Sequence[Element], y)))
    if len(operators) != len(data) or not operators:
        raise ShapeError(f"Ordered subsets need one data array per operator, got {len(data)} for {len(operators)}.")
    x = cast(Tensor, operators[0].domain.zeros(operators[0].device)) if x is None else x.clone()
    row_weights = [_inverse(operator(torch.ones_like(x))) for operator in operators]
    column_weights = [_inverse(operator.H(_ones(part))) for operator, part in zip(operators, data, strict=True)]
    y_squared = _total_square(data)
    steps, residual, stopped_by = 0, y_squared.new_ones(()), "max_steps"
    while steps < max_steps:
        squared = torch.zeros_like(y_squared)
        for operator, part, rows, columns in zip(operators, data, row_weights, column_weights, strict=True):
            r = part - operator(x)
            squared += norm(r).square()
            x.addcmul_(operator.H(r * rows), columns, value=relaxation)
            if nonnegative:
                x.clamp_(min=0)
        steps += 1
        residual = torch.where(y_squared > 0, squared / y_squared, squared).sqrt()
        if callback is not None and callback(steps, x, residual) is False:
            stopped_by = "callback"
        elif rtol > 0 and float(residual) <= rtol:
            stopped_by = "rtol"
        if stopped_by != "max_steps":
            break
    return SIRTResult(x, steps, residual, stopped_by)


def _ones(y: Element) -> Element:
    return y.map(torch.ones_like) if isinstance(y, Blocks) else torch.ones_like(y)


def _inverse(sums: Any) -> Any:
    """1 / sums, and 0 where the sum is 0 (or only rounding)."""
    if isinstance(sums, Blocks):
        return sums.map(_inverse)
    smallest = torch.finfo(sums.dtype).eps * sums.abs().max()
    return torch.where(sums > smallest, 1 / sums, 0.0)


def _total_square(parts: Sequence[Element]) -> Tensor:
    total = norm(parts[0]).square()
    for part in parts[1:]:
        total = total + norm(part).square()
    return total
