"""Time in a scan: stamps of views, spokes or frames, and how views that follow one another make up a frame."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.scan import Scan

__all__ = ["frame_edges", "frame_times_s", "in_frames", "is_timed", "still"]


def is_timed(scan: Scan) -> bool:
    """Whether the scan says when its views, spokes or frames were measured, so that its image is a series."""
    return "times_s" in scan.acquisition


def stamps_s(scan: Scan, count: int, what: str) -> NDArray[np.float64]:
    """The time stamps of the scan, checked: one for each of `count` views, not going back.

    Raises
    ------
    InputError
        In one sentence.
    """
    times = np.atleast_1d(np.asarray(scan.acquisition["times_s"], dtype=float))
    if times.shape != (count,):
        raise InputError(f"'{scan.name}' states {times.size} times for {count} {what}s: give one time per {what}.")
    if not np.isfinite(times).all():
        raise InputError(f"The time of {what} {int(np.argmin(np.isfinite(times)))} of '{scan.name}' is not a number.")
    steps = np.diff(times)
    if (steps < 0).any():
        k = int(np.argmax(steps < 0))
        raise InputError(
            f"The times of '{scan.name}' go back: {what} {k + 1} was measured at {times[k + 1]:g} s, after {what} {k} "
            f"at {times[k]:g} s; sort the {what}s by time."
        )
    return times


def frame_edges(scan: Scan, views: int, what: str = "view") -> list[int]:
    """Where frames begin and end among the views: groups of ``views_per_frame``, or of equal times.

    Views that are left over after the last whole group make a frame of fewer views.
    """
    times = stamps_s(scan, views, what)
    per_frame = scan.acquisition.get("views_per_frame")
    if per_frame is None:
        return [0, *(np.flatnonzero(np.diff(times) > 0) + 1).tolist(), views]
    count = int(cast(int, per_frame))
    if count < 1:
        raise InputError(f"A frame of '{scan.name}' has at least one {what}, got views_per_frame = {count}.")
    return [*range(0, views, count), views]


def frame_times_s(scan: Scan) -> tuple[float, ...] | None:
    """The time of each frame: the mean of its views' stamps; None where the scan has no times."""
    if not is_timed(scan):
        return None
    if not isinstance(scan.data, np.ndarray):
        return tuple(stamps_s(scan, len(scan.blocks), "block").tolist())
    axis = _timed_axis(scan)
    count = scan.data.shape[axis]
    if scan.axes[axis] == "t":
        return tuple(stamps_s(scan, count, "frame").tolist())
    edges = frame_edges(scan, count, scan.axes[axis])
    times = stamps_s(scan, count, scan.axes[axis])
    return tuple(float(times[a:b].mean()) for a, b in pairwise(edges))


def in_frames(
    scan: Scan, view_s: float | None = None, views_per_frame: int | None = None, frames: int | None = None
) -> Scan:
    """The scan with time stamps and frames of another length.

    Parameters
    ----------
    view_s : seconds from one view (spoke, frame) to the next, in the order of the data; replaces stamps of the scan
    views_per_frame : views that make up a frame
    frames : or how many frames there are to be, of equal numbers of views but for the last
    """
    if not isinstance(scan.data, np.ndarray):
        raise InputError(f"Ragged data have no common axis of views: '{scan.name}' cannot be sorted into frames.")
    axis = _timed_axis(scan)
    count = scan.data.shape[axis]
    acquisition = dict(scan.acquisition)
    if view_s is not None:
        acquisition["times_s"] = view_s * np.arange(count)
    if "times_s" not in acquisition:
        raise InputError(f"'{scan.name}' has no times: give scan.series.view_s, the seconds from one view to the next.")
    if frames is not None:
        if not 1 <= frames <= count:
            raise InputError(f"'{scan.name}' has {count} views: it makes 1 to {count} frames, not {frames}.")
        views_per_frame = -(-count // frames)
    if views_per_frame is not None:
        if scan.axes[axis] == "t":
            raise InputError(f"The data of '{scan.name}' are frames already: leave frames and views_per_frame out.")
        acquisition["views_per_frame"] = views_per_frame
    return replace(scan, acquisition=acquisition)


def still(scan: Scan) -> Scan:
    """The scan without times: one image that is to explain all views."""
    if "t" in scan.axes:
        raise InputError(f"The data of '{scan.name}' are frames: it cannot be taken for one image at rest.")
    kept = {name: value for name, value in scan.acquisition.items() if name not in ("times_s", "views_per_frame")}
    return replace(scan, acquisition=kept)


def _timed_axis(scan: Scan) -> int:
    """The axis along which time runs."""
    for name in ("t", "view", "interleave", "spoke"):
        if name in scan.axes:
            return scan.axes.index(name)
    raise InputError(f"'{scan.name}' has no axis along which time runs: its axes are {', '.join(scan.axes)}.")
