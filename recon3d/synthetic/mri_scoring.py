"""Complex MRI of a second style, for scoring only: heads and knees written as implicit surfaces in mm.

It shares no code, number or construction with the training generator: anatomy is signed distances in patient
coordinates, contrast is a table of relative signals, water and fat have phases of their own, and the background phase
comes from air and from long waves. Never train or tune on it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.synthetic.implicit import FloatArray, Points
from recon3d.synthetic.mri_canvas import Canvas
from recon3d.synthetic.scoring_head import draw_head
from recon3d.synthetic.scoring_knee import draw_knee
from recon3d.volume import Volume

Anatomy = Literal["brain", "knee"]

# Relative signal of (water, fat), read off clinical images by eye: what matters is that the order of tissues is right.
_HEAD_SIGNALS = {
    "T1": {
        "skin": (0.42, 0.1), "fat": (0.1, 0.82), "muscle": (0.40, 0.04), "bone": (0.03, 0.01), "diploe": (0.14, 0.38),
        "csf": (0.13, 0), "grey": (0.46, 0), "white": (0.65, 0), "nucleus": (0.52, 0), "pallidum": (0.60, 0),
        "artery": (0.08, 0), "vein": (0.32, 0), "eye": (0.15, 0), "plexus": (0.4, 0), "lesion": (0.34, 0),
    },
    "T1 enhanced": {
        "skin": (0.5, 0.1), "fat": (0.1, 0.75), "muscle": (0.45, 0.04), "bone": (0.03, 0.01), "diploe": (0.2, 0.36),
        "csf": (0.14, 0), "grey": (0.50, 0), "white": (0.62, 0), "nucleus": (0.54, 0), "pallidum": (0.58, 0),
        "artery": (0.75, 0), "vein": (0.98, 0), "eye": (0.16, 0), "plexus": (0.9, 0), "lesion": (0.85, 0),
    },
    "T2": {
        "skin": (0.22, 0.1), "fat": (0.05, 0.5), "muscle": (0.17, 0.03), "bone": (0.02, 0.01), "diploe": (0.1, 0.28),
        "csf": (1.0, 0), "grey": (0.51, 0), "white": (0.35, 0), "nucleus": (0.43, 0), "pallidum": (0.27, 0),
        "artery": (0.04, 0), "vein": (0.1, 0), "eye": (0.95, 0), "plexus": (0.7, 0), "lesion": (0.78, 0),
    },
    "FLAIR": {
        "skin": (0.3, 0.1), "fat": (0.06, 0.55), "muscle": (0.24, 0.03), "bone": (0.02, 0.01), "diploe": (0.12, 0.3),
        "csf": (0.07, 0), "grey": (0.58, 0), "white": (0.43, 0), "nucleus": (0.5, 0), "pallidum": (0.38, 0),
        "artery": (0.06, 0), "vein": (0.13, 0), "eye": (0.1, 0), "plexus": (0.45, 0), "lesion": (0.98, 0),
    },
    "PD": {
        "skin": (0.45, 0.1), "fat": (0.1, 0.7), "muscle": (0.55, 0.04), "bone": (0.03, 0.01), "diploe": (0.2, 0.35),
        "csf": (0.72, 0), "grey": (0.84, 0), "white": (0.66, 0), "nucleus": (0.76, 0), "pallidum": (0.62, 0),
        "artery": (0.07, 0), "vein": (0.2, 0), "eye": (0.75, 0), "plexus": (0.8, 0), "lesion": (0.97, 0),
    },
}  # fmt: skip
_KNEE_SIGNALS = {
    "PD": {
        "skin": (0.35, 0.15), "fat": (0.08, 0.9), "marrow": (0.15, 0.68), "muscle": (0.44, 0.05), "bone": (0.04, 0.01),
        "cartilage": (0.62, 0), "meniscus": (0.08, 0), "ligament": (0.11, 0.02), "fluid": (0.72, 0),
        "vessel": (0.2, 0), "oedema": (0.4, 0.4),
    },
    "PD fat-saturated": {
        "skin": (0.3, 0.02), "fat": (0.06, 0.07), "marrow": (0.12, 0.05), "muscle": (0.42, 0.01), "bone": (0.03, 0),
        "cartilage": (0.72, 0), "meniscus": (0.09, 0), "ligament": (0.12, 0), "fluid": (0.98, 0),
        "vessel": (0.55, 0), "oedema": (0.55, 0.04),
    },
    "T2 fat-saturated": {
        "skin": (0.2, 0.02), "fat": (0.04, 0.06), "marrow": (0.07, 0.04), "muscle": (0.2, 0.01), "bone": (0.02, 0),
        "cartilage": (0.36, 0), "meniscus": (0.05, 0), "ligament": (0.06, 0), "fluid": (1.0, 0),
        "vessel": (0.4, 0), "oedema": (0.5, 0.03),
    },
    "T1": {
        "skin": (0.3, 0.15), "fat": (0.1, 0.88), "marrow": (0.12, 0.7), "muscle": (0.36, 0.05), "bone": (0.03, 0.01),
        "cartilage": (0.42, 0), "meniscus": (0.07, 0), "ligament": (0.09, 0.02), "fluid": (0.2, 0),
        "vessel": (0.12, 0), "oedema": (0.3, 0.2),
    },
}  # fmt: skip
SCORING_CONTRASTS = {"brain": tuple(_HEAD_SIGNALS), "knee": tuple(_KNEE_SIGNALS)}
_STREAM_CONTRAST, _STREAM_PHASE = 900, 910  # beyond the numbers of the parts


def scoring_mri(
    anatomy: Anatomy,
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    seed: int,
    contrast: str | None = None,
) -> Volume:
    """Draw one complex MRI of a random person, for scoring.

    Heads are axial (rows to the back, columns to the person's left, slices upwards), about 190 mm long; knees coronal
    (slices to the back, rows to the foot, columns to the left), about 130 mm wide. The person is a function of
    position in mm: the same seed on a finer grid of the same extent shows the same person more finely. A measurement
    is taken from such a finer volume with `recon3d.synthetic.mri.scan_mri`.

    Parameters
    ----------
    anatomy : "brain" or "knee"
    shape, voxel_mm : (z, y, x)
    seed : not negative; of person, contrast and phase
    contrast : a name of `SCORING_CONTRASTS[anatomy]`; drawn by default

    Returns
    -------
    Volume
        complex64, magnitudes from 0 to about 1, free of noise and coil weighting; its tags name the contrast.

    Raises
    ------
    InputError
        If the anatomy or the contrast is unknown or the seed negative.
    """
    tables = {"brain": _HEAD_SIGNALS, "knee": _KNEE_SIGNALS}.get(anatomy)
    if tables is None:
        raise InputError(f"An anatomy is 'brain' or 'knee', got '{anatomy}'.")
    if seed < 0:
        raise InputError(f"A seed is zero or a positive integer, got {seed}.")
    rng = np.random.default_rng((seed, _STREAM_CONTRAST))
    drawn = str(rng.choice(list(tables)))
    contrast = drawn if contrast is None else contrast
    if contrast not in tables:
        raise InputError(f"A contrast of the {anatomy} is one of {', '.join(tables)}, got '{contrast}'.")
    signals: dict[str, Points] = {
        tissue: np.array(pair) * np.exp(0.06 * rng.standard_normal(2)) for tissue, pair in tables[contrast].items()
    }
    if anatomy == "brain":
        level = rng.uniform(2, 28)  # mm above the lateral ventricles' floor, the middle of the stack
        canvas = Canvas(shape, voxel_mm, (level, rng.uniform(-3, 3), rng.uniform(-3, 3)), seed, signals)
        draw_head(canvas)
        grid = AffineGrid.patient(shape, voxel_mm)
    else:
        canvas = Canvas(shape, voxel_mm, (rng.uniform(-4, 8), rng.uniform(-6, 6), rng.uniform(-3, 3)), seed, signals)
        draw_knee(canvas, fat_saturated="fat-saturated" in contrast)
        grid = _coronal(shape, voxel_mm)
    image = canvas.finished(_phase(canvas), rng.uniform(-0.7, 0.7))
    return Volume(image, grid, tags={"generator": "scoring_mri", "contrast": contrast, "seed": str(seed)})


def _phase(canvas: Canvas) -> FloatArray:
    """Background phase in rad: long waves, a saddle, and the dipoles of air outside and in the sinuses."""
    rng = canvas.rng(_STREAM_PHASE)
    z, y, x = (axis.astype(np.float32) for axis in np.meshgrid(*canvas.axes, indexing="ij", sparse=True))
    phase = np.float32(rng.uniform(-np.pi, np.pi)) + np.float32(rng.uniform(0.3, 0.8)) * canvas.field(
        _STREAM_PHASE + 1, (110.0, 380.0)
    )
    turn = rng.uniform(0, np.pi)
    u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    phase += np.float32(rng.uniform(-0.9, 0.9)) * (u * u - v * v) / np.float32(95**2)
    for _ in range(3):
        at = rng.uniform((-70, -95, -60), (-30, -40, 60))
        dz, dy, dx = z - at[0], y - at[1], x - at[2]
        square = dz**2 + dy**2 + dx**2 + np.float32(20**2)
        phase += np.float32(rng.uniform(-1, 1) * 2.4e4) * (3 * dy**2 / square - 1) / square ** np.float32(1.5)
    return phase.astype(np.float32)


def _coronal(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float]) -> AffineGrid:
    """Slices run to the back, rows to the foot, columns to the left; the centre is the world's origin."""
    z, y, x = voxel_mm
    matrix: NDArray[np.float64] = np.zeros((4, 4))
    matrix[0, 0], matrix[2, 1], matrix[1, 2], matrix[3, 3] = -x, -y, -z, 1
    matrix[:3, 3] = -matrix[:3, :3] @ [(n - 1) / 2 for n in reversed(shape)]
    return AffineGrid(shape, tuple(map(tuple, matrix)))
