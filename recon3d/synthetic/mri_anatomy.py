"""Drawn complex MR images: heads, limbs, knees and test shapes in any plane and contrast, to train priors on.

The image is what a scanner's maps leave of it by the coil phase rule (`operators.mri.coils.rotate_maps`): its phase
minus that of its low-resolution self. Bodies are painted by the drawing room of the CT volumes and coloured by
relaxation times; nothing derives from a person.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from recon3d.grid import AffineGrid
from recon3d.synthetic.anatomy.fields import smooth_field
from recon3d.synthetic.anatomy.shapes import Tissue, rotation
from recon3d.synthetic.ct import Frame, blank_canvas, check_request, draw_body, draw_limbs
from recon3d.synthetic.mri_drawing import TISSUES as MEASURED
from recon3d.synthetic.mri_drawing import brain_labels, knee_labels
from recon3d.volume import Volume

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Size = tuple[int, int, int]
Lengths = tuple[float, float, float]

# Proton density, T1 and T2 in seconds: those of `recon3d.synthetic.mri_drawing` and what a whole body has besides.
TISSUES = {
    **MEASURED,
    "skin": (0.70, 0.9, 0.035),
    "soft": (0.75, 1.1, 0.060),
    "blood": (0.85, 1.7, 0.150),
    "lesion": (0.85, 1.4, 0.180),
}
_NAMES = tuple(TISSUES)
_INDEX = {name: index for index, name in enumerate(_NAMES)}

_SHARES = {"head": 0.42, "brain": 0.22, "limb": 0.14, "knee": 0.14, "shapes": 0.08}
FAMILIES: tuple[str, ...] = tuple(_SHARES)
"""Kinds of content. "head" and "limb" are cut in any plane, "brain" is axial, "knee" coronal."""

# What the tissues of a CT drawing are in an MR image; the brain is divided by its HU.
_OF_CT = {
    Tissue.AIR: "air",
    Tissue.FAT: "fat",
    Tissue.MUSCLE: "muscle",
    Tissue.CAVITY: "soft",
    Tissue.LUNG: "air",
    Tissue.SOFT: "soft",
    Tissue.CORTEX: "bone",
    Tissue.MARROW: "marrow",
    Tissue.BLOOD: "blood",
    Tissue.CONTENT: "soft",
    Tissue.GAS: "air",
    Tissue.BRAIN: "white",
    Tissue.FLUID: "fluid",
    Tissue.SKIN: "skin",
    Tissue.METAL: "air",
    Tissue.DEVICE: "air",
}

_PLANES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "coronal": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}
"""body (x, y, z) = plane @ grid (x, y, z); the head is up where the plane shows it."""


def drawn_mr(shape: Size, voxel_mm: float | Lengths, seed: int, *, family: str | None = None) -> Volume:
    """Draw one random complex MR volume.

    Parameters
    ----------
    shape : voxels (z, y, x); each slice is an image of its own, as thick as its voxel is long
    voxel_mm : edge of a voxel, one length or (z, y, x); meant for 0.5 to 4 mm in the plane
    seed : the same seed gives the same volume
    family : one of `FAMILIES`, or None for a random one

    Returns
    -------
    Volume, complex64, unit "1": one is the 99th percentile of the low-resolution magnitude, as in
    `operators.mri.Encoding.image_scale`.

    Raises
    ------
    ConfigError
        If `family` is not known.
    GeometryError
        If the shape or voxel size is not positive.
    """
    check_request("MR volume", shape, family, FAMILIES)
    grid = AffineGrid.centred(shape, voxel_mm)
    anatomy, look, scanner = (np.random.default_rng([seed, part]) for part in (10, 11, 12))
    if family is None:
        family = str(anatomy.choice(FAMILIES, p=list(_SHARES.values())))
    fine_shape = (shape[0], 2 * shape[1], 2 * shape[2])
    z_mm, y_mm, x_mm = grid.voxel_mm
    fine = AffineGrid.centred(fine_shape, (z_mm, y_mm / 2, x_mm / 2))
    labels = _labels(family, fine, anatomy)
    magnitude = _coloured(labels, fine.voxel_mm, look)
    image = _scanned(magnitude * _phase(labels, fine.voxel_mm, scanner), scanner)
    scale = _low_resolution_percentile(image)
    return Volume(
        (image / scale).astype(np.complex64),
        AffineGrid.patient(shape, voxel_mm),
        "1",
        tags={"modality": "MRI", "source": "drawn", "family": family, "seed": seed},
    )


def _labels(family: str, grid: AffineGrid, rng: np.random.Generator) -> Labels:
    """Indices into `TISSUES` on the fine grid."""
    shape, voxel = (int(grid.shape[0]), int(grid.shape[1]), int(grid.shape[2])), grid.voxel_mm
    if family in ("brain", "knee"):
        return _placed(family, shape, voxel, rng)
    if family == "shapes":
        return _shapes(shape, voxel, rng)
    frame = _frame(family, grid, rng)
    canvas, _ = blank_canvas(grid, frame, rng)
    (draw_body if family == "head" else draw_limbs)(canvas, frame, rng)
    table = np.zeros(len(Tissue), np.uint8)
    for tissue, name in _OF_CT.items():
        table[tissue] = _INDEX[name]
    labels = table[canvas.tissue]
    brain = canvas.tissue == Tissue.BRAIN
    if brain.any():
        _fold(labels, brain, canvas.hu, voxel, rng)
    return labels


def _frame(family: str, grid: AffineGrid, rng: np.random.Generator) -> Frame:
    """The plane, the tilt and the place of the slices in the body."""
    plane = _PLANES[str(rng.choice(list(_PLANES), p=[0.42, 0.33, 0.25]))]
    mirror = np.diag(rng.choice([-1.0, 1.0], 3))
    tilt = rotation(rng.normal(0, 0.15, 3) if rng.random() < 0.9 else rng.uniform(0, 2 * np.pi, 3))
    field_mm = np.array(grid.shape[::-1]) * np.array(grid.voxel_mm[::-1])
    size = rng.uniform(0.85, 1.2) if rng.random() < 0.8 else rng.uniform(1.2, 1.8)
    to_body = tilt @ plane @ mirror / size
    if family == "head":
        origin = np.array([rng.uniform(-65, 65), rng.normal(-20, 18), rng.normal(800, 25)])
        if plane is _PLANES["axial"]:
            origin = np.array([rng.normal(0, 12), rng.normal(-25, 15), rng.uniform(720, 868)])
    else:
        origin = rng.normal(0, 14, 3)
    return Frame("head" if family == "head" else "limb", to_body, origin, np.abs(to_body) @ field_mm)


def _fold(
    labels: Labels, brain: NDArray[np.bool_], hu: NDArray[np.float32], voxel: Lengths, rng: np.random.Generator
) -> None:
    """Divide the brain into folded cortex, white matter, nuclei and lesions.

    Zero levels of a smooth field wind as sulci do; they are filled with fluid as deep as sulci go and lined with grey.
    """
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    inside = brain | (labels == _INDEX["fluid"])
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=voxel[1:]) for s in inside]).astype(np.float32)
    away = np.full(shape, np.inf, np.float32)  # about the distance to the nearest sulcus in mm
    for _ in range(2):
        length = rng.uniform(8.0, 17.0)
        winding = smooth_field(shape, voxel, length, rng) + 0.3 * smooth_field(shape, voxel, 0.5 * length, rng)
        slope = np.hypot(*(np.gradient(winding, step, axis=axis) for axis, step in ((1, voxel[1]), (2, voxel[2]))))
        away = np.minimum(away, np.abs(winding) / np.maximum(slope, 0.5 / length))
    deepest = rng.uniform(9, 26) * np.clip(1 + 0.4 * smooth_field(shape, voxel, 25.0, rng), 0.2, 2)
    thick = rng.uniform(2.0, 3.6)
    width = rng.uniform(0.2, 1.6) * np.clip(1.3 - depth / np.maximum(deepest, 4), 0.2, 1)
    fluid = brain & (away < width) & (depth < deepest)
    grey = brain & ((depth < thick) | ((away < width + thick) & (depth < deepest + thick)))
    nuclei = brain & (hu > 33.5) & (hu < 46) & (depth > 14)
    labels[brain] = _INDEX["white"]
    labels[grey | nuclei] = _INDEX["grey"]
    labels[fluid] = _INDEX["fluid"]
    labels[brain & ((hu > 54) | ((hu > 12) & (hu < 23)))] = _INDEX["lesion"]


def _placed(family: str, shape: Size, voxel: Lengths, rng: np.random.Generator) -> Labels:
    """A head or knee of `mri_drawing`, drawn for a field of its own and put somewhere into the frame."""
    field_mm = rng.uniform(185, 250) if family == "brain" else rng.uniform(125, 175)
    side = int(np.clip(round(field_mm / (voxel[1] * 2)), 32, 400))  # drawn twice as fine
    drawn = (brain_labels if family == "brain" else knee_labels)((shape[0], side, side), rng)
    if family == "brain" and rng.random() < 0.6:
        brain = np.isin(drawn, [_INDEX["grey"], _INDEX["white"]])
        brain = ndimage.binary_closing(brain, np.ones((1, 5, 5), bool), iterations=2) & (drawn != _INDEX["bone"])
        hu = np.where((drawn == _INDEX["grey"]) | ~brain, np.float32(38), np.float32(28))
        kept = (drawn == _INDEX["fluid"]) & ~brain
        _fold(drawn, brain & ~kept, hu, voxel, rng)
    gaps = [n - 2 * side for n in shape[1:]]
    if family == "knee":  # the leg goes on
        rows, columns = (max(0, gap) for gap in gaps)
        drawn = np.pad(drawn, ((0, 0), (rows, rows), (0, 0)), mode="edge")
        drawn = np.pad(drawn, ((0, 0), (0, 0), (columns, columns)))
    else:
        drawn = np.pad(drawn, ((0, 0), *((max(0, gap),) * 2 for gap in gaps)))
    start = [
        int(np.clip((m - n) // 2 + rng.normal(0, 0.06) * n, 0, m - n))
        for m, n in zip(drawn.shape[1:], shape[1:], strict=True)
    ]
    return np.ascontiguousarray(drawn[:, start[0] : start[0] + shape[1], start[1] : start[1] + shape[2]])


def _shapes(shape: Size, voxel: Lengths, rng: np.random.Generator) -> Labels:
    """Level sets and ellipses of any tissue: what no anatomy shows."""
    levels = smooth_field(shape, voxel, rng.uniform(6, 40) * voxel[1], rng)
    kinds = rng.integers(0, len(_NAMES), 6).astype(np.uint8)
    labels = kinds[np.clip(np.rint(levels * 1.2 + 2.5), 0, 5).astype(int)]
    y, x = np.ogrid[: shape[1], : shape[2]]
    for image in labels:
        for _ in range(int(rng.integers(4, 50))):
            cy, cx = rng.uniform(0, shape[1]), rng.uniform(0, shape[2])
            a, b = np.exp(rng.uniform(np.log(2), np.log(0.3 * min(shape[1:])), 2))
            turn = rng.uniform(0, np.pi)
            u, v = np.cos(turn) * (y - cy) + np.sin(turn) * (x - cx), np.cos(turn) * (x - cx) - np.sin(turn) * (y - cy)
            image[(u / a) ** 2 + (v / b) ** 2 < 1] = rng.integers(0, len(_NAMES))
    if rng.random() < 0.6:  # in air
        r = (y / shape[1] - 0.5) ** 2 + (x / shape[2] - 0.5) ** 2
        labels[:, r > rng.uniform(0.1, 0.25)] = 0
    return labels


def _contrast(rng: np.random.Generator) -> Floats:
    """Signal of each tissue: spin echo, inversion recovery, gradient echo, or no known sequence."""
    if rng.random() < 0.15:
        table = rng.uniform(0.02, 1.0, len(_NAMES))
    else:
        density, t1, t2 = np.array(list(TISSUES.values())).T * rng.uniform(0.88, 1.14, (3, len(_NAMES)))
        kinds = {"t1": 0.3, "t2": 0.17, "pd": 0.17, "flair": 0.1, "mprage": 0.1, "stir": 0.06, "gre": 0.1}
        kind = str(rng.choice(list(kinds), p=list(kinds.values())))
        repetition, echo, inversion = {
            "t1": (rng.uniform(0.3, 0.8), rng.uniform(0.008, 0.02), 0.0),
            "t2": (rng.uniform(3, 6), rng.uniform(0.07, 0.12), 0.0),
            "pd": (rng.uniform(2, 4), rng.uniform(0.01, 0.04), 0.0),
            "flair": (rng.uniform(8, 10), rng.uniform(0.08, 0.13), rng.uniform(2.3, 2.8)),
            "mprage": (rng.uniform(1.8, 2.4), rng.uniform(0.002, 0.005), rng.uniform(0.8, 1.1)),
            "stir": (rng.uniform(3, 5), rng.uniform(0.02, 0.06), rng.uniform(0.16, 0.22)),
            "gre": (rng.uniform(0.2, 0.6), rng.uniform(0.005, 0.02), 0.0),
        }[kind]
        recovered = 1 - np.exp(-repetition / t1)
        if inversion:
            recovered = np.abs(1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1))
        table = density * recovered * np.exp(-echo / (0.5 * t2 if kind == "gre" else t2))
        if rng.random() < 0.3:  # fat is saturated
            table[[_INDEX["fat"], _INDEX["marrow"]]] *= rng.uniform(0.05, 0.35)
        table[_INDEX["blood"]] *= rng.choice([0.05, 1.0, 2.0])  # flow void, still, inflow
    table[_INDEX["air"]] = 0.0
    return np.asarray(table / table.max(), np.float32)


def _coloured(labels: Labels, voxel: Lengths, rng: np.random.Generator) -> Floats:
    """Magnitudes: contrast, texture, septa and vessels, lesions, uneven illumination by the coils."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    image = _contrast(rng)[labels]
    coarse = smooth_field(shape, voxel, rng.uniform(10, 30), rng)
    for length_mm, typical in ((1.2, 0.03), (4.0, 0.03)):
        strength = typical * rng.lognormal(-0.3, 0.7, len(_NAMES)).astype(np.float32)
        field = smooth_field(shape, voxel, (2 * length_mm, length_mm, length_mm), rng)
        image *= 1 + strength[labels] * field * (1 + 0.4 * coarse)
    image *= 1 + 0.05 * coarse
    lines = smooth_field(shape, voxel, rng.uniform(5, 14), rng)
    fibrous = np.isin(labels, [_INDEX[name] for name in ("fat", "muscle", "marrow")])
    septa = fibrous & (np.abs(lines) < rng.uniform(0.02, 0.08))
    image[septa] *= rng.uniform(0.4, 1.7)
    across = smooth_field(shape, voxel, rng.uniform(6, 14), rng)
    vessels = (lines**2 + across**2 < rng.uniform(0.004, 0.03)) & (labels > 0)
    image[vessels] *= rng.choice([0.15, 0.6, 1.8, 2.5])
    for _ in range(int(rng.integers(0, 6))):
        _add_lesion(image, voxel, rng)
    uneven = smooth_field(shape, voxel, 110.0, rng) * rng.uniform(0.05, 0.3)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[1:])
    tilt = rng.normal(0, 0.25, 2)
    near = rng.uniform(-0.1, 0.35) * (y[:, None] ** 2 + x**2)  # the coils lie around the body
    illumination = np.exp(uneven + tilt[0] * y[:, None] + tilt[1] * x + near)
    image = np.clip(image, 0, 2.5) * illumination.astype(np.float32)
    blur = rng.uniform(0, 1.1)  # tissue borders oblique to the slice
    return np.asarray(ndimage.gaussian_filter(image, (0, blur, blur), truncate=3.0), np.float32)


