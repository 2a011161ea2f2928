"""A random knee as signed distances in mm: z to the back, y to the foot, x to the left; the joint is at the origin."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from recon3d.synthetic.implicit import (
    FloatArray,
    ellipsoid_distance,
    smooth_intersection,
    smooth_union,
    spline_tube,
    worley_cells,
)
from recon3d.synthetic.mri_canvas import Canvas

SIDES = (-1.0, 1.0)


class _Part(IntEnum):
    """Random streams; fields take the numbers from a name up to the next."""

    LEG = 0
    WARP = 10
    MOTTLE = 20
    MUSCLES = 30
    BONES = 40
    JOINT = 50
    VESSELS = 60
    LESIONS = 70


def draw_knee(c: Canvas, fat_saturated: bool) -> None:
    """Skin, fat, muscles, femur, tibia, fibula, patella, cartilage, menisci, ligaments, fluid, vessels, bruises."""
    rng = c.rng(_Part.LEG)
    scale = rng.uniform(0.9, 1.08)  # of the whole joint
    c.z, c.y, c.x = (a / np.float32(scale) for a in (c.z, c.y, c.x))
    c.warp(_Part.WARP, 1.8, (50.0, 160.0))
    mottle = 0.035 * c.field(_Part.MOTTLE, (15.0, 60.0)) + 0.02 * c.field(_Part.MOTTLE + 1, (2.0, 6.0), 96)
    trabeculae = 0.06 * c.field(_Part.MOTTLE + 2, (1.5, 4.0), 96)
    skin = _leg(c, rng)
    fat_mm = np.float32(rng.uniform(4, 11))
    c.paint(skin, "skin")
    c.paint(skin + 1.6, "fat", 2 * mottle)
    septa = np.abs(c.distance_of(c.field(_Part.LEG + 1, (12.0, 30.0)))) - 0.2
    patches = 4 - 12 * c.field(_Part.LEG + 3, (30.0, 80.0))  # septa show here and there
    c.paint(np.maximum(septa, patches), "skin", -0.3, skin + 3)
    _muscles(c, skin + fat_mm, mottle)
    femur, condyles, tibia = _bones(c, mottle + trabeculae, rng)
    _joint(c, femur, condyles, tibia, skin + fat_mm, mottle)
    _front(c, mottle + trabeculae, rng)
    _vessels(c)
    _bruises(c, np.minimum(femur, tibia))
    if fat_saturated:  # saturation fails where the field is off, mostly near the skin
        failure = np.clip(c.field(_Part.LEG + 2, (80.0, 200.0)) - 0.9 + 0.06 * (skin + 12), 0, 1.2)
        c.fat *= 1 + 4 * failure


def _leg(c: Canvas, rng: np.random.Generator) -> FloatArray:
    """Distance to the skin: a tube, waisted below the joint, the calf swelling behind."""
    half = rng.uniform(60, 68) + 5 * np.clip(-c.y / 50, -1, 1.4) - 3 * np.exp(-((c.y - 15) ** 2) / 400)
    back = 6 * np.clip((np.abs(c.y) - 25) / 30, 0, 1)
    return ellipsoid_distance(c.z - back, c.y * 0, c.x * 62 / half, (2.0, 0.0, 0.0), (66.0, 1.0, 62.0))


def _muscles(c: Canvas, fascia: FloatArray, mottle: FloatArray) -> None:
    """Bellies are Worley cells stretched along the leg, parted by fat; around the joint fat takes their place."""
    rng = c.rng(_Part.MUSCLES)
    size = rng.uniform(24, 32)
    stretched = (c.z + 0.1 * c.y, c.y * np.float32(0.22), c.x - 0.08 * c.y)
    z, y, x = (np.ascontiguousarray(np.broadcast_to(a, c.shape), np.float32) for a in stretched)
    border, label, _ = worley_cells(z, y, x, size, int(rng.integers(2**31)))
    strands = 0.07 * np.cos((c.x * np.cos(6 * label) + c.z * np.sin(6 * label)) * np.float32(2 * np.pi / 4.5))
    # Bellies end in rounded tips above and below the joint; behind it they run past.
    end = 15 + 22 * np.mod(label * 7, 1) - np.abs(c.y + 4) - np.float32(0.8) * np.maximum(c.z - 4, 0)
    belly = smooth_intersection(smooth_intersection(fascia, 0.5 + 1.5 * label - border, 2.0), 0.5 * end, 14.0)
    c.paint(belly, "muscle", 2 * mottle + strands)
    c.paint(np.maximum(np.abs(border - 5) - 0.5, belly + 2), "ligament", 1.2, np.where(label < 0.15, belly, 50))


def _bones(c: Canvas, mottle: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Femur with condyles, tibia with plateau, fibula; cortex over marrow, with the scar of the growth plate."""
    shaft_radius = rng.uniform(13, 16)
    flare = np.clip((c.y + 62) / 34, 0, 1)
    shaft = np.maximum(
        ellipsoid_distance(
            c.z + 2, c.y * 0, c.x / (1 + 1.15 * flare**2), (0.0, 0.0, 0.0), (shaft_radius + 1, 1.0, shaft_radius)
        ),
        c.y + 18,
    )
    condyles: FloatArray = np.full(c.shape, 60, np.float32)
    for side in SIDES:
        big = 1.06 if side < 0 else 1.0
        ball = c.ellipsoid((4.0, -22.0 - 0.8 * side, side * 22.5), (29.0 * big, 21.5 * big, 17.5))
        condyles = smooth_union(condyles, ball, 3.0)
    notch = c.ellipsoid((18.0, -8.0, 0.0), (34.0, 17.0, rng.uniform(7.5, 10)))
    condyles = smooth_intersection(condyles, -notch, 4.0)
    femur = smooth_union(shaft, condyles, 10.0)
    slope = c.y - 4.5 - 0.06 * c.z - 0.10 * np.maximum(7 - np.abs(c.x), 0) * -4 * 0.5
    taper = 43 - 21 * np.clip((c.y - 8) / 42, 0, 1) ** np.float32(0.7)
    tibia = ellipsoid_distance(c.z * 39 / taper, c.y * 0, c.x * 39 / taper, (-1.0, 0.0, 0.0), (27.0, 1.0, 39.0))
    tibia = smooth_intersection(tibia * taper / 39, -slope, 5.0)
    spines = c.ellipsoid((2.0, 5.0, -5.0), (6.0, 6.5, 3.2))
    tibia = smooth_union(smooth_union(tibia, spines, 4.0), c.ellipsoid((2.0, 5.0, 5.5), (6.0, 5.5, 3.0)), 4.0)
    fibula = ellipsoid_distance(c.z - 14, np.minimum(c.y - 24, 0), c.x - 38, (0.0, 0.0, 0.0), (9.0, 9.0, 8.5))
    for bone, cortex in ((femur, 1.2), (tibia, 1.2), (fibula, 1.5)):
        thick = cortex + 1.6 * np.clip((np.abs(c.y) - 38) / 20, 0, 1)
        c.paint(bone, "bone")
        c.paint(bone + thick, "marrow", 2 * mottle)
    wave = 2 * np.cos(c.x / 9) + 1.5 * c.field(_Part.BONES, (20.0, 60.0))
    for bone, level in ((femur, -40.0), (tibia, 22.0)):
        c.paint(np.maximum(np.abs(c.y - level + wave) - 0.6, bone + 3), "bone", 3.0)
    return femur, condyles, tibia


