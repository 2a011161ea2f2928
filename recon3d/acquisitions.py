"""Acquisitions: how a scan of each kind becomes a linear operator; plug-ins add kinds by entry point.

An acquisition is a function ``(scan, device, dtype) -> LinearOperator`` whose domain is the image on the scan's grid.
Built-in kinds live here; a package adds one with an entry point in the group ``recon3d.acquisitions``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np
import torch

from operators.linear import LinearOperator
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

Acquisition = Callable[[Scan, torch.device, torch.dtype], LinearOperator]

_REGISTRY: dict[str, Acquisition] = {}


def register(kind: str, acquisition: Acquisition) -> None:
    """Make scans of `kind` understood in this process (plug-ins use the entry point instead)."""
    _REGISTRY[kind] = acquisition


def acquisition_for(kind: str) -> Acquisition:
    """The acquisition of that name, built in or from a plug-in."""
    if kind in _REGISTRY:
        return _REGISTRY[kind]
    found = {point.name: point for point in entry_points(group="recon3d.acquisitions")}
    if kind in found:
        _REGISTRY[kind] = found[kind].load()
        return _REGISTRY[kind]
    known = ", ".join(sorted({*_REGISTRY, *found}))
    raise InputError(f"Scans of kind '{kind}' are not understood: expected one of {known}, or install the plug-in for it.")


def ct(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Line integrals of attenuation (dimensionless) of an image in 1/mm.

    The scanner frame has its origin at the centre of rotation and its axes along the voxel axes of the grid; the
    acquisition may place the centre of the grid elsewhere by ``grid_centre_mm`` (z, y, x).
    """
    from operators.tomography import ImageGrid, Projector, TomographyGeometry

    if not isinstance(scan.grid, AffineGrid):
        raise InputError(f"CT scans are reconstructed on an AffineGrid, got {type(scan.grid).__name__}.")
    settings = dict(scan.acquisition)
    centre = settings.pop("grid_centre_mm", None)
    centre_mm = tuple(float(v) for v in np.asarray(centre).ravel()) if centre is not None else (0.0, 0.0, 0.0)
    grid = ImageGrid(scan.grid.shape, scan.grid.voxel_mm, centre_mm)  # type: ignore[arg-type]
    return Projector(TomographyGeometry.from_dict(settings), grid, dtype=dtype, device=device)


register("ct", ct)
