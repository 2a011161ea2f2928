"""Which traces of a seismic scan are used: those of a mask in a file, or all but some that are held out and scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.acquisitions.seismic import fold_of
from recon3d.errors import InputError
from recon3d.evaluation.seismic import snr_db
from recon3d.grid import SurveyGrid
from recon3d.scan import Scan
from recon3d.synthetic.seismic_masks import masked
from recon3d.volume import Volume

Mask = NDArray[np.bool_]


def with_mask(found: Volume | Scan, path: Path) -> Scan:
    """The traces of a cube, or of a scan, at bins where the mask in a file is not zero.

    Parameters
    ----------
    path : ``.npy`` of (crossline, inline), 1 where a trace was recorded and 0 where it is to be filled

    Raises
    ------
    InputError
        With one sentence: not seismic, no such file, another shape or other values, or no trace left.
    """
    if not isinstance(found.grid, SurveyGrid):
        raise InputError(f"scan.seismic.mask={path} is for seismic cubes, this file has a {type(found.grid).__name__}.")
    shape = tuple(found.grid.shape[:2])
    try:
        mask = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"scan.seismic.mask={path} does not exist.") from None
    except ValueError as error:
        raise InputError(f"scan.seismic.mask={path} is no .npy array of (crossline, inline): {error}.") from None
    if not isinstance(mask, np.ndarray) or mask.shape != shape or not np.isin(mask, (0, 1)).all():
        size = mask.shape if isinstance(mask, np.ndarray) else "several arrays"
        raise InputError(f"scan.seismic.mask={path}: expected 0 or 1 for {shape} (crossline, inline), got {size}.")
    live = mask.astype(bool)
    if isinstance(found, Scan):
        return _kept(found, live, str(path))
    if not live.any():
        raise InputError(f"{path} hides every trace: at least one must be left.")
    return masked(found, live)


def mask_of(scan: Scan) -> NDArray[np.uint8]:
    """1 where a bin (crossline, inline) has a recorded trace, 0 where a cube made of this scan is filled."""
    return (fold_of(scan) > 0).astype(np.uint8)


def hold_out(
    scan: Scan, solve: Callable[[Scan], Volume], share: float, side: int = 1, seed: int = 0
) -> dict[str, float]:
    """How well a method finds recorded traces that it is not shown: its accuracy on this very survey.

    The result tells of gaps like those that are made: single traces with `side` 1, holes with more.

    Parameters
    ----------
    solve : gives the cube of a scan
    share : of the recorded traces that are hidden, about
    side : traces along a side of the squares that are hidden
    seed : of their places

    Returns
    -------
    dict
        ``hold_out_snr_db``, 10 log10 of the hidden traces' energy over that of the error on them, ``hold_out_traces``
        that were hidden and ``hold_out_side``.

    Raises
    ------
    InputError
        For other scans, or where the squares would hide every trace.
    """
    hidden = hidden_traces(scan, share, side, seed)
    recorded = np.zeros(scan.grid.shape, np.asarray(scan.data).dtype)
    recorded[tuple(np.asarray(scan.acquisition[name]) for name in ("crossline", "inline"))] = np.asarray(scan.data)
    found = solve(_kept(scan, ~hidden, "evidence.hold_out"))
    return {
        "hold_out_snr_db": snr_db(recorded, found.data, hidden),
        "hold_out_traces": int(hidden.sum()),
        "hold_out_side": side,
    }


def hidden_traces(scan: Scan, share: float, side: int, seed: int = 0) -> Mask:
    """The recorded traces in squares at random places, until they are the share that is asked for."""
    if scan.kind != "seismic":
        raise InputError(
            f"evidence.hold_out hides seismic traces, '{scan.name}' is of kind '{scan.kind}': leave it out."
        )
    live = fold_of(scan) > 0
    rng = np.random.default_rng([seed, 0x401D])
    wanted = max(1, round(share * int(live.sum())))
    hidden = np.zeros_like(live)
    for place in rng.permutation(live.size):
        corner = np.unravel_index(place, live.shape)
        square = tuple(slice(max(0, k - side // 2), k - side // 2 + side) for k in corner)
        hidden[square] |= live[square]
        if hidden.sum() >= wanted:
            break
    if hidden.sum() == live.sum():
        raise InputError(
            f"A hold-out of {share:.0%} in squares of {side} traces hides all {int(live.sum())} recorded ones: "
            "lower evidence.hold_out or evidence.hold_out_side."
        )
    return hidden


def _kept(scan: Scan, wanted: Mask, by: str) -> Scan:
    """The traces of a scan in bins that are wanted."""
    bins = {name: np.asarray(scan.acquisition[name]) for name in ("crossline", "inline")}
    chosen = wanted[bins["crossline"], bins["inline"]]
    if not chosen.any():
        raise InputError(f"{by} leaves no trace of '{scan.name}': at least one is needed.")
    acquisition = {**scan.acquisition, **{name: values[chosen] for name, values in bins.items()}}
    noise = {name: _part(values, chosen) for name, values in scan.noise.items()}
    return replace(scan, data=np.asarray(scan.data)[chosen], acquisition=acquisition, noise=noise)


def _part(values: Any, chosen: Mask) -> Any:
    """What belongs to the traces that are chosen, of something that is known of each."""
    return values[chosen] if isinstance(values, np.ndarray) and len(values) == len(chosen) else values
