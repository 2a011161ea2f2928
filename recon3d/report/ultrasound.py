"""Pictures of ultrasound: B-modes side by side on one scale of decibels, beams at their places under the probe."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray

from operators.ultrasound import decibels, envelope
from recon3d.beams import scan_converted
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.methods.base import Reconstruction
from recon3d.volume import Volume

RANGE_DB = 50.0
Image = NDArray[np.floating]


def b_modes(result: Reconstruction) -> bytes:
    """Before and after, as a PNG, where haze was taken out; else the image alone. Of a cine, the first frame.

    Parameters
    ----------
    result : RF, complex image or decibels, on beams or squares; its "haze", if any, is what was taken out
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = {"result": result.volume.data}
    if "haze" in result.others and result.volume.units != "dB":
        haze = result.others["haze"].data
        images = {"before": result.volume.data + haze, "after": result.volume.data, "haze": haze}
    pictures = {name: _amplitude(data, result.volume) for name, data in images.items()}
    peak = max(float(picture.max()) for picture in pictures.values()) or 1.0
    figure = Figure(figsize=(5 * len(pictures), 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, amplitude) in enumerate(pictures.items(), start=1):
        db = decibels(amplitude, peak, RANGE_DB).numpy()
        shown = scan_converted(Volume(db, result.volume.grid)) if isinstance(result.volume.grid, BeamGrid) else None
        grid = shown.grid if shown is not None else result.volume.grid
        assert isinstance(grid, AffineGrid)
        image = db[0] if shown is None else shown.data[0]
        extent = (0.0, image.shape[1] * grid.voxel_mm[2], image.shape[0] * grid.voxel_mm[1], 0.0)
        axes = figure.add_subplot(1, len(pictures), number)
        axes.imshow(image, cmap="gray", vmin=-RANGE_DB, vmax=0, extent=extent)
        axes.set(title=f"{name}, {RANGE_DB:.0f} dB", xlabel="lateral, mm", ylabel="depth, mm")
    data = io.BytesIO()
    figure.savefig(data, dpi=100)
    return data.getvalue()


def _amplitude(data: Image, volume: Volume) -> torch.Tensor:
    """Envelope of the first frame, on the axes of the grid."""
    frame = torch.from_numpy(np.asarray(data[0] if data.ndim == 4 else data))
    if volume.units == "dB":
        return 10 ** (frame / 20)
    return envelope(frame, -1 if isinstance(volume.grid, BeamGrid) else -2)
