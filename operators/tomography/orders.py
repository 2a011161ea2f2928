"""Orders in which the views of a dynamic scan are taken: how soon a moving object has been seen from all sides."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from operators.errors import GeometryError

__all__ = ["ORDERS", "view_angles"]

ORDERS = ("linear", "golden", "bit-reversed", "random")
GOLDEN_RAD = math.pi * (math.sqrt(5) - 1) / 2
"""111.25 degrees: any number of consecutive parallel views covers half a turn about evenly (Winkelmann et al. 2007)."""


def view_angles(
    views: int, order: str = "bit-reversed", arc_rad: float = math.pi, seed: int = 0
) -> NDArray[np.float64]:
    """Angles of views in the order in which they are taken, in rad.

    Parameters
    ----------
    views : how many; a power of two for "bit-reversed"
    order : "linear" (k / views of the arc), "bit-reversed" (the same angles, each next one far from the last), "random"
        (the same angles, shuffled by `seed`) or "golden" (each next one 0.618 of the arc further, wrapped)
    arc_rad : half a turn for parallel beams and spokes, a turn for fan and cone beams
    """
    if views < 1 or not (math.isfinite(arc_rad) and arc_rad > 0):
        raise GeometryError(f"Views are at least one, over a positive arc, got {views} over {arc_rad} rad.")
    steps = np.arange(views)
    if order == "linear":
        return arc_rad * steps / views
    if order == "golden":
        return np.mod(steps * GOLDEN_RAD * (arc_rad / math.pi), arc_rad)
    if order == "random":
        return arc_rad * np.random.default_rng(seed).permutation(views) / views
    if order != "bit-reversed":
        raise GeometryError(f"An order of views is one of {', '.join(ORDERS)}, got '{order}'.")
    bits = views.bit_length() - 1
    if views != 1 << bits:
        raise GeometryError(
            f"Bit reversal takes a power of two of views, got {views}: choose golden for other numbers."
        )
    reversed_steps = np.zeros(views, int)
    for bit in range(bits):
        reversed_steps |= ((steps >> bit) & 1) << (bits - 1 - bit)
    return arc_rad * reversed_steps / views
