"""Discs whose parallel projections are known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

DISCS = ((5.0, -8.0, 30.0, 0.02), (20.0, 10.0, 8.0, 0.03), (-12.0, -15.0, 5.0, -0.01), (0.0, 18.0, 4.0, 0.05))


@pytest.fixture
def discs() -> Callable[..., NDArray[np.float32]]:
    """`discs(n, angles, axis)`: line integrals (view, 1, column) in pixels, the axis on column `axis`."""

    def project(n: int, angles: NDArray[np.float64], axis: float | NDArray[np.float64]) -> NDArray[np.float32]:
        columns = np.arange(n)
        result = np.zeros((len(angles), np.size(axis), n))
        for x, y, radius, value in DISCS:
            centre = x * np.cos(angles) + y * np.sin(angles)
            for part in (-0.4, -0.2, 0.0, 0.2, 0.4):  # a pixel averages over its width
                t = columns + part - np.reshape(axis, (1, -1, 1)) - centre[:, None, None]
                result += value * 0.4 * np.sqrt(np.maximum(radius**2 - t**2, 0))
        return result.astype(np.float32)

    return project
