"""Things that are no anatomy: test objects with inserts, random packings, implants, tables and cables."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

import numpy as np

from .shapes import EVERYWHERE, NOT_AIR, Scene, Tissue, only, rotation

_PLASTICS_HU = (-1000.0, -200.0, -100.0, -35.0, 0.0, 35.0, 90.0, 120.0, 340.0, 500.0, 950.0, 1200.0)


def _material(rng: np.random.Generator) -> float:
    if rng.random() < 0.5:
        return float(rng.choice(_PLASTICS_HU) + rng.normal(0, 8))
    return float(
        rng.choice([rng.uniform(-1000, -100), rng.uniform(-120, 120), rng.uniform(100, 1500)], p=[0.25, 0.5, 0.25])
    )


def add_test_object(scene: Scene, extent_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Add one object of random design that about fills `extent_mm` (x, y, z)."""
    design = rng.choice(
        ["inserts", "bars", "leaves", "packing", "rings", "boxes"], p=[0.28, 0.14, 0.2, 0.14, 0.1, 0.14]
    )
    size = min(extent_mm[0], extent_mm[1]) * 0.5
    length = max(extent_mm[2], 0.5 * size)
    {"inserts": _inserts, "bars": _bars, "leaves": _leaves, "packing": _packing, "rings": _rings, "boxes": _boxes}[
        design
    ](scene, size, length, rng)


