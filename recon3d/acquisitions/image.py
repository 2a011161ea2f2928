"""The acquisition "image": a volume that is itself the measurement, with noise, thick slices or missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from operators.linear import LinearOperator
from operators.noise import noise_level
from operators.space import Space, matching_dtype
from recon3d.errors import GeometryError, InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Plain, Scan
from recon3d.volume import Volume

WATER_PER_MM = 0.0193
"""Scale between HU and 1/mm inside a problem; it cancels on the way out."""
VACUUM_HU, BODY_HU = -1000.0, -500.0
LEAST_HU = -1500.0
"""Values below are padding: no noise reaches so far below vacuum."""


def image(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """What the measured slices say about a volume on the scan's grid: themselves, or averages of thinner slices.

    The data are (slice, y, x). The acquisition holds ``affine`` (4 x 4) and ``slices`` (their indices along the third
    column of it): where the measured slices lie; ``thickness_mm`` and ``profile`` if they average thinner ones.
    """
    from operators.slices import SliceSampling, slice_weights

    grid, data = scan.grid, scan.data
    if not isinstance(grid, AffineGrid) or not isinstance(data, np.ndarray):
        raise InputError(f"An image lies on an AffineGrid, '{scan.name}' does not.")
    if data.shape[1:] != tuple(grid.shape[1:]):
        raise InputError(f"Slices of {data.shape[1:]} pixels cannot be restored on a grid of {grid.shape[1:]} pixels.")
    place = np.linalg.solve(grid.matrix, np.asarray(scan.acquisition["affine"], dtype=float))
    if np.abs(place[:3, :2] - np.eye(3)[:, :2]).max() > 1e-4 or np.abs(place[:2, 2:]).max() > 0.02:
        raise GeometryError(
            f"The output grid of '{scan.name}' may differ from the measured one along the slices alone: resample the "
            "result instead."
        )
    own = torch.complex64 if np.iscomplexobj(data) else torch.float32
    space = Space(("z", "y", "x"), grid.shape, matching_dtype(own, dtype))
    slice_mm = grid.voxel_mm[0]
    index = place[2, 3] + place[2, 2] * np.asarray(scan.acquisition["slices"], dtype=float)
    thickness = float(scan.acquisition.get("thickness_mm", 0.0))  # type: ignore[arg-type]
    if thickness > 0:
        profile = str(scan.acquisition.get("profile", "box"))
        weights = slice_weights(index * slice_mm, thickness, grid.shape[0], slice_mm, profile)
    else:
        weights = np.asarray(np.rint(index)[:, None] == np.arange(grid.shape[0]), dtype=float)
    return SliceSampling(weights, space, device)


def image_scan(
    volume: Volume,
    *,
    slice_mm: float | None = None,
    thickness_mm: float | None = None,
    profile: Literal["box", "gaussian"] = "box",
    missing: Sequence[int] = (),
    noise_std: float | None = None,
) -> Scan:
    """A volume as the measurement of a better one: `acquisition["prepared"]` tells what was assumed.

    Parameters
    ----------
    volume : real, (z, y, x), on an AffineGrid; slices that are NaN throughout are missing. In HU, it is restored as
        attenuation relative to vacuum, so that "non-negative" means what it says, and leaves in HU
    slice_mm : pitch of the slices of the result; that of the volume by default
    thickness_mm : thickness of the measured slices, which then are averages of thinner ones; with `slice_mm` the pitch
        of the volume by default, else they count as thin
    profile : sensitivity across a thick slice
    missing : slices whose values are not used, counted from 0
    noise_std : in the unit of the volume; by default estimated from the finest details

    Raises
    ------
    InputError
        For a volume of another kind, scattered NaN, or no slice left.
    """
    grid, data = volume.grid, volume.data
    if not isinstance(grid, AffineGrid) or data.ndim != 3 or np.iscomplexobj(data):
        raise InputError(f"An image to be restored is one real volume (z, y, x) on an AffineGrid, got {volume!r}.")
    wrong = sorted(k for k in missing if not 0 <= k < len(data))
    if wrong:
        raise InputError(f"scan.image.missing counts slices from 0 to {len(data) - 1}, got {wrong[0]}.")
    data = data.astype(np.float32)
    empty = np.isnan(data).all(axis=(1, 2))
    empty[list(missing)] = True
    slices = np.flatnonzero(~empty)
    if not slices.size:
        raise InputError("No slice of the volume is left: none may be missing everywhere.")
    data = data[slices]
    if not np.isfinite(data).all():
        raise InputError("The volume holds NaN or infinite values inside slices: mend them first.")
    told = [f"slices {', '.join(map(str, np.flatnonzero(empty)))} missing"] if empty.any() else []
    if noise_std is None:
        noise_std = noise_level(torch.from_numpy(data), above=BODY_HU if volume.units == "HU" else None)
        told.append(
            f"noise {noise_std:.3g} {volume.units} estimated from the finest details (scan.noise_std states it)"
        )
    acquisition: dict[str, Plain] = {"affine": grid.matrix, "slices": slices}
    if slice_mm is not None or thickness_mm is not None:
        thickness = grid.voxel_mm[0] if thickness_mm is None else thickness_mm
        acquisition |= {"thickness_mm": float(thickness), "profile": profile}
        told.append(f"slices are averages over {thickness:g} mm ({profile} profile)")
    if slice_mm is not None:
        grid = grid.with_voxel_mm((slice_mm, *grid.voxel_mm[1:]))
    units, calibration, modality = volume.units, {}, str(volume.tags.get("modality", "")).lower()
    if units == "HU":
        padding = data < LEAST_HU
        if padding.any():
            data[padding] = VACUUM_HU
            told.append(f"padding: {padding.mean():.1%} of the voxels below {LEAST_HU:g} HU taken as vacuum")
        scale = WATER_PER_MM / 1000.0
        data, noise_std = (data - VACUUM_HU) * scale, noise_std * scale
        units, calibration, modality = "1/mm", {"water_per_mm": WATER_PER_MM}, modality or "ct"
    elif (data < 0).any():
        acquisition["signed"] = True
        told.append(f"values down to {data.min():.3g} {units}: they are not kept above zero")
    acquisition |= {"modality": modality, "prepared": "\n".join(told)}
    return Scan(
        kind="image",
        data=data,
        axes=("slice", "y", "x"),
        acquisition=acquisition,
        grid=grid,
        noise={"std": noise_std} if noise_std > 0 else {},
        units=units,
        calibration=calibration,
        name="image",
    )