def _joint(
    c: Canvas, femur: FloatArray, condyles: FloatArray, tibia: FloatArray, fascia: FloatArray, mottle: FloatArray
) -> None:
    """Fluid around the condyles, cartilage on both bones, wedge-shaped menisci, cruciate and collateral ligaments."""
    rng = c.rng(_Part.JOINT)
    outside = -np.minimum(femur, tibia)
    capsule = np.maximum(condyles - rng.uniform(2.5, 6.5), fascia + 6)
    level = np.maximum(np.abs(c.y + 4) - 14, outside)
    c.paint(np.maximum(capsule, level), "fluid", 0.5 * mottle)
    thick = np.float32(rng.uniform(1.7, 2.9)) * (1 + 0.15 * c.field(_Part.JOINT + 1, (12.0, 40.0)))
    bearing = np.maximum(-c.y - 26 - 0.4 * np.abs(c.z), np.abs(np.abs(c.x) - 22) - 18)
    c.paint(np.maximum(condyles - thick, -femur), "cartilage", mottle, bearing)
    plateau = np.maximum(np.maximum(tibia - thick, -tibia), np.maximum(c.y - 9, np.abs(np.abs(c.x) - 21) - 15))
    c.paint(plateau, "cartilage", mottle)
    for side in SIDES:
        ring = np.hypot((c.z - 2) * np.float32(0.92), c.x - side * 20)
        # The wedge fills the gap between the cartilages and ends towards the middle of the compartment.
        gap = np.maximum(np.maximum(-(condyles - thick), -(tibia - thick)), outside)
        rim = np.maximum(ring - 21, rng.uniform(10.5, 13) - ring)
        wedge = np.maximum(np.maximum(gap, rim), np.abs(c.y - 1) - 6)
        wedge = np.maximum(wedge, 6 - side * c.x)
        c.paint(wedge, "meniscus")
        if rng.random() < 0.35:  # a tear
            tear = np.abs(c.y - 1 + 0.25 * (side * c.x - 34)) - 0.6
            c.paint(np.maximum(tear, wedge + 0.5), "fluid")
    fat_pad = np.maximum(np.maximum(c.ellipsoid((-28.0, 0.0, 0.0), (13.0, 19.0, 24.0)), outside), fascia + 3)
    c.paint(fat_pad, "fat", 2 * mottle)
    cords = (
        ([[12.0, -17, 8], [2, -6, 3], [-8, 5, -3]], (4.2, 3.8, 4.2)),  # anterior cruciate
        ([[0.0, -14, -8], [12, -3, -3], [22, 10, 1]], (4.5, 4.2, 4.6)),  # posterior cruciate
        ([[0.0, -30, -43.5], [0, -2, -44], [-2, 42, -34]], (1.8, 2.0, 1.6)),  # medial collateral
        ([[6.0, -28, 43], [9, -2, 46], [13, 20, 44]], (1.8, 1.8, 2.2)),  # lateral collateral
    )
    for path, radii in cords:
        strand = c.tubes(spline_tube(np.array(path, float), np.array(radii), 24))
        c.paint(strand - 0.6, "fluid", -0.3, outside + 0.5)
        c.paint(strand, "ligament", 3 * mottle, outside + 0.5)


