"""Sums and inner products whose value does not depend on threads, slab split or memory layout.

They are the only reductions in solvers and methods. Each 2D slice (the last two axes) gives one float64 partial,
computed in an order that depends on the slice's length alone; the partials are then added one by one in slice order.
A volume that is worked on in slabs therefore gives the same bits as the whole one, if the partials are collected first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError
from operators.space import Element

__all__ = ["inner", "norm", "ordered_sum"]

_FAST = {"contract", "reassoc", "nsz", "arcp"}  # the order stays a function of the slice's length alone
_TREE_ELEMENTS = 1 << 24  # float64 products held at once without numba: 128 MiB


def ordered_sum(a: Element, batch_ndim: int = 0) -> Tensor:
    """Sum in float64 (complex128), one partial per slice, in slice order.

    Parameters
    ----------
    a : real or complex tensor of any shape, or Blocks
    batch_ndim : int
        How many leading axes to keep: one sum for each leading index.

    Returns
    -------
    float64 or complex128 tensor, shape `a.shape[:batch_ndim]`, on the device of `a`. Not differentiable.
    """
    if isinstance(a, Blocks):
        return _total([ordered_sum(part, batch_ndim) for part in a])
    rows = _rows(a, batch_ndim)
    if rows.is_complex():
        parts = torch.view_as_real(rows)
        return torch.complex(_in_order(_sums(parts[..., 0])), _in_order(_sums(parts[..., 1])))
    return _in_order(_sums(rows))


def inner(a: Element, b: Element, batch_ndim: int = 0) -> Tensor:
    """The Hermitian inner product sum(conj(a) b) in float64 (complex128), one partial per slice, in slice order.

    Parameters
    ----------
    a, b : real or complex tensors of one shape, or two Blocks of the same layout
    batch_ndim : int
        How many leading axes to keep: one product for each leading index.

    Returns
    -------
    float64 or complex128 tensor, shape `a.shape[:batch_ndim]`, on the device of `a`. Not differentiable.
    """
    if isinstance(a, Blocks) and isinstance(b, Blocks) and len(a) == len(b):
        return _total([inner(x, y, batch_ndim) for x, y in zip(a, b, strict=True)])
    if isinstance(a, Blocks) or isinstance(b, Blocks) or a.shape != b.shape:
        raise ShapeError(f"An inner product needs two elements of one space, got {_shape(a)} and {_shape(b)}.")
    dtype = torch.promote_types(a.dtype, b.dtype)
    x, y = _rows(a.to(dtype), batch_ndim), _rows(b.to(dtype), batch_ndim)
    if not dtype.is_complex:
        return _in_order(_dots(x, y))
    x, y = torch.view_as_real(x).flatten(-2), torch.view_as_real(y).flatten(-2)
    return torch.complex(_in_order(_dots(x, y)), _in_order(_crosses(x, y)))


def norm(a: Element, batch_ndim: int = 0) -> Tensor:
    """The Euclidean norm in float64, reduced as `inner` does; one for each of the first `batch_ndim` axes' indices."""
    if isinstance(a, Blocks):
        return _total([norm(part, batch_ndim).square() for part in a]).sqrt()
    rows = _rows(a, batch_ndim)
    if rows.is_complex():
        rows = torch.view_as_real(rows).flatten(-2)
    return _in_order(_dots(rows, rows)).sqrt()


def _shape(a: Element) -> str:
    return str(a) if isinstance(a, Blocks) else str(tuple(a.shape))


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _rows(a: Tensor, batch_ndim: int) -> Tensor:
    """Contiguous (*batch, slices, elements); a slice is the last two axes, or what the problem has of them."""
    a = a.detach().resolve_conj().resolve_neg().contiguous()
    slice_start = max(batch_ndim, a.ndim - 2)
    slices = math.prod(a.shape[batch_ndim:slice_start])
    return a.reshape(*a.shape[:batch_ndim], slices, math.prod(a.shape[slice_start:]))


def _in_order(partials: Tensor) -> Tensor:
    """Add the slices' partials (last axis) one by one, the first slice first."""
    if partials.device.type != "cpu":
        return _total(list(partials.unbind(-1)))
    total = np.add.accumulate(partials.numpy(), axis=-1)[..., -1]
    return torch.from_numpy(np.array(total))


def _sums(rows: Tensor) -> Tensor:
    """Float64 sums along the last axis of a real tensor."""
    return _per_row(_sum_rows, rows) if _has_kernel(rows) else _by_halves(lambda a: a, rows)


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Float64 sums of a b along the last axis of real tensors."""
    return _per_row(_dot_rows, a, b) if _has_kernel(a) else _by_halves(torch.mul, a, b)


def _crosses(a: Tensor, b: Tensor) -> Tensor:
    """Float64 imaginary parts of sum(conj(a) b) along the last axis, which interleaves real and imaginary parts."""
    if _has_kernel(a):
        return _per_row(_cross_rows, a, b)
    return _by_halves(lambda x, y: x[:, ::2] * y[:, 1::2] - x[:, 1::2] * y[:, ::2], a, b)


def _has_kernel(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64)


def _per_row(kernel: Callable[..., None], *operands: Tensor) -> Tensor:
    shape = operands[0].shape
    partials = np.empty(math.prod(shape[:-1]))
    kernel(*[a.contiguous().reshape(len(partials), shape[-1]).numpy() for a in operands], partials)
    return torch.from_numpy(partials).reshape(shape[:-1])


def _by_halves(product: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """Row sums by adding halves: elementwise additions only, so that devices and chunks share one order."""
    shape = operands[0].shape
    rows = [a.reshape(math.prod(shape[:-1]), shape[-1]) for a in operands]
    step = max(1, _TREE_ELEMENTS // max(1, shape[-1]))
    sums = torch.zeros(len(rows[0]), dtype=torch.float64, device=operands[0].device)
    for start in range(0, len(sums), step):
        terms = product(*[a[start : start + step].to(torch.float64, copy=True) for a in rows])
        length = terms.shape[1]
        while length > 1:
            half = (length + 1) // 2
            terms[:, : length - half] += terms[:, half:length]
            length = half
        sums[start : start + step] = terms[:, 0]
    return sums.reshape(shape[:-1])


@njit(parallel=True, cache=True, fastmath=_FAST)
def _dot_rows(a: np.ndarray, b: np.ndarray, partials: np.ndarray) -> None:
    for row in prange(a.shape[0]):
        total = 0.0
        for i in range(a.shape[1]):
            total += np.float64(a[row, i]) * np.float64(b[row, i])
        partials[row] = total


@njit(parallel=True, cache=True, fastmath=_FAST)
def _sum_rows(a: np.ndarray, partials: np.ndarray) -> None:
    for row in prange(a.shape[0]):
        total = 0.0
        for i in range(a.shape[1]):
            total += np.float64(a[row, i])
        partials[row] = total


@njit(parallel=True, cache=True, fastmath=_FAST)
def _cross_rows(a: np.ndarray, b: np.ndarray, partials: np.ndarray) -> None:
    for row in prange(a.shape[0]):
        total = 0.0
        for i in range(a.shape[1] // 2):
            total += np.float64(a[row, 2 * i]) * np.float64(b[row, 2 * i + 1])
            total -= np.float64(a[row, 2 * i + 1]) * np.float64(b[row, 2 * i])
        partials[row] = total
