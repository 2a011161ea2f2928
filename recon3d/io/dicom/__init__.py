"""DICOM: series in, derived series and parametric maps out, de-identification."""

from __future__ import annotations

from recon3d.io.dicom.find import matches
from recon3d.io.dicom.read import list_series, read

UNDERSTOOD = "DICOM (a file, folder, zip or DICOMDIR of one series)"

__all__ = ["UNDERSTOOD", "list_series", "matches", "read"]
