"""Drawn series to tune on: a walnut that bends and dries, a heart that beats; `dynamic_scoring` draws those to score.

Frames are evaluated on a grid twice as fine and averaged, at any instant: motion is continuous and no frame is a warp
of another frame's pixels. Nothing here derives from a person or a walnut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from recon3d.errors import ConfigError
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

FloatArray = NDArray[np.float64]
Paint = Callable[[FloatArray, FloatArray, float, float], FloatArray]
"""(y, x, z, time) -> values; y, x from -1 to 1 over the field, z from 0 to 1 over the slices, time over the series."""

FINER = 2
STYLES = ("tuning", "scoring")
OBJECTS = ("walnut", "heart")


def draw_series(
    kind: Literal["walnut", "heart"] = "walnut",
    *,
    seed: int = 0,
    style: Literal["tuning", "scoring"] = "tuning",
    shape: tuple[int, int, int] = (1, 128, 128),
    frames: int = 64,
    seconds: float | None = None,
    voxel_mm: float | None = None,
) -> Volume:
    """A drawn series of frames.

    Parameters
    ----------
    kind : "walnut", CT in HU, or "heart", cine MRI magnitudes about 0 to 1
    seed : of the object and its motion
    style : two generators that share no code for the object: tune on one, score on the other
    shape : (z, y, x)
    frames : evenly spaced from the first instant on
    seconds : of the whole series; a walnut takes one second per frame, a heart one beat of 0.9 s by default
    voxel_mm : edge of the voxels; 1 mm for walnuts, 2 mm for hearts by default
    """
    if kind not in OBJECTS or style not in STYLES:
        raise ConfigError(
            f"A series is drawn of {' or '.join(OBJECTS)} for {' or '.join(STYLES)}, got {kind}, {style}."
        )
    if frames < 1 or min(shape) < 1:
        raise ConfigError(f"A series has at least one frame of one voxel, got {frames} frames of {shape}.")
    if style == "scoring":
        from recon3d.synthetic.dynamic_scoring import PAINTERS
    else:
        PAINTERS = {"walnut": _walnut, "heart": _heart}
    paint = PAINTERS[kind](np.random.default_rng(seed))
    length_s = seconds if seconds is not None else frames * 1.0 if kind == "walnut" else 0.9
    data = np.empty((frames, *shape), np.float32)
    for t in range(frames):
        for z in range(shape[0]):
            data[t, z] = _averaged(paint, shape, (z + 0.5) / shape[0], t / frames)
    edge = voxel_mm if voxel_mm is not None else 1.0 if kind == "walnut" else 2.0
    times = tuple(length_s * t / frames for t in range(frames))
    units, modality = ("HU", "CT") if kind == "walnut" else ("1", "MR")
    grid = AffineGrid.patient(shape, edge)
    return Volume(
        data, grid, units, times, {"modality": modality, "generator": f"drawn {kind} ({style})", "seed": seed}
    )


def _averaged(paint: Paint, shape: tuple[int, int, int], z: float, time: float) -> NDArray[np.float32]:
    _, rows, columns = shape
    y, x = (((np.arange(n * FINER) + 0.5) / (n * FINER) * 2 - 1) for n in (rows, columns))
    fine = paint(*np.meshgrid(y, x, indexing="ij"), z, time)
    return fine.reshape(rows, FINER, columns, FINER).mean((1, 3)).astype(np.float32)


class Texture:
    """Smooth noise of unit standard deviation over the square from -1 to 1, wrapped beyond, by cubic splines.

    Parameters
    ----------
    cells : about how many blobs fit into the width
    """

    def __init__(self, cells: int, rng: np.random.Generator) -> None:
        self._cells = cells
        self._coefficients = ndimage.spline_filter(rng.standard_normal((cells, cells)), 3, mode="grid-wrap")

    def __call__(self, y: FloatArray, x: FloatArray) -> FloatArray:
        at = [(a + 1) / 2 * self._cells for a in (y, x)]
        return ndimage.map_coordinates(self._coefficients, at, order=3, mode="grid-wrap", prefilter=False) / 0.75


def _step(distance: FloatArray, width: float = 0.012) -> FloatArray:
    """1 inside (distance < 0), 0 outside, with a soft edge."""
    return 0.5 - 0.5 * np.tanh(distance / width)


def _walnut(rng: np.random.Generator) -> Paint:
    """A shell of uneven radius, a septum and kernel folds; sheared to and fro on both axes while the kernel dries."""
    ridges = [(k, rng.uniform(-1, 1) * 0.05 / math.sqrt(k), rng.uniform(0, 6.3)) for k in (2, 3, 5, 9)]
    folds, fine, grain = Texture(9, rng), Texture(28, rng), Texture(60, rng)
    tilt, cracks = rng.uniform(-0.3, 0.3), Texture(6, rng)
    shear = [
        (rng.uniform(0.02, 0.035), rng.uniform(0.6, 1.1), rng.uniform(0, 6.3), rng.uniform(0.8, 1.2)) for _ in "yx"
    ]
    squeeze = rng.uniform(0.02, 0.04)

    def paint(y: FloatArray, x: FloatArray, z: float, time: float) -> FloatArray:
        moved = []
        for across, along, (size, waves, phase, speed) in ((y, x, shear[0]), (x, y, shear[1])):
            turn = 2 * math.pi * speed * time
            moved.append(across + size * (np.sin(math.pi * waves * along + phase + turn) - np.sin(phase)))
        y, x = moved[0] * (1 + squeeze * math.sin(2 * math.pi * time)), moved[1]
        angle, r = np.arctan2(y, x), np.hypot(y, x)
        rim = (0.80 - 0.04 * (2 * z - 1) ** 2) * (1 + sum(a * np.cos(k * angle + p) for k, a, p in ridges))
        wall = np.abs(x + tilt * y + 0.05 * cracks(y, 0 * y)) - 0.018
        inside = _step(r - 0.86 * rim)
        field = folds(y, x + 0.2 * z) + 0.45 * fine(y, x)
        kernel = inside * _step(-0.1 * (field + 0.45 - 1.4 * np.clip(0.3 - r / rim, 0, 1))) * _step(0.03 - wall)
        shell = _step(r - rim) - inside
        water = 0.04 * math.cos(math.pi * time)  # HU / 1000 that leave the kernel
        density = shell * (1.45 + 0.06 * grain(y, x)) + kernel * (0.95 + water + 0.05 * fine(y, x) + 0.03 * grain(y, x))
        density += inside * (1 - kernel) * _step(wall, 0.008) * 0.9
        return 1000 * (density - 1)

    return paint


def _heart(rng: np.random.Generator) -> Paint:
    """A short-axis view: chest, lungs, liver, both ventricles; the left one thickens as it contracts."""
    cy, cx = rng.uniform(-0.12, -0.02), rng.uniform(0.08, 0.2)
    cavity, thick = rng.uniform(0.15, 0.18), rng.uniform(0.075, 0.095)
    strength, blood, flesh = rng.uniform(0.28, 0.38), rng.uniform(0.85, 0.95), rng.uniform(0.36, 0.44)
    texture, lung, turn = Texture(26, rng), Texture(14, rng), rng.uniform(0.2, 0.5)
    systole = rng.uniform(0.33, 0.40)

    def paint(y: FloatArray, x: FloatArray, z: float, time: float) -> FloatArray:
        beat = time % 1.0
        squeeze = strength * (
            math.sin(math.pi * beat / (2 * systole)) ** 2
            if beat < systole
            else math.cos(math.pi * (beat - systole) / (2 * (1 - systole))) ** 2
        )
        taper = 1 - 0.35 * z
        body = np.hypot(y / 0.82, x / 0.93)
        image = _step(body - 1) * 0.8 - _step(body - 0.93) * 0.42
        for side in (-1, 1):
            air = np.hypot((y + 0.12) / 0.55, (x - side * 0.48) / 0.34)
            image += _step(air - 1, 0.02) * (np.maximum(0.07 + 0.02 * lung(y, x), 0) - image)
        liver = np.maximum(np.hypot((y - 0.55) / 0.3, (x + 0.35) / 0.5) - 1, body - 0.93)
        image += _step(liver, 0.02) * (0.42 + 0.03 * texture(y, x) - image)
        v, u = y - cy - 0.02 * squeeze, x - cx + 0.02 * squeeze
        inner = cavity * taper * (1 - squeeze)
        outer = math.sqrt((cavity * taper + thick) ** 2 - (cavity * taper) ** 2 + inner**2)  # the wall keeps its area
        r = np.hypot(v, u * 0.95)
        right = np.hypot(
            (v + 0.03) / (0.19 * taper * (1 - 0.5 * squeeze)), (u + 0.24) / (0.21 * taper * (1 - 0.8 * squeeze))
        )
        image += _step(right - 1.12, 0.06) * (flesh - image)
        image += _step(right - 1, 0.06) * (blood - image)
        image += _step(r - outer) * (flesh * (1 + 0.05 * texture(v / (1 - squeeze), u / (1 - squeeze))) - image)
        image += _step(r - inner) * (blood - image)
        for angle in (turn, turn + 2.3):  # papillary muscles
            spot = np.hypot(v - 0.62 * inner * math.sin(angle), u - 0.62 * inner * math.cos(angle))
            image += _step(spot - 0.16 * inner) * (flesh - image)
        image += _step(np.hypot(y - 0.30, x - 0.02) - 0.055) * (blood - image)
        return image * (1 + 0.02 * texture(y, x))

    return paint
