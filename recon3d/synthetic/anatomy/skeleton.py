"""Bones with cortex and marrow: spine, ribs, breast bone, shoulder, pelvis and femora."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .shapes import NOT_AIR, Scene, Tissue, only, rotation
from .torso import Torso

_BONE = only(Tissue.CORTEX, Tissue.MARROW)


@dataclass(frozen=True)
class BoneStock:
    """HU of cortex, trabecular bone and cartilage, and the thickness of the cortex in mm."""

    cortex_hu: float
    marrow_hu: float
    cartilage_hu: float
    cortex_mm: float


def draw_bone_stock(rng: np.random.Generator) -> BoneStock:
    """Draw bone from osteoporotic to young and dense."""
    density = rng.uniform(0.0, 1.0)
    return BoneStock(
        float(550 + 700 * density + rng.uniform(-100, 250)),
        float(40 + 230 * density + rng.uniform(-40, 80)),
        float(rng.uniform(60, 120)),
        float(rng.uniform(1.0, 2.2)),
    )


def bone_tube(
    scene: Scene,
    points_mm: np.ndarray,
    radii_mm: np.ndarray | float,
    stock: BoneStock,
    cortex_mm: float,
    marrow_hu: float | None = None,
    bump: tuple[int, float] | None = None,
    over: int = NOT_AIR,
) -> None:
    """Add a tube of bone: cortex, and marrow where it is thick enough."""
    points = np.asarray(points_mm, dtype=float)
    radii = np.broadcast_to(np.asarray(radii_mm, dtype=float), (len(points),))
    scene.tube(points, radii, stock.cortex_hu, Tissue.CORTEX, over=over, bump=bump)
    scene.tube(
        points,
        np.maximum(radii - cortex_mm, 0.3),
        stock.marrow_hu if marrow_hu is None else marrow_hu,
        Tissue.MARROW,
        over=_BONE,
        bump=bump,
    )


def bone_ellipsoid(
    scene: Scene,
    centre_mm: np.ndarray,
    radii_mm: np.ndarray | list[float],
    stock: BoneStock,
    cortex_mm: float,
    turn: np.ndarray | None = None,
    power: float = 2.0,
    bump: tuple[int, float] | None = None,
) -> None:
    """Add an ellipsoid of bone: cortex around marrow."""
    radii = np.asarray(radii_mm, dtype=float)
    scene.ellipsoid(centre_mm, radii, stock.cortex_hu, Tissue.CORTEX, turn=turn, power=power, bump=bump)
    inner = np.maximum(radii - cortex_mm, 0.3)
    scene.ellipsoid(centre_mm, inner, stock.marrow_hu, Tissue.MARROW, turn=turn, power=power, over=_BONE, bump=bump)


def vertebra_levels(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return (z, height with disc, half width of the body) of each vertebra from L5 up to C2, in mm."""
    levels = []
    z = 168.0
    for number in range(23):
        lumbar, thoracic = number < 5, number < 17
        height = 35.0 if lumbar else (31.0 - 0.85 * (number - 5) if thoracic else 16.5)
        half = 24.5 if lumbar else (21.0 - 0.7 * (number - 5) if thoracic else 12.0)
        height *= rng.uniform(0.96, 1.04)
        levels.append((z + height / 2, height, half * rng.uniform(0.92, 1.08)))
        z += height
    return levels


