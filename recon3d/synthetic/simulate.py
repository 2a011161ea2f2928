"""Simulated measurements: the physics of a scan run forward on a given volume, with noise.

Data made by the reconstruction's own projector on its own grid flatter every method (the inverse crime). By default
the volume is therefore projected from a grid twice as fine, filled by another kernel than Joseph's interpolation, over
several rays per detector pixel whose *intensities* are averaged as a detector does. ``finer=1`` without noise commits
the crime on purpose: it is for oracle tests only.

A scan carries nothing of the truth but its grid: no tags, no maximum, no scale.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from operators.tomography import ConeProjector, ImageGrid, Projector, TomographyGeometry
from recon3d.errors import ConfigError, GeometryError, InputError
from recon3d.faults import did_you_mean
from recon3d.grid import AffineGrid
from recon3d.scan import Scan
from recon3d.synthetic.mri import simulate_mri
from recon3d.synthetic.seismic_masks import simulate_seismic
from recon3d.volume import Volume

WATER_PER_MM = 0.0193
"""Linear attenuation of water at 70 keV, about the effective energy of a 120 kV beam (0.193 cm^2/g, NIST XCOM)."""
MOST_PHOTONS = 1e15
"""Beyond it counts no longer differ from their mean in single precision."""
SLICES_AT_ONCE = 16
BYTES_AT_ONCE = 1 << 28
"""Of the finer truth, and of the rays, of a cone scan."""


def simulate(
    volume: Volume,
    settings: Mapping[str, Any],
    *,
    noise: Mapping[str, Any] | None = None,
    seed: int = 0,
    finer: int = 2,
) -> Scan:
    """A scan of `volume`.

    Parameters
    ----------
    volume : the truth, in the unit the simulator of that kind takes (CT: HU or 1/mm)
    settings : "kind" (default "ct") and the geometry, as named arguments of that kind's simulator (`simulate_ct`)
    noise : for CT {"photons": n}; None or empty for none
    seed : of the noise
    finer : how many times finer than the volume the truth is represented; 1 is the inverse crime

    Raises
    ------
    ConfigError
        If the kind or a setting is unknown.
    """
    if not isinstance(volume, Volume):
        raise InputError(f"simulate takes a Volume, got a {type(volume).__name__}: read one by recon3d.load.")
    settings = dict(settings)
    from recon3d.synthetic.dynamic_scans import SERIES  # which builds on this module

    kind, known = settings.pop("kind", "ct"), {**SIMULATORS, **SERIES}
    if kind not in known:
        raise ConfigError(f"Scans of kind '{kind}' cannot be simulated: expected {', '.join(sorted(known))}.")
    simulator = known[kind]
    taken = set(inspect.signature(simulator).parameters) - {"volume", "seed", "finer"}
    arguments = {**settings, **(noise or {})}
    for key in sorted(set(arguments) - taken):
        hint = did_you_mean(key, taken)
        raise ConfigError(f"Simulating '{kind}' has no setting '{key}'{hint}: it takes {', '.join(sorted(taken))}.")
    missing = [
        name
        for name, parameter in inspect.signature(simulator).parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in {"volume", *arguments}
    ]
    if missing:
        raise ConfigError(f"Simulating '{kind}' needs {' and '.join(missing)}.")
    return simulator(volume, seed=seed, finer=finer, **arguments)


def simulate_ct(
    volume: Volume,
    *,
    views: int,
    beam: Literal["parallel", "fan", "cone"] = "parallel",
    arc_deg: float | None = None,
    start_deg: float = 0.0,
    photons: float | None = None,
    source_to_axis_mm: float = 595.0,
    source_to_detector_mm: float = 1085.6,
    detector: Literal["flat", "curved"] = "flat",
    n_columns: int | None = None,
    column_mm: float | None = None,
    n_rows: int | None = None,
    row_mm: float | None = None,
    advance_mm: float = 0.0,
    water_per_mm: float | None = None,
    seed: int = 0,
    finer: int = 2,
    first_slice: int = 0,
) -> Scan:
    """CT projections of a volume: line integrals, in parallel and fan beams each slice on a detector row of its own.

    Rotation is about the centre of each slice; the first axis of the volume is the axis of rotation. The source of a
    cone scan turns in the plane of the middle slice, or along a helix about it.

    Parameters
    ----------
    volume : CT in HU (below -1000 counts as vacuum) or 1/mm, real, shape (z, y, x), on an AffineGrid
    views : number of angles ``start_deg + k arc_deg / views``, so the last one stays a step short of the end
    beam : "parallel", "fan" or "cone"
    arc_deg : by default 180 for a parallel and 360 for a fan or cone beam; a helix turns further
    photons : photons per detector pixel and view without object; counts are Poisson, and a pixel that counts none is
        given one (its line integral is then log(photons), too low); None for no noise
    source_to_axis_mm, source_to_detector_mm : of the fan or cone; the defaults are those of a clinical scanner
    detector : "flat" or "curved" (fan, cone)
    n_columns, column_mm : detector pixels; by default as wide as a voxel at the axis, and as many as see the whole grid
    n_rows, row_mm : the same along the axis, for a cone beam; in the other beams a row is a slice
    advance_mm : of a cone beam, per full turn, along the axis; not zero for a helix
    water_per_mm : attenuation of water, which turns HU into 1/mm; 0.0193 by default for a volume in HU
    seed : of the noise, keyed by (seed, slice): the noise of a slice does not depend on which others are simulated; by
        (seed, row) in a cone beam
    finer : sub-voxels per voxel edge and rays per detector pixel; 1 is the inverse crime
    first_slice : number of the first slice, for a slab of a larger volume; not for cone beams

    Returns
    -------
    Scan
        Kind "ct", axes (view, row, column), float32, without unit, on the grid of the volume.
    """
    mu, water = _attenuation(volume, water_per_mm)
    if int(finer) != finer or finer < 1:
        raise ConfigError(f"'finer' is a whole number from 1, got {finer}.")
    if int(views) != views or views < 1:
        raise ConfigError(f"'views' is a whole number from 1, got {views}.")
    if photons is not None and not 0 < photons <= MOST_PHOTONS:
        raise ConfigError(f"'photons' is a positive number up to {MOST_PHOTONS:g}, or none at all, got {photons}.")
    if not (0 <= seed < 2**64 and first_slice >= 0):
        raise ConfigError(f"'seed' and 'first_slice' are not negative and fit 64 bits, got {seed} and {first_slice}.")
    grid = ImageGrid(volume.grid.shape, volume.voxel_mm)
    arc = math.radians((180.0 if beam == "parallel" else 360.0) if arc_deg is None else arc_deg)
    angles = math.radians(start_deg) + arc * np.arange(views) / views
    radius_mm = 0.5 * math.hypot(*(n * mm for n, mm in zip(grid.shape[1:], grid.voxel_mm[1:], strict=True)))

    half_mm, voxel_mm = _half_detector(beam, detector, radius_mm, grid, source_to_axis_mm, source_to_detector_mm)
    pitch_mm = voxel_mm if column_mm is None else float(column_mm)
    if not pitch_mm > 0:
        raise ConfigError(f"'column_mm' is a positive length, got {column_mm}.")
    n = math.ceil(2 * half_mm / pitch_mm) if n_columns is None else int(n_columns)
    if beam == "cone":
        magnification = source_to_detector_mm / source_to_axis_mm
        height_mm = grid.voxel_mm[0] * magnification if row_mm is None else float(row_mm)
        if not height_mm > 0:
            raise ConfigError(f"'row_mm' is a positive length, got {row_mm}.")
        tallest_mm = grid.shape[0] * grid.voxel_mm[0] * source_to_detector_mm / (source_to_axis_mm - radius_mm)
        rows = math.ceil(tallest_mm / height_mm) if n_rows is None else int(n_rows)
    elif n_rows is not None or row_mm is not None or advance_mm:
        raise ConfigError(f"'n_rows', 'row_mm' and 'advance_mm' are of a cone beam; a row of a {beam} beam is a slice.")

    def geometry(rays: int) -> TomographyGeometry:
        """The detector with each pixel split into so many rays along the columns, and along the rows of a cone beam."""
        if beam == "cone":
            return TomographyGeometry.cone(
                angles,
                source_to_axis_mm,
                source_to_detector_mm,
                rays * n,
                pitch_mm / rays,
                rays * rows,
                height_mm / rays,
                advance_mm=advance_mm,
                detector=detector,
            )
        pixels: dict[str, Any] = {
            "n_columns": rays * n,
            "column_mm": pitch_mm / rays,
            "n_rows": grid.shape[0],
            "row_mm": grid.voxel_mm[0],
        }
        if beam == "parallel":
            return TomographyGeometry.parallel(angles, **pixels)
        return TomographyGeometry.fan(angles, source_to_axis_mm, source_to_detector_mm, detector=detector, **pixels)

    measured = geometry(1)
    project = _cone_integrals if beam == "cone" else _stacked_integrals
    data = project(mu, grid, geometry(finer), finer)
    if photons is not None:
        for row in range(measured.n_rows):
            data[:, row] = _counted(data[:, row], photons, seed, first_slice + row)
    return Scan(
        kind="ct",
        data=data,
        axes=("view", "row", "column"),
        acquisition=measured.to_dict(),
        grid=volume.grid,
        noise={} if photons is None else {"photons": float(photons)},
        units="1/mm",
        calibration={} if water is None else {"water_per_mm": water},
        name="simulated ct",
    )


SIMULATORS: dict[str, Callable[..., Scan]] = {"ct": simulate_ct, "mri": simulate_mri, "seismic": simulate_seismic}


def _stacked_integrals(
    mu: Callable[[int, int], NDArray[np.float32]], grid: ImageGrid, geometry: TomographyGeometry, finer: int
) -> NDArray[np.float32]:
    """What the pixels of a parallel or fan scan see; `geometry` has `finer` rays along each pixel's columns."""
    z, y, x = grid.shape
    fine = ImageGrid((z, y * finer, x * finer), (grid.voxel_mm[0], grid.voxel_mm[1] / finer, grid.voxel_mm[2] / finer))
    projector = Projector(geometry, fine)
    data = np.empty((geometry.n_views, z, geometry.n_columns // finer), np.float32)
    for start in range(0, z, SLICES_AT_ONCE):
        stop = min(start + SLICES_AT_ONCE, z)
        slab = projector.restrict("z", start, stop)
        assert slab is not None  # parallel and fan scans are stacks of slices
        truth = refined(mu(start, stop), finer)
        integrals = slab.operator(torch.from_numpy(truth)).numpy()
        data[:, start:stop] = _averaged(integrals, 1, finer)
    return data


def _cone_integrals(
    mu: Callable[[int, int], NDArray[np.float32]], grid: ImageGrid, geometry: TomographyGeometry, finer: int
) -> NDArray[np.float32]:
    """What the pixels of a cone scan see; `geometry` has `finer` x `finer` rays in each of them.

    Slabs of the finer truth are projected and summed for as many views as fit, so that neither it nor all rays need be
    in memory at once.
    """
    z, y, x = (n * finer for n in grid.shape)
    depth, height, width = (mm / finer for mm in grid.voxel_mm)
    projector = ConeProjector(geometry, ImageGrid((z, y, x), (depth, height, width)))
    n_views, n_rows, n_columns = geometry.shape
    slices = max(1, BYTES_AT_ONCE // (4 * finer * y * x))
    views_at_once = max(1, BYTES_AT_ONCE // (4 * n_rows * n_columns))
    data = np.empty((n_views, n_rows // finer, n_columns // finer), np.float32)
    for first in range(0, n_views, views_at_once):
        views = slice(first, min(n_views, first + views_at_once))
        part = ConeProjector(geometry[views], projector.grid)
        integrals = torch.zeros(part.range.shape)
        for start in range(0, grid.shape[0], slices):
            stop = min(start + slices, grid.shape[0])
            below, above = max(0, start - 1), min(stop + 1, grid.shape[0])  # neighbours give the slopes
            truth = _split(refined(mu(below, above), finer), finer)[(start - below) * finer : (stop - below) * finer]
            integrals += part.partial(start * finer, stop * finer)(torch.from_numpy(truth))
        data[views] = _averaged(integrals.numpy(), finer, finer)
    return data


def refined(image: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Each pixel of the last two axes split into `times` x `times` whose mean is the pixel.

    Inside a pixel the image is a plane with the monotonised central slopes of van Leer (J. Comput. Phys. 23, 1977):
    no value leaves the range of the pixel and its neighbours, so edges do not ring and air stays empty.
    """
    image = np.ascontiguousarray(image, dtype=np.float32)
    for _ in range(2):  # split the last axis, then take the other one's turn
        image = np.ascontiguousarray(_split_last(image, times).swapaxes(-1, -2))
    return image


def _split(volume: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Each slice of (z, y, x) split in the same way."""
    return np.ascontiguousarray(np.moveaxis(_split_last(np.moveaxis(volume, 0, -1), times), -1, 0))


def _split_last(image: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    if times == 1:
        return image
    places = ((np.arange(times) + 0.5) / times - 0.5).astype(np.float32)
    edges = image[..., :1], image[..., -1:]
    step = np.diff(image, prepend=edges[0], append=edges[1])
    left, right = step[..., :-1], step[..., 1:]
    slope = np.minimum(2 * np.minimum(np.abs(left), np.abs(right)), np.abs(left + right) / 2)
    slope *= np.sign(left) * (left * right > 0)
    split = np.empty((*image.shape, times), np.float32)
    for k, place in enumerate(places):
        np.multiply(slope, place, out=split[..., k])
        split[..., k] += image
    return split.reshape(*image.shape[:-1], -1)


def _attenuation(
    volume: Volume, water_per_mm: float | None
) -> tuple[Callable[[int, int], NDArray[np.float32]], float | None]:
    """Slices start to stop in 1/mm, and the attenuation of water where it is known."""
    if not isinstance(volume.grid, AffineGrid) or volume.data.ndim != 3 or np.iscomplexobj(volume.data):
        raise InputError(f"CT is simulated from one real volume (z, y, x) on an AffineGrid, got {volume!r}.")
    axes = volume.grid.matrix[:3, :2] / np.linalg.norm(volume.grid.matrix[:3, :2], axis=0)
    if abs(float(axes[:, 0] @ axes[:, 1])) > 1e-4:
        raise GeometryError("CT slices need rows and columns at right angles: resample the sheared volume first.")
    if not np.isfinite(volume.data).all():
        raise InputError("The volume holds NaN or infinite values: mend them before simulating.")
    if water_per_mm is not None and not (math.isfinite(water_per_mm) and water_per_mm > 0):
        raise ConfigError(f"'water_per_mm' is a positive number in 1/mm, got {water_per_mm}.")
    if volume.units == "1/mm":
        return lambda start, stop: volume.data[start:stop].astype(np.float32), water_per_mm
    if volume.units != "HU":
        raise InputError(f"CT is simulated from a volume in HU or 1/mm, got {volume.units}: state its unit.")
    water = WATER_PER_MM if water_per_mm is None else water_per_mm

    def slices(start: int, stop: int) -> NDArray[np.float32]:
        relative = 1 + volume.data[start:stop].astype(np.float32) / 1000
        return np.maximum(relative, 0) * np.float32(water)

    return slices, water


def _half_detector(
    beam: str,
    detector: str,
    radius_mm: float,
    grid: ImageGrid,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
) -> tuple[float, float]:
    """Half the width of a detector that sees a disc of `radius_mm` about the axis, and the width of a voxel on it."""
    voxel_mm = min(grid.voxel_mm[1:])
    if beam == "parallel":
        return radius_mm, voxel_mm
    if beam not in ("fan", "cone"):
        raise ConfigError(f"A beam is 'parallel', 'fan' or 'cone', got '{beam}'.")
    if not source_to_axis_mm > radius_mm:
        raise GeometryError(
            f"The source, {source_to_axis_mm:g} mm from the axis, would turn inside the volume, whose corners lie "
            f"{radius_mm:g} mm from it: enlarge source_to_axis_mm or crop the volume."
        )
    half_fan = math.asin(radius_mm / source_to_axis_mm)
    half_mm = source_to_detector_mm * (half_fan if detector == "curved" else math.tan(half_fan))
    return half_mm, voxel_mm * source_to_detector_mm / source_to_axis_mm


def _averaged(integrals: NDArray[np.float32], down: int, across: int) -> NDArray[np.float32]:
    """Line integrals as a pixel sees them: the intensities of its `down` x `across` rays are averaged, then the log
    is taken."""
    if down * across == 1:
        return integrals
    views, rows, columns = integrals.shape
    split = integrals.reshape(views, rows // down, down, columns // across, across)
    least = split.min(axis=(2, 4))  # taken out first, or metal would underflow
    return least - np.log(np.exp(least[:, :, None, :, None] - split).mean(axis=(2, 4)))


def _counted(integrals: NDArray[np.float32], photons: float, seed: int, number: int) -> NDArray[np.float32]:
    """One slice (view, column) measured with Poisson counts."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
    counts = rng.poisson(photons * np.exp(-integrals.astype(np.float64)))
    return -np.log(np.maximum(counts, 1) / photons).astype(np.float32)
