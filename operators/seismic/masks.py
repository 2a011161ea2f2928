"""Masks of missing traces: five families of gaps on the plane of (crossline, inline)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from operators.errors import ReconError

Mask = NDArray[np.bool_]

WIDEST = 1 / 3
"""Widest single gap or hole, as a share of its axis; what is to be missing beyond it is split into several."""


def trace_mask(family: str, shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    """Which traces are live, True; about the share `missing` of them is not.

    Parameters
    ----------
    family : one of `MASK_FAMILIES`
        "random": each trace by itself. "regular": every k-th line of one axis is kept, or left out where less than half
        is missing. "gap": bands of adjacent lines. "lines": single lines both ways. "block": rectangular holes.
    shape : (crossline, inline)
    missing : 0 to 1, exclusive; met as nearly as the family allows

    Raises
    ------
    ReconError
        For an unknown family, a share out of range, or a mask that would hide everything.
    """
    if family not in MASK_FAMILIES:
        raise ReconError(f"Unknown family of masks '{family}': expected one of {', '.join(MASK_FAMILIES)}.")
    if not 0 < missing < 1:
        raise ReconError(f"The share of missing traces lies between 0 and 1, got {missing:g}.")
    live = _FAMILIES[family](shape, missing, rng)
    if not live.any():
        raise ReconError(
            f"The mask '{family}' hides every trace of {shape[0]} x {shape[1]}: ask for fewer missing ones."
        )
    return live


def _random(shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    """Exactly the share that is asked for, so that small surveys are never emptied by chance."""
    count = shape[0] * shape[1]
    live = np.ones(count, bool)
    live[rng.permutation(count)[: round(missing * count)]] = False
    return live.reshape(shape)


def _regular(shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    axis = int(rng.integers(2))
    every = max(2, round(1 / (1 - missing) if missing >= 0.5 else 1 / missing))
    chosen = np.arange(shape[axis]) % every == rng.integers(every)
    return _lines_kept(shape, axis, chosen if missing >= 0.5 else ~chosen)


def _gap(shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    axis = int(rng.integers(2))
    return _lines_kept(shape, axis, ~_bands(shape[axis], missing, rng))


def _lines(shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    """As many single lines of both directions; with a share q of either, 1 - (1 - q)^2 of the traces are missing."""
    share = 1 - (1 - missing) ** 0.5
    kept = [rng.permutation(n) >= round(share * n) for n in shape]
    return kept[0][:, None] & kept[1][None, :]


def _block(shape: tuple[int, int], missing: float, rng: np.random.Generator) -> Mask:
    """Rectangles at the crossings of bands of both directions."""
    share = missing**0.5
    hidden = [_bands(n, share, rng) for n in shape]
    return ~(hidden[0][:, None] & hidden[1][None, :])


def _bands(count: int, share: float, rng: np.random.Generator) -> Mask:
    """Bands of about equal width that hide a share of a line, each at most `WIDEST` of it, with lines between them."""
    hidden = min(max(1, round(share * count)), count - 1)
    bands = min(max(1, -(-hidden // max(1, int(WIDEST * count)))), count - hidden)
    widths = np.diff(np.linspace(0, hidden, bands + 1).round().astype(int))
    spare = count - hidden - (bands - 1)  # one line stays between two bands
    cuts = np.sort(rng.integers(spare + 1, size=bands))
    out = np.zeros(count, bool)
    position = 0
    for k, width in enumerate(widths):
        start = position + cuts[k] - (cuts[k - 1] if k else 0)
        out[start : start + width] = True
        position = start + width + 1
    return out


def _lines_kept(shape: tuple[int, int], axis: int, kept: Mask) -> Mask:
    return np.broadcast_to(kept[:, None] if axis == 0 else kept[None, :], shape).copy()


_FAMILIES: dict[str, Callable[[tuple[int, int], float, np.random.Generator], Mask]] = {
    "random": _random,
    "regular": _regular,
    "gap": _gap,
    "lines": _lines,
    "block": _block,
}
MASK_FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
