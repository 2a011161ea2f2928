"""Lungs with airways and vessels, heart and mediastinum, and breasts."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

import numpy as np

from .contrast import Contrast
from .shapes import NOT_AIR, Scene, Tissue, only, rotation
from .torso import Torso
from .tubes import branches

_CAVITY = only(Tissue.CAVITY)
_LUNG = only(Tissue.LUNG)


def add_chest(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    """Add heart, great vessels, trachea and bronchi, oesophagus, pulmonary vessels, nodules and consolidations."""
    y0, depth = float(torso.row("y", 480.0)), float(torso.row("half_depth", 480.0))
    dome = float(torso.shape[9] + torso.shape[10])
    wide = only(Tissue.CAVITY, Tissue.LUNG, Tissue.SOFT, Tissue.BLOOD, Tissue.FLUID)
    for _ in range(rng.integers(6, 25)):  # nodes and strands in mediastinal fat
        at = np.array([rng.normal(0, 22), y0 + rng.normal(0, 30), rng.uniform(440, 620)])
        scene.ellipsoid(at, rng.uniform(2, 6, 3), rng.uniform(20, 90), Tissue.SOFT, over=_CAVITY)
    size = rng.uniform(0.85, 1.2)
    heart = np.array([rng.uniform(18, 38), y0 - depth * rng.uniform(0.22, 0.38), dome + rng.uniform(15, 35)])
    turn = rotation((0.3, 0.35, rng.uniform(0.4, 0.85)))
    muscle = rng.uniform(40, 60) + 0.35 * (contrast.vein_hu - 40)
    scene.ellipsoid(
        heart, np.array([64, 49, 52]) * size, rng.uniform(-100, -60), Tissue.CAVITY, turn=turn, over=wide, bump=(0, 2.0)
    )
    scene.ellipsoid(heart, np.array([59, 44, 47]) * size, muscle, Tissue.SOFT, turn=turn, over=wide, bump=(1, 1.5))
    mix = rng.uniform(0, 1)
    right_hu = contrast.vein_hu * mix + contrast.artery_hu * (1 - mix)
    own = turn.T
    for offset, radii, hu in (
        ((22, 13, -6), (29, 19, 24), contrast.artery_hu),
        ((14, -17, -10), (35, 14, 28), right_hu),
        ((-32, -12, -2), (20, 24, 27), right_hu),
        ((-22, 21, 14), (25, 17, 22), contrast.artery_hu),
    ):
        scene.ellipsoid(
            heart + own @ (np.array(offset) * size),
            np.array(radii) * size,
            hu,
            Tissue.BLOOD,
            turn=turn,
            over=only(Tissue.SOFT),
            bump=(1, 1.5),
        )
    top = heart + [-12, 2, 45]
    spine = torso.spine(560.0)
    arch = np.array(
        [
            heart + [-6, 0, 15],
            top,
            [-14, y0 - 22, 565],
            [-2, y0 - 14, 592],
            [14, y0 + 8, 596],
            [26, spine[1] - 28, 578],
            [26, spine[1] - 32, 545],
        ]
    )
    calibre = rng.uniform(11, 17)
    scene.tube(arch, calibre + 1.2, 45.0, Tissue.SOFT, over=wide)
    scene.tube(arch, calibre, contrast.artery_hu, Tissue.BLOOD, over=wide)
    for x, y in ((-14.0, -14.0), (2.0, -4.0), (16.0, 6.0)):
        scene.tube(
            np.array([[x, y0 + y, 590], [1.8 * x, y0 + y - 3, 640], [2.4 * x, y0 + y, 720]]),
            rng.uniform(3.5, 5.5),
            contrast.artery_hu,
            Tissue.BLOOD,
        )
    vein_hu = contrast.vein_hu + (rng.uniform(100, 700) if rng.random() < 0.25 else 0)
    scene.tube(
        np.array([heart + [-42, 5, 20], [-32, y0 - 12, 560], [-30, y0 - 22, 610], [-45, y0 - 24, 650]]),
        rng.uniform(7, 10),
        vein_hu,
        Tissue.BLOOD,
        over=wide,
    )
    trunk = np.array([heart + [8, -12, 30], [14, y0 - 14, 545], [2, y0 + 6, 548]])
    scene.tube(trunk, rng.uniform(11, 15), right_hu, Tissue.BLOOD, over=wide)
    carina = np.array([0, y0 + 18, 560.0])
    for side in (-1.0, 1.0):
        hilum = np.array([side * 42, y0 + 12, 530])
        scene.tube(
            np.array([[6, y0 + 4, 548], hilum + [0, -6, 6]]), rng.uniform(8, 11), right_hu, Tissue.BLOOD, over=wide
        )
        for _ in range(5):
            scene.ellipsoid(
                hilum + rng.normal(0, 9, 3),
                rng.uniform(4, 9, 3),
                rng.uniform(30, 80),
                Tissue.SOFT,
                over=only(Tissue.CAVITY, Tissue.LUNG),
            )
        for heading in (
            (side, 0.1, 0.2),
            (side * 0.5, 1.0, -0.3),
            (side * 0.5, -1.0, 0.4),
            (side, -0.5, 0.9),
            (side, 0.7, 0.6),
            (side, -0.8, -0.3),
            (side, 0.7, -0.6),
            (side * 0.6, 0.3, -1.2),
            (side * 0.6, -0.2, 1.2),
            (side * 0.8, -0.5, -1.0),
        ):
            hu = right_hu if rng.random() < 0.5 else contrast.artery_hu
            tree = branches(
                hilum + rng.normal(0, 6, 3), np.array(heading), rng.uniform(3.2, 4.8), 25, 9, rng, 0.65, 0.79
            )
            scene.segments(*tree, max(hu * 0.9, 35), Tissue.BLOOD, over=_LUNG)
        for heading in ((side, 0.1, -0.9), (side, -0.3, 0.6)):
            tree = branches(hilum, np.array(heading), 4.5, 26, 5, rng, 0.5, 0.75)
            scene.segments(tree[0], tree[1], tree[2] + 1.1, tree[3] + 1.0, -50.0, Tissue.SOFT, over=_LUNG)
            scene.segments(*tree, -960.0, Tissue.GAS, over=only(Tissue.SOFT, Tissue.LUNG))
        main = np.array([carina, hilum + [side * 4, 4, -2]])
        scene.tube(main, 8.0, 40.0, Tissue.SOFT, over=wide)
        scene.tube(main, 6.2, -980.0, Tissue.GAS, over=wide)
        if rng.random() < 0.35:
            for _ in range(rng.integers(1, 5)):
                at = hilum + [side * rng.uniform(20, 90), rng.normal(10, 40), rng.normal(-20, 60)]
                dense = rng.uniform(-500, 60)
                scene.ellipsoid(
                    at,
                    rng.uniform(4, 35) * rng.uniform(0.6, 1.3, 3),
                    dense,
                    Tissue.LUNG if dense < -100 else Tissue.SOFT,
                    over=_LUNG,
                    bump=(1, 5.0),
                    opacity=rng.uniform(0.4, 1),
                )
        if rng.random() < 0.3:  # plate-like collapse and scars
            for _ in range(rng.integers(1, 5)):
                at = hilum + [side * rng.uniform(20, 80), rng.normal(20, 40), rng.normal(-60, 40)]
                scene.box(
                    at,
                    (rng.uniform(10, 35), rng.uniform(10, 35), rng.uniform(0.6, 2)),
                    20.0,
                    Tissue.SOFT,
                    turn=rotation(rng.normal(0, 0.6, 3)),
                    over=_LUNG,
                    bump=(2, 1.0),
                )
    windpipe = np.array([carina, [0, y0 + 8, 610], [0, y0 - 4, 660], [0, -18, 740]])
    scene.tube(windpipe, 10.5, 55.0, Tissue.SOFT)
    scene.tube(windpipe, rng.uniform(7, 9.2), -995.0, Tissue.GAS)
    gullet = np.array([[6, y0 + 24, 640], [8, y0 + 30, 560], [14, y0 + 28, 470], [24, y0 + 10, dome - 10]])
    scene.tube(gullet, rng.uniform(5, 9), contrast.wall_hu, Tissue.SOFT, over=wide, bump=(2, 1.0))
    if rng.random() < 0.4:
        scene.tube(gullet, rng.uniform(1.5, 4), -800.0, Tissue.GAS, over=only(Tissue.SOFT), bump=(2, 1.0))
    for side in (-1.0, 1.0):  # thyroid and neck vessels
        scene.ellipsoid(
            (side * 17, y0 - 10, 672),
            (11, 12, 24),
            rng.uniform(80, 130) + 0.3 * (contrast.vein_hu - 40),
            Tissue.SOFT,
            bump=(2, 1.0),
        )
        scene.tube(
            np.array([[side * 28, y0 - 12, 645], [side * 32, -5, 780]]),
            rng.uniform(5, 8),
            contrast.vein_hu,
            Tissue.BLOOD,
        )
        scene.tube(
            np.array([[side * 28, y0 - 40, 640], [side * 30, y0 + 5, 760]]), rng.uniform(7, 11), 55.0, Tissue.MUSCLE
        )


def add_breasts(scene: Scene, torso: Torso, rng: np.random.Generator) -> None:
    """Add fatty breasts with glandular strands in front of the chest (paint before the trunk)."""
    y0, depth = float(torso.row("y", 480.0)), float(torso.row("half_depth", 480.0))
    size = rng.uniform(0.5, 1.4)
    anywhere = NOT_AIR | 1
    for side in (-1.0, 1.0):
        at = np.array([side * rng.uniform(65, 85), y0 - depth - 5, 475 + rng.normal(0, 10)])
        radii = np.array([56, 42, 50]) * size
        scene.ellipsoid(at, radii + 2, 15.0, Tissue.SKIN, over=anywhere)
        scene.ellipsoid(at, radii, -100.0, Tissue.FAT, over=anywhere)
        gland = branches(at + [0, -radii[1] * 0.7, 0], np.array([0, 1.0, 0]), 4.0, 0.35 * radii[1], 6, rng, 1.0, 0.9)
        scene.segments(*gland, rng.uniform(0, 50), Tissue.SOFT, over=only(Tissue.FAT))
