"""Wide holes in a mask of traces, and holes like them punched among recorded traces, to try an interpolation on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["punched_holes", "wide_gaps"]

Mask = NDArray[np.bool_]

WIDE = 5
"""Traces: a hole is wide if it holds a square of this side."""
NEAR = 4.0
"""Standard deviation, in traces, of the neighbourhood in which shown traces help."""
ENOUGH = 0.2
"""Share of the recorded traces after which no further hole is punched."""
MOST = 0.6
"""Largest share of the recorded traces that may be hidden."""
HOLES = 4
"""Largest holes of a mask that are copied."""
PLACES = 8
"""Places along an axis that are tried for each."""
SIZE_COUNTS = 0.7
"""Worth of a whole hole over one whose traces were missing anyway, in units of the logarithm of nearness."""


def wide_gaps(live: Tensor) -> Tensor:
    """Which traces of a mask (x, y) lie in a square of `WIDE` missing ones; what lies outside the survey is missing."""
    missing = (~live).float()[None, None]
    kept = F.pad(missing, [WIDE // 2] * 4, value=1.0)
    inner = 1 - F.max_pool2d(1 - kept, WIDE, stride=1)  # all of the square around a trace is missing
    return (F.max_pool2d(inner, WIDE, stride=1, padding=WIDE // 2)[0, 0] > 0) & ~live


def punched_holes(live: Tensor) -> Tensor:
    """Recorded traces that are hidden if the wide holes of a mask (x, y) are copied to other places.

    Of all places, mirrored or not, that is taken whose hidden traces are as near to shown ones as those of the real
    hole are to recorded ones, and where most are hidden. A hole at an edge of the survey is copied to an edge.
    """
    recorded = live.cpu().numpy()
    labels, count = ndimage.label(wide_gaps(live).cpu().numpy())
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    hidden = np.zeros_like(recorded)
    for number in np.argsort(-sizes, kind="stable")[:HOLES]:
        hole = labels == number + 1
        wanted = _nearness(recorded, hole)
        best, chosen = math.inf, None
        for copy in _copies(hole):
            new = copy & recorded & ~hidden
            if not new.any() or (hidden | new).sum() > MOST * recorded.sum():
                continue
            found = _nearness(recorded & ~hidden & ~new, new)
            misfit = abs(math.log(found / wanted)) - SIZE_COUNTS * new.sum() / hole.sum()
            if misfit < best:
                best, chosen = misfit, new
        if chosen is not None:
            hidden |= chosen
        if hidden.sum() >= ENOUGH * recorded.sum():
            break
    return torch.from_numpy(hidden).to(live.device)


def _nearness(shown: Mask, where: Mask) -> float:
    """The mean share of shown traces about the traces `where`; it tells deep holes and edges from shallow ones."""
    share = ndimage.gaussian_filter(shown.astype(np.float64), NEAR, mode="constant")
    return float(share[where].mean()) + 1e-3


def _copies(hole: Mask) -> Iterator[Mask]:
    """A hole moved and mirrored; its sides at edges of the survey stay at edges."""
    rows, columns = (np.nonzero(hole.any(axis))[0] for axis in (1, 0))
    first, last = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
    box = hole[first[0] : last[0], first[1] : last[1]]
    seen = set()
    for flips in product((1, -1), repeat=2):
        turned = box[:: flips[0], :: flips[1]]
        axes = [_starts(*sides) for sides in zip(first, last, hole.shape, flips, strict=True)]
        for start in product(*axes):
            if (key := (start, turned.tobytes())) in seen:
                continue
            seen.add(key)
            copy = np.zeros_like(hole)
            copy[tuple(slice(at, at + side) for at, side in zip(start, box.shape, strict=True))] = turned
            yield copy


def _starts(first: int, last: int, count: int, flip: int) -> list[int]:
    """Where copies of a hole from `first` to `last` may begin on an axis of `count` traces."""
    spare = count - (last - first)
    low, high = (first == 0, last == count) if flip == 1 else (last == count, first == 0)
    if low or high or spare < 2:
        return [0 if low else spare if high else first]
    return sorted({round(1 + k * (spare - 2) / (PLACES - 1)) for k in range(PLACES)})