def _add_lesion(image: Floats, voxel: Lengths, rng: np.random.Generator) -> None:
    """A spot with a soft border, brighter or darker than where it lies."""
    centre = [rng.uniform(0.15, 0.85) * n for n in image.shape]
    radii = np.exp(rng.uniform(np.log(1.5), np.log(14), 3)) / np.array(voxel)
    radii[0] = max(radii[0], 0.6)
    box = tuple(
        slice(max(0, int(c - 1.3 * r)), min(n, int(c + 1.3 * r) + 2))
        for c, r, n in zip(centre, radii, image.shape, strict=True)
    )
    z, y, x = np.ogrid[box]
    offsets = [(at - c) / r for at, c, r in zip((z, y, x), centre, radii, strict=True)]
    r = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2)
    weight = np.clip((1 - r) / rng.uniform(0.05, 0.6), 0, 1)
    image[box] *= (1 + (rng.uniform(0.2, 2.0) - 1) * weight).astype(np.float32)


def _phase(labels: Labels, voxel: Lengths, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Uneven field, echo off centre, and in some scans fat and air that turn faster than water."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[1:])
    slope = rng.uniform(-1.5, 1.5, 2)
    angle = rng.uniform(0.2, 1.0) * smooth_field(shape, voxel, 70.0, rng) + slope[0] * y[:, None] + slope[1] * x
    if rng.random() < 0.6:
        angle = angle + rng.uniform(0.0, 0.25) * smooth_field(shape, voxel, rng.uniform(8, 25), rng)
    if rng.random() < 0.4:
        fat = np.isin(labels, [_INDEX["fat"], _INDEX["marrow"]])
        angle = angle + np.float32(rng.normal(0, 0.8)) * fat
    if rng.random() < 0.3:
        air = ndimage.gaussian_filter((labels == 0).astype(np.float32), (0, 6 / voxel[1], 6 / voxel[2]), truncate=2.0)
        angle = angle + np.float32(rng.normal(0, 2.0)) * air
    return np.exp(1j * angle).astype(np.complex64)


def _scanned(image: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
    """The centre of k-space, at most half of it along each axis, turned by the coil phase rule, with a little noise."""
    rows, columns = image.shape[1] // 2, image.shape[2] // 2
    kspace: NDArray[np.complexfloating] = fft.fftshift(fft.fft2(image, norm="ortho"), axes=(1, 2))[
        :, rows - rows // 2 : rows - rows // 2 + rows, columns - columns // 2 : columns - columns // 2 + columns
    ]
    y, x = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in (rows, columns))
    if rng.random() < 0.4:  # a scanner that fills up with zeros
        rows_read, columns_read = rng.uniform(0.6, 1.0, 2)
        kspace = kspace * ((y[:, None] <= rows_read) & (x <= columns_read))
    if rng.random() < 0.5:  # and filters against ringing
        strength = rng.uniform(0.0, 0.8)
        rows_kept, columns_kept = (1 - strength * np.sin(np.pi / 2 * k) ** 2 for k in (y, x))
        kspace = kspace * (rows_kept[:, None] * columns_kept)
    found = _to_image(kspace)
    reach = rng.uniform(0.04, 0.12)
    window = np.where(x < reach, np.cos(np.pi / 2 * x / reach) ** 2, 0) * np.cos(np.pi / 2 * y[:, None]) ** 2
    low = _to_image(kspace * window)
    modulus = np.abs(low)
    found = np.asarray(found * np.conj(low) / np.maximum(modulus, 1e-12))
    if rng.random() < 0.4:
        noise = rng.standard_normal((2, *found.shape), dtype=np.float32)
        found = found + np.float32(rng.uniform(0, 0.012) * np.abs(found).max()) * (noise[0] + 1j * noise[1])
    return np.asarray(found, np.complex64)


def _to_image(kspace: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    return np.asarray(fft.ifft2(fft.ifftshift(kspace, axes=(1, 2)), norm="ortho"))


def _low_resolution_percentile(image: NDArray[np.complex64]) -> float:
    """The scale rule: the 99th percentile of the magnitude from 4 % of k-space along each axis, of the whole volume."""
    kspace = fft.fftshift(fft.fft2(image, norm="ortho"), axes=(1, 2))
    half = [max(4, round(0.04 * n)) // 2 for n in image.shape[1:]]
    rows, columns = (n // 2 for n in image.shape[1:])
    low = np.zeros_like(kspace)
    box = (slice(None), slice(rows - half[0], rows + half[0]), slice(columns - half[1], columns + half[1]))
    low[box] = kspace[box]
    return max(float(np.quantile(np.abs(_to_image(low)), 0.99)), 1e-6)
