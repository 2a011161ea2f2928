"""Stomach, duodenum, small bowel and colon with what they hold, and the mesentery between them."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

import numpy as np

from .contrast import Contrast
from .shapes import INSIDE, Scene, Tissue, only
from .torso import Torso
from .tubes import branches, wander

_CAVITY = only(Tissue.CAVITY)


def _add_bowel(
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


def add_stomach(scene: Scene, top: np.ndarray, contrast: Contrast, rng: np.random.Generator) -> None:
    """The stomach below `top` (mm), filled in part, with gas above a level."""
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


def add_gut(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
    """Loops of small bowel and a frame of colon round them."""
    width, depth, y0 = (float(torso.row(n, 220.0)) for n in ("half_width", "half_depth", "y"))
    kinds = np.array(["fluid", "contrast", "stool", "gas", "mixed", "empty"])
    oral = rng.random() < 0.3
    small = np.array([0.3, 0.35 if oral else 0.0, 0.03, 0.05, 0.12, 0.5])
    small /= small.sum()
    for _ in range(rng.integers(6, 18)):
        low = np.array([-width * 0.6, y0 - depth * 0.7, 60.0])
        high = np.array([width * 0.6, y0 + depth * 0.05, 290.0])
        filling = str(rng.choice(kinds, p=small))
        _add_bowel(
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
        _add_bowel(
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


def add_mesentery(scene: Scene, torso: Torso, contrast: Contrast, rng: np.random.Generator) -> None:
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
