"""Paths of what is long and thin: vessels that wander and trees that branch."""

from __future__ import annotations

import numpy as np


def wander(
    start_mm: np.ndarray,
    steps: int,
    step_mm: float,
    turn: float,
    rng: np.random.Generator,
    heading: np.ndarray | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return a smooth random walk (steps, 3), kept near the box."""
    points = np.empty((steps, 3))
    position = np.array(start_mm, dtype=float)
    direction = rng.standard_normal(3) if heading is None else np.array(heading, dtype=float)
    for n in range(steps):
        points[n] = position
        direction = direction / max(float(np.linalg.norm(direction)), 1e-6) + turn * rng.standard_normal(3)
        if box is not None:
            direction += 0.8 * ((position < box[0]).astype(float) - (position > box[1]).astype(float))
        position = position + step_mm * direction / max(float(np.linalg.norm(direction)), 1e-6)
    return points


def branches(
    root_mm: np.ndarray,
    heading: np.ndarray,
    radius_mm: float,
    length_mm: float,
    generations: int,
    rng: np.random.Generator,
    spread: float = 0.6,
    shrink: float = 0.76,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the segments of a forking tree: starts, ends (n, 3) and radii at both (n,)."""
    starts, ends, first, last = [], [], [], []
    position = np.array(root_mm, dtype=float)[None]
    direction = (np.array(heading, dtype=float) / np.linalg.norm(heading))[None]
    radius, length = np.array([radius_mm]), np.array([length_mm])
    for _ in range(generations):
        count = len(position)
        bent = direction + 0.25 * rng.standard_normal((count, 3))
        bent /= np.linalg.norm(bent, axis=1, keepdims=True)
        tip = position + bent * length[:, None]
        starts.append(position)
        ends.append(tip)
        first.append(radius)
        last.append(radius * 0.85)
        side = np.cross(bent, rng.standard_normal((count, 3)))
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-6
        share = rng.uniform(0.6, 1.1, count)[:, None] * spread
        direction = np.concatenate([bent + share * side, bent - share * rng.uniform(0.5, 1.3, (count, 1)) * side])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        position = np.concatenate([tip, tip])
        radius = np.concatenate([radius, radius]) * shrink * rng.uniform(0.85, 1.1, 2 * count)
        length = np.concatenate([length, length]) * 0.86 * rng.uniform(0.75, 1.25, 2 * count)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(first), np.concatenate(last)