def _front(c: Canvas, mottle: FloatArray, rng: np.random.Generator) -> None:
    """Patella with its cartilage, the tendons above and below."""
    at = (-46.0 + rng.uniform(-2, 2), -20.0, 0.0)
    patella = c.ellipsoid(at, (10.0, 20.0, 21.0))
    c.paint(c.ellipsoid((at[0] + 3, at[1], 0.0), (11.0, 18.0, 20.0)), "cartilage", mottle)
    c.paint(patella, "bone")
    c.paint(patella + 1.6, "marrow", 2 * mottle)
    for path in ([[at[0], at[1] - 18, 0], [-38, -70, 0]], [[at[0] - 2, at[1] + 17, 0], [-36, 36, 0]]):
        for shift in (-7.0, 0.0, 7.0):
            strand = np.array(path, float) + np.array([0, 0, shift])
            c.paint(c.tubes(spline_tube(strand, np.array([3.0, 2.6]), 12)), "ligament")


def _vessels(c: Canvas) -> None:
    rng = c.rng(_Part.VESSELS)
    for n, radius in enumerate((3.2, 4.0, 1.6)):
        x = rng.uniform(-10, 10)
        path = np.array([[42 + 3 * n, -75, x], [40, -10, x + rng.uniform(-4, 4)], [44, 75, x + rng.uniform(-8, 8)]])
        c.paint(c.tubes(spline_tube(path, np.full(3, radius), 30)) - 1.0, "fat")
        c.paint(c.tubes(spline_tube(path, np.full(3, radius), 30)), "vessel")
    for _ in range(4):  # veins under the skin
        angle = rng.uniform(0, 2 * np.pi)
        path = np.array(
            [[56 * np.cos(angle + 0.1 * k), y, 55 * np.sin(angle + 0.1 * k)] for k, y in enumerate((-70, 0, 70))]
        )
        c.paint(c.tubes(spline_tube(path, np.full(3, 1.4), 20)), "vessel")


def _bruises(c: Canvas, bone: FloatArray) -> None:
    """Oedema of the marrow under the joint surface, in half of the knees."""
    rng = c.rng(_Part.LESIONS)
    for _ in range(int(rng.integers(0, 3))):
        at = (rng.uniform(-15, 20), rng.choice((-14.0, 14.0)), rng.choice(SIDES) * rng.uniform(12, 30))
        size = rng.uniform(4, 11)
        patch = c.ellipsoid(at, (size, size * 0.8, size)) + 2 * c.field(_Part.LESIONS + 1, (8.0, 25.0))
        c.paint(np.maximum(patch, bone + 1.5), "oedema")
