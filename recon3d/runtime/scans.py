"""The scan in a file as the configuration wants it: what is known beside the file, the grid, the support."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.acquisitions import (
    in_frames,
    is_stack_of_slices,
    on_grid,
    select_views,
    still,
    ultrasound,
    water_attenuation_per_mm,
)
from recon3d.acquisitions.beamformed import beamformed_scan
from recon3d.acquisitions.ct_checks import field_of_view
from recon3d.acquisitions.image import image_scan
from recon3d.acquisitions.mri import split_readout
from recon3d.config import ReconstructConfig
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.io import load
from recon3d.io.formats import format_for
from recon3d.preprocessing.pipeline import preprocess
from recon3d.runtime.traces import with_mask
from recon3d.scan import Scan
from recon3d.volume import Volume


def load_scan(path: Path, config: ReconstructConfig) -> Scan:
    """The scan in a file, with what the configuration adds to it."""
    known = config.scan
    options = dict(config.read) if config.source is None else {**config.read, "mapping": config.source}
    if known.image is not None and config.source is None and format_for(path)[0] == "dicom":
        options = {"gaps": "nan", **options}  # a missing slice is restored, not refused
    found = load(path, **options)
    if isinstance(found, Volume) and isinstance(found.grid, BeamGrid):
        found = beamformed_scan(found, path.name)
    if known.seismic.mask is not None:
        found = with_mask(found, known.seismic.mask)
    if isinstance(found, Volume):
        if known.image is None:
            raise InputError(
                f"{path} holds a volume, not measurements: scan it with `recon3d simulate {path.name} SCAN.h5 --config "
                "ct-parallel` and reconstruct that, or restore it with a recipe such as denoise-tv or thin-slices-tv."
            )
        return _on_grid(image_scan(found, **known.image.model_dump(), noise_std=known.noise_std), config)
    if known.image is not None:
        raise ConfigError(f"scan.image restores a volume, {path} holds a scan of kind '{found.kind}': leave it out.")
    return prepared(found, config)


def prepared(scan: Scan, config: ReconstructConfig) -> Scan:
    """A scan with what the configuration knows of it, and does to it."""
    known = config.scan
    if config.preprocess is not None:
        scan = preprocess(scan, **config.preprocess.model_dump())
    water = known.water_per_mm
    if known.energy_kev is not None:
        water = water_attenuation_per_mm(known.energy_kev)
    if water is not None:
        scan = replace(scan, calibration={**scan.calibration, "water_per_mm": water})
    if known.photons is not None:
        scan = replace(scan, noise={"photons": known.photons})
    if known.noise_std is not None:
        scan = replace(scan, noise={"std": known.noise_std})
    views = known.views
    if views.every != 1 or views.arc_deg is not None or views.start_deg is not None:
        scan = select_views(scan, views.every, views.start_deg, views.arc_deg)
    series = known.series.model_dump(exclude_none=True, exclude_defaults=True)
    if series.pop("still", False):
        scan = still(scan)
    elif series:
        scan = in_frames(scan, **series)
    chosen = known.mri.model_dump(exclude_none=True, exclude_defaults=True)
    if chosen and scan.kind != "mri":
        raise ConfigError(
            f"scan.mri is for MRI, '{scan.name}' is of kind '{scan.kind}': leave {next(iter(chosen))} out."
        )
    if chosen.pop("split_readout", False):
        scan = split_readout(scan)
    if config.run.backend != "auto" and scan.kind == "ct":
        chosen["backend"] = config.run.backend
    scan = replace(scan, acquisition={**scan.acquisition, **chosen})
    beams = known.ultrasound.model_dump(exclude_none=True)
    if beams:
        scan = ultrasound.with_settings(scan, **beams)
    return _on_grid(scan, config)


def support_of(scan: Scan, choice: str | None) -> NDArray[Any] | None:
    """The support that the configuration names: the detector's field of view, or a mask in a volume file."""
    if choice is None or choice == "field-of-view":
        return None if choice is None else field_of_view(scan)
    mask = load(choice)
    if not isinstance(mask, Volume) or mask.data.shape != tuple(scan.grid.shape):
        raise InputError(
            f"scan.support={choice} must be a volume of the result's shape {tuple(scan.grid.shape)}, got {mask!r}: "
            "resample it onto that grid."
        )
    return (mask.data > 0).astype(np.float32)


def _on_grid(scan: Scan, config: ReconstructConfig) -> Scan:
    """The scan with the output grid that was asked for."""
    wanted = config.grid
    if wanted.like is not None:
        like = load(wanted.like)
        return on_grid(scan, like.grid)
    if wanted.voxel_mm is None and wanted.shape is None:
        return scan
    if not isinstance(scan.grid, AffineGrid):
        raise ConfigError(
            f"grid.voxel_mm and grid.shape need a voxel grid, this scan lies on a {type(scan.grid).__name__}."
        )
    if wanted.shape is not None:
        return scan.on(scan.grid.resampled(wanted.shape))
    voxel = np.broadcast_to(np.asarray(wanted.voxel_mm, dtype=float), (3,)).copy()
    if isinstance(wanted.voxel_mm, float) and is_stack_of_slices(scan):
        voxel[0] = scan.grid.voxel_mm[0]  # one detector row is one slice: their pitch is not ours to choose
    return scan.on(scan.grid.with_voxel_mm(tuple(voxel)))