def add_spine(
    scene: Scene, torso: Torso, stock: BoneStock, rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """Add vertebrae with discs, canal, arches and processes; return their levels."""
    levels = vertebra_levels(rng)
    wear = rng.random()
    canal_hu = rng.uniform(5, 35)
    for number, (z, height, half) in enumerate(levels):
        centre = torso.spine(z)
        ahead = torso.spine(z + 4) - torso.spine(z - 4)
        pitch = float(np.arctan2(ahead[1], ahead[2])) + rng.normal(0, 0.02)
        roll = -float(np.arctan2(ahead[0], ahead[2]))
        turn = rotation((pitch, roll, rng.normal(0, 0.03)))
        back = turn.T
        disc = rng.uniform(5, 10) * height / 33 * (1 - 0.5 * wear * rng.random())
        depth = half * rng.uniform(0.68, 0.8)
        body_half = (height - disc) / 2
        plate = float(rng.uniform(0.8, 1.6))

        def place(x: float, y: float, up: float) -> np.ndarray:
            return np.asarray(centre + back @ np.array([x, y, up]))  # noqa: B023 (used in this round only)

        scene.ellipsoid(
            place(0, 0, height / 2),
            (half * 0.98, depth * 0.98, disc * 0.8),
            stock.cartilage_hu,
            Tissue.SOFT,
            turn=turn,
            power=3.0,
        )
        bone_ellipsoid(scene, centre, [half, depth, body_half], stock, plate, turn, 4.0, (2, 0.5))
        # Spurs on worn plates.
        if wear > 0.6 and rng.random() < 0.5:
            side = rng.choice([-1, 1])
            bone_tube(
                scene,
                np.array(
                    [
                        place(side * half * 0.8, -depth * 0.5, body_half),
                        place(side * half * 1.1, -depth * 0.6, body_half + 3),
                    ]
                ),
                3.0,
                stock,
                1.0,
            )
        size = half / 22.0
        canal = depth + 8.5 * size
        neural = 9.0 * size + 2.0
        for side in (-1.0, 1.0):
            pedicle = np.array(
                [
                    place(side * half * 0.6, depth * 0.75, 3),
                    place(side * neural * 1.25, canal, 2),
                    place(side * neural * 1.1, canal + neural * 0.8, -2),
                ]
            )
            bone_tube(scene, pedicle, np.array([5.5, 5.0, 5.0]) * size, stock, 1.4)
            lamina = np.array(
                [place(side * neural * 1.1, canal + neural * 0.8, -2), place(0, canal + neural * 1.45, -8 * size)]
            )
            bone_tube(scene, lamina, np.array([4.5, 3.6]) * size, stock, 1.3)
            reach = (30.0 if number < 17 else 16.0) * size * rng.uniform(0.9, 1.15)
            lift = 2.0 if number < 5 else 6.0
            process = np.array(
                [
                    place(side * neural * 1.3, canal + 3, 1),
                    place(side * (neural + reach), canal + (4 if number < 5 else 14) * size, lift),
                ]
            )
            bone_tube(scene, process, np.array([4.5, 2.8]) * size, stock, 1.2)
            facet = np.array(
                [
                    place(side * neural * 1.45, canal + neural * 0.9, -height * 0.62),
                    place(side * neural * 1.45, canal + neural * 0.7, height * 0.45),
                ]
            )
            bone_tube(scene, facet, np.array([5.0, 4.5]) * size, stock, 1.6)
        drop = -10.0 if number < 5 else -22.0
        spinous = np.array(
            [place(0, canal + neural * 1.4, -6 * size), place(0, canal + neural * 1.4 + 26 * size, drop * size)]
        )
        bone_tube(scene, spinous, np.array([3.2, 4.2]) * size, stock, 1.4)
        scene.tube(
            np.array([place(0, canal, -height * 0.6), place(0, canal, height * 0.6)]), neural * 0.92, -60.0, Tissue.FAT
        )
        scene.tube(
            np.array([place(0, canal, -height * 0.6), place(0, canal, height * 0.6)]),
            neural * 0.78,
            canal_hu,
            Tissue.FLUID,
        )
        if number > 4:
            scene.tube(
                np.array([place(0, canal, -height * 0.6), place(0, canal, height * 0.6)]),
                neural * 0.5,
                38.0,
                Tissue.BRAIN,
            )
    return levels


def add_ribs(
    scene: Scene, torso: Torso, stock: BoneStock, levels: list[tuple[float, float, float]], rng: np.random.Generator
) -> None:
    """Add twelve pairs of ribs with calcified or soft cartilage, the breast bone, collar bones and shoulder blades."""
    cartilage_hu = stock.cartilage_hu + (rng.uniform(100, 400) if rng.random() < 0.3 else 0.0)
    slope = rng.uniform(0.75, 1.15)
    for number in range(12):
        level = levels[5 + number][0]
        order = 11 - number  # 0 is the first rib
        reach = [0.80, 0.82, 0.84, 0.84, 0.83, 0.8, 0.76, 0.70, 0.62, 0.53, 0.40, 0.28][order] * np.pi
        drop = [45, 60, 75, 88, 98, 105, 110, 110, 100, 85, 60, 35][order] * slope
        thick = rng.uniform(3.6, 5.0) if order else 4.0
        for side in (-1.0, 1.0):
            along = np.linspace(0.12 * np.pi, 0.12 * np.pi + reach, 22)
            fall = level - drop * ((along - along[0]) / np.pi) ** 1.1 + rng.normal(0, 1.0)
            inset = 0.62 * float(torso.row("side", level)) if order else 30.0
            inset = float(np.clip(inset, 6.0, 14.0 if order > 1 else 45.0))
            points = torso.surface(np.pi + side * along, fall, inset)
            head = torso.spine(level) + np.array([side * levels[5 + number][2] * 1.1, 14.0, 8.0])
            points = np.concatenate([[head], points])
            radii = np.linspace(thick, thick * 1.1, len(points))
            bone_tube(scene, points, radii, stock, rng.uniform(0.9, 1.6), stock.marrow_hu * rng.uniform(0.5, 1.4))
            if order < 10:
                bend = np.linspace(along[-1], 0.97 * np.pi, 7)
                rise = fall[-1] + (np.linspace(0, 1, 7) ** 1.5) * drop * 0.35
                points = torso.surface(np.pi + side * bend, rise, inset)
                scene.tube(points, thick * 1.15, cartilage_hu, Tissue.SOFT)
    heights = np.linspace(470, 610, 8)
    points = torso.surface(np.zeros(8), heights, float(np.clip(torso.row("front", 520.0) * 0.6, 7, 12)))
    for x in (-9.0, 0.0, 9.0):
        bone_tube(scene, points + [x, 0, 0], 6.0, stock, 1.1, stock.marrow_hu * 0.7)
    for side in (-1.0, 1.0):
        top = float(torso.row("half_width", 620.0))
        y = float(torso.row("y", 620.0))
        collar = np.array(
            [[side * 15, y - 62, 615], [side * 60, y - 58, 625], [side * 110, y - 25, 640], [side * top, y - 5, 640]]
        )
        bone_tube(scene, collar, np.array([8, 6, 6, 7.0]), stock, 1.8)
        lateral = side * top * 0.92
        blade = rotation((0.15, side * 0.25, side * rng.uniform(0.45, 0.75)))
        bone_ellipsoid(scene, np.array([side * top * 0.62, y + 62, 560]), [42, 3.4, 65], stock, 1.2, blade, 2.5)
        bone_tube(
            scene,
            np.array([[side * top * 0.45, y + 72, 590], [side * top * 0.85, y + 52, 622], [lateral, y + 15, 632]]),
            np.array([4, 6, 8.0]),
            stock,
            1.5,
        )
        head = np.array([lateral + side * 10, y + 5, 612])
        bone_tube(scene, np.array([head + [-side * 28, 12, -6], head + [-side * 24, 10, 2]]), 11, stock, 1.6)
        bone_ellipsoid(scene, head, [23, 23, 23], stock, 1.5)


def add_pelvis(scene: Scene, torso: Torso, stock: BoneStock, rng: np.random.Generator) -> None:
    """Add sacrum, iliac wings, acetabula, pubis, ischia and femora."""
    base = torso.spine(170.0)
    for step in range(5):
        along = step / 4
        centre = base + np.array([0, 14 + 40 * np.sin(along * 1.7), -6 - 95 * along])
        half = 42 * (1 - 0.66 * along)
        turn = rotation((-0.6 + 1.3 * along, 0, 0))
        bone_ellipsoid(scene, centre, [half, 15 - 8 * along, 16], stock, 1.3, turn, 2.6, (2, 0.8))
        for side in (-1.0, 1.0):
            scene.tube(
                np.array([centre + [side * half * 0.45, -9, 0], centre + [side * half * 0.5, 10, -4]]),
                3.5 - 2 * along,
                -50.0,
                Tissue.FAT,
            )
        scene.tube(np.array([centre + [0, 9, 10], centre + [0, 9, -14]]), max(7 - 6 * along, 1.5), 5.0, Tissue.FLUID)
    width = rng.uniform(0.92, 1.08)
    y0 = float(torso.row("y", 100.0))
    for side in (-1.0, 1.0):

        def at(x: float, y: float, z: float) -> np.ndarray:
            return np.array([side * x * width, y0 + y, z])  # noqa: B023 (used in this round only)

        # The wing: a fan of tubes from the hip socket to the crest makes a thin curved plate.
        crest = np.array(
            [
                at(*p)
                for p in (
                    (62, 62, 150),
                    (82, 50, 195),
                    (102, 28, 214),
                    (118, -2, 212),
                    (122, -30, 190),
                    (112, -48, 160),
                    (104, -52, 135),
                )
            ]
        )
        socket = at(86, 2, 78)
        fan_from, fan_to = [], []
        for a, b in pairwise(crest):
            for t in np.linspace(0, 1, 8, endpoint=False):
                fan_from.append(socket + (a + t * (b - a) - socket) * 0.15 + [0, 0, 8])
                fan_to.append(a + t * (b - a))
        starts, ends = np.array(fan_from), np.array(fan_to)
        middle = (starts + ends) / 2 - np.array([side * 9.0, 0, 0])
        thick = np.full(len(starts), rng.uniform(3.6, 5.2))
        for first, last, r0, r1 in ((starts, middle, thick * 1.9, thick * 0.8), (middle, ends, thick * 0.8, thick)):
            scene.segments(first, last, r0, r1, stock.cortex_hu, Tissue.CORTEX)
        for first, last, r0, r1 in ((starts, middle, thick * 1.9, thick * 0.8), (middle, ends, thick * 0.8, thick)):
            scene.segments(first, last, r0 - 1.4, np.maximum(r1 - 1.4, 0.3), stock.marrow_hu, Tissue.MARROW, over=_BONE)
        bone_tube(scene, crest, 7.0, stock, 1.2)
        bone_tube(
            scene,
            np.array([at(44, 68, 130), at(62, 60, 145), at(80, 40, 110), at(84, 20, 92)]),
            np.array([9, 12, 13, 16.0]),
            stock,
            1.5,
        )
        hip = at(90, -2, 72)
        bone_ellipsoid(scene, hip, [31, 31, 31], stock, 1.6)
        bone_tube(
            scene,
            np.array([at(72, -14, 80), at(45, -38, 70), at(16, -50, 52), at(6, -50, 45)]),
            np.array([12, 7, 8, 11.0]),
            stock,
            1.5,
        )
        bone_tube(
            scene,
            np.array([at(8, -50, 42), at(26, -32, 20), at(50, 12, 2), at(58, 24, 4)]),
            np.array([8, 6, 8, 12.0]),
            stock,
            1.5,
        )
        bone_tube(
            scene, np.array([at(58, 24, 4), at(72, 26, 40), at(84, 18, 66)]), np.array([14, 13, 16.0]), stock, 1.6
        )
        # The joint, then head, neck, trochanter and shaft of the femur.
        out = hip + [side * 9, -2, -4]
        scene.ellipsoid(out, (27, 27, 27), stock.cartilage_hu, Tissue.SOFT)
        knee = at(82, 5, -440)
        shaft = np.array(
            [
                out + [side * 34, 6, -30],
                out + [side * 40, 4, -60],
                at(112, 0, -70),
                0.5 * (at(112, 0, -70) + knee),
                knee,
            ]
        )
        trochanter = out + [side * 44, 12, -6]
        neck = np.array([out, out + [side * 22, 4, -14], out + [side * 36, 8, -24]])
        bone_tube(scene, np.array([trochanter, shaft[0]]), np.array([14, 18.0]), stock, 1.4, stock.marrow_hu * 0.6)
        thick_mm = rng.uniform(3.5, 6.5)
        scene.tube(shaft, np.array([18, 16, 14, 13, 20.0]), stock.cortex_hu * 1.15, Tissue.CORTEX)
        scene.tube(neck, np.array([24, 16, 17.0]), stock.cortex_hu, Tissue.CORTEX)
        scene.ellipsoid(out, (24, 24, 24), stock.cortex_hu, Tissue.CORTEX)
        scene.tube(
            shaft,
            np.array([16.5, 16 - thick_mm * 0.7, 14 - thick_mm, 13 - thick_mm, 17]),
            rng.uniform(-80, 40),
            Tissue.MARROW,
            over=_BONE,
        )
        scene.tube(neck, np.array([22, 13.5, 15.5]), stock.marrow_hu * 1.1, Tissue.MARROW, over=_BONE)
        scene.ellipsoid(out, (22.4, 22.4, 22.4), stock.marrow_hu * 1.4, Tissue.MARROW, over=_BONE)
    scene.ellipsoid((0, y0 - 50, 46), (4, 9, 16), stock.cartilage_hu, Tissue.SOFT)
