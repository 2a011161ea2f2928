"""Doctor: what this installation can do, found out by trying."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import recon3d
from recon3d.runtime.device import allotted_cores
from recon3d.runtime.memory import MEBI, free_memory
from recon3d.runtime.record import versions

if TYPE_CHECKING:
    import torch

_OPTIONAL = {
    "finufft": "mri",
    "ismrmrd": "mri",
    "segyio": "seismic",
    "dask": "batch",
    "zarr": "zarr",
    "cupy": "cuda12",
}


def examine() -> dict[str, Any]:
    """Versions, devices, projectors, optional packages and models, as plain values."""
    import torch

    from recon3d.priors import list_models

    packages = {}
    for package, extra in _OPTIONAL.items():
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = f"absent; pip install 'recon3d[{extra}]'"
    gpus = (
        [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "recon3d": recon3d.__version__,
        "versions": versions(),
        "cores": allotted_cores(),
        "free memory": f"{free_memory() / MEBI:.0f} MiB",
        "gpu": gpus or "none; everything runs on the CPU",
        **_projectors(torch.device("cuda" if gpus else "cpu")),
        "models": [entry.name for entry in list_models()] or "none",
        "optional": packages,
    }


def _projectors(device: torch.device) -> dict[str, Any]:
    """Which projector CT gets and whether it measures a chord; what ASTRA finds; when a stored matrix would pay."""
    import torch

    from operators.errors import ReconError
    from operators.tomography import ImageGrid, TomographyGeometry, projector_for
    from operators.tomography.astra_cuda import require_cuda

    grid = ImageGrid((1, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    A = projector_for(TomographyGeometry.parallel([0.0], 9), grid, device=device)
    central = float(A(torch.ones(1, 8, 8, device=device))[0, 0, 4])
    try:
        require_cuda()
        cuda = "works"
    except ReconError as error:
        cuda = str(error)
    return {
        "ct projector": "works" if abs(central - 8.0) < 1e-4 else f"broken: an 8 mm chord measures {central:.3f} mm",
        "ct backend": A.chosen,
        "astra on cuda": cuda,
        "stored ct matrix": _stored_matrix(),
    }


def _stored_matrix() -> str:
    """After how many projections ASTRA's matrix would overtake the kernels on this machine; no backend uses it."""
    from recon3d.runtime.break_even import break_even

    side, views = 128, 90
    try:
        rows = break_even(side, views, repeats=3)
    except ImportError:
        return "not measured: astra-toolbox is not installed"
    return f"not used; {side} x {side} pixels, {views} views, CPU time: {'; '.join(map(str, rows))}"
