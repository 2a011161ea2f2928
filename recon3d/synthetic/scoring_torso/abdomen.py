"""Bowel, solid organs and great vessels below the diaphragm."""

from __future__ import annotations

import numpy as np

from recon3d.synthetic.implicit import (
    FloatArray,
    branching_tubes,
    smooth_intersection,
    smooth_union,
    spline_tube,
    worley_cells,
)
from recon3d.synthetic.scoring_torso.section import Part, Section

FAR_MM = np.float32(1e3)


def _fill(s: Section, organ: FloatArray, rng: np.random.Generator, height_mm: FloatArray) -> None:
    """Contents of a hollow organ: liquid, food or contrast medium below a level, gas above it."""
    content = (rng.uniform(0, 25), rng.uniform(20, 45), rng.uniform(180, 350))[rng.choice(3, p=(0.45, 0.35, 0.2))]
    s.paint(organ, content + 10 * s.grain + 6 * s.tissue)
    if rng.random() < 0.75:
        s.paint(height_mm + rng.uniform(-2, 18), -985.0, organ)


def bowel(s: Section, abdomen: FloatArray) -> None:
    """Loops are Worley cells: wall along the border, a random content in each, some cells left as mesentery."""
    if not s.near(-250, 40):
        return
    p, rng = s.patient, s.rng(Part.BOWEL)
    z, y, x = (
        axis + 9 * w
        for axis, w in zip((s.z, s.y, s.x), (s.tissue * 0.25, s.ripple, np.roll(s.ripple, 7, 2)), strict=True)
    )
    border, label, height = worley_cells(z, y, x, rng.uniform(34, 42), int(rng.integers(2**31)))
    region = smooth_intersection(abdomen + 5, s.z - rng.uniform(-15, 30), 10.0)
    region = smooth_intersection(region, s.y - np.float32(0.22 * p.half_depth), 8.0)
    loop = np.where(label < rng.uniform(0.6, 0.75), rng.uniform(1.5, 3.5) - border, FAR_MM)
    loop = np.maximum(loop, region)
    wall = rng.uniform(2.0, 3.2)
    s.paint(loop, 45 + 45 * p.enhancement + 6 * s.tissue)
    content = np.float32(10.0) + 40 * np.mod(label * 23, 1) + np.where(np.mod(label * 7, 1) < 0.2, np.float32(220.0), 0)
    s.paint(loop + wall, content + 8 * s.tissue)
    mottled = np.where(np.mod(label * 11, 1) < 0.25, loop + wall + 0.5, FAR_MM)
    s.paint(mottled, -150 + 160 * s.tissue)
    gas = np.where(np.mod(label * 17, 1) < 0.4, height + 14 * np.mod(label * 31, 1) - 4, FAR_MM)
    s.paint(gas, -985.0, loop + wall)
    mesentery = [
        branching_tubes(s.rng(Part.BOWEL, 5 + n), (-40.0 - 40 * n, 5.0, 5.0), (-0.5, -1.0, n - 1.0), 4.0, 32.0, 5)
        for n in range(3)
    ]
    s.paint(s.tubes(np.concatenate(mesentery), 3.0), p.venous, np.maximum(region, wall - loop - 2 * wall))


