"""What a file holds, in plain facts: shape, unit, grid, and what is missing or assumed; never who it is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.acquisitions.ultrasound import doubts
from recon3d.grid import AffineGrid, BeamGrid, Grid, SurveyGrid
from recon3d.io.formats import existing, format_for, format_named, load
from recon3d.io.ultrasound_facts import ultrasound_facts
from recon3d.scan import Scan
from recon3d.volume import Volume

# The only tags of a volume that are shown: a file may bring others that name a patient.
_SHOWN_TAGS = (
    "modality",
    "format",
    "affine_from",
    "convolution_kernel",
    "orientation",
    "placed",
    "resampled",
    "b_values_s_per_mm2",
)

# Entries of a scan that hold sentences, one a line: what was done to the data, what the file did not say.
_TOLD = ("prepared", "assumed")


def describe(path: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """Facts about a file or folder, as plain nested values that print well and can become JSON.

    Parameters
    ----------
    path : anything that `load` reads; an array file without a mapping is listed key by key
    options : as for `load`

    Raises
    ------
    InputError
        As `load`.
    """
    path = existing(path)
    name = options.get("format") or ("arrays" if "mapping" in options else format_for(path)[0])
    facts: dict[str, Any] = {"file": path.name, "format": name}
    if path.is_file():
        facts["bytes"] = path.stat().st_size
    if name == "arrays" and options.get("mapping") is None:
        return facts | _listed(path)
    own = getattr(format_named(name), "facts", None)  # what only this format knows
    return facts | summary(load(path, **options)) | (own(path, **options) if own is not None else {})


def summary(obj: Volume | Scan) -> dict[str, Any]:
    """Facts about a volume or a scan in memory."""
    return _scan(obj) if isinstance(obj, Scan) else _volume(obj)


def lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """The facts as lines of text."""
    text: list[str] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            text += [f"{indent}{name}:", *lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(v, str) for v in value):
            text += [f"{indent}{name}:", *(f"{indent}  {v}" for v in value)]
        else:
            text.append(f"{indent}{name}: {value}")
    return text


def _volume(volume: Volume) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "holds": "volume" if volume.data.ndim == 3 else "time series",
        "axes": _axes(volume),
        "shape": list(volume.data.shape),
        "type": str(volume.data.dtype),
        "units": volume.units,
        "values": _values((volume.data,)),
        "grid": _grid(volume.grid),
    }
    if volume.times_s is not None:
        facts["times_s"] = {"first": volume.times_s[0], "last": volume.times_s[-1], "frames": len(volume.times_s)}
    tags = {name: volume.tags[name] for name in _SHOWN_TAGS if name in volume.tags}
    if tags:
        facts["tags"] = tags
    assumed = []
    if volume.tags.get("affine_from") == "pixdim":
        assumed.append("position and orientation: the file states voxel lengths only")
    if volume.tags.get("format") == "NIfTI":
        assumed.append(f"unit of the values: {volume.units} (a NIfTI file does not say; give units=)")
    if volume.data.ndim == 4 and volume.times_s is None:
        assumed.append("times of the frames: unknown")
    if assumed:
        facts["missing or assumed"] = assumed
    return facts


def _axes(volume: Volume) -> str:
    space = "crossline inline sample" if isinstance(volume.grid, SurveyGrid) else "z y x"
    return space if volume.data.ndim == 3 else f"t {space}"


def _scan(scan: Scan) -> dict[str, Any]:
    shapes = [list(block.shape) for block in scan.blocks]
    facts: dict[str, Any] = {
        "holds": "scan",
        "kind": scan.kind,
        "name": scan.name,
        "axes": " ".join(scan.axes),
        "shape": shapes[0] if len(shapes) == 1 else f"{len(shapes)} blocks, the first of shape {shapes[0]}",
        "type": str(scan.blocks[0].dtype),
        "values": _values(scan.blocks),
        "acquisition": {name: _entry(value) for name, value in scan.acquisition.items() if name not in _TOLD},
        "noise": {name: _entry(value) for name, value in scan.noise.items()} or "unknown",
        "calibration": {name: _entry(value) for name, value in scan.calibration.items()} or "none",
        "image units": scan.units,
        "target grid": _grid(scan.grid),
    }
    if scan.kind == "ultrasound":
        facts["ultrasound"] = ultrasound_facts(scan)
    prepared, assumed = (str(scan.acquisition.get(name, "")).splitlines() for name in _TOLD)
    if prepared:
        facts["prepared"] = prepared
    if not scan.noise:
        assumed.append("noise: unknown, so all measurements are weighted equally")
    if scan.units == "1/mm" and "water_per_mm" not in scan.calibration:
        assumed.append("attenuation of water: unknown, so the image leaves in 1/mm, not in HU")
    if scan.kind == "mri":
        assumed += _mri_gaps(scan)
    assumed += doubts(scan)
    if assumed:
        facts["missing or assumed"] = assumed
    return facts


def _mri_gaps(scan: Scan) -> list[str]:
    gaps = []
    if "sensitivities" not in scan.acquisition:
        gaps.append("coil sensitivities: estimated from the centre of k-space")
    if not {"mask", "trajectory"} & set(scan.acquisition):
        gaps.append("sampling mask: samples that are not zero count as measured")
    dead = dead_coils(scan)
    if dead:
        gaps.append(f"signal of coil {', '.join(map(str, dead))}: none, so it is left out")
    return gaps


def dead_coils(scan: Scan) -> list[int]:
    """Numbers of the coils that measured nothing."""
    if "coil" not in scan.axes or not isinstance(scan.data, np.ndarray):
        return []
    axis = scan.axes.index("coil")
    others = tuple(i for i in range(scan.data.ndim) if i != axis)
    return [int(c) for c in np.flatnonzero(~scan.data.any(axis=others))]


def _listed(path: Path) -> dict[str, Any]:
    from recon3d.io.arrays import fitting_mappings
    from recon3d.io.entries import open_entries

    entries = open_entries(path)
    fitting = fitting_mappings(entries)
    listed = [f"{key or '(one array)'} {entries.shapes.get(key, '')}".rstrip() for key in entries]
    return {
        "holds": "arrays of unknown meaning",
        "keys": listed,
        **({"keys fit": " or ".join(f"--source {name}" for name in fitting)} if fitting else {}),
        "missing or assumed": ["a mapping that says what the arrays mean (--source NAME or a YAML file)"],
    }


def _grid(grid: Grid) -> dict[str, Any]:
    facts: dict[str, Any] = {"type": type(grid).__name__, "shape": list(grid.shape)}
    if isinstance(grid, AffineGrid):
        facts["voxel_mm (z y x)"] = [round(v, 6) for v in grid.voxel_mm]
        facts["centre_mm (x y z)"] = [round(v, 4) for v in grid.centre_mm]
        facts["sheared"] = grid.is_sheared
    elif isinstance(grid, SurveyGrid):
        facts["sampling"] = f"{grid.sample_step:g} {grid.sample_unit} from {grid.sample_start:g} {grid.sample_unit}"
    elif isinstance(grid, BeamGrid):
        facts["depth step mm"] = grid.depth_mm[1]
    return facts


def _values(blocks: tuple[NDArray[Any], ...]) -> dict[str, Any]:
    parts = [np.abs(block) if np.iscomplexobj(block) else block for block in blocks]
    count = sum(part.size for part in parts)
    facts: dict[str, Any] = {
        "lowest": float(f"{min(float(part.min()) for part in parts):.6g}"),
        "highest": float(f"{max(float(part.max()) for part in parts):.6g}"),
        "mean": float(f"{sum(float(part.sum(dtype=np.float64)) for part in parts) / count:.6g}"),
    }
    if np.iscomplexobj(blocks[0]):
        facts["of"] = "magnitude"
    return facts


def _entry(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"array {list(value.shape)} {value.dtype}"
    return value
