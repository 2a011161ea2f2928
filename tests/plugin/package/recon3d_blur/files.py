"""The format .blur: one line of JSON, then the values as little-endian float32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

UNDERSTOOD = "microscope stacks (.blur)"
SUFFIXES = (".blur",)


def matches(path: Path) -> bool:
    return path.suffix == ".blur"


def read(path: Path) -> Scan:
    header, _, values = path.read_bytes().partition(b"\n")
    about = json.loads(header)
    shape = tuple(about["shape"])
    if len(values) != 4 * np.prod(shape):
        raise InputError(f"{path} is cut off: expected {4 * np.prod(shape)} bytes of values, got {len(values)}.")
    data = np.frombuffer(values, "<f4").reshape(shape)
    grid = AffineGrid.centred(shape, about["voxel_mm"])
    acquisition = {"fwhm_mm": about["fwhm_mm"], "signed": False}
    return Scan("microscope", data, ("z", "y", "x"), acquisition, grid, noise={"std": about["noise_std"]})


def write(scan: Scan, path: Path) -> None:
    if not isinstance(scan, Scan) or scan.kind != "microscope":
        raise InputError(f"A .blur file holds a scan of kind 'microscope', got {scan!r}: write .h5 or .nii.gz.")
    about = {
        "shape": scan.data.shape,
        "voxel_mm": scan.grid.voxel_mm,
        "fwhm_mm": scan.acquisition["fwhm_mm"],
        "noise_std": float(scan.noise["std"]),
    }
    path.write_bytes(json.dumps(about).encode() + b"\n" + scan.data.astype("<f4").tobytes())
