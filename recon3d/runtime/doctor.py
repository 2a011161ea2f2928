"""Doctor: what this installation can do, found out by trying."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import recon3d
from recon3d.runtime.device import allotted_cores
from recon3d.runtime.memory import MEBI, free_memory
from recon3d.runtime.record import versions

_OPTIONAL = {
    "finufft": "mri",
    "ismrmrd": "mri",
    "segyio": "seismic",
    "dask": "batch",
    "zarr": "zarr",
    "cupy": "cuda12",
}


def examine() -> dict[str, Any]:
    """Versions, devices, optional packages and models, as plain values."""
    import torch

    from operators.tomography import ImageGrid, Projector, TomographyGeometry
    from recon3d.priors import list_models

    grid = ImageGrid((1, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    ones = torch.ones(1, 8, 8)
    central = float(Projector(TomographyGeometry.parallel([0.0], 9), grid)(ones)[0, 0, 4])
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
        "ct projector": "works" if abs(central - 8.0) < 1e-4 else f"broken: an 8 mm chord measures {central:.3f} mm",
        "models": [entry.name for entry in list_models()] or "none",
        "optional": packages,
    }
