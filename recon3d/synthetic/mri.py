"""Drawn multi-coil MRI: brain-like and knee-like volumes with contrast, phase, coils and noise, in fastMRI's layout.

The object is drawn on a finer grid than it is measured on and k-space is cut out of the finer one, as a scanner does,
so that reconstructions do not meet their own model. Nothing here derives from a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Plain, Scan
from recon3d.volume import Volume

Anatomy = Literal["brain", "knee"]

# Proton density, T1 and T2 in seconds at 3 T, rounded (Stanisz et al., Magn. Reson. Med. 54 (2005) 507).
TISSUES = {
    "air": (0.0, 1.0, 1.0),
    "fat": (0.9, 0.38, 0.07),
    "bone": (0.08, 1.0, 0.004),
    "marrow": (0.85, 0.40, 0.06),
    "fluid": (1.0, 4.0, 1.5),
    "grey": (0.82, 1.5, 0.10),
    "white": (0.70, 0.95, 0.07),
    "muscle": (0.75, 1.4, 0.035),
    "cartilage": (0.72, 1.2, 0.040),
    "meniscus": (0.5, 1.0, 0.010),
}
_NAMES = tuple(TISSUES)

CONTRASTS = {
    # repetition, echo and inversion time in s; fat signal kept
    "AXT1": (0.6, 0.010, 0.0, 1.0),
    "AXT2": (5.0, 0.100, 0.0, 1.0),
    "AXFLAIR": (9.0, 0.090, 2.5, 1.0),
    "CORPD_FBK": (2.6, 0.030, 0.0, 1.0),
    "CORPDFS_FBK": (2.6, 0.030, 0.0, 0.12),
}


SETS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class DrawnMRI:
    """A drawn measurement and its truth.

    Parameters
    ----------
    kspace : complex64 (slice, coil, readout, line), readout twice oversampled
    target : root sum of squares of the noise-free coil images, float32 (slice, y, x)
    contrast : a name of `CONTRASTS`
    field_of_view_mm : (z, y, x) of the target
    """

    kspace: NDArray[np.complex64]
    target: NDArray[np.float32]
    contrast: str
    field_of_view_mm: tuple[float, float, float]


def draw_mri(
    anatomy: Anatomy = "brain",
    *,
    seed: int,
    shape: tuple[int, int, int] = (8, 160, 160),
    coils: int = 8,
    contrast: str | None = None,
    snr: float = 40.0,
) -> DrawnMRI:
    """A multi-slice, multi-coil measurement of a drawn head or knee.

    Parameters
    ----------
    anatomy : "brain" or "knee"
    seed : of anatomy, contrast, phase, coils and noise
    shape : (slice, y, x)
    coils : receive coils around the object
    contrast : a name of `CONTRASTS`; drawn from those of the anatomy by default
    snr : bright tissue over the standard deviation of the noise in one coil's image, per real channel
    """
    if anatomy not in ("brain", "knee"):
        raise ConfigError(f"An anatomy is 'brain' or 'knee', got '{anatomy}'.")
    rng = np.random.default_rng(seed)
    usual = ("AXT1", "AXT2", "AXFLAIR") if anatomy == "brain" else ("CORPD_FBK", "CORPDFS_FBK")
    chosen = str(rng.choice(usual))
    contrast = chosen if contrast is None else contrast
    if contrast not in CONTRASTS:
        raise ConfigError(f"A contrast is one of {', '.join(CONTRASTS)}, got '{contrast}'.")
    fov = (shape[0] * 4.0, 220.0, 220.0) if anatomy == "brain" else (shape[0] * 3.0, 140.0, 140.0)
    labels = (brain_labels if anatomy == "brain" else knee_labels)(shape, rng)
    image = _signal(labels, contrast, rng) * smooth_phase(labels.shape, rng)
    kspace, clean, _ = _measured(image, shape, coils, snr, rng, seed)
    return DrawnMRI(kspace, clean, contrast, fov)


def write_fastmri(path: Path, drawn: DrawnMRI, *, mask: NDArray[np.bool_] | None = None) -> None:
    """Write a measurement in fastMRI's layout: with its target, or undersampled without (as the test sets are).

    Parameters
    ----------
    path : .h5
    drawn : the measurement
    mask : columns to keep; then no target, `max` or `norm` is written
    """
    import h5py

    slices, _, rows, columns = drawn.kspace.shape
    z, y, x = drawn.field_of_view_mm
    height, width = drawn.target.shape[1:]
    header = _HEADER.format(
        rows=rows, columns=columns, height=height, width=width, y=y, two_y=2 * y, x=x, z=z / slices,
        centre=columns // 2, last=columns - 1,
    )  # fmt: skip
    with h5py.File(path, "w") as file:
        kspace = drawn.kspace if mask is None else np.where(mask, drawn.kspace, np.complex64(0))
        file["kspace"] = kspace
        file["ismrmrd_header"] = header.encode()
        file.attrs["acquisition"] = drawn.contrast
        file.attrs["patient_id"] = "synthetic"
        if mask is None:
            file["reconstruction_rss"] = drawn.target
            file.attrs["max"] = float(drawn.target.max())
            file.attrs["norm"] = float(np.linalg.norm(drawn.target))
        else:
            file["mask"] = mask
            file.attrs["acceleration"] = round(mask.size / max(1, int(mask.sum())))
            half = columns // 2
            left = int(np.argmin(mask[half::-1])) if not mask[half::-1].all() else half + 1
            right = int(np.argmin(mask[half:])) if not mask[half:].all() else columns - half
            file.attrs["num_low_frequency"] = max(0, left + right - 1)


def draw_folders(
    counts: Mapping[str, int],
    *,
    anatomy: Anatomy = "brain",
    seed: int = 0,
    acceleration: float = 4,
    centre_fraction: float = 0.08,
    **settings: Any,
) -> Iterator[tuple[Path, DrawnMRI, NDArray[np.bool_] | None]]:
    """Sets of volumes, e.g. counts {"train": 20, "val": 4, "test": 4}, for `write_fastmri`; "test" is undersampled.

    Every volume has a seed of its own, so the sets are disjoint and a set does not depend on the size of another.

    Yields
    ------
    (path, drawn, mask)
        The file within the folder, the measurement, and the columns to keep of a test file.
    """
    from operators.mri.sampling import column_mask

    if not set(counts) <= set(SETS):
        raise ConfigError(f"The sets are {', '.join(SETS)}, got {', '.join(counts)}.")
    for number, (name, count) in enumerate((n, counts.get(n, 0)) for n in SETS):
        for i in range(count):
            own = int(np.random.SeedSequence([seed, number, i]).generate_state(1)[0])
            drawn = draw_mri(anatomy, seed=own, **settings)
            path = Path(name, f"file_{anatomy}_{drawn.contrast}_{number}{i:05d}.h5")
            mask = None
            if name == "test":
                mask = column_mask(drawn.kspace.shape[-1], acceleration, centre_fraction, seed=path.name)
            yield path, drawn, mask


def simulate_mri(
    volume: Volume,
    *,
    coils: int = 8,
    acceleration: float = 4.0,
    centre_fraction: float = 0.08,
    pattern: str = "equispaced_fraction",
    snr: float | None = 40.0,
    seed: int = 0,
    finer: int = 2,
) -> Scan:
    """A multi-coil scan of a volume; to magnitudes a phase is made up, and the scan says so.

    Parameters
    ----------
    volume : complex, or real and not negative, (z, y, x); its first axis counts slices, its last the phase encodes
    coils : receive coils around the volume
    acceleration, centre_fraction, pattern : of the columns that are kept
    snr : bright tissue over the standard deviation of a coil image's noise; None for no noise
    seed : of phase, coils, pattern and noise
    finer : how many times finer than the volume the truth is represented in the plane; 1 is the inverse crime
    """
    data, grid = _checked_truth(volume)
    if int(finer) != finer or finer < 1:
        raise ConfigError(f"'finer' is a whole number from 1, got {finer}.")
    from recon3d.synthetic.simulate import refined

    rng = np.random.default_rng(seed)
    if np.iscomplexobj(data):
        image = refined(data.real, int(finer)) + 1j * refined(data.imag, int(finer))
    else:
        phase = smooth_phase((data.shape[0], *(n * finer for n in data.shape[1:])), rng)
        image = refined(data.astype(np.float32), int(finer)) * phase
    kspace, _, std = _measured(image, data.shape, coils, snr, rng, seed, oversampling=1)
    notes = [
        f"simulated MRI: {coils} coils, acceleration {acceleration:g} ({pattern}, {centre_fraction:g} in the full "
        f"centre), {'no noise' if snr is None else f'signal to noise {snr:g}'}, seed {seed}"
    ]
    if not np.iscomplexobj(data):
        notes.append("the phase is synthetic: the volume held magnitudes only")
    mask = _columns(data.shape[2], acceleration, centre_fraction, pattern, seed)
    return _scan(kspace, mask, std, grid, "\n".join(notes))


def scan_mri(
    truth: Volume,
    shape: tuple[int, int],
    *,
    coils: int = 8,
    acceleration: float = 1.0,
    centre_fraction: float = 0.08,
    pattern: str = "equispaced_fraction",
    snr: float | None = 40.0,
    seed: int = 0,
) -> tuple[Scan, NDArray[np.float32]]:
    """A multi-coil scan of a complex volume that was drawn on a finer grid than it is measured on, and its target.

    Parameters
    ----------
    truth : complex (z, y, x), a whole number of times finer than the scan in y and in x
    shape : (y, x) of the scan; its last axis counts the phase encodes
    coils, acceleration, centre_fraction, pattern, snr, seed : as of `simulate_mri`; everything is sampled by default

    Returns
    -------
    scan, target : the target is the root sum of squares of the noise-free coil images, float32 (z, *shape)
    """
    data, grid = _checked_truth(truth)
    times = [fine / n for fine, n in zip(data.shape[1:], shape, strict=True)]
    if any(t < 1 or t != int(t) for t in times):
        raise InputError(
            f"The truth is drawn a whole number of times finer than the scan, got {data.shape[1:]} for {shape}."
        )
    rng = np.random.default_rng(seed)
    kspace, target, std = _measured(
        data.astype(np.complex64), (data.shape[0], *shape), coils, snr, rng, seed, oversampling=1
    )
    mask = _columns(shape[1], acceleration, centre_fraction, pattern, seed)
    note = f"scanned drawing: {coils} coils, acceleration {acceleration:g}, signal to noise {snr}, seed {seed}"
    return _scan(kspace, mask, std, grid.resampled((data.shape[0], *shape)), note), target


def _checked_truth(volume: Volume) -> tuple[NDArray[Any], AffineGrid]:
    """Values and grid of a volume that can be measured: finite, not all zero, and magnitudes where real."""
    data = np.asarray(volume.data)
    if data.ndim != 3 or not isinstance(volume.grid, AffineGrid):
        raise InputError(f"MRI is simulated from one volume (z, y, x) on an AffineGrid, got {volume!r}.")
    if not np.isfinite(data).all() or not np.abs(data).max() > 0:
        raise InputError("MRI is simulated from finite values, some of them not 0: check the volume.")
    if not np.iscomplexobj(data) and data.min() < 0:
        raise InputError("MRI is simulated from magnitudes, finite and not negative, or from complex values.")
    return data, volume.grid


def _columns(n: int, acceleration: float, centre_fraction: float, pattern: str, seed: int) -> NDArray[np.bool_]:
    from operators.mri.sampling import column_mask

    return column_mask(n, acceleration, centre_fraction, pattern, seed % 2**32)


def _scan(kspace: NDArray[np.complex64], mask: NDArray[np.bool_], std: float, grid: AffineGrid, note: str) -> Scan:
    sampled = np.ascontiguousarray(np.where(mask, kspace, np.complex64(0)).transpose(1, 0, 2, 3))
    acquisition: dict[str, Plain] = {"encoding": "2d", "mask": mask, "prepared": note}
    noise: dict[str, Plain] = {"std": std} if std > 0 else {}
    return Scan("mri", sampled, ("coil", "kz", "ky", "kx"), acquisition, grid, noise, name="simulated mri")


_HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{two_y}</x><y>{x}</y><z>{z}</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{y}</x><y>{x}</y><z>{z}</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def _coordinates(shape: tuple[int, ...]) -> tuple[NDArray[np.float32], ...]:
    """(z, y, x) from -1 to 1 over the field of view, at voxel centres."""
    axes = [((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32) for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def _field(shape: tuple[int, ...], cells: tuple[float, float, float], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise of unit standard deviation with about so many cells along each axis, the same at any resolution."""
    coarse = rng.standard_normal(tuple(math.ceil(c) + 3 for c in cells)).astype(np.float32)
    axes = [np.linspace(1, 1 + c, n, dtype=np.float32) for c, n in zip(cells, shape, strict=True)]
    smooth = ndimage.spline_filter(coarse, 3, output=np.float32)
    for axis, positions in enumerate(axes):  # separable: one axis after the other
        smooth = _along(smooth, positions, axis)
    return smooth / max(float(smooth.std()), 1e-6)


