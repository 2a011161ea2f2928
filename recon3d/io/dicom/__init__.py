"""DICOM: series in, derived series and parametric maps out, de-identification."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recon3d.io.dicom.find import matches

if TYPE_CHECKING:
    from recon3d.io.dicom.deidentification import deidentify
    from recon3d.io.dicom.derived import Derivation
    from recon3d.io.dicom.parametric_map import write_parametric_map
    from recon3d.io.dicom.reader import list_series, read
    from recon3d.io.dicom.writer import write, write_enhanced, write_series

UNDERSTOOD = "DICOM (a file, folder, zip or DICOMDIR of one series)"
SUFFIXES = (".dcm",)

__all__ = [
    "SUFFIXES",
    "UNDERSTOOD",
    "Derivation",
    "deidentify",
    "list_series",
    "matches",
    "read",
    "write",
    "write_enhanced",
    "write_parametric_map",
    "write_series",
]

_HOMES = {
    "Derivation": "derived",
    "deidentify": "deidentification",
    "list_series": "reader",
    "read": "reader",
    "write": "writer",
    "write_enhanced": "writer",
    "write_parametric_map": "parametric_map",
    "write_series": "writer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: asking whether a path is DICOM needs no pydicom."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
