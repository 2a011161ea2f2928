"""A random adult head as signed distances in mm: z upwards from the ventricles' floor, y to the back, x to the left."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from recon3d.synthetic.implicit import (
    FloatArray,
    branching_tubes,
    ellipsoid_distance,
    smooth_intersection,
    smooth_union,
    spline_tube,
)
from recon3d.synthetic.mri_canvas import Canvas

SIDES = (-1.0, 1.0)


class _Part(IntEnum):
    """Random streams; fields take the numbers from a name up to the next."""

    HEAD = 0
    WARP = 10
    MOTTLE = 20
    BRAIN = 30
    VENTRICLES = 50
    HINDBRAIN = 60
    FACE = 70
    VESSELS = 80
    LESIONS = 90


def draw_head(c: Canvas) -> None:
    """Scalp, skull, brain with sulci, ventricles, nuclei, hindbrain, orbits, sinuses, vessels and sometimes lesions."""
    rng = c.rng(_Part.HEAD)
    width, length = rng.uniform(68, 76), rng.uniform(84, 95)
    fat_mm, skull_mm, gap_mm = rng.uniform(3.0, 7.0), rng.uniform(5.5, 8.5), rng.uniform(1.0, 3.5)
    c.warp(_Part.WARP, 1.6, (110.0, 260.0))
    slow, fine = c.field(_Part.MOTTLE, (18.0, 60.0)), c.field(_Part.MOTTLE + 1, (2.5, 8.0), 96)
    mottle = 0.03 * slow + 0.025 * fine
    skin = _vault(c, width, length)
    c.paint(skin, "skin", mottle)
    c.paint(skin + 1.8, "fat", 2 * mottle)
    scalp = skin + fat_mm * (1 + 0.25 * slow)
    _temporal_muscles(c, scalp, width, mottle)
    skull = skin + fat_mm * np.float32(1.35) + 2
    c.paint(skull, "bone")
    c.paint(np.maximum(skull + 0.28 * skull_mm, -(skull + 0.75 * skull_mm) + 0.4 * slow), "diploe", 4 * mottle)
    inner = skull + skull_mm
    c.paint(inner, "csf")
    _cerebrum(c, inner + gap_mm, mottle)
    _hindbrain(c, inner + gap_mm + 2, mottle)
    _face(c, skin, width, length, mottle)
    _vessels(c, inner)
    _lesions(c, inner)


def _vault(c: Canvas, width: float, length: float) -> FloatArray:
    """Distance to the skin: an egg, wider behind, closed above; below the brow it goes on as a cylinder."""
    narrow = 1 - 0.06 * np.sin(-1.4 * c.y / np.float32(length))
    up = np.maximum(c.z + 5, 0)
    return ellipsoid_distance(up, c.y, c.x / narrow, (0.0, 0.0, 0.0), (97.0, length, width))


def _temporal_muscles(c: Canvas, scalp: FloatArray, width: float, mottle: FloatArray) -> None:
    for side in SIDES:
        muscle = c.ellipsoid((-22.0, -32.0, side * (width - 7)), (46.0, 28.0, 8.5))
        c.paint(muscle, "muscle", 2 * mottle, scalp + 0.5)


def _cerebrum(c: Canvas, hull: FloatArray, mottle: FloatArray) -> None:
    """Sulci are the sheets where a band-limited field vanishes; grey matter lies within a ribbon of the surface."""
    rng = c.rng(_Part.BRAIN)
    gyrus = rng.uniform(19, 24)
    folds = c.distance_of(c.field(_Part.BRAIN + 1, (0.85 * gyrus, 1.5 * gyrus), 64))
    depth = np.float32(rng.uniform(16, 25))
    wander = c.field(_Part.BRAIN + 2, (25.0, 70.0))
    # A sulcus is widest outside and ends where the hull is `depth` away, here deeper and there shallower.
    reach = depth * (1 + 0.25 * wander)
    opening = rng.uniform(0.7, 1.7) * np.clip(1.2 + hull / reach, 0.15, 1)
    sulci = np.maximum(np.abs(folds) - opening, -hull - reach)
    midline = np.abs(c.x - 1.5 * wander) - np.float32(rng.uniform(0.7, 1.6))
    callosum = c.ellipsoid((13.0, 2.0, 0.0), (15.0, 37.0, 60.0))  # no cleft where the hemispheres are joined
    cleft = np.maximum(midline, -callosum)
    pial = smooth_intersection(smooth_intersection(hull, -sulci, 1.5), -cleft, 1.5)
    for side in SIDES:
        pial = smooth_intersection(pial, -_sylvian(c, side, rng), 1.5)
    tentorium = -18 - c.z - np.float32(0.35) * (c.y - 10) * (c.y > 10)
    temporal = np.maximum(-c.z - 48, 14.0 - np.abs(c.x))
    pial = np.maximum(pial, np.minimum(tentorium, np.maximum(temporal, c.y - 6 - 0.4 * np.abs(c.x))))
    ribbon = np.float32(rng.uniform(2.4, 3.3))
    c.paint(pial, "grey", mottle)
    c.paint(pial + ribbon + 0.5 * wander, "white", mottle)
    _nuclei(c, mottle)
    _ventricles(c)
    falx = np.maximum(np.abs(c.x - 1.5 * wander) - 0.6, hull)
    c.paint(falx, "bone", 0.0, np.maximum(-callosum + 4, -c.z - 12))


def _sylvian(c: Canvas, side: float, rng: np.random.Generator) -> FloatArray:
    """The cleft from the temple inwards and along the insula, closing upwards."""
    wide = np.float32(rng.uniform(1.0, 2.6))
    x = side * c.x
    entry = np.maximum(np.abs(c.y + 16 - 0.12 * (x - 40)) - wide, 36 - x)
    insula = np.maximum(np.abs(x - 38 - 0.01 * (c.y - 2) ** 2) - wide, np.abs(c.y - 2) - 20)
    return np.maximum(smooth_union(entry, insula, 3.0), np.abs(c.z - 2) - 20)


def _nuclei(c: Canvas, mottle: FloatArray) -> None:
    for side in SIDES:
        c.paint(c.ellipsoid((6.0, 18.0, side * 11.5), (13.0, 16.0, 9.5)), "nucleus", mottle)  # thalamus
        c.paint(c.ellipsoid((4.0, -6.0, side * 25.5), (13.0, 19.0, 5.8)), "nucleus", mottle)  # putamen
        c.paint(c.ellipsoid((1.0, -1.0, side * 18.5), (9.0, 11.0, 3.8)), "pallidum", mottle)
        head = spline_tube(
            np.array([[6.0, -24, side * 12], [16, -12, side * 15], [20, 10, side * 19], [12, 26, side * 22]]),
            np.array([6.0, 5.0, 3.0, 1.6]), 24,
        )  # fmt: skip
        c.paint(c.tubes(head), "nucleus", mottle)


def _ventricles(c: Canvas) -> None:
    """Lateral horns swept along splines, the third ventricle between the thalami, plexus in the atria."""
    rng = c.rng(_Part.VENTRICLES)
    size = rng.uniform(0.7, 1.7)
    total: FloatArray = c.ellipsoid((1.0, 14.0, 0.0), (11.0, 17.0, 1.2 + 1.3 * size))
    for side in SIDES:
        own = size * rng.uniform(0.85, 1.15)
        body = np.array(
            [[4, -31, side * 12], [14, -20, side * 8], [22, 2, side * 10], [18, 24, side * 16], [6, 38, side * 24]],
            float,
        )
        radii = np.array([3.0, 4.4, 4.0, 4.8, 5.8]) * own
        lateral = c.tubes(spline_tube(body, radii, 40), 10.0)
        occipital = np.array([[6, 38, side * 24], [2, 52, side * 21], [0, 66, side * 17]], float)
        inferior = np.array(
            [[6, 38, side * 24], [-12, 30, side * 30], [-24, 8, side * 31], [-27, -8, side * 29]], float
        )
        for path, taper in ((occipital, (5.0, 3.6, 0.8)), (inferior, (5.0, 3.0, 2.0, 1.0))):
            lateral = smooth_union(lateral, c.tubes(spline_tube(path, own * np.array(taper), 24), 10.0), 3.0)
        # The septum keeps the horns of the two sides apart.
        total = smooth_union(total, np.maximum(lateral, 0.8 - side * c.x), 1.5)
        c.paint(lateral - 1.2, "white")
    c.paint(total, "csf")
    for side in SIDES:
        c.paint(c.ellipsoid((7.0, 35.0, side * 23.0), (5.0, 5.5 * size, 2.4 * size)), "plexus", 0.0, total + 0.5)


def _hindbrain(c: Canvas, hull: FloatArray, mottle: FloatArray) -> None:
    """Cerebellum with folia below a tilted tent, brainstem, fourth ventricle."""
    rng = c.rng(_Part.HINDBRAIN)
    tent = c.z + 20 + np.float32(0.3) * (c.y - 10)
    lobe = smooth_intersection(hull, tent, 4.0)
    lobe = smooth_intersection(lobe, 12.0 + 0.42 * np.abs(c.x) - c.y, 6.0)
    folia = np.sin((c.y + 0.4 * c.z + 5 * c.field(_Part.HINDBRAIN + 1, (20.0, 60.0))) * np.float32(2 * np.pi / 5.5))
    c.paint(lobe, "grey", mottle)
    c.paint(np.maximum(lobe + 7, 0.9 * folia - 0.2), "white", mottle)
    c.paint(np.maximum(lobe + 1, 0.9 - folia), "csf")
    c.paint(lobe + 15, "white", mottle)
    stem = ellipsoid_distance(c.z * 0, c.y - 8 - 0.15 * (c.z + 40), c.x, (0.0, 0.0, 0.0), (1.0, 12.0, 15.0))
    c.paint(np.maximum(stem - 3, c.z + 14), "csf", 0.0, np.maximum(hull, c.y - 16))
    stem = np.maximum(stem, c.z + 3)
    c.paint(stem, "white", mottle)
    c.paint(c.ellipsoid((-40.0, 23.0, 0.0), (14.0, 4.0, rng.uniform(4, 8))), "csf")


def _face(c: Canvas, skin: FloatArray, width: float, length: float, mottle: FloatArray) -> None:
    """Skull base and petrous bone, orbits with eyes and muscles, air in sinuses and mastoids."""
    rng = c.rng(_Part.FACE)
    front = -np.float32(0.62 * length)
    base = np.maximum(skin + 9, np.maximum(c.z + 24 + 0.12 * (c.y - front), c.y + 34))
    c.paint(base, "muscle", 2 * mottle)
    for side in SIDES:
        petrous = c.ellipsoid((-44.0, 24.0, side * 42.0), (10.0, 7.0, 24.0))
        c.paint(petrous, "bone", 0.0, skin + 6)
        cells = np.maximum(petrous + 2, 0.2 - np.abs(c.field(_Part.FACE + 1, (5.0, 12.0))) * 2)
        c.paint(cells, "csf", -0.9, skin + 6)
        orbit = c.ellipsoid((-34.0, -0.74 * length, side * 31.0), (19.0, 28.0, 19.0))
        c.paint(orbit - 1.5, "bone", 0.0, skin + 3)
        c.paint(orbit, "fat", 2 * mottle, skin + 2)
        eye = c.ellipsoid((-34.0, -0.80 * length, side * 32.0), (12.0, 12.0, 12.0))
        c.paint(eye, "muscle")
        c.paint(eye + 1.0, "eye")
        c.paint(c.ellipsoid((-34.0, -0.80 * length - 8, side * 32.0), (4.5, 2.4, 4.5)), "muscle")
        for lean in (-9.0, 0.0, 9.0):  # two muscles and the nerve
            cord = spline_tube(
                np.array([[-34, -0.80 * length + 10, side * 32 + lean], [-33, -0.55 * length, side * 20.0]]),
                np.array([2.2, 1.8]), 10,
            )  # fmt: skip
            c.paint(c.tubes(cord), "muscle")
    air = c.ellipsoid((-36.0, -0.66 * length, 0.0), (24.0, 26.0, 12.0))
    c.paint(air - 1, "bone", 0.0, skin + 4)
    walls = 1.2 - np.abs(c.distance_of(c.field(_Part.FACE + 2, (14.0, 30.0))))
    c.paint(np.maximum(air, walls), "bone", -1.0, skin + 4)
    c.paint(np.maximum(air, 0.4 - np.abs(walls)), "plexus", 0.0, skin + 4)
    if rng.random() < 0.7:
        frontal = c.ellipsoid((-12.0, -0.86 * length, 0.0), (14.0, 4.5, rng.uniform(10, 22)))
        c.paint(frontal, "bone", -1.0, skin + 5)


def _vessels(c: Canvas, inner: FloatArray) -> None:
    """Sagittal and transverse sinuses, the arteries of the base and their branches in the clefts."""
    sinus = np.maximum(np.abs(c.x) - 4.2 - 0.6 * inner, np.abs(inner + 3) - 4)
    c.paint(np.maximum(sinus, np.minimum(-c.y, 25 - c.z)), "vein", 0.0, np.maximum(-c.z - 20, inner))
    across = np.abs(c.z + 27 + 0.05 * np.abs(c.x)) - 3.5
    c.paint(np.maximum(np.maximum(across, np.abs(inner + 3) - 3.5), 20 - c.y), "vein", 0.0, inner)
    basilar = spline_tube(np.array([[-60.0, -6, 0], [-35, -6, 1], [-22, -4, 0]]), np.array([2.0, 1.8, 1.7]), 14)
    c.paint(c.tubes(basilar), "artery")
    for side in SIDES:
        middle = spline_tube(
            np.array([[-24.0, -22, side * 9], [-18, -20, side * 20], [-10, -18, side * 36], [0, -12, side * 41]]),
            np.array([2.2, 1.7, 1.5, 1.2]), 30,
        )  # fmt: skip
        c.paint(c.tubes(middle), "artery")
        for n in range(3):
            stream = c.rng(_Part.VESSELS + n + int(side > 0) * 3)
            tree = branching_tubes(stream, (0.0, -10.0 + 6 * n, side * 41.0), (0.6, 0.5 * n, side * 0.35), 1.3, 16.0, 5)
            c.paint(c.tubes(tree, 4.0), "artery", 0.0, inner + 1)


def _lesions(c: Canvas, inner: FloatArray) -> None:
    """Small bright foci of age, and in one head of four a mass with a surround."""
    rng = c.rng(_Part.LESIONS)
    for _ in range(int(rng.integers(0, 12))):
        size = rng.uniform(1.2, 4.0)
        at = (rng.uniform(-5, 45), rng.uniform(-40, 45), rng.choice(SIDES) * rng.uniform(16, 40))
        c.paint(c.ellipsoid(at, (size, size * rng.uniform(0.7, 1.5), size)), "lesion", 0.0, inner + 12)
    if rng.random() < 0.25:
        at = (rng.uniform(-5, 45), rng.uniform(-45, 45), rng.choice(SIDES) * rng.uniform(20, 42))
        size = rng.uniform(8, 17)
        edge = 2.5 * c.field(_Part.LESIONS + 1, (12.0, 40.0))
        mass = c.ellipsoid(at, (size, size * rng.uniform(0.8, 1.2), size)) + edge
        c.paint(np.maximum(mass - 7 + 1.5 * edge, inner + 6), "lesion", -0.25)
        c.paint(mass, "lesion")
        c.paint(mass + rng.uniform(2.5, 5), "nucleus", 0.05 * edge)