def _along(coefficients: NDArray[np.float32], positions: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Evaluate cubic B-splines along one axis."""
    index = np.floor(positions).astype(int)
    t = positions - index
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    moved = np.moveaxis(coefficients, axis, 0)
    total = np.zeros((len(positions), *moved.shape[1:]), np.float32)
    for k, weight in enumerate(weights):
        rows = np.clip(index + k - 1, 0, len(moved) - 1)
        total += weight.reshape(-1, *[1] * (moved.ndim - 1)) * moved[rows]
    return np.moveaxis(total, 0, axis)


def _radius(at: tuple[NDArray[np.float32], ...], centre: Any, size: Any, turn: float = 0.0) -> NDArray[np.float32]:
    """Distance from the centre in units of the semi-axes (z, y, x), turned in the plane."""
    z, y, x = (a - c for a, c in zip(at, centre, strict=True))
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * y + s * x, c * x - s * y
    return np.sqrt((z / size[0]) ** 2 + (u / size[1]) ** 2 + (v / size[2]) ** 2)


def _fine(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return shape[0], 2 * shape[1], 2 * shape[2]


def brain_labels(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A head as indices into `TISSUES`, (z, 2 y, 2 x): drawn twice as fine in plane as `shape`."""
    fine = _fine(shape)
    at = _coordinates(fine)
    at = (at[0] * rng.uniform(0.55, 0.75) + rng.uniform(-0.05, 0.15), at[1], at[2])
    labels = np.zeros(fine, np.uint8)

    def put(where: NDArray[np.bool_], tissue: str) -> None:
        labels[where] = _NAMES.index(tissue)

    size = (1.0, rng.uniform(0.78, 0.86), rng.uniform(0.62, 0.70))
    centre = (0.0, rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03))
    tilt = rng.uniform(-0.1, 0.1)
    r = _radius(at, centre, size, tilt) + 0.012 * _field(fine, (2, 4, 4), rng)
    folds = _field(fine, (6, 26, 26), rng)
    fine_folds = _field(fine, (8, 48, 48), rng)
    put(r < 1.0, "fat")
    put(r < 0.955, "bone")
    put(r < 0.93, "marrow")
    put(r < 0.90, "bone")
    put(r < 0.87, "fluid")
    put(r + 0.016 * folds < 0.84, "grey")
    put((r < 0.84) & (np.abs(folds + 0.4 * fine_folds) < 0.10 + 0.4 * (r - 0.66)) & (r > 0.62), "fluid")
    put(r + 0.055 * np.abs(folds) + 0.02 * fine_folds < 0.735, "white")
    middle = np.abs((at[2] - centre[2]) - tilt * (at[1] - centre[1]))
    put((middle < 0.012) & (r < 0.86) & (np.abs(at[1] - centre[1]) > 0.32), "fluid")
    for side in (-1.0, 1.0):
        horn = rng.uniform(0.9, 1.1)
        put(_radius(at, (-0.05, centre[1] + 0.02, centre[2] + side * 0.21), (0.4, 0.15, 0.07), side * 0.4) < 1, "grey")
        put(
            _radius(at, (0.1, centre[1] - 0.14, centre[2] + side * 0.09), (0.45, 0.20 * horn, 0.045), side * 0.25) < 1,
            "fluid",
        )
        put(
            _radius(at, (0.1, centre[1] + 0.26, centre[2] + side * 0.17), (0.4, 0.17 * horn, 0.04), -side * 0.4) < 1,
            "fluid",
        )
        put(_radius(at, (-0.1, centre[1] - 0.02, centre[2] + side * 0.10), (0.35, 0.09, 0.06), 0.0) < 1, "grey")
    for _ in range(int(rng.integers(0, 4))):  # small lesions
        spot = (rng.uniform(-0.5, 0.5), centre[1] + rng.uniform(-0.4, 0.4), centre[2] + rng.uniform(-0.3, 0.3))
        put((_radius(at, spot, (0.15, *rng.uniform(0.012, 0.05, 2))) < 1) & (r < 0.7), "fluid")
    return labels


