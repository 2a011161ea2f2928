"""B-modes side by side, as they are judged: grey, one range of decibels below one peak."""

from __future__ import annotations

import io
from collections.abc import Mapping

from recon3d.grid import AffineGrid
from recon3d.volume import Volume


def b_mode_sheet(images: Mapping[str, Volume], range_db: float) -> bytes:
    """A PNG of images side by side, the first slice of each.

    Parameters
    ----------
    images : by title; decibels below the peak that they share, on an AffineGrid, rows downwards in depth
    range_db : what is black lies so far below the peak
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(images), 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, volume) in enumerate(images.items(), start=1):
        grid = volume.grid
        assert isinstance(grid, AffineGrid)
        image = volume.data[0]
        extent = (0.0, image.shape[1] * grid.voxel_mm[2], image.shape[0] * grid.voxel_mm[1], 0.0)
        axes = figure.add_subplot(1, len(images), number)
        axes.imshow(image, cmap="gray", vmin=-range_db, vmax=0, extent=extent)
        axes.set(title=f"{name}, {range_db:.0f} dB", xlabel="lateral, mm", ylabel="depth, mm")
    data = io.BytesIO()
    figure.savefig(data, dpi=100)
    return data.getvalue()