def solid_organs(s: Section, abdomen: FloatArray) -> None:
    """Liver, spleen, stomach, pancreas, gallbladder, kidneys."""
    p = s.patient
    w, d = p.half_width, p.half_depth
    if s.near(-150, 130):
        rng = s.rng(Part.STOMACH)
        at = (rng.uniform(0, 25), rng.uniform(-0.42, -0.25) * d, rng.uniform(0.28, 0.4) * w)
        fundus = s.ellipsoid((at[0] + 22, at[1] + 24, at[2] + 14), (32.0, 28.0, 30.0), 3.0)
        antrum = s.ellipsoid((at[0] - 24, at[1] - 2, at[2] - 34), (22.0, 18.0, 36.0), 3.0)
        stomach = smooth_union(smooth_union(fundus, s.ellipsoid(at, (38.0, 24.0, 26.0), 3.0), 15.0), antrum, 15.0)
        stomach = np.maximum(stomach, abdomen + 4)
        s.paint(stomach - 5, p.fat + 5 * s.tissue, abdomen)
        s.paint(stomach, 48 + 40 * p.enhancement + 5 * s.tissue)
        _fill(s, stomach + rng.uniform(3, 6) + 1.2 * s.ripple, rng, s.y - np.float32(at[1]))

        rng = s.rng(Part.LIVER)
        value = rng.uniform(48, 64) + p.enhancement * rng.uniform(35, 55)
        bulk = s.ellipsoid((rng.uniform(0, 20), -5.0, -0.5 * w), (rng.uniform(95, 115), 0.85 * d, 0.68 * w), 4.0)
        left = s.ellipsoid((25.0, -0.45 * d, 0.0), (55.0, 0.33 * d, rng.uniform(0.35, 0.6) * w), 4.0)
        liver = smooth_union(bulk, left, 20.0)
        # A tilted plane makes the inferior visceral face; the organs behind it press into it.
        tilt = rng.uniform(0.3, 0.6)
        face = (-s.z - tilt * (s.x + 0.2 * w) * -1 - 70 + 0.4 * s.y) / np.float32(np.sqrt(1.16 + tilt**2))
        press = s.ellipsoid((-45.0, 0.4 * d, -64.0), (60.0, 32.0, 32.0))
        hilum = s.ellipsoid((0.0, 0.35 * d, 8.0), (90.0, 0.42 * d, 42.0), 5.0)
        for cut in (face, -press, -hilum):
            liver = smooth_intersection(liver, cut, 9.0)
        liver = smooth_intersection(liver, abdomen, 2.0)
        s.paint(liver, value + 4 * s.tissue + 4 * s.ripple)
        portal = [
            branching_tubes(
                s.rng(Part.LIVER, 1 + n),
                (5.0 + 12 * n, 5.0, -28.0),
                (0.6 * n - 0.6, 0.5 - 0.5 * n, -1.0),
                6.5,
                36.0,
                6,
            )
            for n in range(4)
        ]
        s.paint(s.tubes(np.concatenate(portal), 3.0), value + 8 + 34 * p.enhancement, liver + 2)
        for _ in range(int(rng.integers(0, 6))):
            size = rng.uniform(3, 15)
            spot = (p.level_mm + rng.uniform(-25, 25), rng.uniform(-0.5, 0.5) * d, -rng.uniform(0.25, 0.85) * w)
            lesion = s.ellipsoid(spot, (size, size * rng.uniform(0.8, 1.2), size), 1.0)
            s.paint(lesion, (8.0, value - 35, value + 45)[int(rng.integers(3))] + 4 * s.tissue, liver + 2)
        gall = s.ellipsoid((-35.0, -0.25 * d, -0.36 * w), (26.0, 19.0, 14.0), 2.0)
        s.paint(gall, 50.0, abdomen + 2)
        s.paint(gall + 2, rng.uniform(2, 18) + 2 * s.tissue, abdomen + 2)

        spleen = s.ellipsoid((rng.uniform(10, 30), 0.28 * d, 0.66 * w), (rng.uniform(40, 58), 0.46 * d, 0.24 * w), 4.0)
        spleen = smooth_intersection(spleen, -s.ellipsoid((10.0, 0.05 * d, 0.36 * w), (60.0, 38.0, 32.0)), 8.0)
        spleen = smooth_intersection(spleen, abdomen + 2, 5.0)
        mottle = 25 * s.ripple if p.blood > 200 else 2 * s.ripple
        s.paint(spleen, rng.uniform(44, 54) + p.enhancement * rng.uniform(55, 80) + 4 * s.tissue + mottle)

        duct = np.array([[-45, 2, -48], [-28, -8, -20], [-18, -10, 14], [-5, 12, 50], [8, 30, 78]], float)
        duct[:, 1] += 0.02 * d
        duct += rng.normal(0, 5, duct.shape)
        pancreas = s.tubes(spline_tube(duct, np.array([15.0, 11, 9, 10, 7]), 40)) + 1.5 * s.ripple + 1.5 * s.tissue
        s.paint(pancreas, 40 + 50 * p.enhancement + 7 * s.tissue, abdomen + 2)
        splenic = duct + np.array([4, 9, 0])
        s.paint(s.tubes(spline_tube(splenic, np.full(5, 4.2), 60)), p.venous, abdomen + 2)
    for side in (-1, 1):
        rng = s.rng(Part.KIDNEYS, side + 1)
        at = (
            rng.uniform(-62, -38) + 8 * side,
            float(s.spine_depth(np.array([-50.0]))[0]) + rng.uniform(4, 16),
            side * rng.uniform(60, 70),
        )
        if not s.near(at[0] - 65, at[0] + 65):
            continue
        kidney = s.ellipsoid(at, (rng.uniform(48, 58), rng.uniform(24, 28), rng.uniform(22, 27)), 1.5)
        sinus = s.ellipsoid((at[0], at[1] - 8, at[2] - side * 16), (26.0, 12.0, 16.0), 2.5)
        kidney = np.maximum(kidney, abdomen + 3)
        s.paint(kidney - 6, p.fat + 5 * s.tissue, abdomen)
        cortex, medulla = 32 + 135 * p.enhancement, 30 + 85 * p.enhancement
        s.paint(kidney, cortex + 4 * s.tissue)
        pyramids = np.maximum(kidney + 6, 3 * (0.1 - np.cos(s.z * 0.33 + 2 * s.ripple)))
        s.paint(pyramids, medulla + 4 * s.tissue)
        s.paint(sinus, p.fat + 15, kidney - 4)
        s.paint(sinus + 8, 8.0, kidney - 4)
        if rng.random() < 0.35:
            size = rng.uniform(5, 18)
            s.paint(
                s.ellipsoid((at[0] + rng.uniform(-30, 30), at[1] + 6, at[2] + side * 20), (size,) * 3), 6.0, abdomen
            )
        vein = np.array(
            [
                [at[0], at[1] - 8, at[2] - side * 12],
                [at[0] + 2, at[1] - 34, side * 30],
                [at[0] + 4, at[1] - 36, side * 8 - 4],
            ]
        )
        s.paint(s.tubes(spline_tube(vein, np.array([5.0, 5, 5]), 24)), p.venous)


