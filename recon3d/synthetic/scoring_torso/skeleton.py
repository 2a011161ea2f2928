"""Spine, ribs and shoulder blades, and the pelvis with what lies in it."""

from __future__ import annotations

import numpy as np

from recon3d.synthetic.implicit import (
    FloatArray,
    ellipsoid_distance,
    smooth_intersection,
    smooth_union,
    spline_tube,
)
from recon3d.synthetic.scoring_torso.section import Part, Section

VERTEBRA_MM = 31.0


def spine(s: Section) -> None:
    """Muscles beside the spine, then vertebrae (cortex, cancellous bone), discs, canal, arch and processes."""
    p, rng = s.patient, s.rng(Part.SPINE)
    y = s.y - s.spine_y
    x = s.x
    low, high = (-190.0, 400.0)
    size = np.interp(s.z, (-180, 0, 200), (1.12, 1.0, 0.82)).astype(np.float32)
    for side in (-1, 1):
        band = ellipsoid_distance(s.z, y, x, (0.0, 40.0, side * 32.0), (1e5, 20.0, 29.0)) + 2.5 * s.ripple
        band = np.maximum(np.maximum(band, s.inner + 1), -195 - s.z)
        s.paint(band, p.muscle + 8 * s.tissue)
        s.paint(
            np.maximum(
                np.abs(ellipsoid_distance(s.z, y, x, (0.0, 40.0, side * 34.0), (1e5, 9.0, 27.0))) - 0.8, band + 2
            ),
            p.fat + 50,
        )
        if s.near(-300, 10):
            drop = np.clip((-s.z - 20) * 0.24, -8, 48)
            psoas = ellipsoid_distance(
                s.z, y + 0.5 * drop, x - side * (26 + 0.5 * drop), (-130.0, 4.0, side * 14.0), (150.0, 21.0, 16.0)
            )
            s.paint(psoas + 1.5 * s.ripple, p.muscle + 5 + 5 * s.tissue, s.cavity - 6)
    if not s.near(low, high):
        return
    local = np.mod(s.z + rng.uniform(0, VERTEBRA_MM), np.float32(VERTEBRA_MM)) - VERTEBRA_MM / 2
    waist = 1 - 0.10 * np.cos(local / 13 * np.float32(np.pi / 2))
    end = np.maximum(low - s.z, s.z - high)
    section = ellipsoid_distance(s.z, y / (waist * size), x / (waist * size), (0.0, 0.0, 0.0), (1e6, 17.5, 24.0))
    section = smooth_intersection(section, -ellipsoid_distance(s.z, y, x, (0.0, 24.0, 0.0), (1e6, 10.5, 13.0)), 3.0)
    disc = np.maximum(section + 1, end)
    s.paint(disc, 85 + 10 * s.tissue)
    vertebra = np.maximum(smooth_intersection(section, np.abs(local) - 12.5, 3.0), end)
    paint_bone(s, vertebra, rng.uniform(1.2, 2.0))
    # Arch: a ring round the canal, open to the discs' level only behind; processes are ellipsoids in local height.
    ring = np.abs(ellipsoid_distance(s.z, y, x, (0.0, 25.0, 0.0), (1e6, 12.0, 14.5))) - 3.0
    arch = np.maximum(np.maximum(ring, np.abs(local + 2) - 10.5), 14.0 - y)
    spinous = ellipsoid_distance(local, y, x, (-4.0, 46.0, 0.0), (9.5, 15.0, 3.8))
    arch = smooth_union(arch, spinous, 4.0)
    for side in (-1, 1):
        wing = ellipsoid_distance(local, y - 0.25 * np.abs(x), x, (1.0, 17.0, side * 28.0), (6.5, 5.0, 14.0))
        facet = ellipsoid_distance(local, y, x, (12.0, 29.0, side * 16.0), (11.0, 6.0, 6.5))
        arch = smooth_union(arch, smooth_union(wing, facet, 4.0), 4.0)
    canal = ellipsoid_distance(s.z, y, x, (0.0, 24.5, 0.0), (1e6, 9.5, 11.5))
    s.paint(np.maximum(canal, end), p.fat + 20)
    s.paint(np.maximum(canal + 2.5, end), 22.0)
    s.paint(np.maximum(canal + 5, end), 38.0)
    paint_bone(s, np.maximum(np.maximum(arch + 0.6 * s.ripple, -canal), end), 1.8)


def paint_bone(s: Section, bone: FloatArray, cortex_mm: float) -> None:
    """Cortex over cancellous bone whose trabeculae are band-passed noise."""
    density = s.patient.cancellous
    s.paint(bone, 2.2 * density + 420 + 90 * s.tissue)
    s.paint(bone + cortex_mm + 0.35 * s.ripple, density + 0.35 * density * s.grain + 25 * s.tissue)


