"""Linear interpolation along a line at equally spaced places, sixteen at a time, and its exact transpose.

In a cone scan whose detector rows step along z, all rays of one detector column lie over one line of the plane z = 0.
Where they cross a plane of the image they sample one line of voxels along z, at places ``start + step row``. That needs
gathered loads, which compilers do not make of such loops by themselves because arrays might overlap; written as vector
instructions the kernels run three to four times faster. Without JIT the plain Python bodies run.

Arrays are contiguous and addressed by position, their axes counted as one. All work is done on `LANES` numbers at once:
whoever calls pads his arrays.

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
_INT32S = ir.VectorType(_INT32, LANES)
_ALL = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [1] * LANES)


def blend(line: NDArray[Any], t: int, source: NDArray[Any], s: int, next_s: int, weight: Any, next_weight: Any) -> None:
    """line[t + k] = weight source[s + k] + next_weight source[next_s + k], for k below `LANES`."""
    values = source.reshape(-1)
    line[t : t + LANES] = weight * values[s : s + LANES] + next_weight * values[next_s : next_s + LANES]


def add_samples(target: NDArray[Any], t: int, line: NDArray[Any], start: Any, step: Any, last: Any) -> None:
    """target[t + k] += line at start + step k, for k below `LANES`; places are moved into 0..last first.

    line[last + 1] must exist.
    """
    place = np.clip(start + step * np.arange(LANES, dtype=line.dtype), 0, last)
    below = place.astype(np.intp)
    weight = place - below.astype(line.dtype)
    target.reshape(-1)[t : t + LANES] += (1 - weight) * line[below] + weight * line[below + 1]


def spread_samples(
    target: NDArray[Any],
    t: int,
    next_t: int,
    weight: Any,
    next_weight: Any,
    source: NDArray[Any],
    s: int,
    n: int,
    start: Any,
    step: Any,
    first: Any,
    count: int,
) -> None:
    """target[t + k] += weight V(k) and target[next_t + k] += next_weight V(k), with V the transpose of `add_samples`.

    V(k) is the sum over r from 0 to n - 1 of ``source[s + r] max(0, 1 - |start + step r - first - k|)``; `count` is the
    most samples that one place meets, at least ``2 / step + 0.001`` rounded up. source[s - 1] and source[s + n] must
    exist and be zero; `step` is positive.
    """
    numbers, total = source.reshape(-1), np.zeros(LANES, source.dtype)
    place = first + np.arange(LANES, dtype=source.dtype)
    row = np.ceil((place - start - 1) / step - source.dtype.type(5e-4))
    for _ in range(count):
        hat = np.maximum(0, 1 - np.abs(start + step * row - place))
        total += hat * numbers[s + np.clip(row, -1, n).astype(np.intp)]
        row += 1
    flat = target.reshape(-1)
    flat[t : t + LANES] += weight * total
    flat[next_t : next_t + LANES] += next_weight * total


class _Vectors:
    """Vectors of `LANES` numbers of one precision, and the instructions on them."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.builder = builder
        self.element = context.get_value_type(number)
        self.type = ir.VectorType(self.element, LANES)
        self.bits = 8 * context.get_abi_sizeof(self.element)
        self.align = self.bits // 8  # NumPy promises no more than the alignment of one element

    def constant(self, *values: float) -> Any:
        return ir.Constant(self.type, list(values) if len(values) == LANES else [values[0]] * LANES)

    def counts(self) -> Any:
        return self.constant(*(float(k) for k in range(LANES)))

    def splat(self, value: Any) -> Any:
        """The scalar in every lane."""
        vector = ir.VectorType(value.type, LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(_INT32S, [0] * LANES))

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=_FAST)

    def subtract(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=_FAST)

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FAST)

    def larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def unary(self, name: str, a: Any) -> Any:
        """An LLVM intrinsic such as ceil or fabs."""
        function = self._declared(f"llvm.{name}.v{LANES}f{self.bits}", self.type, [self.type])
        return self.builder.call(function, [a])

    def load(self, pointer: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        value.align = self.align
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer())).align = self.align

    def gather(self, pointer: Any, positions: Any) -> Any:
        """The numbers at pointer[positions], positions a vector of 32-bit integers."""
        pointers = self.builder.gep(pointer, [positions], source_etype=self.element)
        pointers.type = ir.VectorType(ir.PointerType(), LANES)
        function = self._declared(
            f"llvm.masked.gather.v{LANES}f{self.bits}.v{LANES}p0",
            self.type,
            [pointers.type, _INT32, _ALL.type, self.type],
        )
        undefined = ir.Constant(self.type, ir.Undefined)
        return self.builder.call(function, [pointers, ir.Constant(_INT32, self.align), _ALL, undefined])

    def _declared(self, name: str, result: Any, arguments: list[Any]) -> Any:
        known = self.builder.module.globals.get(name)
        return known or ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)


def _at(context: Any, builder: Any, array_type: Any, array: Any, position: Any) -> Any:
    """Pointer to the number at that position of an array."""
    return builder.gep(cgutils.create_struct_proxy(array_type)(context, builder, value=array).data, [position])


