"""Interpolation on blocks of sixteen slices, where the sixteen numbers of one pixel are one SIMD value.

LLVM unrolls an inner loop of sixteen before it tries to vectorise it, and then gives up because arrays might overlap;
written as vector instructions the kernels run about four times faster. Without JIT the plain Python bodies run.
Arrays are contiguous, end in an axis of length `LANES`, and are addressed by the position of a pixel in all other axes.

Numba's cache follows the files of the kernels that call these functions, not this one: touch them after a change here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

LANES = 16
_FAST = ("contract", "reassoc", "nsz", "arcp")
_INT32 = ir.IntType(32)


def add_interpolated(
    target: NDArray[Any], t: int, source: NDArray[Any], s: int, weight: float, next_weight: float
) -> None:
    """target[t] += weight source[s] + next_weight source[s + 1], for all lanes."""
    values = source.reshape(-1, LANES)
    target.reshape(-1, LANES)[t] += weight * values[s] + next_weight * values[s + 1]


def spread_interpolated(
    target: NDArray[Any], t: int, source: NDArray[Any], s: int, weight: float, next_weight: float
) -> None:
    """target[t] += weight source[s] and target[t + 1] += next_weight source[s]: the transpose of `add_interpolated`."""
    pixels, values = target.reshape(-1, LANES), source.reshape(-1, LANES)
    pixels[t] += weight * values[s]
    pixels[t + 1] += next_weight * values[s]


class _Pixels:
    """Loads and stores of pixels, each a vector of `LANES` numbers, of one array argument."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, position: Any) -> None:
        self.builder = builder
        element = context.get_value_type(array_type.dtype)
        self.vector = ir.VectorType(element, LANES)
        self.align = context.get_abi_sizeof(element)  # NumPy promises no more than the alignment of one element
        data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
        first = builder.gep(data, [builder.mul(position, ir.Constant(position.type, LANES))])
        self.pointer = builder.bitcast(first, self.vector.as_pointer())

    def _at(self, step: int) -> Any:
        return self.builder.gep(self.pointer, [ir.Constant(_INT32, step)])

    def load(self, step: int = 0) -> Any:
        value = self.builder.load(self._at(step))
        value.align = self.align
        return value

    def add(self, value: Any, step: int = 0) -> None:
        total = self.builder.fadd(self.load(step), value, flags=_FAST)
        self.builder.store(total, self._at(step)).align = self.align

    def times(self, value: Any, factor: Any) -> Any:
        """value * factor, with the scalar `factor` in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, factor, ir.Constant(_INT32, 0))
        every = self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))
        return self.builder.fmul(value, every, flags=_FAST)


def _signature(target: Any, source: Any) -> Any:
    number = target.dtype
    return types.void(target, types.intp, source, types.intp, number, number)


@intrinsic
def _add_interpolated(typing: Any, target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pixel = _Pixels(context, builder, signature.args[0], args[0], args[1])
        value = _Pixels(context, builder, signature.args[2], args[2], args[3])
        first, second = value.times(value.load(), args[4]), value.times(value.load(1), args[5])
        pixel.add(builder.fadd(first, second, flags=_FAST))
        return context.get_dummy_value()

    return _signature(target, source), generate


@intrinsic
def _spread_interpolated(typing: Any, target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pixel = _Pixels(context, builder, signature.args[0], args[0], args[1])
        value = _Pixels(context, builder, signature.args[2], args[2], args[3])
        loaded = value.load()
        pixel.add(value.times(loaded, args[4]))
        pixel.add(value.times(loaded, args[5]), 1)
        return context.get_dummy_value()

    return _signature(target, source), generate


@overload(add_interpolated)
def _compile_add(target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
    def compiled(target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
        _add_interpolated(target, t, source, s, weight, next_weight)

    return compiled


@overload(spread_interpolated)
def _compile_spread(target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
    def compiled(target: Any, t: Any, source: Any, s: Any, weight: Any, next_weight: Any) -> Any:
        _spread_interpolated(target, t, source, s, weight, next_weight)

    return compiled


def empty_lanes(*shape: int, dtype: Any) -> NDArray[Any]:
    """An uninitialised array of pixels whose vectors each start on a cache line of 64 bytes."""
    item = np.dtype(dtype).itemsize
    size = int(np.prod(shape)) * LANES
    raw = np.empty(size + 64 // item, dtype)
    skip = (-raw.ctypes.data % 64) // item
    return raw[skip : skip + size].reshape(*shape, LANES)
