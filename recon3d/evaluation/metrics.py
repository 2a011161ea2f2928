"""Image metrics whose data range has a name: PSNR, SSIM in three planes, NMSE and the slice-to-slice error.

A decibel means nothing without the range it was computed with, so each number here carries its own:

- ``"hu"``: CT in a fixed window, both volumes clipped to [-1000, 1500] HU, range 2500 HU, inside the body mask;
- ``"maximum"``: the maximum of the reference volume (fastMRI);
- ``"magnitude"``: the largest absolute value of the reference volume (seismic and anything with a sign);
- ``(low, high)``: a window of your own, both volumes clipped to it.

There is no range per image and none taken from the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.volume import Volume

HU_WINDOW = (-1000.0, 1500.0)
"""Air to cortical bone; metal and the CT number scale's open end are clipped."""
SSIM_WINDOW = 7
BODY_THRESHOLD = {"HU": -500.0, "1/mm": 0.01}
"""Half way between air and water; in 1/mm half of water's 0.0193 to 0.02 near 70 keV."""

Window = tuple[float, float]


@dataclass(frozen=True)
class DataRange:
    """The range a metric is relative to.

    Parameters
    ----------
    name : printed beside each number
    span : largest possible difference, in the unit of the volumes
    window : both volumes are clipped to it first; None clips nothing
    """

    name: str
    span: float
    window: Window | None = None

    @property
    def zero(self) -> float:
        """The value NMSE counts from: the lower end of the window (air for CT), else 0."""
        return self.window[0] if self.window else 0.0

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The values in double precision, clipped to the window."""
        out = np.asarray(values, dtype=np.float64)
        return np.clip(out, *self.window) if self.window else out


@dataclass(frozen=True)
class Metrics:
    """What `compare` measured.

    Parameters
    ----------
    psnr_db : 10 log10(span^2 / mean squared error) over the region; infinite where nothing differs
    ssim : per plane ("axial", "coronal", "sagittal"), mean over its slices; nan where a slice is below 7 x 7
    nmse : |result - reference|^2 / |reference|^2 over the region, values counted from `range.zero`
    rmse : in `units`
    slice_to_slice : root mean square of the error's difference from one slice to the next, in `units`: sqrt(2) rmse
        where the errors of neighbouring slices are independent, near 0 where they are the same; nan for one slice
    units : unit of the volumes
    range : the data range used
    region : where the numbers were taken
    voxels : number of voxels in the region (of all frames)
    """

    psnr_db: float
    ssim: Mapping[str, float]
    nmse: float
    rmse: float
    slice_to_slice: float
    units: str
    range: DataRange
    region: str
    voxels: int

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value, how it was measured), ready for a table."""
        unit = "" if self.units == "1" else f" {self.units}"
        similarity = f"{SSIM_WINDOW} x {SSIM_WINDOW} window, mean over slices; range: {self.range.name}; {self.region}"
        counted = f", counted from {self.range.zero:g}{unit}" if self.range.zero else ""
        window = self.range.window
        clipped = f"clipped to [{window[0]:g}, {window[1]:g}]{unit}; " if window else ""
        return [
            ("PSNR", f"{self.psnr_db:.2f} dB", f"range: {self.range.name}; {self.region}"),
            *((f"SSIM {plane}", f"{value:.4f}", similarity) for plane, value in self.ssim.items()),
            ("NMSE", f"{self.nmse:.5g}", f"{clipped}{self.region}{counted}"),
            ("RMSE", f"{self.rmse:.5g}{unit}", f"{clipped}{self.region}"),
            ("slice-to-slice error", f"{self.slice_to_slice:.5g}{unit}", f"{clipped}{self.region}"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file; what is not finite is None."""

        def plain(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "psnr_db": plain(self.psnr_db),
            "ssim": {plane: plain(value) for plane, value in self.ssim.items()},
            "nmse": plain(self.nmse),
            "rmse": plain(self.rmse),
            "slice_to_slice": plain(self.slice_to_slice),
            "units": self.units,
            "range": {"name": self.range.name, "span": self.range.span, "window": self.range.window},
            "region": self.region,
            "voxels": self.voxels,
        }


def compare(
    result: Volume,
    reference: Volume,
    *,
    range: str | Window = "auto",
    mask: NDArray[np.bool_] | str | None = "auto",
    resample: bool = False,
) -> Metrics:
    """Measure a result against a reference.

    Parameters
    ----------
    result, reference : volumes of one unit, shape (z, y, x) or (t, z, y, x); complex ones are compared by magnitude
    range : "hu", "maximum", "magnitude" or a window (low, high), see the module; "auto" is "hu" for volumes in HU and
        "magnitude" otherwise
    mask : boolean array (z, y, x) of the voxels that count; "body" for `body_mask(reference)`; None for all voxels;
        "auto" is "body" together with the range "hu", else None
    resample : interpolate the reference linearly onto the grid of the result where the two differ; voxels outside the
        reference then do not count

    Raises
    ------
    ShapeError
        If shapes or grids differ and `resample` was not asked for.
    InputError
        If units differ, values are not finite, or nothing is left to compare.
    """
    if result.units != reference.units:
        raise InputError(
            f"Both volumes need one unit, got a result in {result.units} and a reference in {reference.units}: "
            "convert one of them (HU = 1000 (mu - mu_water) / mu_water)."
        )
    covered = None
    if not _same_grid(result, reference):
        if not resample:
            raise ShapeError(
                f"The result ({_place(result)}) and the reference ({_place(reference)}) lie on different grids: "
                "reconstruct on the reference's grid or ask for the reference to be resampled."
            )
        reference, covered = _resampled(reference, result)
    ours, theirs = _real(result.data), _real(reference.data)
    for name, data in (("result", ours), ("reference", theirs)):
        if not np.isfinite(data).all():
            bad = int(data.size - np.count_nonzero(np.isfinite(data)))
            raise InputError(f"The {name} holds {bad} NaN or infinite values: mend them first.")

    data_range = _data_range(range, reference, theirs)
    region, selected = _region(mask, reference, data_range)
    if covered is not None:
        selected = covered if selected is None else selected & covered
        region += ", where the resampled reference lies"
    return _measure(ours, theirs, data_range, selected, region, reference)


def psnr_db(result: NDArray[Any], reference: NDArray[Any], span: float) -> float:
    """10 log10(span^2 / mean squared error) of two real arrays; infinite where nothing differs.

    >>> round(psnr_db(np.array([0.0, 1.1]), np.array([0.1, 1.0]), span=1.0), 6)
    20.0
    """
    error = np.mean((np.asarray(result, dtype=np.float64) - reference) ** 2)
    return _decibel(float(error), span)


def body_mask(volume: Volume, threshold: float | None = None) -> NDArray[np.bool_]:
    """The patient in a CT volume, lungs and gas included: boolean, shape (z, y, x).

    Threshold, one opening in the axial planes (parts the table from the back), largest connected component, holes of
    each axial slice filled. Air that reaches the edge of the field of view stays outside.

    Parameters
    ----------
    volume : CT in HU or 1/mm
    threshold : in the unit of the volume; by default half way between air and water

    Raises
    ------
    InputError
        If the volume is no CT volume or nothing in it is denser than the threshold.
    """
    from scipy import ndimage

    if threshold is None:
        if volume.units not in BODY_THRESHOLD:
            raise InputError(f"A body mask needs CT in HU or 1/mm, got {volume.units}: give a mask or a threshold.")
        threshold = BODY_THRESHOLD[volume.units]
    if volume.data.ndim != 3:
        raise InputError(f"A body mask is taken of one volume (z, y, x), got shape {volume.data.shape}.")
    axis = plane_axes(volume)["axial"] if isinstance(volume.grid, AffineGrid) else 0
    dense = np.moveaxis(_real(volume.data) > threshold, axis, 0)
    cross = ndimage.generate_binary_structure(2, 1)[None]
    # Border value 1 in the erosion, or a body that the frame cuts would lose its rim there.
    opened = ndimage.binary_dilation(ndimage.binary_erosion(dense, cross, border_value=1), cross) & dense
    labels, count = ndimage.label(opened)
    if count == 0:
        raise InputError(f"No voxel is denser than {threshold:g} {volume.units}, so there is no body: give a mask.")
    body = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    for piece in body:
        ndimage.binary_fill_holes(piece, output=piece)
    return np.moveaxis(body, 0, axis)


def plane_axes(volume: Volume) -> dict[str, int]:
    """The array axis (of z, y, x) across which the slices of each plane follow one another.

    For an AffineGrid "axial", "coronal" and "sagittal" are the planes nearest to the patient's; other grids name the
    planes by the axis that is fixed.
    """
    grid = volume.grid
    if not isinstance(grid, AffineGrid):
        names = ("crossline", "inline", "sample") if isinstance(grid, SurveyGrid) else ("elevation", "beam", "depth")
        return {name: axis for axis, name in enumerate(names)}
    from scipy.optimize import linear_sum_assignment

    directions = np.abs(grid.matrix[:3, :3])
    directions /= np.linalg.norm(directions, axis=0)
    world, voxel = linear_sum_assignment(-directions)
    axis_of = {int(w): 2 - int(v) for w, v in zip(world, voxel, strict=True)}
    return {"axial": axis_of[2], "coronal": axis_of[1], "sagittal": axis_of[0]}


def _decibel(mean_square: float, span: float) -> float:
    return math.inf if mean_square == 0.0 else 10.0 * math.log10(span**2 / mean_square)


def _real(data: NDArray[Any]) -> NDArray[Any]:
    return np.abs(data) if np.iscomplexobj(data) else data


def _frames(data: NDArray[Any]) -> NDArray[Any]:
    return data if data.ndim == 4 else data[None]


def _place(volume: Volume) -> str:
    if not isinstance(volume.grid, AffineGrid):
        return f"shape {volume.data.shape}, {type(volume.grid).__name__}"
    voxel = " x ".join(f"{v:.4g}" for v in volume.voxel_mm)
    centre = ", ".join(f"{v:.4g}" for v in volume.grid.centre_mm)
    return f"shape {volume.data.shape}, voxels {voxel} mm, centre ({centre}) mm"


def _same_grid(a: Volume, b: Volume) -> bool:
    if a.data.shape != b.data.shape:
        return False
    if not (isinstance(a.grid, AffineGrid) and isinstance(b.grid, AffineGrid)):
        return a.grid == b.grid
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(a.grid.shape[::-1]) - 1
    apart = np.abs(corners @ (a.grid.matrix - b.grid.matrix).T).max()
    return bool(apart < 0.05 * min(a.voxel_mm))


def _resampled(reference: Volume, like: Volume) -> tuple[Volume, NDArray[np.bool_]]:
    """The reference on the grid of `like`, and where it reaches."""
    from scipy import ndimage

    if not (isinstance(reference.grid, AffineGrid) and isinstance(like.grid, AffineGrid)):
        raise ShapeError("Only volumes on an AffineGrid can be resampled: compare volumes of one grid.")
    if reference.data.shape[:-3] != like.data.shape[:-3]:
        raise ShapeError(f"Resampling keeps the frames of a series, got {like.data.shape} and {reference.data.shape}.")
    index = np.linalg.inv(reference.grid.matrix) @ like.grid.matrix  # (x, y, z) of `like` -> (x, y, z) of the reference
    matrix, offset = index[:3, :3][::-1, ::-1], index[:3, 3][::-1]

    def pull(data: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = np.empty(like.grid.shape, np.float32)
        ndimage.affine_transform(data, matrix, offset, output=moved, order=1, mode="constant", cval=0.0)
        return moved

    frames = _frames(np.asarray(_real(reference.data), dtype=np.float32))
    moved = np.stack([pull(frame) for frame in frames]).reshape(like.data.shape)
    covered = pull(np.ones(reference.grid.shape, np.float32)) > 0.999
    if not covered.any():
        raise ShapeError(f"The result ({_place(like)}) and the reference ({_place(reference)}) do not overlap.")
    return Volume(moved, like.grid, reference.units, like.times_s), covered


def _data_range(wanted: str | Window, reference: Volume, values: NDArray[Any]) -> DataRange:
    if wanted == "auto":
        wanted = "hu" if reference.units == "HU" else "magnitude"
    unit = "" if reference.units == "1" else f" {reference.units}"
    if not isinstance(wanted, str):
        low, high = (float(v) for v in wanted)
        if not low < high:
            raise InputError(f"A window needs low < high, got {wanted}.")
        return DataRange(f"window [{low:g}, {high:g}]{unit}", high - low, (low, high))
    if wanted == "hu":
        if reference.units != "HU":
            raise InputError(f"The range 'hu' needs volumes in HU, got {reference.units}: choose another range.")
        low, high = HU_WINDOW
        return DataRange(f"HU window [{low:g}, {high:g}], {high - low:g} HU", high - low, HU_WINDOW)
    if wanted == "maximum":
        span, name = float(values.max()), "maximum of the reference volume"
    elif wanted == "magnitude":
        span, name = float(np.abs(values).max()), "max |reference|"
    else:
        raise InputError(f"A range is 'auto', 'hu', 'maximum', 'magnitude' or a window (low, high), got '{wanted}'.")
    if span <= 0.0:
        raise InputError(f"The {name} is {span:g}, so no metric is defined: check the reference or give a window.")
    return DataRange(f"{name}, {span:.4g}{unit}", span)


def _region(
    mask: NDArray[np.bool_] | str | None, reference: Volume, data_range: DataRange
) -> tuple[str, NDArray[np.bool_] | None]:
    if isinstance(mask, str):
        if mask not in ("auto", "body"):
            raise InputError(f"A mask is an array, 'auto', 'body' or None, got '{mask}'.")
        in_body = mask == "body" or (reference.units == "HU" and data_range.window == HU_WINDOW)
        if not in_body:
            return "whole volume", None
        if reference.data.ndim == 4:
            bodies = [body_mask(Volume(frame, reference.grid, reference.units)) for frame in _real(reference.data)]
            return "inside the body mask", np.logical_or.reduce(bodies)
        return "inside the body mask", body_mask(reference)
    if mask is None:
        return "whole volume", None
    selected = np.asarray(mask, dtype=bool)
    if selected.shape != tuple(reference.grid.shape):
        raise ShapeError(f"The mask needs the shape {tuple(reference.grid.shape)} (z, y, x), got {selected.shape}.")
    return "inside the given mask", selected


def _measure(
    result: NDArray[Any],
    reference: NDArray[Any],
    data_range: DataRange,
    mask: NDArray[np.bool_] | None,
    region: str,
    volume: Volume,
) -> Metrics:
    """All sums slice by slice in double precision, so that a large volume is never held in it."""
    error_energy = energy = step_energy = 0.0
    count = steps = 0
    for ours, theirs in zip(_frames(result), _frames(reference), strict=True):
        before: tuple[NDArray[np.float64], NDArray[np.bool_]] | None = None
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            inside = np.ones(a.shape, bool) if mask is None else mask[k]
            b = data_range.apply(b)
            error = data_range.apply(a) - b
            error_energy += float(np.sum(error[inside] ** 2))
            energy += float(np.sum((b[inside] - data_range.zero) ** 2))
            count += int(np.count_nonzero(inside))
            if before is not None:
                both = inside & before[1]
                step_energy += float(np.sum((error - before[0])[both] ** 2))
                steps += int(np.count_nonzero(both))
            before = error, inside
    if count == 0:
        raise InputError("The mask selects no voxel, so there is nothing to compare.")
    return Metrics(
        psnr_db=_decibel(error_energy / count, data_range.span),
        ssim={plane: _ssim(result, reference, data_range, mask, axis) for plane, axis in plane_axes(volume).items()},
        nmse=error_energy / energy if energy else (math.inf if error_energy else 0.0),
        rmse=math.sqrt(error_energy / count),
        slice_to_slice=math.sqrt(step_energy / steps) if steps else math.nan,
        units=volume.units,
        range=data_range,
        region=region,
        voxels=count,
    )


def _slices(data: NDArray[Any], axis: int) -> Iterator[NDArray[Any]]:
    for frame in _frames(data):
        yield from np.moveaxis(frame, axis, 0)


def _ssim(
    result: NDArray[Any], reference: NDArray[Any], data_range: DataRange, mask: NDArray[np.bool_] | None, axis: int
) -> float:
    """Mean over slices of the structural similarity (Wang et al. 2004, with scikit-image's defaults: uniform 7 x 7
    window, sample covariance, K1 = 0.01, K2 = 0.03, rim of three pixels left out); a mask selects pixels of its map."""
    from skimage.metrics import structural_similarity

    values = []
    rim = (SSIM_WINDOW - 1) // 2
    for k, (a, b) in enumerate(zip(_slices(result, axis), _slices(reference, axis), strict=True)):
        if min(a.shape) < SSIM_WINDOW:
            return math.nan
        inside = np.ones(a.shape, bool) if mask is None else np.moveaxis(mask, axis, 0)[k % mask.shape[axis]]
        inside = inside[rim:-rim, rim:-rim]
        if not inside.any():
            continue
        _, similarity = structural_similarity(
            data_range.apply(a), data_range.apply(b), win_size=SSIM_WINDOW, data_range=data_range.span, full=True
        )
        values.append(float(similarity[rim:-rim, rim:-rim][inside].mean()))
    return float(np.mean(values)) if values else math.nan
