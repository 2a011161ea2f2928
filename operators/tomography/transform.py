"""RayTransform: what the projectors of all geometries share, from the stated spaces to the call of a kernel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.errors import DeviceError
from operators.linear import LinearOperator
from operators.space import Space
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid


class RayTransform(LinearOperator):
    """Line integrals of an image (z, y, x) along the rays of a geometry: projections (view, row, column).

    Subclasses check that geometry and grid fit, make the tables of their rays, and name a kernel and its transpose.
    """

    domain: Space
    range: Space
    name: str
    """How messages call the projector."""
    device_type = "cpu"
    """Where it computes."""
    chosen = ""
    """Why this projector and no other, for plans and records; set by who chose."""

    def __init__(
        self,
        geometry: TomographyGeometry,
        grid: ImageGrid,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if torch.device(device).type != self.device_type:
            home = {"cpu": "the CPU"}.get(self.device_type, "a CUDA device")
            raise DeviceError(f"The {self.name} computes on {home}, got device '{device}': use '{self.device_type}'.")
        self._check(geometry, grid)
        super().__init__(
            domain=Space(("z", "y", "x"), grid.shape, dtype),
            range=Space(("view", "row", "column"), geometry.shape, dtype),
            device=device,
        )
        self.geometry = geometry
        self.grid = grid

    @abstractmethod
    def _check(self, geometry: TomographyGeometry, grid: ImageGrid) -> None:
        """Raise `GeometryError` unless the rays can be followed through the grid."""

    @abstractmethod
    def _ray_tables(self) -> Any:
        """What the kernels need to know of the rays."""

    @property
    @abstractmethod
    def _kernels(self) -> tuple[Callable[[Any, Any, Any], None], Callable[[Any, Any, Any], None]]:
        """The kernel and its transpose: (source, tables, target) -> None."""

    @cached_property
    def _tables(self) -> Any:
        return self._ray_tables()

    def _forward(self, x: Tensor) -> Tensor:
        return self._apply(self._kernels[0], x, self.range)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply(self._kernels[1], y, self.domain)

    def _apply(self, kernel: Callable[[Any, Any, Any], None], source: Tensor, space: Space) -> Tensor:
        target = torch.empty((*source.shape[:-3], *space.shape), dtype=space.dtype)
        if source.numel():
            kernel(stacked(source), self._tables, stacked(target))
        return target

    def subset(self, axis: str, index: Sequence[int]) -> LinearOperator | None:
        if axis != "view":
            return None
        return type(self)(self.geometry[np.asarray(index)], self.grid, self.domain.dtype, self.device)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> RayTransform:
        return type(self)(self.geometry, self.grid, dtype, device)


def stacked(x: Tensor) -> np.ndarray[Any, Any]:
    """A contiguous NumPy array with all leading batch axes as one, without a copy where `x` is contiguous."""
    return x.detach().contiguous().numpy().reshape(-1, *x.shape[-3:])
