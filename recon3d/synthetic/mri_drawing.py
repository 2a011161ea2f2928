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

from recon3d.errors import ConfigError
from recon3d.synthetic.mri import coordinates, measured, smooth_field, smooth_phase

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
_HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{two_y}</x><y>{x}</y><z>{z}</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{y}</x><y>{x}</y><z>{z}</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


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
    kspace, clean, _ = measured(image, shape, coils, snr, rng, seed)
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


def brain_labels(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A head as indices into `TISSUES`, (z, 2 y, 2 x): drawn twice as fine in plane as `shape`."""
    fine = _fine(shape)
    at = coordinates(fine)
    at = (at[0] * rng.uniform(0.55, 0.75) + rng.uniform(-0.05, 0.15), at[1], at[2])
    labels = np.zeros(fine, np.uint8)

    def put(where: NDArray[np.bool_], tissue: str) -> None:
        labels[where] = _NAMES.index(tissue)

    size = (1.0, rng.uniform(0.78, 0.86), rng.uniform(0.62, 0.70))
    centre = (0.0, rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03))
    tilt = rng.uniform(-0.1, 0.1)
    r = _radius(at, centre, size, tilt) + 0.012 * smooth_field(fine, (2, 4, 4), rng)
    folds = smooth_field(fine, (6, 26, 26), rng)
    fine_folds = smooth_field(fine, (8, 48, 48), rng)
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
    at = coordinates(fine)
    labels = np.zeros(fine, np.uint8)
    warp = smooth_field(fine, (2, 5, 5), rng)
    at = (at[0], at[1] + 0.012 * warp, at[2] + 0.012 * smooth_field(fine, (2, 5, 5), rng))

    def put(where: NDArray[np.bool_], tissue: str) -> None:
        labels[where] = _NAMES.index(tissue)

    gap = rng.uniform(0.0, 0.06)
    leg = np.sqrt((at[0] / 1.3) ** 2 + (at[2] / rng.uniform(0.76, 0.86)) ** 2) + 0 * at[1]
    put(leg < 1.0, "fat")
    bundles = smooth_field(fine, (3, 5, 22), rng)
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


def _fine(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return shape[0], 2 * shape[1], 2 * shape[2]


def _radius(at: tuple[NDArray[np.float32], ...], centre: Any, size: Any, turn: float = 0.0) -> NDArray[np.float32]:
    """Distance from the centre in units of the semi-axes (z, y, x), turned in the plane."""
    z, y, x = (a - c for a, c in zip(at, centre, strict=True))
    c, s = math.cos(turn), math.sin(turn)
    u, v = c * y + s * x, c * x - s * y
    return np.sqrt((z / size[0]) ** 2 + (u / size[1]) ** 2 + (v / size[2]) ** 2)


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
    texture = 0.03 * smooth_field(labels.shape, (6, 60, 60), rng) + 0.04 * smooth_field(labels.shape, (3, 9, 9), rng)
    image *= 1 + texture
    return np.maximum(image / table.max(), 0)
