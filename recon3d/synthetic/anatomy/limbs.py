"""Arms and legs: one or two bones, compartments of muscle, vessels, joints, casts."""

from __future__ import annotations

import numpy as np

from .shapes import NOT_AIR, Scene, Tissue, only
from .skeleton import BoneStock, bone_tube

_ALL = NOT_AIR | 1
_FLESH = only(Tissue.FAT, Tissue.MUSCLE, Tissue.SKIN)


def add_limb(
    scene: Scene,
    start_mm: np.ndarray,
    end_mm: np.ndarray,
    radius_mm: float,
    stock: BoneStock,
    vessel_hu: float,
    rng: np.random.Generator,
) -> None:
    """Add a limb from joint to joint: skin, fat, muscles with planes between, bones, vessels."""
    start, end = np.asarray(start_mm, dtype=float), np.asarray(end_mm, dtype=float)
    axis = (end - start) / np.linalg.norm(end - start)
    across = np.cross(axis, [0.3, 1.0, 0.2])
    across /= np.linalg.norm(across)
    deep = np.cross(axis, across)
    along = np.linspace(0, 1, 9)
    centre = start + along[:, None] * (end - start) + np.outer(np.sin(np.pi * along) * rng.normal(0, 6), across)
    girth = radius_mm * (0.78 + 0.3 * np.sin(np.pi * along) ** 0.8 - 0.15 * along) * (1 + 0.05 * rng.standard_normal(9))
    fat = min(rng.lognormal(1.9, 0.6), radius_mm * 0.45)
    flat = across * radius_mm * rng.uniform(0, 0.25)
    muscle = rng.uniform(40, 68)
    for grow, hu, tissue in (
        (1.8, rng.uniform(0, 40), Tissue.SKIN),
        (0.0, rng.uniform(-112, -85), Tissue.FAT),
        (-fat, muscle, Tissue.MUSCLE),
    ):
        for shift in (flat, -flat):
            scene.tube(
                centre + shift,
                np.maximum(girth + grow, 1.0),
                hu,
                tissue,
                over=_ALL,
                bump=(0, 1.0 if grow > -1 else 2.0),
            )
    # Planes of fat: thin tubes would be dots, so thin, long, lens-shaped leaves are laid between muscles.
    for angle in rng.uniform(0, 2 * np.pi, rng.integers(3, 7)):
        out = np.cos(angle) * across + np.sin(angle) * deep
        sideways = np.cross(axis, out)
        turn = np.stack([out, sideways, axis])
        middle = centre[4] + out * radius_mm * 0.5
        scene.ellipsoid(
            middle,
            (radius_mm * 0.42, rng.uniform(0.8, 2.0), float(np.linalg.norm(end - start)) * 0.6),
            -80.0,
            Tissue.FAT,
            turn=turn,
            over=only(Tissue.MUSCLE),
            bump=(1, 2.5),
        )
    for _ in range(rng.integers(0, 60)):  # fatty streaks
        at = centre[rng.integers(0, 9)] + rng.normal(0, radius_mm * 0.4, 3)
        scene.tube(
            np.array([at, at + axis * rng.uniform(8, 40)]),
            rng.uniform(0.4, 1.4),
            -70.0,
            Tissue.FAT,
            over=only(Tissue.MUSCLE),
        )
    bones = [(0.0, 1.0)] if rng.random() < 0.5 else [(-0.28, 0.75), (0.3, rng.uniform(0.45, 0.75))]
    thick = max(rng.uniform(0.15, 0.2) * radius_mm, 5.0)
    cortex = rng.uniform(0.2, 0.45)
    for offset, scale in bones:
        shift = offset * radius_mm * across + rng.normal(0, 0.05) * radius_mm * deep
        flare = np.array([2.0, 1.3, 1.05, 1.0, 0.95, 0.95, 1.05, 1.4, 2.1])
        radii = np.minimum(thick * scale * flare, radius_mm * 0.5)
        scene.tube(centre + shift, radii, stock.cortex_hu * 1.2, Tissue.CORTEX, bump=(1, 0.5))
        hollow = radii - np.clip(radii * cortex, 1.2, None) / flare**1.5
        inside = only(Tissue.CORTEX, Tissue.MARROW)
        scene.tube(centre + shift, np.maximum(hollow, 0.4), rng.uniform(-90, 40), Tissue.MARROW, over=inside)
        for ends in (slice(0, 2), slice(7, 9)):
            scene.tube(
                (centre + shift)[ends], np.maximum(hollow[ends], 0.4), stock.marrow_hu + 60, Tissue.MARROW, over=inside
            )
    for _ in range(rng.integers(2, 7)):
        shift = rng.normal(0, 0.35, 2) * radius_mm
        scene.tube(
            centre + shift[0] * across + shift[1] * deep,
            rng.uniform(1.2, 3.6),
            rng.uniform(40, max(vessel_hu, 60)),
            Tissue.BLOOD,
            over=_FLESH,
        )
    for _ in range(rng.integers(1, 6)):
        angle = rng.uniform(0, 2 * np.pi)
        out = np.cos(angle) * across + np.sin(angle) * deep
        scene.tube(
            centre + out * (girth[:, None] - 0.5 * fat),
            rng.uniform(0.8, 2.2),
            40.0,
            Tissue.BLOOD,
            over=only(Tissue.FAT),
        )


def add_joint(
    scene: Scene, centre_mm: np.ndarray, radius_mm: float, axis: np.ndarray, stock: BoneStock, rng: np.random.Generator
) -> None:
    """Add the bone ends, cartilage and small bones of a knee, ankle, elbow or wrist."""
    centre = np.asarray(centre_mm, dtype=float)
    axis = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    across = np.cross(axis, [0.2, 1.0, 0.1])
    across /= np.linalg.norm(across)
    size = radius_mm * 0.36
    scene.tube(
        np.array([centre - axis * radius_mm * 0.2, centre + axis * radius_mm * 0.2]),
        radius_mm * 0.92,
        50.0,
        Tissue.MUSCLE,
        over=_ALL,
        bump=(1, 2.0),
    )
    for side in (-1.0, 1.0):
        for up in (-1.0, 1.0):
            middle = centre + side * across * size * 0.85 + up * axis * size * 1.02
            bone_tube(
                scene,
                np.array([middle, middle + up * axis * size * 2.6 - side * across * size * 0.5]),
                np.array([size, size * 0.6]),
                stock,
                1.4,
                bump=(1, 1.0),
            )
    for _ in range(rng.integers(0, 9)):
        at = centre + rng.normal(0, radius_mm * 0.45, 3)
        bone_tube(
            scene,
            np.array([at, at + rng.normal(0, size * 0.5, 3)]),
            size * rng.uniform(0.3, 0.55),
            stock,
            1.2,
            bump=(2, 0.8),
        )
