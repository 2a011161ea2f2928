"""Which projector computes a CT scan, and why."""

from __future__ import annotations

import torch

from operators.errors import DeviceError
from operators.tomography.astra_cuda import AstraProjector, matched, require_cuda
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.transform import RayTransform

BACKENDS = ("auto", "numba", "astra")


def projector_for(
    geometry: TomographyGeometry,
    grid: ImageGrid,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    backend: str = "auto",
) -> RayTransform:
    """The projector of a geometry on a device; `chosen` on it says which it is and why.

    "auto" takes our matched numba kernels on the CPU and ASTRA on a CUDA device. A stored sparse matrix is no backend:
    for one slice and for sixteen the kernels are as fast or faster, and for four it pays after about a hundred pairs of
    projections only, at 324 MiB for 256 x 256 pixels and 180 views (`scripts/benchmark csr`, `recon3d doctor`).

    Raises
    ------
    DeviceError
        If the backend does not compute on that device, or this geometry not on a GPU.
    """
    place = torch.device(device).type
    if backend not in BACKENDS:
        raise DeviceError(f"A backend is one of {', '.join(BACKENDS)}, got '{backend}'.")
    if place not in ("cpu", "cuda"):
        raise DeviceError(f"CT is computed on the CPU or on a CUDA device, not on '{device}'.")
    wanted = {"cpu": "numba", "cuda": "astra"}[place]
    if backend not in ("auto", wanted):
        raise DeviceError(f"The backend '{backend}' does not compute on device '{place}', '{wanted}' does.")
    because = "asked for" if backend != "auto" else "auto: the run is on " + ("the CPU" if place == "cpu" else "a GPU")
    projector: RayTransform
    if place == "cpu":
        projector = matched(geometry, grid, dtype)
        projector.chosen = f"numba on the CPU, exact adjoint ({because})"
        return projector
    require_cuda()
    projector = AstraProjector(geometry, grid, dtype, device)
    projector.chosen = f"ASTRA on {projector.device}, adjoint not exact ({because})"
    return projector
