"""Truncated projections: an object wider than the detector is found, and the views are continued beyond the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.scan import Scan

FEW = 0.05
"""Share of the rows of the views whose truncation does not matter."""
TRUNCATED = 0.1
"""A view is truncated where the line integrals at its edge exceed this share of the highest ones."""


def truncated_share(data: NDArray[Any], columns: int = 3) -> tuple[float, float]:
    """Share of the views (of all rows) whose left, and whose right, edge lies inside the object.

    Parameters
    ----------
    data : line integrals (view, row, column)
    columns : how many at the edge are averaged
    """
    columns = min(columns, data.shape[2])
    limit = TRUNCATED * float(np.quantile(data[:: max(1, len(data) // 64)], 0.995))
    if limit <= 0:
        return 0.0, 0.0
    left = data[..., :columns].mean(axis=-1) > limit
    right = data[..., -columns:].mean(axis=-1) > limit
    return float(left.mean()), float(right.mean())


def truncation_told(scan: Scan) -> list[str]:
    """A sentence where the object of a CT scan is wider than the detector and no preprocessing has said so."""
    data = scan.data
    if scan.kind != "ct" or not isinstance(data, np.ndarray) or data.ndim != 3:
        return []
    share = max(truncated_share(data))
    if share < FEW or "truncation:" in str(scan.acquisition.get("prepared", "")):
        return []
    return [
        f"truncation: the object reaches over the detector in {share:.0%} of the rows of the views; values near its "
        "edge are not quantitative (preprocess.truncation=extend helps)"
    ]


def extend_edges(data: NDArray[Any], columns: int) -> NDArray[np.float32]:
    """`columns` more at either end of each row: the value at the edge, falling to 0 as a cosine squared.

    Keeps the ramp filter from seeing a step (B. Ohnesorge et al., Med. Phys. 27, 39, 2000, in its simplest form).
    """
    fade = np.cos(0.5 * np.pi * (np.arange(columns) + 1) / (columns + 1)).astype(np.float32) ** 2
    near = min(3, data.shape[2])
    left = data[..., :near].mean(axis=-1, keepdims=True) * fade[::-1]
    right = data[..., -near:].mean(axis=-1, keepdims=True) * fade
    return np.concatenate((left, data, right), axis=-1).astype(np.float32)
