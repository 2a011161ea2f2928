"""Spaces: the named axes, shape and dtype of what an operator takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from operators.blocks import Blocks
from operators.errors import ShapeError

Element = Tensor | Blocks
"""What operators act on: a tensor, or `Blocks` of tensors where the data are ragged."""


@dataclass(frozen=True)
class Space:
    """All arrays with these axes, this shape and this dtype, e.g. ``Space(("z", "y", "x"), (16, 64, 64))``.

    Parameters
    ----------
    axes : names, slowest axis first
    shape : one length per axis
    dtype : a floating or complex torch dtype; a real space has the real inner product
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.axes) != len(self.shape):
            raise ShapeError(f"A space needs one name per axis, got axes {self.axes} for shape {self.shape}.")
        if any(n < 1 for n in self.shape):
            raise ShapeError(f"A space needs at least one element on each axis, got shape {self.shape}.")
        if not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise ShapeError(f"A space holds floating or complex numbers, got {self.dtype}.")

    @property
    def is_complex(self) -> bool:
        return self.dtype.is_complex

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(torch.Size(self.shape).numel())

    @property
    def nbytes(self) -> int:
        """Bytes of one element of the space."""
        return self.size * self.dtype.itemsize

    def astype(self, dtype: torch.dtype) -> Space:
        """The same space in the precision of `dtype`; real stays real and complex stays complex."""
        return replace(self, dtype=matching_dtype(self.dtype, dtype))

    def resized(self, axis: str, length: int) -> Space:
        """The same space with another length on the named axis."""
        if axis not in self.axes:
            raise ShapeError(f"The space {self} has no axis '{axis}'.")
        k = self.axes.index(axis)
        return replace(self, shape=(*self.shape[:k], length, *self.shape[k + 1 :]))

    def zeros(self, device: torch.device | str = "cpu") -> Tensor:
        """The element that is zero everywhere."""
        return torch.zeros(self.shape, dtype=self.dtype, device=device)

    def random(self, generator: torch.Generator) -> Tensor:
        """A standard normal element, drawn in float64 so that precisions share one sequence."""
        wide = torch.complex128 if self.is_complex else torch.float64
        return torch.randn(self.shape, dtype=wide, generator=generator, device=generator.device).to(self.dtype)

    def check(self, x: Element, what: str) -> None:
        """Raise `ShapeError` unless `x`, after any leading batch axes, lies in this space."""
        if not isinstance(x, Tensor):
            raise ShapeError(f"{what} expects one array {self}, got {type(x).__name__}.")
        if x.dtype != self.dtype or tuple(x.shape[x.ndim - len(self.shape) :]) != self.shape:
            raise ShapeError(
                f"{what} expects {self} (after any batch axes), got shape {tuple(x.shape)} "
                f"of {str(x.dtype).removeprefix('torch.')}."
            )

    def __str__(self) -> str:
        names = ", ".join(f"{a}={n}" for a, n in zip(self.axes, self.shape, strict=True))
        return f"({names}) of {str(self.dtype).removeprefix('torch.')}"


@dataclass(frozen=True)
class BlockSpace:
    """The space of `Blocks`: one `Space` per block, for ragged data such as frames with differing views."""

    spaces: tuple[Space, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spaces", tuple(self.spaces))
        if not self.spaces:
            raise ShapeError("A block space needs at least one block, got none.")

    @property
    def is_complex(self) -> bool:
        return any(space.is_complex for space in self.spaces)

    @property
    def dtype(self) -> torch.dtype:
        return self.spaces[0].dtype

    @property
    def size(self) -> int:
        return sum(space.size for space in self.spaces)

    @property
    def nbytes(self) -> int:
        return sum(space.nbytes for space in self.spaces)

    def astype(self, dtype: torch.dtype) -> BlockSpace:
        return BlockSpace(tuple(space.astype(dtype) for space in self.spaces))

    def zeros(self, device: torch.device | str = "cpu") -> Blocks:
        return Blocks(space.zeros(device) for space in self.spaces)

    def random(self, generator: torch.Generator) -> Blocks:
        return Blocks(space.random(generator) for space in self.spaces)

    def check(self, x: Element, what: str) -> None:
        if not isinstance(x, Blocks) or len(x) != len(self.spaces):
            came = f"{len(x)} blocks" if isinstance(x, Blocks) else "one array"
            raise ShapeError(f"{what} expects {len(self.spaces)} blocks, got {came}.")
        for k, (space, block) in enumerate(zip(self.spaces, x, strict=True)):
            space.check(block, f"{what}, block {k},")

    def __str__(self) -> str:
        return " + ".join(str(space) for space in self.spaces)


AnySpace = Space | BlockSpace


def matching_dtype(own: torch.dtype, wanted: torch.dtype) -> torch.dtype:
    """The precision of `wanted` with the field (real or complex) of `own`."""
    precise = wanted in (torch.float64, torch.complex128)
    if own.is_complex:
        return torch.complex128 if precise else torch.complex64
    return torch.float64 if precise else torch.float32