def knee_labels(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A knee as indices into `TISSUES`, (z, 2 y, 2 x): drawn twice as fine in plane as `shape`."""
    fine = _fine(shape)
    at = _coordinates(fine)
    labels = np.zeros(fine, np.uint8)
    warp = _field(fine, (2, 5, 5), rng)
    at = (at[0], at[1] + 0.012 * warp, at[2] + 0.012 * _field(fine, (2, 5, 5), rng))

    def put(where: NDArray[np.bool_], tissue: str) -> None:
        labels[where] = _NAMES.index(tissue)

    gap = rng.uniform(0.0, 0.06)
    leg = np.sqrt((at[0] / 1.3) ** 2 + (at[2] / rng.uniform(0.76, 0.86)) ** 2) + 0 * at[1]
    put(leg < 1.0, "fat")
    bundles = _field(fine, (3, 5, 22), rng)
    put((leg < 0.9) & (bundles > -0.9), "muscle")
    put((np.abs(at[1]) < 0.3) & (leg < 0.9) & (leg > 0.72), "fat")
    for side in (-1.0, 1.0):
        condyle = _radius(at, (0.0, gap - 0.22, side * 0.30), (1.1, 0.27, 0.33), side * 0.1)
        put(condyle < 1.16, "cartilage")
        put(condyle < 1.04, "bone")
        put(condyle < 1.0, "marrow")
        put(_radius(at, (0.0, gap + 0.135, side * 0.50), (1.0, 0.05, 0.15), -side * 0.25) < 1, "meniscus")
    shaft = (np.abs(at[2]) < 0.30 + 0.15 * np.clip(at[1] + 0.5, 0, 1)) & (at[1] < gap - 0.2) & (np.abs(at[0]) < 0.9)
    wide_shaft = (
        (np.abs(at[2]) < 0.32 + 0.15 * np.clip(at[1] + 0.5, 0, 1)) & (at[1] < gap - 0.2) & (np.abs(at[0]) < 0.92)
    )
    put(wide_shaft & ~shaft, "bone")
    put(shaft, "marrow")
    top = gap + 0.20 + 0.02 * np.cos(9 * at[2])
    width = 0.62 - 0.35 * np.clip(at[1] - top, 0, 0.5)
    tibia = (at[1] > top) & (np.abs(at[2]) < width) & (np.abs(at[0]) < 0.92)
    put((at[1] > top - 0.045) & (at[1] <= top) & (np.abs(at[2]) < 0.6) & (np.abs(at[0]) < 0.9), "cartilage")
    put(tibia, "bone")
    put((at[1] > top + 0.025) & (np.abs(at[2]) < width - 0.02) & (np.abs(at[0]) < 0.9), "marrow")
    notch = _radius(at, (0.0, gap + 0.02, 0.0), (0.8, 0.16, 0.10))
    put(notch < 1, "fluid")
    put((np.abs(at[2] + 0.5 * (at[1] - gap)) < 0.03) & (notch < 0.95), "meniscus")  # a ligament is as dark
    return labels


def _signal(labels: NDArray[np.uint8], contrast: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Spin-echo or inversion-recovery magnitudes with the spread and the texture of tissue."""
    repetition, echo, inversion, fat = CONTRASTS[contrast]
    table = np.zeros(len(_NAMES), np.float32)
    for i, name in enumerate(_NAMES):
        density, t1, t2 = (v * rng.uniform(0.93, 1.07) for v in TISSUES[name])
        recovered = 1 - math.exp(-repetition / t1)
        if inversion:
            recovered = abs(1 - 2 * math.exp(-inversion / t1) + math.exp(-repetition / t1))
        table[i] = density * recovered * math.exp(-echo / t2) * (fat if name in ("fat", "marrow") else 1.0)
    image = table[labels]
    texture = 0.03 * _field(labels.shape, (6, 60, 60), rng) + 0.04 * _field(labels.shape, (3, 9, 9), rng)
    image *= 1 + texture
    return np.maximum(image / table.max(), 0)


def smooth_phase(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    """A smooth phase: constant, linear (echo off centre) and uneven field."""
    z, y, x = _coordinates(shape)
    angle = rng.uniform(0, 2 * math.pi) + rng.uniform(-1.5, 1.5) * y + rng.uniform(-1.5, 1.5) * x
    angle = angle + rng.uniform(0.3, 0.9) * _field(shape, (1, 3, 3), rng) + 0 * z
    return np.exp(1j * angle).astype(np.complex64)


def coil_sensitivities(coils: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    """Loops on a cylinder around the field of view, (coil, z, y, x), falling with the distance cubed, with phase."""
    z, y, x = _coordinates(shape)
    maps = np.empty((coils, *shape), np.complex64)
    rows = 2 if coils >= 8 else 1
    for c in range(coils):
        row, place = c % rows, c // rows
        angle = 2 * math.pi * (place + 0.5 * row) / max(1, math.ceil(coils / rows)) + rng.uniform(-0.1, 0.1)
        height = (row - (rows - 1) / 2) * 1.1 + rng.uniform(-0.1, 0.1)
        distance = rng.uniform(1.05, 1.2)
        dy, dx = y - distance * math.sin(angle), x - distance * math.cos(angle)
        squared = (0.6 * (z - height)) ** 2 + dy**2 + dx**2
        phase = angle + rng.uniform(0, 2 * math.pi) + 0.8 * (dx * math.sin(angle) - dy * math.cos(angle))
        maps[c] = (0.45 + squared) ** -1.5 * np.exp(1j * phase)
    return maps


def _measured(
    image: NDArray[np.complex64],
    shape: tuple[int, int, int],
    coils: int,
    snr: float | None,
    rng: np.random.Generator,
    seed: int,
    oversampling: int = 2,
) -> tuple[NDArray[np.complex64], NDArray[np.float32], float]:
    """K-space (slice, coil, rows x oversampling, columns) with correlated noise, the noise-free target, and the
    standard deviation of the noise per real channel of a coil."""
    if coils < 1:
        raise ConfigError(f"A scan has at least one coil, got {coils}.")
    if snr is not None and not snr > 0:
        raise ConfigError(f"'snr' is a positive number, or none for no noise, got {snr}.")
    slices, rows, columns = shape
    fine_rows, fine_columns = image.shape[1:]
    maps = coil_sensitivities(coils, image.shape, rng)
    coupled = rng.standard_normal((2, coils, coils)) * (0.25 / math.sqrt(coils))
    mixing = np.eye(coils) + coupled[0] + 1j * coupled[1]
    mixing = mixing / np.sqrt((np.abs(mixing) ** 2).sum(1, keepdims=True))
    kspace = np.empty((slices, coils, rows * oversampling, columns), np.complex64)
    target = np.empty(shape, np.float32)
    scale = math.sqrt(rows * oversampling * columns) / (fine_rows * fine_columns)
    for s in range(slices):
        padded = np.zeros((coils, fine_rows * oversampling, fine_columns), np.complex64)
        start = fine_rows * oversampling // 2 - fine_rows // 2
        padded[:, start : start + fine_rows] = maps[:, s] * image[s]
        # The fine and the coarse grid share their field of view, whose centre lies half a fine voxel aside.
        full: NDArray[Any] = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(padded, axes=(1, 2))), axes=(1, 2))
        full = _centre(_centre(full, 1, rows * oversampling), 2, columns) * np.float32(scale)
        full = (
            full
            * centred_half_voxel(rows * oversampling, fine_rows // rows)[:, None]
            * centred_half_voxel(columns, fine_columns // columns)
        )
        kspace[s] = full
        images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(full, axes=(1, 2)), norm="ortho"), axes=(1, 2))
        target[s] = np.sqrt((np.abs(_centre(images, 1, rows)) ** 2).sum(0))
    std = 0.0
    if snr is not None:
        bright = float(np.quantile(target[target > 0.1 * target.max()], 0.9)) / math.sqrt(coils)
        std = bright / snr
        for s in range(slices):
            own = np.random.Generator(np.random.Philox(key=np.array([seed % 2**63, s], dtype=np.uint64)))
            white = own.standard_normal((2, coils, *kspace.shape[2:]), dtype=np.float32)
            mixed = np.tensordot(mixing, white[0] + 1j * white[1], axes=1)
            kspace[s] += (std * mixed).astype(np.complex64)
    return kspace, target, std


def centred_half_voxel(n: int, finer: int) -> NDArray[np.complex64]:
    """The phase that moves the origin from the centre voxel of the fine grid to that of the coarse one."""
    shift = (finer - 1) / (2 * finer)  # in coarse voxels
    return np.exp(2j * math.pi * shift * (np.arange(n) - n // 2) / n).astype(np.complex64)


def _centre(a: NDArray[Any], axis: int, length: int) -> NDArray[Any]:
    start = a.shape[axis] // 2 - length // 2
    return np.take(a, np.arange(start, start + length), axis=axis)
