"""Drawn series to score on, written apart from those to tune on: lobes in a pod that move past one another, and a
heart that beats while its chest breathes. No code or parameter is shared with `recon3d.synthetic.dynamic`'s objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _blend(base: Array, value: Any, level: Array, sharp: float = 120.0) -> Array:
    """`value` where `level` is above 0, with an edge of about 2 / sharp."""
    share = 1.0 / (1.0 + np.exp(-np.clip(sharp * level, -40, 40)))
    return base + share * (value - base)


def _ripple(rng: np.random.Generator, count: int, lowest: float, highest: float) -> Callable[[Array, Array], Array]:
    """A sum of plane waves of random directions, about -1 to 1."""
    k = rng.uniform(lowest, highest, count)
    direction, phase = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 2 * np.pi, count)

    def value(y: Array, x: Array) -> Array:
        total = np.zeros(np.broadcast(y, x).shape)
        for a, d, p in zip(k, direction, phase, strict=True):
            total += np.sin(a * (np.cos(d) * x + np.sin(d) * y) + p)
        return total / np.sqrt(count / 2) / 2

    return value


def _pod(rng: np.random.Generator) -> Callable[[Array, Array, float, float], Array]:
    """A superelliptic husk of two layers; lobes (unions of balls) that drift and turn; a drop that soaks in."""
    power, wide, high = rng.uniform(2.2, 3.0), rng.uniform(0.76, 0.84), rng.uniform(0.70, 0.80)
    bumps = _ripple(rng, 5, 8.0, 14.0)
    rough, grain = _ripple(rng, 24, 15.0, 40.0), _ripple(rng, 40, 60.0, 120.0)
    lobes = []
    for index in range(int(rng.integers(4, 6))):
        angle = 2 * np.pi * index / 5 + rng.uniform(-0.3, 0.3)
        balls = [(rng.uniform(-0.16, 0.16), rng.uniform(-0.16, 0.16), rng.uniform(0.07, 0.13)) for _ in range(6)]
        drift = rng.uniform(0.015, 0.04), rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.2)
        lobes.append((0.40 * np.sin(angle), 0.42 * np.cos(angle), balls, drift, rng.uniform(-0.25, 0.25)))
    values = rng.uniform(-120, 180, len(lobes))
    wet = rng.uniform(-0.4, 0.4, 2)
    swell = rng.uniform(0.01, 0.025)

    def paint(y: Array, x: Array, z: float, time: float) -> Array:
        grow = 1 + swell * np.sin(2 * np.pi * time) - 0.06 * (z - 0.5) ** 2
        husk = (np.abs(x / (wide * grow)) ** power + np.abs(y / (high * grow)) ** power) ** (1 / power)
        husk = husk + 0.012 * bumps(y, x)
        image = np.full(husk.shape, -1000.0)
        image = _blend(image, 250 + 60 * rough(y, x), 1 - husk)
        image = _blend(image, 620 + 40 * grain(y, x), 0.965 - husk)
        image = _blend(image, -1000.0, 0.885 - husk)
        for (row, column, balls, (reach, phase, pace), spin), value in zip(lobes, values, strict=True):
            at = 2 * np.pi * pace * time + phase
            centre = row + reach * np.sin(at) + 0.05 * (z - 0.5), column + reach * np.cos(1.3 * at)
            turn = spin * np.sin(2 * np.pi * time + phase)
            v, u = y - centre[0], x - centre[1]
            v, u = np.cos(turn) * v - np.sin(turn) * u, np.sin(turn) * v + np.cos(turn) * u
            level = sum(np.exp(-((v - b) ** 2 + (u - a) ** 2) / r**2) for b, a, r in balls) - 0.55
            soaked = 90 * time**2 * np.exp(-((y - wet[0]) ** 2 + (x - wet[1]) ** 2) / 0.12)
            tissue = value + soaked + 55 * rough(v, u) + 25 * grain(v, u)
            image = _blend(image, tissue, np.minimum(0.16 * level, 0.87 - husk), 70.0)
        crack = 0.006 + 0.010 * np.sin(np.pi * time) ** 2
        return _blend(image, -1000.0, np.minimum(crack - np.abs(y - 0.15 * x - 0.02), husk - 0.80), 150.0)

    return paint


def _cine(rng: np.random.Generator) -> Callable[[Array, Array, float, float], Array]:
    """Ventricles by contours in polar harmonics, twisting; the chest wall rests, what is below the lungs breathes."""
    middle = rng.uniform(0.0, 0.1), rng.uniform(0.0, 0.12)
    radius, wall = rng.uniform(0.17, 0.21), rng.uniform(0.07, 0.09)
    harmonics = [(n, rng.uniform(-0.05, 0.05), rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4)]
    depth, twist, breath = rng.uniform(0.24, 0.34), rng.uniform(0.1, 0.25), rng.uniform(0.01, 0.025)
    mottled, vessels = _ripple(rng, 20, 12.0, 45.0), _ripple(rng, 12, 18.0, 30.0)
    bright, dim = rng.uniform(0.8, 1.0), rng.uniform(0.3, 0.42)

    def paint(y: Array, x: Array, z: float, time: float) -> Array:
        phase = 2 * np.pi * time
        contraction = depth * np.clip(0.5 - 0.5 * np.cos(phase + 0.5 * np.sin(phase)), 0, 1)
        lifted = breath * np.sin(phase + 1.0)
        chest = 1 - (np.abs(x / 0.95) ** 2.4 + np.abs(y / 0.80) ** 2.4) ** (1 / 2.4)
        image = _blend(np.zeros(chest.shape), 0.7, chest)
        image = _blend(image, 0.33 + 0.02 * mottled(y, x), chest - 0.06)
        for side in (-1.0, 1.0):
            lung = 1 - np.sqrt(((y + 0.15 - lifted) / 0.5) ** 2 + ((x - 0.5 * side) / 0.31) ** 2)
            image = _blend(image, 0.06 + 0.05 * (vessels(y - lifted, x) > 0.75), lung)
        liver = 0.28 + lifted - y + 0.25 * np.maximum(x, 0)
        image = _blend(image, 0.45 + 0.03 * mottled(y - lifted, x), np.minimum(-liver, chest - 0.12))
        v, u = y - middle[0] - 0.6 * lifted, x - middle[1]
        angle, r = np.arctan2(v, u), np.hypot(v, u)
        shape = 1 + sum(a * np.cos(n * (angle - twist * contraction / depth) + p) for n, a, p in harmonics)
        end = radius * (1 - 0.3 * z) * shape
        inner = end * (1 - contraction)
        outer = np.sqrt((end + wall) ** 2 - end**2 + inner**2)
        crescent = np.minimum(0.33 * (1 - 0.4 * contraction) * (1 - 0.3 * z) - np.hypot(v, 0.8 * (u + 0.13)), r - outer)
        image = _blend(image, dim, crescent + 0.03)
        image = _blend(image, 0.95 * bright, crescent)
        image = _blend(image, dim * (1 + 0.08 * mottled(v / (1 - contraction), u / (1 - contraction))), outer - r)
        image = _blend(image, bright, inner - r)
        for place in (0.9, 3.4):
            knot = np.hypot(v - 0.6 * inner * np.sin(place + twist), u - 0.6 * inner * np.cos(place + twist))
            image = _blend(image, dim, 0.18 * inner - knot, 150.0)
        image = _blend(image, bright * (0.8 + 0.2 * np.cos(phase)), 0.045 - np.hypot(y - 0.38, x + 0.05))
        return image * (1 + 0.03 * mottled(y, x))

    return paint


PAINTERS = {"walnut": _pod, "heart": _cine}
