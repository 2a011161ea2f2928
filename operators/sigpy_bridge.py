"""SigPy's operators as ours and ours as SigPy's; on the CPU through NumPy, on a GPU by DLPack without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from operators.errors import MissingPackageError, ShapeError
from operators.linear import LinearOperator
from operators.space import Space

__all__ = ["from_sigpy", "to_sigpy"]


def from_sigpy(
    linop: Any,
    domain_axes: Sequence[str] | None = None,
    range_axes: Sequence[str] | None = None,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str = "cpu",
) -> LinearOperator:
    """A `sigpy.linop.Linop` as a LinearOperator.

    Parameters
    ----------
    linop : with `ishape`, `oshape`, `H`
    domain_axes, range_axes : names of the axes; "0", "1" ... by default
    dtype : of both spaces
    device : "cpu", or a CUDA device where CuPy is installed
    """
    return _FromSigpy(linop, domain_axes, range_axes, dtype, device)


class _FromSigpy(LinearOperator):
    def __init__(
        self,
        linop: Any,
        domain_axes: Sequence[str] | None,
        range_axes: Sequence[str] | None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__(_space(domain_axes, linop.ishape, dtype), _space(range_axes, linop.oshape, dtype), device)
        self.linop = linop

    def _forward(self, x: Tensor) -> Tensor:
        return self._each(self.linop, x, cast(Space, self.domain), cast(Space, self.range))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._each(self.linop.H, y, cast(Space, self.range), cast(Space, self.domain))

    @staticmethod
    def _each(linop: Any, x: Tensor, before: Space, after: Space) -> Tensor:
        batch = x.shape[: x.ndim - len(before.shape)]
        parts = [_tensor(linop(_array(part)), x) for part in x.reshape(-1, *before.shape)]
        result = torch.stack(parts) if parts else x.new_empty((0, *after.shape))
        return result.to(after.dtype).reshape(*batch, *after.shape)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        domain, measured = cast(Space, self.domain), cast(Space, self.range)
        return _FromSigpy(self.linop, domain.axes, measured.axes, domain.astype(dtype).dtype, device)


def to_sigpy(operator: LinearOperator) -> Any:
    """A LinearOperator between array spaces as a `sigpy.linop.Linop`, for SigPy's apps and algorithms."""
    try:
        from sigpy.linop import Linop
    except ImportError:
        raise MissingPackageError("The bridge needs SigPy, which is not installed: pip install sigpy.") from None
    if not isinstance(operator.domain, Space) or not isinstance(operator.range, Space):
        raise ShapeError(f"SigPy's operators take and give one array, got {operator!r}.")

    class FromOperator(Linop):  # type: ignore[misc, unused-ignore]
        def __init__(self, own: LinearOperator) -> None:
            self.own = own
            super().__init__(cast(Space, own.range).shape, cast(Space, own.domain).shape)

        def _apply(self, input: Any) -> Any:
            space = cast(Space, self.own.domain)
            x = _tensor(input, torch.empty(0, device=self.own.device)).to(space.dtype)
            return _array(self.own(x))

        def _adjoint_linop(self) -> Any:
            return FromOperator(self.own.H)

    return FromOperator(operator)


def _space(names: Sequence[str] | None, shape: Sequence[int], dtype: torch.dtype) -> Space:
    return Space(tuple(map(str, range(len(shape)))) if names is None else tuple(names), tuple(shape), dtype)


def _array(x: Tensor) -> Any:
    """A NumPy or CuPy array over the tensor's memory."""
    x = x.detach().resolve_conj().resolve_neg().contiguous()
    if x.device.type == "cpu":
        return x.numpy()
    import cupy  # type: ignore[import-not-found, unused-ignore]

    return cupy.from_dlpack(x)


def _tensor(array: Any, like: Tensor) -> Tensor:
    """A tensor on the device of `like`; arrays that are read-only or run backwards are copied first."""
    if like.device.type == "cpu":
        import numpy as np

        return torch.from_numpy(np.require(array, requirements=["C", "W"]))
    import cupy

    return torch.from_dlpack(cupy.ascontiguousarray(array))
