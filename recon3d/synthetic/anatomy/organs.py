"""Soft organs and what fills them: abdomen, chest, pelvis, vessels, bowel and airways."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import NOT_AIR, Scene, Tissue, only, rotation
from .torso import Torso

INSIDE = only(Tissue.CAVITY, Tissue.SOFT, Tissue.BLOOD, Tissue.CONTENT, Tissue.GAS, Tissue.FLUID, Tissue.LUNG)
_CAVITY = only(Tissue.CAVITY)
_UNDER_DOME = INSIDE & ~only(Tissue.LUNG)  # the lung lies on the dome of liver and spleen
_LUNG = only(Tissue.LUNG)


@dataclass(frozen=True)
class Contrast:
    """HU of blood and organs in one contrast phase."""

    artery_hu: float
    vein_hu: float
    portal_hu: float
    liver_hu: float
    spleen_hu: float
    kidney_hu: float
    pelvis_hu: float
    wall_hu: float
    gland_hu: float


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw a phase: native, arterial, portal or late, with the spread of real injections."""
    phase = rng.choice(["native", "arterial", "portal", "late"], p=[0.35, 0.2, 0.35, 0.1])
    blood = rng.uniform(33, 48)
    liver = rng.normal(56, 8) if rng.random() < 0.8 else rng.uniform(-5, 40)
    artery, vein, portal, spleen, kidney, pelvis, wall, gland = blood, blood, blood, 48.0, 32.0, 5.0, 35.0, 38.0
    if phase == "arterial":
        artery, vein, portal = blood + rng.uniform(130, 320), blood + rng.uniform(0, 60), blood + rng.uniform(10, 70)
        liver, spleen, kidney = liver + rng.uniform(3, 20), rng.uniform(80, 140), rng.uniform(110, 200)
        wall, gland = rng.uniform(50, 110), rng.uniform(70, 120)
    elif phase == "portal":
        artery = blood + rng.uniform(70, 140)
        vein, portal = artery - rng.uniform(-5, 45), artery + rng.uniform(-15, 35)
        liver, spleen, kidney = liver + rng.uniform(35, 65), rng.uniform(95, 135), rng.uniform(150, 220)
        wall, gland = rng.uniform(60, 110), rng.uniform(75, 115)
    elif phase == "late":
        artery = vein = portal = blood + rng.uniform(30, 70)
        liver, spleen, kidney, pelvis = liver + 25, rng.uniform(70, 95), rng.uniform(90, 150), rng.uniform(200, 900)
        wall, gland = rng.uniform(50, 80), rng.uniform(55, 80)
    values = (artery, vein, portal, liver, spleen, kidney, pelvis, wall, gland)
    return Contrast(*(float(v) for v in values))


