"""LinearOperator: the one base of all physics, with its algebra, its adjoint and its gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Complex, Real
from typing import Any, cast

import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import DeviceError, ShapeError
from operators.space import AnySpace, BlockSpace, Element, Space, matching_dtype


@dataclass(frozen=True)
class Slab:
    """A restricted operator and the part of the measured data that belongs to it.

    Parameters
    ----------
    operator : the problem of the slab alone
    range_axis, start, stop : where the slab's data lie in the range of the whole operator
    """

    operator: LinearOperator
    range_axis: str
    start: int
    stop: int

    def select(self, y: Tensor, range: Space) -> Tensor:
        """The slab's part of `y`, an element of `range` (the range of the whole operator)."""
        axis = range.axes.index(self.range_axis) - len(range.axes)
        return y.narrow(axis, self.start, self.stop - self.start)


class LinearOperator(ABC):
    """A linear map between two stated spaces. Immutable; `A(x)` applies it, `A.H` is its adjoint.

    Subclasses state their spaces and write `_forward` and `_adjoint`; both may meet leading batch axes. Checks,
    algebra, batching, devices and autograd (the backward pass is the adjoint, so double backward works) live here.
    The adjoint is taken in the real inner product where the domain is real.

    Parameters
    ----------
    domain, range : what the operator takes and what it gives
    device : where it computes; an input on another device is an error
    """

    def __init__(self, domain: AnySpace, range: AnySpace, device: torch.device | str = "cpu") -> None:
        self.domain = domain
        self.range = range
        self.device = _indexed(torch.device(device))

    @abstractmethod
    def _forward(self, x: Any) -> Any:
        """A x for an element of the domain, after any leading batch axes."""

    @abstractmethod
    def _adjoint(self, y: Any) -> Any:
        """A^H y for an element of the range; the base drops the imaginary part for a real domain."""

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        """The same operator on another device or in another precision."""
        raise DeviceError(
            f"{type(self).__name__} has no version for {device} in {dtype}; it computes on {self.device}."
        )

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        """The problem of one slab of the domain, or None where slabs are not problems of their own.

        Parameters
        ----------
        axis : name of a domain axis
        start, stop : half-open index range on that axis
        """
        return None

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        """The operator that gives only some entries of a range axis (views, lines), or None where it costs no less.

        Parameters
        ----------
        axis : name of a range axis
        index : which entries, in the order wanted
        """
        return None

    def partial(self, start: int, stop: int) -> LinearOperator:
        """A restricted to a slab of the first domain axis, with the full range: A x is the sum over slabs."""
        return self @ Embedding(cast(Space, self.domain), start, stop, self.device)

    def __call__(self, x: Any) -> Any:
        """A x, for `x` in the domain with any leading batch axes."""
        self.domain.check(x, type(self).__name__)
        if x.device != self.device:
            raise DeviceError(
                f"{type(self).__name__} computes on {self.device}, the input lies on {x.device}: "
                "move one of them with .to(device)."
            )
        tensors = x.tensors if isinstance(x, Blocks) else (x,)
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            result = _Apply.apply(self, *tensors)
            return Blocks(result) if isinstance(self.range, BlockSpace) else result[0]
        return self._forward(x)

    @cached_property
    def H(self) -> LinearOperator:
        """The adjoint; `A.H.H is A`."""
        return Adjoint(self)

    @cached_property
    def gram(self) -> LinearOperator:
        """A^H A."""
        return self.H @ self

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LinearOperator:
        """The same operator on another device or in another precision (real spaces stay real)."""
        new_device = self.device if device is None else _indexed(torch.device(device))
        new_dtype = self.domain.dtype if dtype is None else dtype
        if new_device == self.device and self.domain == self.domain.astype(new_dtype):
            return self
        return self._rebuild(new_device, new_dtype)

    def norm(self, seed: int = 0, max_steps: int = 50, rtol: float = 1e-4) -> float:
        """The largest singular value by seeded power iteration, from below, to about `rtol`."""
        key = (seed, max_steps, rtol)
        known: dict[tuple[int, int, float], float] = self.__dict__.setdefault("_norms", {})
        if key not in known:
            known[key] = _largest_singular_value(self, seed, max_steps, rtol)
        return known[key]

    def __matmul__(self, other: object) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            return NotImplemented
        if isinstance(self, Identity):
            _check_chain(self, other)
            return other
        if isinstance(other, Identity):
            _check_chain(self, other)
            return self
        return Composition(self, other)

    def __add__(self, other: object) -> LinearOperator:
        if isinstance(other, Complex):  # A.gram + mu is A^H A + mu I
            other = other * Identity(self.domain, self.device)
        return Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> LinearOperator:
        return self + (-1.0) * other if isinstance(other, LinearOperator | Complex) else NotImplemented  # type: ignore[operator]

    def __rsub__(self, other: object) -> LinearOperator:
        return -self + other if isinstance(other, Complex) else NotImplemented  # type: ignore[operator]

    def __mul__(self, factor: object) -> LinearOperator:
        return Scaled(self, cast(complex, factor)) if isinstance(factor, Complex) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        return Scaled(self, -1.0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.domain} -> {self.range}"


