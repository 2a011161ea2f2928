"""The acquisition "mri": k-space of several coils becomes an encoding operator, with sensitivities from its centre."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.linear import LinearOperator
from recon3d.acquisitions.series import frame_edges, is_timed
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

SETTINGS = (
    "encoding", "mask", "sensitivities", "coil_maps", "map_sets", "crop", "calibration", "coil_batch", "trajectory",
    "density", "times_s", "views_per_frame", "prepared", "assumed",
)  # fmt: skip
LEAST_CALIBRATION = 4
"""Fewer fully sampled lines than this tell nothing about the coils."""


def mri(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Coil sensitivities, a Fourier transform and the sampled positions.

    The data are (coil, kz, ky, kx), (t, coil, kz, ky, kx) for a series, with zeros where nothing was measured, or
    (coil, z, interleave, sample) with a trajectory. The acquisition may hold

    - ``encoding``: "2d" (default: the second axis counts slices) or "3d";
    - ``mask``: where k-space was measured, broadcasting to (kz, ky, kx); by default where it is not zero;
    - ``sensitivities``: (coil, z, y, x) or (set, coil, z, y, x); by default estimated, by ``coil_maps`` ("espirit",
      "walsh", "low-resolution"), in ``map_sets`` sets, cropped at the eigenvalue ``crop``, from ``calibration``
      (coil, kz, ky, kx) or from the fully sampled centre of the data;
    - ``trajectory``: (..., 2) as (ky, kx) or complex kx + i ky, cycles per voxel, and ``density``: its weights;
    - ``times_s``: of the frames of a series, or of each readout of a trajectory, which then see a series: those of
      equal time, or each ``views_per_frame`` of them, make a frame;
    - ``coil_batch``: coils that are transformed at a time;
    - ``prepared``, ``assumed``: lines that tell what was done to the data and taken for granted.
    """
    from operators.mri import CartesianEncoding, CartesianSeries

    if isinstance(scan.data, tuple) or not isinstance(scan.grid, AffineGrid):
        raise InputError(f"MRI data are one array on an AffineGrid, '{scan.name}' is not.")
    unknown = sorted(set(scan.acquisition) - set(SETTINGS))
    if unknown:
        raise InputError(f"An MRI acquisition has no entry '{unknown[0]}': expected some of {', '.join(SETTINGS)}.")
    precision = torch.complex128 if dtype == torch.float64 else torch.complex64
    data = torch.from_numpy(np.ascontiguousarray(scan.data)).to(device, precision)
    if "trajectory" in scan.acquisition:
        return _non_cartesian(scan, data)
    series = data.ndim == 5
    if data.ndim not in (4, 5) or tuple(data.shape[-3:]) != tuple(scan.grid.shape):
        raise InputError(
            f"K-space of '{scan.name}' has shape {tuple(data.shape)}, the grid {tuple(scan.grid.shape)}: expected "
            "(coil, kz, ky, kx) with the shape of the grid; check the matrix size in the header."
        )
    encoding = str(scan.acquisition.get("encoding", "2d"))
    mask = _mask(scan, data)
    kspace = data.sum(0) / mask.sum(0).clamp(min=1) if series else data  # coils do not move: one estimate for all times
    once = mask.any(0) if series else mask
    maps = _given_maps(scan, data)
    if maps is None:
        maps = _estimated(scan, kspace, once, encoding)
    encode = CartesianSeries if series and maps.ndim == 4 else CartesianEncoding
    return encode(maps, mask, encoding, int(cast(int, scan.acquisition.get("coil_batch", 1))))


