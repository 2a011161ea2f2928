"""ASTRA's CUDA projectors behind one door: without a device ASTRA kills the process or returns zeros."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.errors import DeviceError, GeometryError, MissingPackageError
from operators.linear import Slab
from operators.space import Space
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.transform import RayTransform


def require_cuda() -> Any:
    """The module `astra`, once it has said that a CUDA device is at hand; to be called before anything that needs one.

    Without a device ASTRA 2.5 builds 3D projectors all the same and dies with SIGFPE when they are used, and its 2D
    `cuda` projectors return zeros.

    Raises
    ------
    MissingPackageError
        If ASTRA is not installed.
    DeviceError
        If ASTRA finds no CUDA device, or was built without CUDA.
    """
    try:
        import astra
    except ImportError as error:
        raise MissingPackageError(
            "CT on a GPU needs the ASTRA toolbox: install it with `pip install astra-toolbox`, or use device='cpu'."
        ) from error
    if not astra.use_cuda():
        raise DeviceError(
            "ASTRA finds no CUDA device here, so CT cannot be computed on one: use device='cpu', or check the "
            "driver with nvidia-smi and that ASTRA was built with CUDA."
        )
    return astra


class AstraProjector(RayTransform):
    """Line integrals by ASTRA on a CUDA device, through DLPack: tensors never leave it.

    Parallel and cone beams are one 3D call, fan beams one 2D call per slice. The backprojector is voxel-driven and no
    exact transpose of the projector: `operators.testing.adjoint_error` says by how much, and methods that need a
    matched pair (many steps of conjugate gradients) have one with device='cpu'.

    Parameters
    ----------
    geometry : flat detectors; for a parallel or fan beam as many rows as the grid has slices
    grid : voxels
    dtype : torch.float32, ASTRA's only precision
    device : a CUDA device

    Raises
    ------
    DeviceError, MissingPackageError
        Without a device, without ASTRA, for a curved detector or another precision.
    """

    name = "ASTRA projector"
    device_type = "cuda"

    def __init__(
        self,
        geometry: TomographyGeometry,
        grid: ImageGrid,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cuda",
    ) -> None:
        if geometry.detector != "flat":
            raise DeviceError("Curved detectors are projected on the CPU alone: use device='cpu'.")
        if dtype != torch.float32:
            raise DeviceError(f"ASTRA computes in float32, got {dtype}: use device='cpu'.")
        super().__init__(geometry, grid, dtype, device)

    def _check(self, geometry: TomographyGeometry, grid: ImageGrid) -> None:
        if geometry.kind != "cone" and geometry.n_rows != grid.shape[0]:
            raise GeometryError(f"Rows are slices: the detector has {geometry.n_rows}, the grid {grid.shape[0]}.")

    def _ray_tables(self) -> int:
        """ASTRA's handle, deleted with this object."""
        astra = require_cuda()
        kind, projection, volume = astra_geometry(astra, self.geometry, self.grid)
        astra.set_gpu_index(self.device.index or 0)
        handle = int(astra.create_projector(kind, projection, volume))
        home = astra.projector3d if kind == "cuda3d" else astra.projector
        weakref.finalize(self, home.delete, handle)
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tables"}

    @property
    def _kernels(self) -> tuple[Callable[[Any, Any, Any], None], Callable[[Any, Any, Any], None]]:
        astra = require_cuda()
        home = astra.projector if self.geometry.kind == "fan" else astra.projector3d
        return (
            lambda source, handle, target: home.direct_FP(handle, source, out=target),
            lambda source, handle, target: home.direct_BP(handle, source, out=target),
        )

    def _apply(self, kernel: Callable[[Any, Any, Any], None], source: Tensor, space: Space) -> Tensor:
        forward = space == self.range
        target = torch.empty((*source.shape[:-3], *space.shape), dtype=space.dtype, device=self.device)
        torch.cuda.current_stream(self.device).synchronize()  # ASTRA works on a stream of its own
        pairs = zip(source.detach().reshape(-1, *source.shape[-3:]), target.reshape(-1, *space.shape), strict=True)
        for given, out in pairs:
            each = along_slices if self.geometry.kind == "fan" else whole_volume
            each(lambda a, b: kernel(a, self._tables, b), given, out, forward)
        return target

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if axis != "z" or self.geometry.kind == "cone":
            return None
        rows, slices = self.geometry.rows(start, stop), self.grid.slab(start, stop)
        return Slab(type(self)(rows, slices, self.domain.dtype, self.device), "row", start, stop)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> RayTransform:
        if device.type == "cpu":
            return matched(self.geometry, self.grid, dtype)
        return type(self)(self.geometry, self.grid, dtype, device)


def matched(geometry: TomographyGeometry, grid: ImageGrid, dtype: torch.dtype = torch.float32) -> RayTransform:
    """The projector of our own on the CPU, with an exact adjoint."""
    from operators.tomography.cone import ConeProjector
    from operators.tomography.projector import Projector

    return (ConeProjector if geometry.kind == "cone" else Projector)(geometry, grid, dtype)


def astra_geometry(
    astra: Any, geometry: TomographyGeometry, grid: ImageGrid
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """ASTRA's projector type, projection geometry and volume geometry, all in mm; needs no device.

    In two dimensions ASTRA's image rows run downwards, which `along_slices` turns.
    """
    low, high = ([c + s * 0.5 * n * v for c, n, v in zip(grid.centre_mm, grid.shape, grid.voxel_mm, strict=True)]
                 for s in (-1, 1))  # fmt: skip
    z, y, x = grid.shape
    if geometry.kind == "fan":
        flat = np.ascontiguousarray(geometry.vectors[:, [0, 1, 3, 4, 6, 7]])
        volume = astra.create_vol_geom(y, x, low[2], high[2], low[1], high[1])
        return "cuda", astra.create_proj_geom("fanflat_vec", geometry.n_columns, flat), volume
    volume = astra.create_vol_geom(y, x, z, low[2], high[2], low[1], high[1], low[0], high[0])
    kind = {"parallel": "parallel3d_vec", "cone": "cone_vec"}[geometry.kind]
    vectors = np.array(geometry.vectors)
    return "cuda3d", astra.create_proj_geom(kind, geometry.n_rows, geometry.n_columns, vectors), volume


def whole_volume(kernel: Callable[[Tensor, Tensor], None], given: Tensor, out: Tensor, forward: bool) -> None:
    """One 3D call; ASTRA's projections are (row, view, column)."""
    if forward:
        projections = out.new_empty((out.shape[1], out.shape[0], out.shape[2]))
        kernel(given.contiguous(), projections)
        out.copy_(projections.transpose(0, 1))
    else:
        kernel(given.transpose(0, 1).contiguous(), out)


def along_slices(kernel: Callable[[Tensor, Tensor], None], given: Tensor, out: Tensor, forward: bool) -> None:
    """A 2D call for each slice (row of the detector), whose image ASTRA sees with its rows downwards."""
    for k in range(given.shape[0] if forward else out.shape[0]):
        if forward:
            sinogram = out.new_empty((out.shape[0], out.shape[2]))
            kernel(given[k].flip(0), sinogram)
            out[:, k] = sinogram
        else:
            image = torch.empty_like(out[k])
            kernel(given[:, k].contiguous(), image)
            out[k] = image.flip(0)