class _Apply(torch.autograd.Function):
    """A x with A^H as its backward pass; the backward pass is again an `_Apply`, so gradients differentiate."""

    @staticmethod
    def forward(ctx: Any, operator: LinearOperator, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.operator = operator
        x = Blocks(tensors) if isinstance(operator.domain, BlockSpace) else tensors[0]
        result = operator._forward(x)
        return result.tensors if isinstance(result, Blocks) else (result,)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_Apply.apply(ctx.operator.H, *gradients))


def _largest_singular_value(operator: LinearOperator, seed: int, max_steps: int, rtol: float) -> float:
    from operators.reduce import norm

    x = operator.domain.random(torch.Generator().manual_seed(seed))
    x = x.to(operator.device)
    estimate = 0.0
    for _ in range(max_steps):
        length = float(norm(x))
        if length == 0.0:
            return 0.0
        x = operator.gram(x / length)
        previous, estimate = estimate, float(norm(x)) ** 0.5
        if abs(estimate - previous) <= rtol * estimate:
            break
    return estimate


class Adjoint(LinearOperator):
    """A^H, made by `A.H`."""

    def __init__(self, parent: LinearOperator) -> None:
        super().__init__(parent.range, parent.domain, parent.device)
        self.parent = parent

    def _forward(self, x: Any) -> Any:
        result = self.parent._adjoint(x)
        if not self.range.is_complex and isinstance(result, Tensor) and result.is_complex():
            return result.real
        return result

    def _adjoint(self, y: Any) -> Any:
        return self.parent._forward(y)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.parent.to(device, dtype).H

    @cached_property
    def H(self) -> LinearOperator:
        return self.parent

    def __repr__(self) -> str:
        return f"({self.parent!r})^H"


class Composition(LinearOperator):
    """A B, made by `A @ B`."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        _check_chain(outer, inner)
        super().__init__(inner.domain, outer.range, outer.device)
        self.outer = outer
        self.inner = inner

    def _forward(self, x: Any) -> Any:
        return self.outer._forward(self.inner._forward(x))

    def _adjoint(self, y: Any) -> Any:
        return self.inner.H._forward(self.outer.H._forward(y))

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.outer.to(device, dtype) @ self.inner.to(device, dtype)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        inner = self.inner.restrict(axis, start, stop)
        outer = inner and self.outer.restrict(inner.range_axis, inner.start, inner.stop)
        if inner is None or outer is None:
            return None
        return Slab(outer.operator @ inner.operator, outer.range_axis, outer.start, outer.stop)

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        if not isinstance(self.outer, Diagonal):  # whose entries meet their own alone
            outer = self.outer.subset(axis, index)
            return outer and outer @ self.inner
        outer, inner = self.outer.subset(axis, index), self.inner.subset(axis, index)
        return outer @ inner if outer is not None and inner is not None else None

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


class Sum(LinearOperator):
    """A + B, made by `A + B`."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if left.domain != right.domain or left.range != right.range:
            raise ShapeError(f"A sum needs operators between the same spaces, got {left!r} and {right!r}.")
        _check_device(left, right)
        super().__init__(left.domain, left.range, left.device)
        self.left = left
        self.right = right

    def _forward(self, x: Any) -> Any:
        return self.left._forward(x) + self.right._forward(x)

    def _adjoint(self, y: Any) -> Any:
        return self.left.H._forward(y) + self.right.H._forward(y)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.left.to(device, dtype) + self.right.to(device, dtype)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        left, right = self.left.restrict(axis, start, stop), self.right.restrict(axis, start, stop)
        if left is None or right is None:
            return None
        if (left.range_axis, left.start, left.stop) != (right.range_axis, right.start, right.stop):
            return None
        return Slab(left.operator + right.operator, left.range_axis, left.start, left.stop)


class Scaled(LinearOperator):
    """c A for a number c, made by `c * A`."""

    def __init__(self, operator: LinearOperator, factor: complex) -> None:
        if not isinstance(factor, Real) and not (operator.domain.is_complex and operator.range.is_complex):
            raise ShapeError(f"A real operator is scaled by a real number, got {factor} for {operator!r}.")
        super().__init__(operator.domain, operator.range, operator.device)
        self.operator = operator
        self.factor = factor

    def _forward(self, x: Any) -> Any:
        return self.operator._forward(x) * self.factor

    def _adjoint(self, y: Any) -> Any:
        return self.operator.H._forward(y) * self.factor.conjugate()

    @cached_property
    def gram(self) -> LinearOperator:
        return abs(self.factor) ** 2 * self.operator.gram  # which may be quicker than A^H after A

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.factor * self.operator.to(device, dtype)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        slab = self.operator.restrict(axis, start, stop)
        return slab and Slab(self.factor * slab.operator, slab.range_axis, slab.start, slab.stop)

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        part = self.operator.subset(axis, index)
        return part and self.factor * part


