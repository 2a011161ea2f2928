"""The affine map between physical units and the range that a prior was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from operators.errors import ReconError

Array = TypeVar("Array")  # a torch tensor, a NumPy array or a number: anything with - + * /


@dataclass(frozen=True)
class Normalization:
    """``x_normalised = (x - offset) / scale``; both numbers are in the units of x.

    CT in HU with ``Normalization(scale=2000.0, offset=-1000.0)`` has air at 0 and 1000 HU at 1.

    >>> Normalization(scale=2000.0, offset=-1000.0).apply(0.0)  # water
    0.5
    """

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ReconError(f"Expected a positive, finite scale, got {self.scale}; check how the range was estimated.")
        if not math.isfinite(self.offset):
            raise ReconError(f"Expected a finite offset, got {self.offset}; check how the range was estimated.")

    def apply(self, x: Array) -> Array:
        """Physical units -> normalised."""
        return (x - self.offset) / self.scale  # type: ignore[operator,no-any-return,return-value]

    def invert(self, x: Array) -> Array:
        """Normalised -> physical units."""
        return x * self.scale + self.offset  # type: ignore[operator,no-any-return,return-value]