def split_readout(scan: Scan) -> Scan:
    """A 3D scan as a stack of independent 2D problems: transformed along kx, its fully sampled readout.

    The data become (coil, x, kz, ky) of a "2d" scan whose grid has its axes permuted, so that the image stays in its
    place in the world. Noise that was white stays white. Each slice then has sensitivities of its own.

    Raises
    ------
    InputError
        If the scan is not encoded in 3D, or kx is undersampled.
    """
    from operators.fourier import centred_ifft

    acquisition = dict(scan.acquisition)
    data = scan.data
    if acquisition.get("encoding") != "3d" or not isinstance(data, np.ndarray) or data.ndim != 4:
        raise InputError(f"'{scan.name}' is no 3D-encoded scan (coil, kz, ky, kx): its slices are split already.")
    if not isinstance(scan.grid, AffineGrid) or {"sensitivities", "calibration"} & set(acquisition):
        raise InputError(f"'{scan.name}' is split along its readout without sensitivities of its own: leave them out.")
    mask = np.asarray(acquisition["mask"] if "mask" in acquisition else (data != 0).any(axis=0)) != 0
    mask = np.broadcast_to(mask, data.shape[1:])
    if (mask != mask[..., :1]).any():
        raise InputError(f"kx of '{scan.name}' is undersampled, so it does not split along it: reconstruct it in 3D.")
    hybrid = centred_ifft(torch.from_numpy(np.ascontiguousarray(data)), (-1,)).numpy()
    matrix = scan.grid.matrix[:, [1, 2, 0, 3]]
    shape = (data.shape[3], data.shape[1], data.shape[2])
    grid = AffineGrid(shape, tuple(map(tuple, matrix)))
    acquisition |= {"encoding": "2d", "mask": np.ascontiguousarray(mask[..., 0])}
    kept = np.ascontiguousarray(hybrid.transpose(0, 3, 1, 2)).astype(data.dtype)
    return replace(scan, data=kept, acquisition=acquisition, grid=grid)


def _mask(scan: Scan, data: Tensor) -> Tensor:
    """A mask (kz, ky, kx), with (t) in front for a series, of length 1 on axes on which it does not vary."""
    from operators.mri.kspace import sampled

    given = scan.acquisition.get("mask")
    if given is None:
        mask = sampled(data)
    else:
        mask = torch.from_numpy(np.ascontiguousarray(np.asarray(given) != 0)).to(data.device)
        shape = (*data.shape[:-4], *data.shape[-3:])
        fits = mask.ndim <= len(shape) and all(m in (1, n) for m, n in zip(mask.shape[::-1], shape[::-1], strict=False))
        if not fits:
            raise InputError(
                f"The sampling mask has shape {tuple(mask.shape)}, k-space is {tuple(shape[-3:])} (kz, ky, kx): they "
                "must agree in width."
            )
        mask = mask.reshape(*[1] * (len(shape) - mask.ndim), *mask.shape)
    if not bool(mask.any()):
        raise InputError(f"No sample of '{scan.name}' was measured: k-space is zero everywhere.")
    first = 1 if data.ndim == 5 else 0
    for dim in range(first, mask.ndim):
        if mask.shape[dim] > 1 and bool((mask == mask.narrow(dim, 0, 1)).all()):
            mask = mask.narrow(dim, 0, 1)
    return mask.expand(data.shape[0], *mask.shape[1:]) if data.ndim == 5 else mask


def _given_maps(scan: Scan, data: Tensor) -> Tensor | None:
    given = scan.acquisition.get("sensitivities")
    if given is None:
        return None
    maps = torch.from_numpy(np.ascontiguousarray(cast("NDArray[Any]", given))).to(data.device, data.dtype)
    wanted = tuple(data.shape[-4:-3]) + tuple(scan.grid.shape)
    if maps.ndim not in (4, 5) or tuple(maps.shape[-4:]) != wanted:
        raise InputError(f"The sensitivities have shape {tuple(maps.shape)}, the data need (coil, z, y, x) = {wanted}.")
    return maps


def _choices(scan: Scan) -> dict[str, Any]:
    acquisition = scan.acquisition
    return {
        "method": str(acquisition.get("coil_maps", "espirit")),
        "sets": int(cast(int, acquisition.get("map_sets", 1))),
        "crop": float(cast(float, acquisition.get("crop", 0.5))),
    }


