"""Pictures of seismic cubes: an inline, a crossline and a time slice, and their frequencies and wavenumbers."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from recon3d.grid import SurveyGrid
from recon3d.volume import Volume

Image = NDArray[np.floating]


def survey_sheet(volume: Volume, live: NDArray[np.bool_] | None = None) -> bytes:
    """The middle sections of a cube with their f-k spectra, as a PNG; of a scan with gaps, the recorded traces above.

    Parameters
    ----------
    volume : real cube on a SurveyGrid
    live : (crossline, inline), which traces were recorded; without it only the cube is drawn
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = volume.grid
    assert isinstance(grid, SurveyGrid)
    cube = np.nan_to_num(np.asarray(volume.data, dtype=np.float32))
    rows = [("cube", cube)]
    if live is not None and not live.all():
        rows = [("recorded", cube * live[..., None]), ("filled", cube)]
    largest = float(np.percentile(np.abs(cube), 99)) or 1.0
    figure = Figure(figsize=(14, 3.6 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, data) in enumerate(rows):
        panels = [figure.add_subplot(len(rows), 5, 5 * number + k + 1) for k in range(5)]
        for axes, (title, image, extent, labels) in zip(panels[:3], _sections(data, grid), strict=True):
            axes.imshow(image, cmap="gray", vmin=-largest, vmax=largest, extent=extent, aspect="auto")
            axes.set(title=f"{name}: {title}", xlabel=labels[0], ylabel=labels[1])
        for axes, (title, image, extent) in zip(panels[3:], _spectra(data, cube, grid), strict=True):
            axes.imshow(image, cmap="magma", vmin=-60, vmax=0, extent=extent, aspect="auto")
            frequency = "Hz" if grid.sample_unit == "s" else "1/m"
            axes.set(title=f"{name}: {title}, dB", xlabel="cycles a trace", ylabel=frequency)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    return out.getvalue()


def fk_spectrum(section: Image) -> Image:
    """Amplitude of a section (trace, sample) as (frequency, wavenumber), with wavenumber 0 in the middle."""
    return np.abs(np.fft.fftshift(np.fft.fft(np.fft.rfft(section, axis=1), axis=0), axes=0)).T


Extent = tuple[float, float, float, float]


def _sections(cube: Image, grid: SurveyGrid) -> list[tuple[str, Image, Extent, tuple[str, str]]]:
    nx, ni, nt = cube.shape
    x, i, t = nx // 2, ni // 2, nt // 2
    top, bottom = grid.sample_start, grid.sample_start + grid.sample_step * (nt - 1)
    crosslines, inlines = _span(grid.crosslines, nx), _span(grid.inlines, ni)
    samples = "time s" if grid.sample_unit == "s" else "depth m"
    number = (grid.inlines[0] + grid.inlines[1] * i, grid.crosslines[0] + grid.crosslines[1] * x)
    at = grid.sample_start + grid.sample_step * t
    return [
        (f"inline {number[0]}", cube[:, i].T, (*crosslines, bottom, top), ("crossline", samples)),
        (f"crossline {number[1]}", cube[x].T, (*inlines, bottom, top), ("inline", samples)),
        (f"{at:g} {grid.sample_unit}", cube[:, :, t].T, (*crosslines, inlines[1], inlines[0]), ("crossline", "inline")),
    ]


def _spectra(cube: Image, whole: Image, grid: SurveyGrid) -> list[tuple[str, Image, Extent]]:
    """f-k spectra in dB below the peak of the whole cube's."""
    nyquist = 0.5 / grid.sample_step
    found = []
    for name, axis in (("f-k inline", 1), ("f-k crossline", 0)):
        middle = cube.shape[axis] // 2
        peak = fk_spectrum(np.take(whole, middle, axis)).max() or 1.0
        spectrum = fk_spectrum(np.take(cube, middle, axis)) / peak
        found.append((name, 20 * np.log10(np.maximum(spectrum, 1e-6)), (-0.5, 0.5, nyquist, 0.0)))
    return found


def _span(numbers: tuple[int, int], count: int) -> tuple[float, float]:
    first, step = numbers
    return first - step / 2, first + step * (count - 0.5)