class Identity(LinearOperator):
    """x -> x; it vanishes on composition."""

    def __init__(self, space: AnySpace, device: torch.device | str = "cpu") -> None:
        super().__init__(space, space, device)

    def _forward(self, x: Element) -> Element:
        return x

    def _adjoint(self, y: Element) -> Element:
        return y

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Identity(self.domain.astype(dtype), device)

    @cached_property
    def H(self) -> LinearOperator:
        return self

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if not isinstance(self.domain, Space) or axis not in self.domain.axes:
            return None
        return Slab(Identity(self.domain.resized(axis, stop - start), self.device), axis, start, stop)


class Diagonal(LinearOperator):
    """Multiply by fixed weights: sampling masks, noise weights, apodisation.

    Parameters
    ----------
    weights : tensor that broadcasts to the space (real, complex or bool; bool is a mask)
    space : what is multiplied; its shape is kept
    """

    def __init__(self, weights: Tensor, space: Space) -> None:
        super().__init__(space, space, weights.device)
        try:
            fits = torch.broadcast_shapes(weights.shape, space.shape) == torch.Size(space.shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise ShapeError(f"Weights must broadcast to {space}, got shape {tuple(weights.shape)}.")
        if weights.is_complex() and not space.is_complex:
            raise ShapeError(f"Complex weights need a complex space, got {space}.")
        self.weights = weights.to(matching_dtype(weights.dtype, space.dtype))  # masks become real

    def _forward(self, x: Tensor) -> Tensor:
        return self.weights * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.weights.conj() * y

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Diagonal(self.weights.to(device), cast(Space, self.domain).astype(dtype))

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        space = cast(Space, self.domain)
        if axis not in space.axes:
            return None
        weights = self.weights
        dim = space.axes.index(axis) - len(space.axes)
        if weights.ndim >= -dim and weights.shape[dim] > 1:
            weights = weights.narrow(dim, start, stop - start)
        return Slab(Diagonal(weights, space.resized(axis, stop - start)), axis, start, stop)

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        space = cast(Space, self.domain)
        if axis not in space.axes:
            return None
        weights = self.weights
        dim = space.axes.index(axis) - len(space.axes)
        if weights.ndim >= -dim and weights.shape[dim] > 1:
            weights = weights.index_select(dim, torch.as_tensor(index, device=weights.device))
        return Diagonal(weights, space.resized(axis, len(index)))


class Embedding(LinearOperator):
    """Put a slab of the first axis into a volume of zeros; the adjoint cuts it out."""

    def __init__(self, whole: Space, start: int, stop: int, device: torch.device | str = "cpu") -> None:
        if not 0 <= start < stop <= whole.shape[0]:
            raise ShapeError(f"A slab lies inside 0..{whole.shape[0]} of axis {whole.axes[0]}, got {start}..{stop}.")
        super().__init__(whole.resized(whole.axes[0], stop - start), whole, device)
        self.start, self.stop = start, stop

    def _forward(self, x: Tensor) -> Tensor:
        whole = cast(Space, self.range)
        batch = x.shape[: x.ndim - len(whole.shape)]
        y = x.new_zeros((*batch, *whole.shape))
        y.narrow(len(batch), self.start, self.stop - self.start).copy_(x)
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.narrow(y.ndim - len(cast(Space, self.range).shape), self.start, self.stop - self.start)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Embedding(cast(Space, self.range).astype(dtype), self.start, self.stop, device)


class FunctionOperator(LinearOperator):
    """An operator from a pair of functions, for user physics and for tests.

    Parameters
    ----------
    domain, range : the spaces
    forward, adjoint : callables on tensors with leading batch axes; `operators.testing.adjoint_error` checks the pair
    """

    def __init__(
        self,
        domain: AnySpace,
        range: AnySpace,
        forward: Callable[[Any], Any],
        adjoint: Callable[[Any], Any],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(domain, range, device)
        self._forward_function = forward
        self._adjoint_function = adjoint

    def _forward(self, x: Any) -> Any:
        return self._forward_function(x)

    def _adjoint(self, y: Any) -> Any:
        return self._adjoint_function(y)


def _indexed(device: torch.device) -> torch.device:
    """The device with its number, as tensors state it: "cuda" alone would differ from "cuda:0"."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device() if torch.cuda.is_available() else 0)


def _check_chain(outer: LinearOperator, inner: LinearOperator) -> None:
    if outer.domain != inner.range:
        raise ShapeError(f"Composition needs {outer.domain}, the right operator gives {inner.range}.")
    _check_device(outer, inner)


def _check_device(left: LinearOperator, right: LinearOperator) -> None:
    if left.device != right.device:
        raise DeviceError(f"Operators combine on one device, got {left.device} and {right.device}.")