def _estimated(scan: Scan, kspace: Tensor, mask: Tensor, encoding: str) -> Tensor:
    """Maps (coil, z, y, x), or with the sets in front, slice by slice from the fully sampled centre."""
    from operators.mri.coils import calibration_box, cut_box

    given = scan.acquisition.get("calibration")
    if given is not None:
        centre = torch.from_numpy(np.ascontiguousarray(cast("NDArray[Any]", given))).to(kspace.device, kspace.dtype)
        if centre.ndim != 4 or centre.shape[0] != kspace.shape[0]:
            raise InputError(
                f"Calibration data are (coil, kz, ky, kx) with {kspace.shape[0]} coils, got {tuple(centre.shape)}."
            )
    else:
        shape = tuple(kspace.shape[-3:])
        full = mask.expand(shape)
        box = calibration_box(full.all(0)) if encoding == "2d" else calibration_box(full)
        sizes = [s.stop - s.start for s in box]
        encoded = shape[-len(box) :]
        if any(size < min(LEAST_CALIBRATION, n) for size, n in zip(sizes, encoded, strict=True)):
            raise InputError(
                f"'{scan.name}' has no fully sampled centre of k-space (ACS) from which coil sensitivities follow: the "
                f"region is {' x '.join(map(str, sizes))}; give acquisition.sensitivities or acquisition.calibration."
            )
        centre = cut_box(kspace, box)
    if encoding == "3d":
        centre = _planes_of(centre, kspace.shape[-3])
    elif centre.shape[1] != kspace.shape[-3]:
        raise InputError(f"Calibration data have {centre.shape[1]} slices, the scan has {kspace.shape[-3]}.")
    return _slice_by_slice(scan, centre, (kspace.shape[-2], kspace.shape[-1]))


def _planes_of(centre: Tensor, planes: int) -> Tensor:
    """The centre of 3D k-space as calibration data of each slice, smooth along z."""
    from operators.fourier import centred_ifft
    from operators.mri.kspace import resize_centred

    window = torch.hann_window(centre.shape[1] + 2, periodic=False, dtype=centre.real.dtype, device=centre.device)
    tapered = centre * window[1:-1].reshape(-1, 1, 1)
    return centred_ifft(resize_centred(tapered, 1, planes), (1,))


def _slice_by_slice(scan: Scan, centre: Tensor, shape: tuple[int, int]) -> Tensor:
    from operators.mri.coils import sensitivities

    choices = _choices(scan)
    maps = torch.stack([sensitivities(part, shape, **choices) for part in centre.unbind(1)], dim=2)
    return maps if choices["sets"] > 1 else maps[0]


def _non_cartesian(scan: Scan, data: Tensor) -> LinearOperator:
    from operators.mri.noncartesian import NonCartesianEncoding
    from operators.series import ViewSeries

    trajectory = np.asarray(scan.acquisition["trajectory"])
    samples = tuple(data.shape[2:])
    if np.iscomplexobj(trajectory):
        trajectory = np.stack([trajectory.imag, trajectory.real], axis=-1)
    if trajectory.shape[:-1] != samples and trajectory.shape[:-1] == samples[::-1]:
        trajectory = trajectory.swapaxes(0, 1)
    if trajectory.shape[:-1] != samples or trajectory.shape[-1] != 2:
        raise InputError(
            f"The trajectory has shape {trajectory.shape}, the data (coil, z, *samples) are {tuple(data.shape)}: "
            "expected two coordinates, or a complex number, for each sample."
        )
    real = data.real.dtype
    positions = torch.from_numpy(np.ascontiguousarray(trajectory)).to(data.device, real)
    density = scan.acquisition.get("density")
    weights = None
    if density is not None:
        array = np.asarray(density, dtype=float)
        array = array.T if array.shape != samples else array
        weights = torch.from_numpy(np.ascontiguousarray(array)).to(data.device, real)
    batch = int(cast(int, scan.acquisition.get("coil_batch", 4)))
    maps = _given_maps(scan, data)
    if maps is None:
        blank = torch.zeros(data.shape[0], *scan.grid.shape, dtype=data.dtype, device=data.device)
        plain = NonCartesianEncoding(blank, positions, weights, batch, scan.axes)
        maps = _slice_by_slice(scan, plain.calibration(data), cast("tuple[int, int]", tuple(scan.grid.shape[1:])))
    if not is_timed(scan):
        return NonCartesianEncoding(maps, positions, weights, batch, scan.axes)

    def readouts(a: int, b: int) -> LinearOperator:
        return NonCartesianEncoding(maps, positions[a:b], None if weights is None else weights[a:b], batch, scan.axes)

    return ViewSeries(readouts, frame_edges(scan, data.shape[2], scan.axes[2]), scan.axes[2])
