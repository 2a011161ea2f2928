"""Animated pictures of series: the middle slice over time as a GIF that loops, with the pace of the frames' times."""

from __future__ import annotations

import io

import numpy as np

from recon3d.errors import ShapeError
from recon3d.grid import AffineGrid
from recon3d.report.pictures import Window, default_window
from recon3d.report.preview import turned_slice
from recon3d.report.scene import planes_of
from recon3d.volume import Volume

MOST_FRAMES = 100
SIDE = 384
"""Pixels of the longer side, at least this many where voxels are fewer, up to four for each voxel."""
SHORTEST_MS, LONGEST_MS = 40, 500
"""Browsers show no frame for less than 20 ms; longer steps than half a second are no motion."""
LOOP_S = 4.0
"""Seconds that a series without a pace of its own, or with one too slow or too fast, takes once through."""


def animated(volume: Volume, window: Window | None = None) -> bytes:
    """A series as the bytes of a looping GIF: its middle slice of the plane that has most pixels, in grey.

    Series of many frames are thinned to at most `MOST_FRAMES`. Complex values are shown by magnitude, patients in
    radiological convention.

    Parameters
    ----------
    volume : (t, z, y, x)
    window : (black, white); see `recon3d.report.pictures.default_window`
    """
    from PIL import Image

    if volume.data.ndim != 4:
        raise ShapeError(f"Only a series (t, z, y, x) moves, got shape {volume.data.shape}.")
    low, high = window or default_window(volume)
    every = -(-len(volume.data) // MOST_FRAMES)
    still = Volume(volume.data[0], volume.grid, volume.units)
    plane = max(planes_of(still), key=lambda p: still.data.shape[p["rows"]] * still.data.shape[p["columns"]])
    if isinstance(volume.grid, AffineGrid):
        longest = max(plane["width"], plane["height"])
        pixel = max(longest / SIDE, min(volume.grid.voxel_mm) / 4)
    else:
        pixel = 100.0 / SIDE
    pictures = []
    for frame in volume.data[::every]:
        grey = (turned_slice(frame, plane, pixel) - low) / (high - low)
        pictures.append(Image.fromarray((255 * np.clip(grey, 0, 1)).astype(np.uint8)))
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=_duration_ms(volume, len(pictures)), loop=0
    )
    return out.getvalue()


def _duration_ms(volume: Volume, shown: int) -> int:
    """Of one picture: real time where that can be watched, else such that the loop takes `LOOP_S`."""
    if volume.times_s is not None and len(volume.times_s) > 1:
        real = 1000 * (volume.times_s[-1] - volume.times_s[0]) / max(1, shown - 1)
        if SHORTEST_MS <= real <= LONGEST_MS:
            return round(real)
    return round(min(LONGEST_MS, max(SHORTEST_MS, 1000 * LOOP_S / shown)))
