"""RePaint's walk through the noise levels: down, and at every few levels up and down again, so that parts agree."""

from __future__ import annotations

__all__ = ["repaint_walk"]


def repaint_walk(length: int, jump: int, repeats: int) -> list[int]:
    """Levels that are visited in turn, from `length` - 1 to -1, the clean image; neighbours differ by one.

    On arrival at every multiple of `jump` below ``length - jump`` the walk climbs `jump` levels and comes down again,
    `repeats` - 1 times (Lugmayr et al., CVPR 2022). With `repeats` 1 it is plain ancestral sampling.
    """
    left = dict.fromkeys(range(0, length - jump, jump), repeats - 1)
    walk = [length - 1]
    while walk[-1] >= 0:
        walk.append(walk[-1] - 1)
        if left.get(walk[-1], 0) > 0:
            left[walk[-1]] -= 1
            walk += range(walk[-1] + 1, walk[-1] + jump + 1)
    return walk
