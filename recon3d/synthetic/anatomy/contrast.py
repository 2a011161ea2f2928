"""Contrast medium: attenuation of blood and organs in each phase of an injection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
