"""Solid organs and great vessels of the abdomen, and the organs of the pelvis."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

import numpy as np

from .contrast import Contrast
from .gut import add_gut, add_mesentery, add_stomach
from .shapes import INSIDE, NOT_AIR, Scene, Tissue, only, rotation
from .torso import Torso
from .tubes import branches

_CAVITY = only(Tissue.CAVITY)
_UNDER_DOME = INSIDE & ~only(Tissue.LUNG)  # the lung lies on the dome of liver and spleen


def add_abdomen(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    """Add liver, gall bladder, spleen, stomach, pancreas, kidneys, great vessels, gut and mesenteric vessels."""
    dome = float(torso.shape[9] + torso.shape[10])
    width, depth, y0 = (float(torso.row(n, 350.0)) for n in ("half_width", "half_depth", "y"))
    size = rng.uniform(0.85, 1.15)

    if rng.random() < 0.12:  # ascites
        scene.ellipsoid(
            (0, y0 - 10, 200),
            (width, depth, 220),
            rng.uniform(0, 20),
            Tissue.FLUID,
            over=_CAVITY,
            opacity=rng.uniform(0.7, 1),
        )
    for side in (-1.0, 1.0):  # psoas and the crura
        top, low = torso.spine(330.0), torso.spine(120.0)
        psoas = np.array(
            [
                top + [side * 26, 0, 0],
                torso.spine(240.0) + [side * 38, -4, 0],
                low + [side * 62, -36, 0],
                [side * 82, y0 - 40, 40],
            ]
        )
        scene.tube(
            psoas, np.array([8, 18, 18, 12]) * rng.uniform(0.7, 1.15), 52.0, Tissue.MUSCLE, over=NOT_AIR, bump=(1, 1.5)
        )
        scene.tube(
            np.array([torso.spine(300.0) + [side * 16, -26, 0], torso.spine(400.0) + [side * 18, -20, 0]]),
            6.0,
            52.0,
            Tissue.MUSCLE,
            over=INSIDE,
        )

    add_gut(scene, torso, contrast, rng)
    add_mesentery(scene, torso, contrast, rng)

    # Liver: a large right lobe under the dome and a wedge to the left.
    bump = (0, rng.uniform(2, 6))
    lobe = np.array([-width * 0.5, y0 - 5, dome - rng.uniform(70, 95) * size])
    scene.ellipsoid(
        lobe,
        (width * 0.6 * size, depth * 0.98, 105 * size),
        contrast.liver_hu,
        Tissue.SOFT,
        over=_UNDER_DOME,
        power=2.5,
        turn=rotation((0, 0.15, 0.1)),
        bump=bump,
    )
    left = lobe + [width * rng.uniform(0.4, 0.6), -depth * 0.35, 22 * size]
    scene.ellipsoid(
        left,
        (width * 0.55, depth * 0.46, 48 * size),
        contrast.liver_hu,
        Tissue.SOFT,
        over=_UNDER_DOME,
        turn=rotation((0.2, -0.35, 0.1)),
        bump=bump,
    )
    liver = only(Tissue.SOFT)
    porta = lobe + [width * 0.36, 8, -8]
    for root, heading, hu, radius in (
        (porta, (-1, -0.1, 0.15), contrast.portal_hu, 6.5),
        (lobe + [width * 0.38, 30, 55], (-1, -0.7, -0.6), contrast.vein_hu, 5.5),
        (lobe + [width * 0.4, 25, 55], (-0.1, -1, -0.5), contrast.vein_hu, 4.5),
        (porta, (0.6, -0.9, 0.3), contrast.portal_hu, 4.5),
    ):
        tree = branches(root, np.array(heading), radius, 32.0, 6, rng, 0.6, 0.78)
        scene.segments(*tree, hu, Tissue.BLOOD, over=liver)
    for _ in range(rng.poisson(1.2)):
        at = lobe + rng.uniform(-1, 1, 3) * [width * 0.35, depth * 0.5, 60]
        lesion = rng.choice(
            [rng.uniform(0, 15), contrast.liver_hu - rng.uniform(15, 60), contrast.liver_hu + rng.uniform(10, 60)]
        )
        scene.ellipsoid(
            at,
            rng.uniform(3, 22) * rng.uniform(0.7, 1.2, 3),
            lesion,
            Tissue.SOFT,
            over=only(Tissue.SOFT, Tissue.BLOOD),
            bump=(2, 0.8),
        )
    if rng.random() < 0.75:
        gall = lobe + [width * 0.32, -depth * 0.45, -55 * size]
        swell = rng.uniform(0.6, 1.3)
        scene.ellipsoid(
            gall,
            np.array([16, 17, 27]) * swell,
            contrast.wall_hu,
            Tissue.SOFT,
            over=INSIDE,
            turn=rotation((0.5, 0.2, 0)),
        )
        scene.ellipsoid(
            gall,
            np.array([14.5, 15.5, 25]) * swell,
            rng.uniform(0, 22),
            Tissue.FLUID,
            over=INSIDE,
            turn=rotation((0.5, 0.2, 0)),
        )
        for _ in range(rng.integers(0, 4) if rng.random() < 0.3 else 0):
            scene.ellipsoid(
                gall + rng.normal(0, 4, 3) + [0, 9, 0],
                rng.uniform(2, 6, 3),
                rng.uniform(60, 500),
                Tissue.SOFT,
                over=only(Tissue.FLUID),
            )

    spleen = np.array([width * 0.72, y0 + depth * 0.32, dome - rng.uniform(60, 95)])
    grow = rng.lognormal(0.0, 0.18)
    scene.ellipsoid(
        spleen,
        np.array([width * 0.32, depth * 0.55, 56]) * grow,
        contrast.spleen_hu,
        Tissue.SOFT,
        over=_UNDER_DOME,
        turn=rotation((0.2, 0.2, -0.45)),
        bump=(1, 2.0),
    )
    scene.ellipsoid(
        spleen - [width * 0.26, depth * 0.1, 0],
        np.array([width * 0.16, depth * 0.3, 36]) * grow,
        -95.0,
        Tissue.CAVITY,
        over=INSIDE,
        turn=rotation((0.2, 0.2, -0.45)),
        bump=(1, 2.0),
    )

    add_stomach(scene, np.array([width * 0.42, y0 - depth * 0.25, dome - 75]), contrast, rng)
    pancreas = np.array(
        [[-35, y0 + 2, 290], [-12, y0 - 12, 305], [25, y0 - 10, 318], [60, y0 + 12, 328], [88, y0 + 28, 332]],
        dtype=float,
    )
    pancreas += rng.normal(0, 5, pancreas.shape)
    scene.tube(
        pancreas,
        np.array([15, 10, 9, 9, 7]) * rng.uniform(0.7, 1.1),
        contrast.gland_hu,
        Tissue.SOFT,
        over=INSIDE,
        bump=(2, 2.2),
    )
    for side in (-1.0, 1.0):
        for _ in range(3):
            adrenal = torso.spine(345.0) + [side * 38, -18, 0]
            scene.tube(
                np.array([adrenal, adrenal + rng.normal(0, 10, 3)]), 3.0, contrast.gland_hu, Tissue.SOFT, over=INSIDE
            )
        if rng.random() < 0.95:
            _add_kidney(scene, torso, side, contrast, rng)
    _add_great_vessels(scene, torso, contrast, rng)


def _add_kidney(scene: Scene, torso: Torso, side: float, contrast: Contrast, rng: np.random.Generator) -> None:
    centre = torso.spine(300.0 + side * 8 + rng.normal(0, 10)) + [side * rng.uniform(56, 68), -2 + rng.normal(0, 5), 0]
    size = rng.uniform(0.8, 1.15)
    turn = rotation((0.1, -side * 0.2, side * rng.uniform(-0.7, -0.3)))
    scene.ellipsoid(centre, np.array([38, 36, 68]) * size, -100.0, Tissue.CAVITY, over=INSIDE, bump=(0, 3.0))
    scene.ellipsoid(
        centre, np.array([24, 27, 54]) * size, contrast.kidney_hu, Tissue.SOFT, over=INSIDE, turn=turn, bump=(1, 1.2)
    )
    medulla = contrast.kidney_hu - rng.uniform(0, 0.45) * max(contrast.kidney_hu - 30, 0)
    scene.ellipsoid(
        centre - [side * 4, 0, 0],
        np.array([16, 18, 43]) * size,
        medulla,
        Tissue.SOFT,
        over=INSIDE,
        turn=turn,
        bump=(2, 4.0),
    )
    hilum = centre - [side * 15 * size, 5, 0]
    scene.ellipsoid(hilum, np.array([14, 11, 27]) * size, -95.0, Tissue.CAVITY, over=INSIDE, turn=turn, bump=(2, 3.0))
    scene.ellipsoid(
        hilum,
        np.array([7, 7, 15]) * size * rng.uniform(0.5, 1.5),
        contrast.pelvis_hu,
        Tissue.FLUID,
        over=INSIDE,
        turn=turn,
    )
    ureter = np.array(
        [hilum, hilum + [-side * 12, -4, -60], torso.spine(180.0) + [side * 42, -34, 0], [side * 35, 20, 60]]
    )
    scene.tube(ureter, 2.2, contrast.pelvis_hu, Tissue.FLUID, over=INSIDE)
    if rng.random() < 0.3:
        scene.ellipsoid(
            centre + [side * 20, rng.normal(0, 10), rng.normal(0, 30)],
            rng.uniform(4, 24, 3) * 0.5 + rng.uniform(2, 10),
            rng.uniform(0, 15),
            Tissue.FLUID,
            over=INSIDE,
        )
    if rng.random() < 0.15:
        scene.ellipsoid(hilum, rng.uniform(1.5, 6, 3), rng.uniform(300, 1200), Tissue.CORTEX, over=INSIDE)
    scene.tube(
        np.array([hilum, torso.spine(308.0) + [side * 15, -38, 0]]), 4.5, contrast.vein_hu, Tissue.BLOOD, over=INSIDE
    )
    scene.tube(
        np.array([hilum + [0, 4, 4], torso.spine(312.0) + [side * 8, -34, 0]]),
        2.6,
        contrast.artery_hu,
        Tissue.BLOOD,
        over=INSIDE,
    )


def _add_great_vessels(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    heights = np.linspace(195, 560, 16)
    spine = torso.spine(heights)
    aorta = spine + np.array([8, -36, 0]) + np.cumsum(rng.normal(0, 1.2, (16, 3)) * [1, 0.6, 0], axis=0)
    aorta[:, 0] += np.clip((heights - 400) / 10, 0, 16)
    radius = rng.uniform(8, 12) * np.linspace(0.85, 1.25, 16)
    swell = np.exp(-(((heights - rng.uniform(220, 300)) / 30) ** 2)) * (
        rng.uniform(8, 25) if rng.random() < 0.12 else 0
    )
    scene.tube(aorta, radius + swell + 1.3, 45.0, Tissue.SOFT, over=INSIDE)
    scene.tube(aorta, radius + 0.35 * swell, contrast.artery_hu, Tissue.BLOOD, over=INSIDE)
    if rng.random() < 0.5:  # calcified plaques
        for _ in range(rng.integers(2, 25)):
            n, angle = rng.integers(0, 15), rng.uniform(0, 2 * np.pi)
            spot = (
                aorta[n]
                + (radius[n] + swell[n]) * np.array([np.cos(angle), np.sin(angle), 0])
                + [0, 0, rng.uniform(0, 24)]
            )
            scene.ellipsoid(spot, rng.uniform(0.8, 4, 3), rng.uniform(300, 1100), Tissue.CORTEX, over=INSIDE)
    cava = torso.spine(np.linspace(185, 430, 10)) + np.array([-20, -34, 0]) + rng.normal(0, 1.5, (10, 3))
    cava[-3:, 1] -= [6, 14, 20]
    flat = rng.uniform(7, 13)
    scene.tube(cava, flat, contrast.vein_hu, Tissue.BLOOD, over=INSIDE)
    scene.tube(cava + [flat * 0.5, 0, 0], flat * 0.85, contrast.vein_hu, Tissue.BLOOD, over=INSIDE)
    celiac = aorta[5]
    for heading, z in (((-0.8, -1, 0.3), 0.0), ((0.9, -0.8, 0.2), 0.0), ((0, -1, -1.2), -18.0)):
        scene.segments(
            *branches(celiac + [0, 0, z], np.array(heading), 3.6, 34, 4, rng, 0.5, 0.8),
            contrast.artery_hu,
            Tissue.BLOOD,
            over=INSIDE,
        )
    portal = np.array(
        [[5, celiac[1] - 22, 270], [-10, celiac[1] - 14, 315], [-40, celiac[1] - 14, 350], [-60, celiac[1] - 16, 365]]
    )
    scene.tube(portal, 6.5, contrast.portal_hu, Tissue.BLOOD, over=INSIDE)
    for side in (-1.0, 1.0):
        iliac = np.array(
            [
                aorta[0],
                [side * 35, aorta[0][1] + 5, 150],
                [side * 62, aorta[0][1] + 5, 105],
                [side * 78, -62, 40],
                [side * 80, -62, -60],
                [side * 72, -20, -300],
            ]
        )
        scene.tube(iliac, np.array([7, 6, 5, 4.6, 4.3, 3.5]), contrast.artery_hu, Tissue.BLOOD, over=NOT_AIR)
        scene.tube(
            iliac + [-side * 12, 8, 0], np.array([8, 7, 6, 6, 5.5, 4.5]), contrast.vein_hu, Tissue.BLOOD, over=NOT_AIR
        )


def add_pelvic_organs(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    """Add bladder, rectum, and uterus or prostate."""
    y0 = float(torso.row("y", 60.0))
    fill = rng.uniform(0.5, 1.3)
    urine = rng.uniform(-2, 18)
    bladder = np.array([rng.normal(0, 4), y0 - 22, 62 + 16 * fill])
    radii = np.array([44, 34, 32]) * fill
    scene.ellipsoid(bladder, radii, 38.0, Tissue.SOFT, over=INSIDE, power=2.4, bump=(0, 2.5))
    scene.ellipsoid(bladder, radii - rng.uniform(2, 5), urine, Tissue.FLUID, over=INSIDE, power=2.4, bump=(0, 2.5))
    if contrast.pelvis_hu > 150:
        scene.ellipsoid(
            bladder,
            radii - 4,
            contrast.pelvis_hu * 0.7,
            Tissue.FLUID,
            over=only(Tissue.FLUID),
            power=2.4,
            bump=(0, 2.5),
            below=((0, -1, 0), float(-bladder[1] - rng.uniform(-10, 12))),
        )
    if rng.random() < 0.5:
        scene.ellipsoid(
            (0, y0 + 8, 72),
            np.array([26, 20, 32]) * rng.uniform(0.6, 1.3),
            contrast.wall_hu + 10,
            Tissue.SOFT,
            over=INSIDE,
            bump=(1, 2.5),
            turn=rotation((0.7, 0, 0)),
        )
    else:
        scene.ellipsoid(
            (0, y0 - 14, 40),
            np.array([24, 18, 19]) * rng.uniform(0.8, 1.35),
            contrast.wall_hu,
            Tissue.SOFT,
            over=INSIDE,
            bump=(1, 1.5),
        )
        for side in (-1.0, 1.0):
            scene.tube(
                np.array([[side * 4, y0 + 4, 62], [side * 24, y0 + 8, 70]]),
                6.0,
                25.0,
                Tissue.SOFT,
                over=INSIDE,
                bump=(2, 1.5),
            )