def _shell(scene: Scene, size: float, length: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    radii = np.array([size * rng.uniform(0.55, 0.98), size * rng.uniform(0.5, 0.95), length * rng.uniform(0.35, 3.0)])
    if rng.random() < 0.5:
        radii[1] = radii[0]
    power = float(rng.choice([2.0, 2.0, 3.0, 6.0]))
    fill = float(rng.choice([0.0, rng.uniform(-120, 140), rng.uniform(-900, 900)], p=[0.3, 0.5, 0.2]))
    if rng.random() < 0.6:
        scene.ellipsoid((0, 0, 0), radii, _material(rng), Tissue.DEVICE, power=power, over=EVERYWHERE)
        scene.ellipsoid((0, 0, 0), radii - rng.uniform(2, 12), fill, Tissue.DEVICE, power=power, over=EVERYWHERE)
    else:
        scene.ellipsoid((0, 0, 0), radii, fill, Tissue.DEVICE, power=power, over=EVERYWHERE)
    return radii, fill


def _inserts(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    radii, fill = _shell(scene, size, length, rng)
    for ring in rng.choice([0.3, 0.5, 0.7, 0.8], size=rng.integers(1, 3), replace=False):
        count = int(rng.integers(3, 14))
        turn = rng.uniform(0, 2 * np.pi)
        same = rng.uniform(0.03, 0.13) * size
        step = rng.random() < 0.5
        faint = fill + rng.uniform(-30, 30)
        for n in range(count):
            angle = turn + 2 * np.pi * n / count
            at = np.array([radii[0] * ring * np.cos(angle), radii[1] * ring * np.sin(angle), 0])
            r = same * (0.2 + 0.8 * (n + 1) / count) if step else same
            hu = faint if rng.random() < 0.15 else _material(rng)
            if rng.random() < 0.75:
                long = length * rng.uniform(0.2, 2)
                scene.tube(np.array([at - [0, 0, long], at + [0, 0, long]]), r, hu, Tissue.DEVICE)
                if rng.random() < 0.2:
                    scene.tube(np.array([at - [0, 0, long], at + [0, 0, long]]), r * 0.5, _material(rng), Tissue.DEVICE)
            else:
                scene.ellipsoid(at + [0, 0, rng.uniform(-0.4, 0.4) * length], (r, r, r), hu, Tissue.DEVICE)


def _bars(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    _shell(scene, size, length, rng)
    hu = _material(rng)
    turn = rotation((0, 0, rng.uniform(0, np.pi)))
    x = -0.6 * size
    pitch = rng.uniform(0.03, 0.15) * size
    while x < 0.6 * size:
        scene.box(
            turn.T @ np.array([x, 0, 0]),
            (pitch / 4, rng.uniform(0.1, 0.5) * size, length),
            hu,
            Tissue.DEVICE,
            turn=turn,
        )
        x += pitch
        pitch *= rng.uniform(0.88, 1.08)


def _rings(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    radius = size * rng.uniform(0.6, 0.97)
    turn = rotation((*rng.normal(0, 0.2, 2), 0))
    while radius > 0.06 * size:
        scene.ellipsoid(
            (0, 0, 0),
            (radius, radius * rng.uniform(0.9, 1), length * rng.uniform(1, 4)),
            _material(rng),
            Tissue.DEVICE,
            over=EVERYWHERE,
            turn=turn,
            power=float(rng.choice([2.0, 4.0])),
        )
        radius -= size * float(rng.choice([rng.uniform(0.01, 0.05), rng.uniform(0.05, 0.3)]))


def _boxes(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(3, 16)):
        half = size * rng.uniform(0.03, 0.6, 3)
        turn = rotation((*rng.normal(0, 0.3, 2), rng.uniform(0, np.pi)))
        at = rng.uniform(-0.5, 0.5, 3) * [size, size, length]
        scene.box(
            at, half, _material(rng), Tissue.DEVICE, turn=turn, rounding_mm=float(rng.uniform(0, 0.5) * half.min())
        )
        if rng.random() < 0.6:
            scene.box(at, half - min(rng.uniform(1, 6), 0.4 * half.min()), _material(rng), Tissue.DEVICE, turn=turn)


def _packing(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    _shell(scene, size, length, rng)
    low, high = sorted(rng.uniform(0.02, 0.25, 2))
    fixed = [_material(rng) for _ in range(3)]
    for _ in range(int(min(2.5 / (low + 0.05) ** 2, 600))):
        at = rng.uniform(-1, 1, 3) * [size, size, length * 0.7]
        if np.hypot(at[0], at[1]) > size * 0.8:
            continue
        radii = size * rng.uniform(low, high) * rng.uniform(0.6, 1.3, 3)
        turn = rotation(rng.uniform(0, np.pi, 3))
        hu = fixed[rng.integers(0, 3)]
        scene.ellipsoid(at, radii, hu, Tissue.DEVICE, turn=turn, bump=(1, 0.1 * radii.min()))
        if rng.random() < 0.4:
            scene.ellipsoid(at, radii * 0.7, _material(rng), Tissue.DEVICE, turn=turn, bump=(1, 0.1 * radii.min()))


def _leaves(scene: Scene, size: float, length: float, rng: np.random.Generator) -> None:
    """Dead leaves: shapes of all scales in front of each other, the statistics of natural images."""
    if rng.random() < 0.7:
        _shell(scene, size, length, rng)
    mean, spread = rng.uniform(-100, 100), rng.choice([30.0, 120.0, 500.0])
    for _ in range(rng.integers(300, 1000)):
        radius = size * 0.015 / (1 - rng.random() * 0.96) ** 0.75
        at = rng.uniform(-1.1, 1.1, 3) * [size, size, length * 0.7]
        radii = radius * rng.uniform(0.4, 1.8, 3)
        hu = float(np.clip(rng.normal(mean, spread) if rng.random() < 0.85 else _material(rng), -1000, 2500))
        turn = rotation(rng.uniform(0, np.pi, 3))
        if rng.random() < 0.7:
            scene.ellipsoid(at, radii, hu, Tissue.DEVICE, turn=turn, over=EVERYWHERE, bump=(1, 0.12 * radii.min()))
        else:
            scene.box(at, radii * 0.8, hu, Tissue.DEVICE, turn=turn, over=EVERYWHERE)


def add_table(scene: Scene, below_mm: float, rng: np.random.Generator) -> None:
    """Add a patient table whose top lies at y = `below_mm`: curved or flat, with a mattress."""
    over = only(Tissue.AIR)
    skin = rng.uniform(-300, 250)
    width = rng.uniform(190, 270)
    if rng.random() < 0.75:
        bend, gap = rng.uniform(0.0, 45.0), rng.uniform(10, 60)
        across = np.linspace(-1, 1, 25)
        for offset, part, thick in (
            (0.0, 1.0, rng.uniform(0.8, 2.5)),
            (gap, rng.uniform(0.5, 1.0), rng.uniform(0.8, 2.5)),
        ):
            x = across * width * part
            y = below_mm + offset - bend * across**2 * (1 if offset == 0 else rng.uniform(0.3, 1.0))
            for a in range(24):
                middle = np.array([(x[a] + x[a + 1]) / 2, (y[a] + y[a + 1]) / 2, 0])
                turn = rotation((0, 0, -np.arctan2(y[a + 1] - y[a], x[a + 1] - x[a])))
                scene.box(
                    middle,
                    (np.hypot(x[a + 1] - x[a], y[a + 1] - y[a]) / 2 + 0.3, thick, 3000),
                    skin,
                    Tissue.DEVICE,
                    turn=turn,
                    over=over,
                )
    else:
        scene.box((0, below_mm + 25, 0), (width, 22, 3000), -930.0, Tissue.DEVICE, over=over)
        scene.box(
            (0, below_mm + 2, 0), (width, rng.uniform(1, 3), 3000), skin, Tissue.DEVICE, over=EVERYWHERE & ~NOT_AIR
        )
        scene.box((0, below_mm + 47, 0), (width, rng.uniform(1, 3), 3000), skin, Tissue.DEVICE, over=over)
    if rng.random() < 0.5:
        scene.box((0, below_mm - 8, 0), (width * 0.8, 9, 3000), rng.uniform(-985, -900), Tissue.DEVICE, over=over)


def add_cables(scene: Scene, centre_mm: np.ndarray, spread_mm: float, rng: np.random.Generator) -> None:
    """Add tubes and leads that lie on the patient."""
    for _ in range(rng.integers(1, 5)):
        angle = rng.uniform(0, 2 * np.pi)
        start = centre_mm + spread_mm * np.array([np.cos(angle), np.sin(angle) * 0.7, rng.uniform(-1, 1)])
        step = rng.normal(0, 1, (10, 3)) * [6, 6, 18]
        points = start + np.cumsum(step, axis=0)
        radius = rng.uniform(1.0, 4.0)
        scene.tube(points, radius, rng.uniform(50, 1500), Tissue.DEVICE, over=only(Tissue.AIR))
        if radius > 2 and rng.random() < 0.6:
            scene.tube(points, radius * 0.6, -1000.0, Tissue.AIR, over=only(Tissue.DEVICE))


def add_implant(scene: Scene, at_mm: np.ndarray, rng: np.random.Generator) -> None:
    """Add a screw, rod, stem, clip or lead of metal."""
    kind = rng.choice(["screw", "rod", "ball", "clips", "lead"])
    hu = float(rng.uniform(2000, 3000))
    heading = rng.standard_normal(3)
    heading /= np.linalg.norm(heading)
    if kind == "screw":
        scene.tube(np.array([at_mm, at_mm + heading * rng.uniform(15, 45)]), rng.uniform(1.5, 3.5), hu, Tissue.METAL)
    elif kind == "rod":
        scene.tube(
            at_mm + np.linspace(-60, 60, 7)[:, None] * [0, 0.1, 1] + rng.normal(0, 2, (7, 3)),
            rng.uniform(2, 8),
            hu,
            Tissue.METAL,
        )
    elif kind == "ball":
        scene.ellipsoid(at_mm, (rng.uniform(8, 16),) * 3, hu, Tissue.METAL)
        scene.tube(np.array([at_mm, at_mm + heading * 50]), rng.uniform(5, 9), hu, Tissue.METAL)
    elif kind == "clips":
        for _ in range(rng.integers(2, 9)):
            spot = at_mm + rng.normal(0, 20, 3)
            scene.tube(np.array([spot, spot + rng.normal(0, 3, 3)]), rng.uniform(0.6, 1.4), hu, Tissue.METAL)
    else:
        scene.tube(at_mm + np.cumsum(rng.normal(0, 9, (12, 3)), axis=0), rng.uniform(0.7, 1.6), hu, Tissue.METAL)