def ribs(s: Section) -> None:
    """Twelve pairs swept along the wall from the spine, falling forward, ending in cartilage at the sternum."""
    if not s.near(-110, 330):
        return
    p, rng = s.patient, s.rng(Part.RIBS)
    drop, depth = rng.uniform(100, 140), rng.uniform(0.55, 0.72)
    bone, cartilage = [], []
    for k in range(12):
        start = 8 + (k + 0.35) * 27.0
        reach = (1.5, 1.95)[k] if k < 2 else 2.75
        for side in (-1.0, 1.0):
            angle = np.linspace(0.18, reach, 60)
            z = start - drop * (1 - np.cos(angle)) / 2 - 8 * np.sin(angle)
            path = s.on_wall(z, side * angle, depth)
            pull = np.clip((0.5 - angle) / 0.32, 0, 1)[:, None]
            root = np.array([start, float(s.spine_depth(np.array([start]))[0]) + 14, side * 30.0])
            path = path * (1 - pull) + root * pull
            split = int(np.searchsorted(angle, 2.25))
            for shift in (-3.2, 0.0, 3.2):  # three strands side by side make the flat section of a rib
                strand = path + np.array([shift, 0, 0])
                tube = np.column_stack([strand[:-1], strand[1:], np.full((59, 2), 4.0)])
                bone.append(tube[:split])
                cartilage.append(tube[split:])
    s.paint(s.tubes(np.concatenate(cartilage), 4.0) + 0.5, 95 + 20 * s.tissue)
    ribs = s.tubes(np.concatenate(bone), 4.0)
    s.paint(ribs, 640 + 2 * p.cancellous + 100 * s.tissue)
    s.paint(ribs + 1.7, 0.8 * p.cancellous + 40 * s.grain)
    if s.near(60, 240):
        z = np.linspace(70, 225, 30)
        plate = [s.on_wall(z, np.full(30, np.pi + a), depth) for a in (-0.11, -0.055, 0.0, 0.055, 0.11)]
        segments = [np.column_stack([q[:-1], q[1:], np.full((29, 2), 6.0)]) for q in plate]
        paint_bone(s, s.tubes(np.concatenate(segments)), 1.5)
    if s.near(130, 300):  # shoulder blades lie outside the ribs
        blades = []
        for side in (-1.0, 1.0):
            z = np.linspace(140, 290, 30)
            for a in np.linspace(0.75, 1.2, 20):
                q = s.on_wall(z, np.full(30, side * a), 0.05)
                blades.append(np.column_stack([q[:-1], q[1:], np.full((29, 2), 3.4)]))
        paint_bone(s, s.tubes(np.concatenate(blades)), 1.4)


def pelvis(s: Section) -> None:
    """Bladder, rectum, sacrum, iliac wings, hip joints with femoral heads."""
    if not s.near(-360, -120):
        return
    p, rng = s.patient, s.rng(Part.PELVIS)
    d = p.half_depth
    for side in (-1, 1):
        inner = s.ellipsoid((-215.0, 0.08 * d, side * 92.0), (55.0, 34.0, 20.0), 3.0)
        s.paint(inner, p.muscle + 6 * s.tissue)
    bladder = s.ellipsoid(
        (rng.uniform(-262, -240), -0.32 * d, 0.0), (rng.uniform(22, 38), rng.uniform(22, 32), rng.uniform(30, 46)), 3.0
    )
    s.paint(bladder - 10, p.fat + 5 * s.tissue)
    s.paint(bladder, 40.0 + 3 * s.tissue)
    s.paint(bladder + 3.5, rng.uniform(0, 14))
    organ = s.ellipsoid((-262.0, 0.08 * d, 0.0), (30.0, 19.0, 28.0), 3.0)
    s.paint(organ, 50 + 40 * p.enhancement + 8 * s.ripple + 4 * s.tissue)
    rectum = s.ellipsoid((-250.0, 0.38 * d, 3.0), (60.0, 19.0, 21.0), 3.0)
    s.paint(rectum - 5, p.fat + 5 * s.tissue)
    s.paint(rectum, 48.0 + 4 * s.tissue)
    s.paint(rectum + 4, -120 + 150 * s.tissue)
    s.paint(s.y - np.float32(0.36 * d), -980.0, rectum + 4.5)
    bend = s.y - s.spine_y - 22 + (s.z + 225) ** 2 * np.float32(0.007) + s.x**2 * np.float32(0.008)
    sacrum = smooth_intersection(
        np.abs(bend) - (15 + (s.z + 200) * np.float32(0.1)), np.abs(s.x) - (40 + (s.z + 200) * np.float32(0.35)), 10.0
    )
    sacrum = np.maximum(np.maximum(sacrum, -270 - s.z), s.z + 176)
    holes = np.hypot(np.abs(s.x) - 21, np.mod(s.z, 26) - 13) - 4.5
    paint_bone(s, smooth_intersection(sacrum + 1.5 * s.ripple, -holes, 3.0), 1.8)
    for side in (-1, 1):
        x = s.x * side
        # The wing is a thin sheet that runs from the sacrum outwards and forwards.
        sheet = (
            s.y
            - 0.42 * d
            + np.float32(0.9) * (x - 50)
            - np.float32(0.007) * (x - 78) ** 2
            + np.float32(0.22) * (s.z + 200)
        )
        sheet = sheet * np.float32(0.7)
        thick = 6.5 + 2 * s.ripple + np.clip((60 - x) * 0.15, 0, 5)
        wing = smooth_intersection(
            np.abs(sheet) - thick, s.ellipsoid((-200.0, 0.08 * d, side * 88.0), (66.0, 62.0, 50.0)), 7.0
        )
        socket = np.abs(s.ellipsoid((-272.0, -2.0, side * 92.0), (31.0, 30.0, 30.0))) - 4.5
        socket = np.maximum(socket, x - 104)
        paint_bone(s, smooth_union(wing, socket, 8.0), 2.0)
        pubis = spline_tube(
            np.array([[-272, -10, side * 66], [-282, -0.40 * d, side * 40], [-292, -0.48 * d, side * 8.0]]),
            np.array([10.0, 8, 9]),
            20,
        )
        paint_bone(s, s.tubes(pubis), 1.8)
        head = s.ellipsoid((-272.0, -2.0, side * 93.0), (24.0, 24.0, 24.0))
        neck = spline_tube(
            np.array([[-275, -2, side * 95], [-288, 4, side * 118], [-310, 8, side * 130]]),
            np.array([17.0, 15, 17]),
            16,
        )
        paint_bone(s, smooth_union(head, s.tubes(neck, 10.0), 6.0), 2.0)
