"""The trunk as nested layers from neck to thighs: skin, fat, muscle, abdominal cavity and lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.interpolate import PchipInterpolator

from .shapes import Canvas, Tissue

_Z0_MM, _Z1_MM, _STEP_MM = -460.0, 780.0, 10.0
_KNOTS_MM = [-460, -100, 0, 60, 120, 200, 280, 380, 480, 560, 615, 655, 700, 780]
# Typical adult, in mm: half width and half depth of the lean body; muscle in front, at the side, at the back.
_TYPICAL = {
    "half_width": [60, 150, 155, 150, 142, 132, 128, 138, 148, 150, 172, 100, 56, 56],
    "half_depth": [60, 90, 92, 92, 92, 90, 90, 98, 104, 98, 80, 66, 58, 58],
    "front": [40, 40, 25, 12, 9, 9, 9, 8, 10, 16, 20, 20, 15, 15],
    "side": [60, 60, 60, 50, 26, 16, 14, 10, 11, 24, 60, 30, 15, 15],
    "back": [80, 80, 60, 50, 45, 40, 38, 32, 28, 28, 30, 30, 25, 25],
}
# The compiled kernel takes plain integers.
_SKIN, _FAT, _MUSCLE, _CAVITY, _LUNG, _FLUID = (
    int(t) for t in (Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.CAVITY, Tissue.LUNG, Tissue.FLUID)
)
_ROWS = 10  # half_width, half_depth, front, side, back, fat, shift x, shift y, leg radius, leg offset


@dataclass(frozen=True)
class Torso:
    """One random trunk: tables every 10 mm along z and shape numbers.

    Attributes
    ----------
    table : float32 (10, n): half width and depth of the lean body, muscle thickness in front, at the side
        and back, fat thickness, centre x and y, leg radius and leg offset, all in mm.
    shape : float32 (16,): outline power and harmonics, fat harmonics, diaphragm and mediastinum, see `draw_torso`.
    """

    table: np.ndarray
    shape: np.ndarray

    def row(self, name: str, z_mm: float | np.ndarray) -> np.ndarray:
        """Return a table row at z by linear interpolation."""
        names = ("half_width", "half_depth", "front", "side", "back", "fat", "x", "y", "leg", "leg_x")
        heights = _Z0_MM + _STEP_MM * np.arange(self.table.shape[1])
        return np.asarray(np.interp(z_mm, heights, self.table[names.index(name)]))

    def surface(self, angle_rad: np.ndarray, z_mm: np.ndarray, inset_mm: float) -> np.ndarray:
        """Return points (n, 3) `inset_mm` inside the lean outline; angle 0 is the front, pi / 2 the left side."""
        sine, cosine = np.sin(angle_rad), np.cos(angle_rad)
        width, depth = self.row("half_width", z_mm), self.row("half_depth", z_mm)
        power = self.shape[0]
        radius = (np.abs(sine / width) ** power + np.abs(cosine / depth) ** power) ** (-1 / power)
        radius = radius * _outline(cosine, sine, self.shape) - inset_mm
        return np.stack([self.row("x", z_mm) + radius * sine, self.row("y", z_mm) - radius * cosine, z_mm], axis=1)

    def spine(self, z_mm: float | np.ndarray) -> np.ndarray:
        """Return the centre (x, y, z) of the vertebral bodies at z."""
        z = np.asarray(z_mm, dtype=float)
        y = self.row("y", z) + self.row("half_depth", z) * 0.40 - 6.0 * np.sin((z - 150.0) / 160.0)
        sideways = self.shape[14] * np.sin((z - 100.0) / 120.0)
        return np.stack([self.row("x", z) + sideways, y, z], axis=-1)


@njit(cache=True)
def _outline(cosine, sine, shape):  # type: ignore[no-untyped-def]
    """Radial factor of the lean outline at a direction: low harmonics and the groove over the spine."""
    wide = cosine * cosine - sine * sine
    groove = (
        shape[5] * np.exp(-((sine / np.float32(0.22)) ** 2)) * (np.float32(0.5) - np.float32(0.5) * np.sign(cosine))
    )
    return (
        np.float32(1.0)
        + shape[1] * cosine
        + shape[2] * wide
        + shape[3] * cosine * (np.float32(2.0) * wide - np.float32(1.0))
        + shape[4] * sine
        - groove
    )


def draw_torso(rng: np.random.Generator) -> Torso:
    """Draw a trunk: child-like to stout, lean to obese, flat to round."""
    heights = np.arange(_Z0_MM, _Z1_MM + 1, _STEP_MM)
    table = np.zeros((_ROWS, len(heights)), dtype=np.float32)
    knots = np.array(_KNOTS_MM, dtype=float)
    for index, (name, typical) in enumerate(_TYPICAL.items()):
        spread = 0.05 if name.startswith("half") else 0.18
        values = np.array(typical) * (1 + spread * rng.standard_normal(len(knots)))
        table[index] = PchipInterpolator(knots, values)(heights)
    table[1] *= rng.uniform(0.85, 1.2)
    table[2:5] *= rng.uniform(0.65, 1.25)
    fat = np.clip(rng.lognormal(2.4, 0.65), 2.0, 55.0)
    fat_profile = np.array([0.9, 1.0, 1.3, 1.4, 1.3, 1.15, 1.0, 0.75, 0.6, 0.6, 0.7, 0.6, 0.4, 0.4])
    table[5] = PchipInterpolator(knots, fat * fat_profile * (1 + 0.15 * rng.standard_normal(len(knots))))(heights)
    table[6] = PchipInterpolator(knots, 4 * rng.standard_normal(len(knots)))(heights)
    table[7] = PchipInterpolator(knots, 4 * rng.standard_normal(len(knots)))(heights)
    legs = np.array([50, 74, 84, 88, 60] + [40] * (len(knots) - 5)) * rng.uniform(0.85, 1.15)
    table[8] = PchipInterpolator(knots, legs)(heights)
    table[9] = PchipInterpolator(knots, np.array([75, 84, 80, 78, 60] + [50] * (len(knots) - 5)) + rng.uniform(0, 14))(
        heights
    )
    shape = np.zeros(16, dtype=np.float32)
    shape[0] = rng.uniform(2.0, 2.8)
    shape[1:5] = rng.normal(0, [0.03, 0.04, 0.02, 0.02])
    shape[5] = rng.uniform(0.0, 0.07)
    shape[6:9] = rng.normal(0, [0.25, 0.3, 0.1])  # fat: front to back, front and back to sides, left to right
    shape[9] = rng.uniform(330, 400)  # level of the costophrenic recess
    shape[10] = rng.uniform(60, 110)  # height of the domes
    shape[11] = rng.uniform(-12, 8)  # left dome against the right
    shape[12] = rng.uniform(22, 38)  # half width of the mediastinum
    shape[13] = rng.uniform(0.4, 1.8)  # how marked the fat planes in muscle are
    shape[14] = rng.normal(0, 4)  # scoliosis
    shape[15] = (
        rng.uniform(-0.3, 0.8) if rng.random() < 0.25 else -9.0
    )  # pleural effusion: relative height of its level
    return Torso(table, shape)


def paint_torso(canvas: Canvas, torso: Torso, levels_hu: dict[str, float]) -> None:
    """Paint the layers; `levels_hu` gives skin, fat, muscle, visceral fat, lung, effusion and blanket,
    and the gap in mm between skin and blanket (negative: none)."""
    levels = np.array(
        [
            levels_hu[name]
            for name in ("skin", "fat", "muscle", "visceral", "lung", "effusion", "blanket", "blanket_gap_mm")
        ],
        dtype=np.float32,
    )
    _paint_layers(
        canvas.hu,
        canvas.tissue,
        canvas.body_mm,
        canvas.bumps,
        torso.table,
        torso.shape,
        levels,
        np.float32(canvas.edge_mm),
    )


@njit(cache=True)
def _cover(distance, edge):  # type: ignore[no-untyped-def]
    return min(max(np.float32(0.5) - distance / edge, np.float32(0.0)), np.float32(1.0))


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _paint_layers(
    hu: np.ndarray,
    tissue: np.ndarray,
    body: np.ndarray,
    bumps: np.ndarray,
    table: np.ndarray,
    shape: np.ndarray,
    levels: np.ndarray,
    edge: float,
) -> None:
    one, zero = np.float32(1.0), np.float32(0.0)
    row = np.zeros(10, dtype=np.float32)
    for k in range(hu.shape[0]):
        for j in range(hu.shape[1]):
            for i in range(hu.shape[2]):
                z = body[2, k, j, i]
                at = (z - np.float32(-460.0)) / np.float32(10.0)
                if at < zero or at > table.shape[1] - 2:
                    continue
                cell = int(at)
                part = at - np.float32(cell)
                for n in range(10):
                    row[n] = table[n, cell] + part * (table[n, cell + 1] - table[n, cell])
                x, y = body[0, k, j, i] - row[6], body[1, k, j, i] - row[7]
                rho = np.sqrt(x * x + y * y) + np.float32(1e-3)
                if rho > np.float32(330.0):
                    continue
                cosine, sine = -y / rho, x / rho
                b0, b1, b2 = bumps[0, k, j, i], bumps[1, k, j, i], bumps[2, k, j, i]
                ux, uy = abs(x) / row[0], abs(y) / row[1]
                level = (ux ** shape[0] + uy ** shape[0]) ** (one / shape[0]) + np.float32(1e-4)
                trunk = rho - rho / level * _outline(cosine, sine, shape)
                away = np.float32(-25.0) - z
                trunk = max(trunk, away)
                lean = trunk
                if z < np.float32(60.0):
                    lx = abs(x) - row[9]
                    leg = np.sqrt(lx * lx + y * y * np.float32(0.85)) - row[8]
                    blend = min(max(np.float32(0.5) + (trunk - leg) / np.float32(40.0), zero), one)
                    lean = trunk + blend * (leg - trunk) - np.float32(20.0) * blend * (one - blend)
                lean += b1 * np.float32(0.8)
                wide = cosine * cosine - sine * sine
                fat = row[5] * max(
                    one + shape[6] * cosine + shape[7] * wide + shape[8] * sine + np.float32(0.15) * b0,
                    np.float32(0.15),
                )
                outer = _cover(lean - fat - np.float32(1.8), edge)
                if outer <= zero:
                    gap = levels[7] * (one + np.float32(0.55) * b0 + np.float32(0.25) * b1 + np.float32(0.3) * cosine)
                    sheet = _cover(abs(lean - fat - gap) - np.float32(0.8), edge)
                    if gap > zero and sheet > zero and tissue[k, j, i] == 0:
                        hu[k, j, i] += sheet * (levels[6] - hu[k, j, i])
                    continue
                value = hu[k, j, i] + outer * (levels[0] - hu[k, j, i])
                label = _SKIN
                inner = _cover(lean - fat, edge)
                value += inner * (levels[1] - value)
                if inner > np.float32(0.5):
                    label = _FAT
                deep = _cover(lean + np.float32(0.6) * b2, edge)
                if deep > zero:
                    value += deep * (levels[2] - value)
                    if deep > np.float32(0.5):
                        label = _MUSCLE
                    front, back = max(cosine, zero), max(-cosine, zero)
                    deep_back = back * back * back * back
                    wall = row[2] * front * front + row[4] * deep_back + row[3] * (one - front * front - deep_back)
                    wall *= one + np.float32(0.12) * b0
                    # Planes of fat between the muscles: layers of the wall, and level sets of a smooth field.
                    plane = abs(np.float32(0.8) * b0 + np.float32(0.5) * b1) * np.float32(14.0) - shape[13]
                    layer = abs(lean + wall * np.float32(0.5)) - np.float32(0.5) * shape[13] * (one + b0)
                    plane = min(plane, layer)
                    streak = _cover(plane, edge) * deep * np.float32(0.75)
                    if lean > np.float32(-1.5):
                        streak = zero
                    value += streak * (levels[1] - value)
                    floor = np.float32(25.0) - z + np.float32(0.25) * rho
                    hollow = max(max(trunk + np.float32(0.8) * b1, lean) + wall, floor)
                    roof = z - np.float32(640.0)
                    inside = _cover(max(hollow, roof), edge)
                    if inside > zero:
                        value += inside * (levels[3] - value)
                        if inside > np.float32(0.5):
                            label = _CAVITY
                        side = (abs(x) - np.float32(72.0)) / np.float32(82.0)
                        ahead = (y + np.float32(10.0)) / np.float32(95.0)
                        dome = shape[9] + shape[10] * (one - side * side - ahead * ahead) + np.float32(5.0) * b0
                        if x > zero:
                            dome += shape[11]
                        middle = shape[12] + np.float32(7.0) * b0 + np.float32(3.0) * b1
                        if z < np.float32(540.0):
                            middle += (np.float32(540.0) - z) * np.float32(0.08)
                        # The mediastinum is wide at the spine, narrow behind the breast bone.
                        middle *= one - np.float32(0.55) * front * front
                        air = max(max(dome - z, middle - abs(x)), hollow + np.float32(1.5))
                        air = max(air, z - np.float32(625.0) + np.float32(0.004) * (abs(x) - np.float32(60.0)) ** 2)
                        lung = _cover(air, edge)
                        if lung > zero:
                            fill = levels[4] + np.float32(0.45) * y
                            fluid = _cover(shape[15] * np.float32(90.0) - y, edge)
                            if shape[15] > np.float32(-5.0) and fluid > zero and z < np.float32(560.0):
                                fill += fluid * (levels[5] - fill)
                                if fluid > np.float32(0.5) and lung > np.float32(0.5):
                                    label = _FLUID
                            else:
                                fluid = zero
                            value += lung * (fill - value)
                            if lung > np.float32(0.5) and fluid <= np.float32(0.5):
                                label = _LUNG
                hu[k, j, i] = value
                if outer > np.float32(0.5):
                    tissue[k, j, i] = label