def great_vessels(s: Section) -> None:
    """Descending aorta with plaque, inferior vena cava, and the iliac branches below the fork."""
    p, rng = s.patient, s.rng(Part.VESSELS)
    bend = rng.normal(0, 3, (6, 2))
    levels = np.array([-140.0, -80.0, -20.0, 40.0, 100.0, 150.0])
    front = s.spine_depth(levels) - 27
    fork = float(front[0])
    aorta = np.column_stack(
        [
            levels,
            front - 4 + bend[:, 0] + np.array([0, 0, 0, 2, 10, 16]),
            10 + bend[:, 1] + np.array([-8, -4, 0, 2, 10, 16]),
        ]
    )
    cava = np.column_stack([levels, front - 6 - bend[:, 0] + np.array([2, 0, -4, -16, -20, -20]), -20 + bend[:, 1]])
    radius = rng.uniform(9.5, 13) * np.linspace(0.82, 1.08, 6)
    legs_a, legs_v = [], []
    for side in (-1.0, 1.0):
        path = np.array(
            [
                [-136, fork - 3, 2],
                [-165, fork + 4, side * 22],
                [-200, fork + 4, side * 46],
                [-240, -0.25 * p.half_depth, side * 68],
                [-320, -0.55 * p.half_depth, side * 80],
            ]
        )
        legs_a.append(spline_tube(path, np.array([8.0, 6.5, 5.5, 5, 5]), 50))
        legs_v.append(spline_tube(path + np.array([0, 10, -side * 6]), np.array([10.0, 8, 7, 6, 6]), 50))
    vein = s.tubes(np.concatenate([spline_tube(cava[:5], np.array([11.0, 11, 12, 13, 13]), 60), *legs_v]), 8.0)
    s.paint(vein, p.venous + 8 * s.ripple)
    artery = s.tubes(np.concatenate([spline_tube(aorta, radius, 70), *legs_a]), 8.0)
    s.paint(artery - 1.2, 45.0)
    s.paint(artery, p.blood + 4 * s.tissue)
    plaque = np.maximum(np.abs(artery) - 1.3, (rng.uniform(1.2, 2.6) - s.ripple - 0.3 * s.tissue) * 10)
    s.paint(plaque, 650.0)
