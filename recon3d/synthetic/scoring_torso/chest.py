"""Diaphragm, lungs with their trees, heart with chambers, airways and great vessels of the chest."""

from __future__ import annotations

import numpy as np

from recon3d.synthetic.implicit import (
    FloatArray,
    branching_tubes,
    ellipsoid_distance,
    smooth_intersection,
    smooth_union,
    spline_tube,
)
from recon3d.synthetic.scoring_torso.section import Part, Section


def diaphragm(s: Section) -> FloatArray:
    """Signed height below the two domes, negative in the chest: z_dome(x, y) - z."""
    rng = s.rng(Part.CHEST, 1)
    right, left = rng.uniform(55, 85), rng.uniform(45, 75)
    p = s.patient
    across = 1.6 * p.half_width / 2
    top = np.full(s.shape, -40.0, np.float32)
    for side, height in ((-1, right), (1, left)):
        bump = ((s.x - side * 0.42 * p.half_width) / across) ** 2 + ((s.y + 10) / p.half_depth) ** 2
        top = -smooth_union(-top, -(height - np.float32(95) * bump), 14.0)
    return top + 4 * s.bend - s.z


def chest(s: Section, dome: FloatArray) -> None:
    """Mediastinum, heart with chambers, lungs with vessel and bronchial trees."""
    p, rng = s.patient, s.rng(Part.CHEST)
    heart_at = (rng.uniform(82, 100), rng.uniform(-38, -24), rng.uniform(18, 34))
    heart = s.ellipsoid(heart_at, (52.0, rng.uniform(42, 50), rng.uniform(52, 62)), 2.5)
    spread = rng.uniform(20, 30)
    middle = s.ellipsoid((150.0, -5.0, 0.0), (1e5, 1e4, spread), 4.0)
    column = ellipsoid_distance(s.z, s.y - s.spine_y, s.x, (0.0, 0.0, 0.0), (1e5, 32.0, 36.0))
    middle = smooth_union(smooth_union(middle, heart - 6, 16.0), column, 14.0)
    lungs = smooth_intersection(smooth_intersection(s.cavity + 1, -middle, 7.0), dome + 4, 5.0)
    if not s.near(-45, 400):
        return
    # Muscle of the diaphragm lines the domes.
    s.paint(np.abs(dome) - 1.8, p.muscle, s.cavity)
    parenchyma = rng.uniform(-880, -800) + 0.25 * s.y + 14 * s.tissue + 18 * s.grain + 15 * s.ripple
    s.paint(lungs, parenchyma)
    for side in (-1, 1):
        hilum = (135.0, 5.0, side * (spread + 4))
        for n in range(16):
            stream = s.rng(Part.CHEST, 100 * (side + 2) + n)
            heading = stream.standard_normal(3) * np.array([0.9, 0.9, 0.3]) + np.array([-0.25, 0.15, 1.0 * side])
            tree = branching_tubes(stream, hilum, tuple(heading), stream.uniform(3.5, 6.0), 40.0, 6)
            s.paint(s.tubes(tree, 3.0), 0.6 * p.blood + 20, lungs)
        airway = branching_tubes(s.rng(Part.CHEST, 90 + side), hilum, (-0.3, 0.2, side), 5.0, 36.0, 4)
        walls = s.tubes(airway, 3.0)
        s.paint(walls - 1.0, -150.0, lungs - 4)
        s.paint(walls + 0.6, -985.0)
    if rng.random() < 0.5:  # a nodule or a patch of consolidation
        at = (p.level_mm + rng.uniform(-30, 30), rng.uniform(-40, 50), rng.choice((-1, 1)) * rng.uniform(70, 105))
        size = rng.uniform(5, 16)
        s.paint(s.ellipsoid(at, (size, size * 0.9, size), 1.5), 35 + 10 * s.tissue, lungs)
    if rng.random() < 0.3:  # fluid settles behind the lung
        s.paint(-(s.y - np.float32(0.5 * p.half_depth)), rng.uniform(0, 18), np.maximum(lungs, -s.x))
    # Heart: fat, muscle, chambers.
    inside = np.maximum(heart, dome)
    s.paint(inside, p.muscle + 40 * p.enhancement + 5 * s.tissue)
    for offset, radii, value in (
        ((-4.0, 10.0, 26.0), (34.0, 19.0, 20.0), p.blood),
        ((-2.0, -22.0, -2.0), (36.0, 15.0, 27.0), 0.5 * (p.blood + p.venous)),
        ((8.0, -4.0, -34.0), (26.0, 24.0, 17.0), 0.5 * (p.blood + p.venous)),
        ((24.0, 28.0, -4.0), (20.0, 14.0, 28.0), p.blood),
    ):
        centre = tuple(h + o for h, o in zip(heart_at, offset, strict=True))
        s.paint(s.ellipsoid((centre[0], centre[1], centre[2]), radii, 1.5), value + 4 * s.tissue, inside + 4)
    # Trachea and main bronchi, oesophagus, great vessels.
    carina = 150.0
    s.paint(s.ellipsoid((carina + 180, 0.0, 2.0), (182.0, 9.0, 10.0)) - 1.5, 60.0)
    s.paint(s.ellipsoid((carina + 180, 0.0, 2.0), (182.0, 9.0, 10.0)), -990.0)
    bronchi = [
        spline_tube(
            np.array([[carina, 0, 2], [carina - 12, 4, side * 14], [carina - 22, 6, side * 34]]),
            np.array([7.0, 6.5, 5.5]),
            14,
        )
        for side in (-1.0, 1.0)
    ]
    airway = s.tubes(np.concatenate(bronchi))
    s.paint(airway - 1.5, 50.0)
    s.paint(airway, -990.0)
    gullet = ellipsoid_distance(s.z, s.y - s.spine_y, s.x, (150.0, -26.0, -2.0), (1e5, 7.0, 9.0)) + s.bend
    s.paint(gullet, 42.0, -dome)
    s.paint(gullet + 5.5, -850.0, dome)
    trunk = np.array([[135, -20, 0], [150, -14, -2], [148, 0, -30], [138, 4, -48]], float)
    s.paint(s.tubes(spline_tube(trunk, np.array([14.0, 13, 10, 7]), 24)), 0.5 * (p.blood + p.venous))
    trunk = trunk * np.array([1, 1, -1]) + np.array([6, 0, 4])
    s.paint(s.tubes(spline_tube(trunk, np.array([14.0, 13, 10, 7]), 24)), 0.5 * (p.blood + p.venous))
    ascending = np.array(
        [[110, -22, 4], [140, -34, -16], [180, -30, -14], [200, -5, 0], [185, 25, 18], [150, 34, 20]], float
    )
    s.paint(s.tubes(spline_tube(ascending, np.array([15.0, 16, 15, 13, 12.5, 12]), 50)), p.blood + 4 * s.tissue)
    cava = np.array([[100, -10, -34], [150, -16, -30], [200, -18, -28], [260, -10, -24]], float)
    s.paint(s.tubes(spline_tube(cava, np.array([11.0, 10, 9, 8]), 40)), p.venous)
