"""Tomography: geometry, image grid, Joseph projectors with exact adjoints, and filtered backprojection with FDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operators.tomography.backend import projector_for
    from operators.tomography.cone import ConeProjector
    from operators.tomography.fbp import filtered_backprojection
    from operators.tomography.geometry import TomographyGeometry
    from operators.tomography.grid import ImageGrid
    from operators.tomography.projector import Projector
    from operators.tomography.transform import RayTransform

__all__ = [
    "ConeProjector", "ImageGrid", "Projector", "RayTransform", "TomographyGeometry", "filtered_backprojection",
    "projector_for",
]  # fmt: skip

_HOMES = {
    "ConeProjector": "cone",
    "ImageGrid": "grid",
    "Projector": "projector",
    "RayTransform": "transform",
    "TomographyGeometry": "geometry",
    "filtered_backprojection": "fbp",
    "projector_for": "backend",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the kernels bring numba and torch with them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