def wander(
    start_mm: np.ndarray,
    steps: int,
    step_mm: float,
    turn: float,
    rng: np.random.Generator,
    heading: np.ndarray | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return a smooth random walk (steps, 3), kept near the box."""
    points = np.empty((steps, 3))
    position = np.array(start_mm, dtype=float)
    direction = rng.standard_normal(3) if heading is None else np.array(heading, dtype=float)
    for n in range(steps):
        points[n] = position
        direction = direction / max(float(np.linalg.norm(direction)), 1e-6) + turn * rng.standard_normal(3)
        if box is not None:
            direction += 0.8 * ((position < box[0]).astype(float) - (position > box[1]).astype(float))
        position = position + step_mm * direction / max(float(np.linalg.norm(direction)), 1e-6)
    return points


def branches(
    root_mm: np.ndarray,
    heading: np.ndarray,
    radius_mm: float,
    length_mm: float,
    generations: int,
    rng: np.random.Generator,
    spread: float = 0.6,
    shrink: float = 0.76,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the segments of a forking tree: starts, ends (n, 3) and radii at both (n,)."""
    starts, ends, first, last = [], [], [], []
    position = np.array(root_mm, dtype=float)[None]
    direction = (np.array(heading, dtype=float) / np.linalg.norm(heading))[None]
    radius, length = np.array([radius_mm]), np.array([length_mm])
    for _ in range(generations):
        count = len(position)
        bent = direction + 0.25 * rng.standard_normal((count, 3))
        bent /= np.linalg.norm(bent, axis=1, keepdims=True)
        tip = position + bent * length[:, None]
        starts.append(position)
        ends.append(tip)
        first.append(radius)
        last.append(radius * 0.85)
        side = np.cross(bent, rng.standard_normal((count, 3)))
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-6
        share = rng.uniform(0.6, 1.1, count)[:, None] * spread
        direction = np.concatenate([bent + share * side, bent - share * rng.uniform(0.5, 1.3, (count, 1)) * side])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        position = np.concatenate([tip, tip])
        radius = np.concatenate([radius, radius]) * shrink * rng.uniform(0.85, 1.1, 2 * count)
        length = np.concatenate([length, length]) * 0.86 * rng.uniform(0.75, 1.25, 2 * count)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(first), np.concatenate(last)


def add_bowel(
    scene: Scene,
    start_mm: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    radius_mm: float,
    steps: int,
    contrast: Contrast,
    filling: str,
    rng: np.random.Generator,
    path: np.ndarray | None = None,
) -> None:
    """Add a loop of gut: wall, content ("fluid", "contrast", "stool", "gas", "mixed", "empty") and gas with a level."""
    points = wander(start_mm, steps, radius_mm * 0.9, 0.55, rng, box=box) if path is None else path
    count = len(points)
    radii = radius_mm * np.exp(0.18 * rng.standard_normal(count))
    wall = rng.uniform(1.2, 3.0)
    over = only(Tissue.CAVITY, Tissue.SOFT, Tissue.CONTENT, Tissue.GAS)
    scene.tube(points, radii, contrast.wall_hu, Tissue.SOFT, over=over, bump=(2, 0.12 * radius_mm))
    if filling == "empty":
        return
    inner = np.maximum(radii - wall, 0.4)
    content = {
        "fluid": rng.uniform(0, 35),
        "contrast": rng.uniform(120, 450),
        "stool": rng.uniform(10, 60),
        "gas": rng.uniform(0, 40),
        "mixed": rng.uniform(5, 60),
    }[filling]
    within = only(Tissue.SOFT, Tissue.CONTENT)
    scene.tube(points, inner, content, Tissue.CONTENT, over=within, bump=(2, 0.12 * radius_mm))
    if filling in ("gas", "mixed"):
        for begin in range(0, count, 6):
            part = points[begin : begin + 7]
            if len(part) < 2 or rng.random() > (0.9 if filling == "gas" else 0.45):
                continue
            level = part[:, 1].mean() + rng.uniform(-0.5, 1.2 if filling == "gas" else 0.3) * radius_mm
            scene.tube(
                part,
                inner[begin : begin + 7],
                -990.0,
                Tissue.GAS,
                over=within,
                bump=(2, 0.1 * radius_mm),
                below=((0, 1, 0), float(level)),
            )
    if filling == "stool":
        many = count * 5
        at = points[rng.integers(0, count, many)] + rng.normal(0, 0.45 * radius_mm, (many, 3))
        size = rng.uniform(0.6, 2.6, many)
        scene.segments(
            at, at + rng.normal(0, 2, (many, 3)), size, size, -700.0, Tissue.GAS, over=only(Tissue.CONTENT), opacity=0.7
        )


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

    _add_gut(scene, torso, contrast, rng)
    _add_mesentery(scene, torso, contrast, rng)

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

    _add_stomach(scene, np.array([width * 0.42, y0 - depth * 0.25, dome - 75]), contrast, rng)
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


def _add_stomach(scene: Scene, top: np.ndarray, contrast: Contrast, rng: np.random.Generator) -> None:
    path = np.array([top, top + [8, -12, -35], top + [-15, -32, -75], top + [-60, -36, -95], top + [-92, -18, -85]])
    path = path + rng.normal(0, 6, path.shape)
    radii = np.array([36, 34, 28, 20, 11]) * rng.uniform(0.45, 1.15)
    wall = rng.uniform(2.5, 6)
    scene.tube(path, radii, contrast.wall_hu, Tissue.SOFT, over=INSIDE, bump=(1, 2.0))
    filling = rng.choice([rng.uniform(0, 40), rng.uniform(20, 70), rng.uniform(150, 400)], p=[0.5, 0.3, 0.2])
    scene.tube(path, np.maximum(radii - wall, 1), filling, Tissue.CONTENT, over=INSIDE, bump=(1, 2.0))
    if rng.random() < 0.75:
        level = top[1] + rng.uniform(-0.9, 0.4) * radii[0]
        scene.tube(
            path,
            np.maximum(radii - wall, 1),
            -990.0,
            Tissue.GAS,
            over=only(Tissue.CONTENT),
            bump=(1, 2.0),
            below=((0, 1, 0), float(level)),
        )


def _add_gut(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    width, depth, y0 = (float(torso.row(n, 220.0)) for n in ("half_width", "half_depth", "y"))
    kinds = np.array(["fluid", "contrast", "stool", "gas", "mixed", "empty"])
    oral = rng.random() < 0.3
    small = np.array([0.3, 0.35 if oral else 0.0, 0.03, 0.05, 0.12, 0.5])
    small /= small.sum()
    for _ in range(rng.integers(6, 18)):
        low = np.array([-width * 0.6, y0 - depth * 0.7, 60.0])
        high = np.array([width * 0.6, y0 + depth * 0.05, 290.0])
        filling = str(rng.choice(kinds, p=small))
        add_bowel(
            scene,
            rng.uniform(low, high),
            (low, high),
            rng.uniform(7, 14),
            int(rng.integers(8, 30)),
            contrast,
            filling,
            rng,
        )
    # The colon runs up the right side, across, and down the left.
    right, left = -width * rng.uniform(0.62, 0.78), width * rng.uniform(0.62, 0.78)
    back, front = y0 + depth * 0.1, y0 - depth * rng.uniform(0.45, 0.65)
    knots = np.array(
        [
            [right, back - 20, 120],
            [right, back, 180],
            [right, back, 250],
            [right * 0.9, front, 285],
            [right * 0.4, front - 4, 262],
            [left * 0.3, front - 4, 265],
            [left * 0.9, front + 15, 320],
            [left, back, 345],
            [left, back + 5, 260],
            [left, back, 180],
            [left * 0.8, back - 20, 130],
            [left * 0.2, back - 10, 110],
            [0, back + 10, 80],
            [0, back + 25, 40],
            [0, back + 30, 10],
        ]
    )
    knots = knots + rng.normal(0, 10, knots.shape)
    fine = np.linspace(0, len(knots) - 1, 90)
    path = np.stack([np.interp(fine, np.arange(len(knots)), knots[:, c]) for c in range(3)], axis=1) + rng.normal(
        0, 2, (90, 3)
    )
    for begin in range(0, 84, 14):
        filling = str(rng.choice(kinds, p=[0.06, 0.1 if oral else 0.0, 0.34 if not oral else 0.24, 0.25, 0.2, 0.15]))
        add_bowel(
            scene,
            path[0],
            (path[0], path[0]),
            rng.uniform(12, 24),
            0,
            contrast,
            filling,
            rng,
            path=path[begin : begin + 15],
        )


def _add_mesentery(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    """Add the small vessels, nodes and strands that keep abdominal fat from being uniform."""
    width, depth, y0 = (float(torso.row(n, 220.0)) for n in ("half_width", "half_depth", "y"))
    for _ in range(rng.integers(6, 15)):
        root = np.array([rng.normal(0, 40), y0 - depth * rng.uniform(-0.1, 0.4), rng.uniform(80, 340)])
        heading = np.array([rng.normal(), rng.normal(-0.4, 0.6), rng.normal(-0.4, 1)])
        tree = branches(root, heading, rng.uniform(2, 4), 34, 7, rng, 0.5, 0.8)
        scene.segments(*tree, rng.uniform(contrast.vein_hu * 0.7, contrast.artery_hu), Tissue.BLOOD, over=_CAVITY)
    many = rng.integers(60, 500)
    at = rng.uniform([-width, y0 - depth, 0], [width, y0 + depth * 0.7, 380], (many, 3))
    size = 0.7 + rng.exponential(1.1, many)
    scene.segments(
        at, at + rng.normal(0, 7, (many, 3)), size, 0.7 * size, rng.uniform(20, 120), Tissue.SOFT, over=_CAVITY
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
