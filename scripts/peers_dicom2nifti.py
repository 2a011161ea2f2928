"""dicom2nifti's side: a folder of slices into one NIfTI file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dicom2nifti
import nibabel
from peers_child import serve

Data = Mapping[str, Any]


def convert(data: Data) -> Callable[[], Any]:
    target = Path(mkdtemp()) / "volume.nii"

    def run() -> Any:
        dicom2nifti.dicom_series_to_nifti(str(data["series"]), str(target), reorient_nifti=False)
        return nibabel.as_closest_canonical(nibabel.load(target)).get_fdata()

    return run


if __name__ == "__main__":
    serve({"DICOM to NIfTI": convert}, f"dicom2nifti {version('dicom2nifti')}")
