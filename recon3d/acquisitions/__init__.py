"""Acquisitions: how a scan of each kind becomes a linear operator; plug-ins add kinds by entry point.

An acquisition is a function ``(scan, device, dtype) -> LinearOperator`` whose domain is the image on the scan's grid.
Each built-in kind is a module of this package, imported when a scan of it comes; a package adds one with an entry point
in the group ``recon3d.acquisitions``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

import torch

from operators.linear import LinearOperator
from recon3d.acquisitions.ct import is_stack_of_slices, on_grid, select_views, water_attenuation_per_mm
from recon3d.acquisitions.series import frame_times_s, in_frames, still
from recon3d.errors import InputError
from recon3d.scan import Scan

__all__ = [
    "Acquisition",
    "acquisition_for",
    "frame_times_s",
    "in_frames",
    "is_stack_of_slices",
    "on_grid",
    "register",
    "select_views",
    "still",
    "water_attenuation_per_mm",
]

Acquisition = Callable[[Scan, torch.device, torch.dtype], LinearOperator]

_BUILT_IN = {
    "ct": "recon3d.acquisitions.ct:ct",
    "mri": "recon3d.acquisitions.mri:mri",
    "seismic": "recon3d.acquisitions.seismic:seismic",
    "ultrasound": "recon3d.acquisitions.ultrasound:ultrasound",
    "beamformed": "recon3d.acquisitions.beamformed:beamformed",
    "image": "recon3d.acquisitions.image:image",
}
_REGISTRY: dict[str, Acquisition] = {}


def register(kind: str, acquisition: Acquisition) -> None:
    """Make scans of `kind` understood in this process (plug-ins use the entry point instead)."""
    _REGISTRY[kind] = acquisition


def acquisition_for(kind: str) -> Acquisition:
    """The acquisition of that name, built in or from a plug-in."""
    if kind not in _REGISTRY:
        _REGISTRY[kind] = _found(kind)
    return _REGISTRY[kind]


def _found(kind: str) -> Acquisition:
    if kind in _BUILT_IN:
        module, _, name = _BUILT_IN[kind].partition(":")
        return cast(Acquisition, getattr(import_module(module), name))
    points = {point.name: point for point in entry_points(group="recon3d.acquisitions")}
    if kind in points:
        return cast(Acquisition, points[kind].load())
    known = ", ".join(sorted({*_BUILT_IN, *_REGISTRY, *points}))
    raise InputError(
        f"Scans of kind '{kind}' are not understood: expected one of {known}, or install the plug-in for it."
    )