@intrinsic
def _blend(typing: Any, line: Any, t: Any, source: Any, s: Any, next_s: Any, weight: Any, next_weight: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _Vectors(context, builder, line.dtype)
        first, second = (v.load(_at(context, builder, source, args[2], args[k])) for k in (3, 4))
        total = v.add(v.times(first, v.splat(args[5])), v.times(second, v.splat(args[6])))
        v.store(total, _at(context, builder, line, args[0], args[1]))
        return context.get_dummy_value()

    return types.void(line, types.intp, source, types.intp, types.intp, line.dtype, line.dtype), generate


@intrinsic
def _add_samples(typing: Any, target: Any, t: Any, line: Any, start: Any, step: Any, last: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _Vectors(context, builder, line.dtype)
        place = v.add(v.splat(args[3]), v.times(v.splat(args[4]), v.counts()))
        place = v.smaller(v.larger(place, v.constant(0.0)), v.splat(args[5]))
        below = builder.fptosi(place, _INT32S)
        weight = v.subtract(place, builder.sitofp(below, v.type))
        low = v.gather(_at(context, builder, line, args[2], ir.Constant(args[1].type, 0)), below)
        high = v.gather(_at(context, builder, line, args[2], ir.Constant(args[1].type, 1)), below)
        pointer = _at(context, builder, target, args[0], args[1])
        v.store(v.add(v.load(pointer), v.add(low, v.times(weight, v.subtract(high, low)))), pointer)
        return context.get_dummy_value()

    number = target.dtype
    return types.void(target, types.intp, line, number, number, number), generate


@intrinsic
def _spread_samples(
    typing: Any,
    target: Any,
    t: Any,
    next_t: Any,
    weight: Any,
    next_weight: Any,
    source: Any,
    s: Any,
    n: Any,
    start: Any,
    step: Any,
    first: Any,
    count: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _Vectors(context, builder, target.dtype)
        begin, slope = v.splat(args[8]), v.splat(args[9])
        place = v.add(v.splat(args[10]), v.counts())
        over = builder.fdiv(v.constant(1.0), slope, flags=_FAST)
        lowest = v.times(v.subtract(v.subtract(place, begin), v.constant(1.0)), over)
        lowest = v.unary("ceil", v.subtract(lowest, v.constant(5e-4)))
        after = v.splat(builder.sitofp(args[7], v.element))
        offset = v.subtract(begin, place)
        numbers = _at(context, builder, source, args[5], args[6])
        total, row = cgutils.alloca_once(builder, v.type), cgutils.alloca_once(builder, v.type)
        builder.store(v.constant(0.0), total)
        builder.store(lowest, row)
        with cgutils.for_range(builder, args[11]):
            r = builder.load(row)
            distance = v.unary("fabs", v.add(offset, v.times(slope, r)))
            hat = v.larger(v.subtract(v.constant(1.0), distance), v.constant(0.0))
            position = builder.fptosi(v.smaller(v.larger(r, v.constant(-1.0)), after), _INT32S)
            builder.store(v.add(builder.load(total), v.times(hat, v.gather(numbers, position))), total)
            builder.store(v.add(r, v.constant(1.0)), row)
        value = builder.load(total)
        for position, factor in ((args[1], args[3]), (args[2], args[4])):
            pointer = _at(context, builder, target, args[0], position)
            v.store(v.add(v.load(pointer), v.times(v.splat(factor), value)), pointer)
        return context.get_dummy_value()

    number, index = target.dtype, types.intp
    arguments = (target, index, index, number, number, source, index, index, number, number, number, index)
    return types.void(*arguments), generate


@overload(blend)
def _compile_blend(line: Any, t: Any, source: Any, s: Any, next_s: Any, weight: Any, next_weight: Any) -> Any:
    def compiled(line: Any, t: Any, source: Any, s: Any, next_s: Any, weight: Any, next_weight: Any) -> Any:
        _blend(line, t, source, s, next_s, weight, next_weight)

    return compiled


@overload(add_samples)
def _compile_add(target: Any, t: Any, line: Any, start: Any, step: Any, last: Any) -> Any:
    def compiled(target: Any, t: Any, line: Any, start: Any, step: Any, last: Any) -> Any:
        _add_samples(target, t, line, start, step, last)

    return compiled


@overload(spread_samples)
def _compile_spread(
    target: Any,
    t: Any,
    next_t: Any,
    weight: Any,
    next_weight: Any,
    source: Any,
    s: Any,
    n: Any,
    start: Any,
    step: Any,
    first: Any,
    count: Any,
) -> Any:
    def compiled(
        target: Any,
        t: Any,
        next_t: Any,
        weight: Any,
        next_weight: Any,
        source: Any,
        s: Any,
        n: Any,
        start: Any,
        step: Any,
        first: Any,
        count: Any,
    ) -> Any:
        _spread_samples(target, t, next_t, weight, next_weight, source, s, n, start, step, first, count)

    return compiled
