"""dcm2niix's side: the compiled converter on a folder of slices, one process per call."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dcm2niix
import nibabel
from peers_child import serve

Data = Mapping[str, Any]


def convert(data: Data) -> Callable[[], Any]:
    folder = Path(mkdtemp())

    def run() -> Any:
        command = [dcm2niix.bin, "-z", "n", "-b", "n", "-w", "1", "-f", "volume", "-o", folder, str(data["series"])]
        subprocess.run(command, check=True, capture_output=True)
        return nibabel.as_closest_canonical(nibabel.load(folder / "volume.nii")).get_fdata()

    return run


if __name__ == "__main__":
    serve({"DICOM to NIfTI": convert}, f"dcm2niix {version('dcm2niix')}")
