"""Pictures of volumes: the middle slices of three planes, and methods side by side, as PNG bytes.

Patients are shown in radiological convention, as one stands before them: axial slices are seen from the feet, coronal
ones from the front, both with the patient's right on the left of the picture; sagittal ones from the patient's left,
front on the left. Letters R L A P S I on the edges say so. Planes are those of the voxel lattice nearest to the
patient's; every panel keeps the proportions in mm.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import Metrics, plane_axes
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Window = tuple[float, float]

HU_WINDOW = (-350.0, 450.0)
"""Soft tissue with room for fat and bone."""
INK, PAPER, FAINT = "#e8e8e8", "#121212", "#9a9a9a"
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
ACROSS = ("sagittal", "coronal", "axial")
"""The plane at right angles to each world axis x, y, z."""
FACES = {"axial": ("L", "P"), "coronal": ("L", "I"), "sagittal": ("P", "I")}
"""What lies to the right and to the bottom of each plane's picture."""


@dataclass(frozen=True)
class _Panel:
    """One slice as it stands on the page: `image` with its rows from the top, edges in mm (or samples)."""

    plane: str
    image: NDArray[Any]
    width: float
    height: float
    letters: tuple[str, str, str, str]  # left, right, top, bottom
    where: str


def three_planes(volume: Volume, window: Window | None = None, title: str = "") -> bytes:
    """The middle axial, coronal and sagittal slices of a volume, as the bytes of a PNG file.

    Parameters
    ----------
    volume : real or complex (shown by magnitude), shape (z, y, x), or (t, z, y, x) of which the middle frame is shown
    window : (black, white) in the unit of the volume; see `default_window`
    title : heading
    """
    low, high = _checked(window) if window else default_window(volume)
    panels = _panels(volume)
    gap, side, head, foot = 0.25, 1.15, 0.62 if title else 0.4, 0.5
    wide = 11.0 - side - 4 * gap
    scale = wide / sum(p.width for p in panels)
    tall = min(max(max(p.height for p in panels) * scale, 1.6), 7.5)
    scale = min(scale, tall / max(p.height for p in panels))
    figure = _figure(11.0, tall + head + foot)
    start = left = gap + (wide - scale * sum(p.width for p in panels)) / 2
    shown: AxesImage | None = None
    for panel in panels:
        axes = _axes(figure, left, foot + (tall - panel.height * scale) / 2, panel.width * scale, panel.height * scale)
        shown = _draw(axes, panel, (low, high), "gray")
        _letters(axes, panel)
        axes.set_title(f"{panel.plane}  {panel.where}", fontsize=8, color=FAINT, pad=4)
        left += panel.width * scale + gap
    _scale_bar(figure, panels[0], start, foot - 0.16, scale)
    assert shown is not None
    bar = _axes(figure, 11.0 - side, foot + 0.1 * tall, 0.14, 0.8 * tall)
    _colour_bar(figure, shown, bar, _unit(volume))
    _note(figure, f"{_window_text((low, high), volume)}   ·   {_place(volume)}", 11.0 - gap, 0.14)
    if title:
        figure.text(gap / 11.0, 1 - 0.22 / figure.get_figheight(), title, color=INK, fontsize=12, va="center")
    return _png(figure)


def comparison(
    volumes: Mapping[str, Volume],
    reference: Volume | None = None,
    metrics: Mapping[str, Metrics] | None = None,
    *,
    window: Window | None = None,
    difference_window: float | None = None,
    title: str = "",
) -> bytes:
    """Methods side by side, one row each: three planes in one window, and the difference from the reference.

    Parameters
    ----------
    volumes : name -> volume, all of one shape and unit
    reference : drawn as the first row; differences are volume - reference
    metrics : name -> what `compare` measured; PSNR, SSIM and the name of their range stand beside the row
    window : (black, white) of all images; by default that of the reference, else of the first volume
    difference_window : differences are shown from minus to plus this; by default a quarter of the window's width
    title : heading

    Raises
    ------
    InputError
        If there is nothing to show or units differ.
    ShapeError
        If the volumes differ in shape.
    """
    if not volumes:
        raise InputError("A comparison needs at least one volume.")
    first = reference if reference is not None else next(iter(volumes.values()))
    for name, volume in volumes.items():
        if volume.data.shape != first.data.shape:
            raise ShapeError(
                f"Volumes are compared on one grid: '{name}' has shape {volume.data.shape}, not {first.data.shape}. "
                "Resample it or leave it out."
            )
        if volume.units != first.units:
            raise InputError(f"Volumes are compared in one unit: '{name}' is in {volume.units}, not {first.units}.")
    low, high = _checked(window) if window else default_window(first)
    spread = difference_window or (high - low) / 4
    rows = ([("reference", reference)] if reference is not None else []) + list(volumes.items())
    wanted = _panels(first)
    halves = 2 if reference is not None else 1
    gap, names, head, foot, between = 0.08, 1.75, 0.75 if title else 0.45, 1.15, 0.1
    wide = 7.2 * halves
    tallest = max(p.height for p in wanted)
    gaps = (len(wanted) - 1) * gap
    scale = min((wide / halves - gaps) / sum(p.width for p in wanted), 3.0 / tallest)
    block = scale * sum(p.width for p in wanted) + gaps
    tall = max(tallest * scale, 1.0)
    page_width, page_height = names + halves * (block + 0.2) + 0.1, head + foot + len(rows) * (tall + between)
    figure = _figure(page_width, page_height)
    shown: dict[int, AxesImage] = {}
    for row, (name, volume) in enumerate(rows):
        bottom = page_height - head - (row + 1) * (tall + between) + between
        _row_label(figure, name, (metrics or {}).get(name), 0.14, bottom + tall / 2)
        for half in range(halves):
            if half and row == 0:  # the reference itself
                continue
            panels = _panels(volume, subtract=reference if half else None)
            left = names + half * (block + 0.2)
            for panel in panels:
                width, height = panel.width * scale, panel.height * scale
                axes = _axes(figure, left, bottom + (tall - height) / 2, width, height)
                limits = (-spread, spread) if half else (low, high)
                shown[half] = _draw(axes, panel, limits, "RdBu_r" if half else "gray")
                if row == half:  # the first row that this half fills
                    if not half:
                        _letters(axes, panel)
                    heading = f"{panel.plane} difference" if half else panel.plane
                    figure.text(
                        (left + width / 2) / page_width,
                        (bottom + tall + 0.09) / page_height,
                        heading,
                        color=FAINT,
                        fontsize=8,
                        ha="center",
                    )
                left += width + gap
    for half, image in shown.items():
        left = names + half * (block + 0.2)
        bar = _axes(figure, left + 0.45 * block, 0.85, 0.5 * block, 0.12)
        _colour_bar(figure, image, bar, ("difference, " if half else "") + _unit(first), horizontal=True)
    _scale_bar(figure, wanted[0], names, 0.91, scale)
    if title:
        figure.text(0.14 / page_width, 1 - 0.24 / page_height, title, color=INK, fontsize=12, va="center")
    ranges = sorted({m.range.name + ", " + m.region for m in (metrics or {}).values()})
    note = _window_text((low, high), first) + "".join(f"\nmetrics: {text}" for text in ranges)
    _note(figure, note, page_width - 0.12, 0.12)
    return _png(figure)


def default_window(volume: Volume) -> Window:
    """HU: -350 to 450; dB: from the lowest value to 0; else 0 to the 99.8th percentile, or symmetric about 0."""
    if volume.units == "HU":
        return HU_WINDOW
    values = _real(volume.data)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    if volume.units == "dB" and values.min() < 0:
        return float(values.min()), 0.0
    # A noisy background of a positive image dips below zero; a signal with a sign goes about as far down as up.
    top, bottom = (float(v) for v in np.percentile(values[:: 1 + values.size // 2_000_000], (99.8, 0.2)))
    if bottom < -0.3 * abs(top):
        extent = max(abs(top), abs(bottom))
        return -extent, extent
    return 0.0, top if top > 0 else 1.0


def _panels(volume: Volume, subtract: Volume | None = None) -> list[_Panel]:
    data = _real(volume.data)
    if data.ndim == 4:
        data = data[data.shape[0] // 2]
    other = None
    if subtract is not None:
        other = _real(subtract.data)
        other = other[other.shape[0] // 2] if other.ndim == 4 else other
    # A plane across a single slice would be a line; the slice itself is always shown.
    planes = {plane: axis for plane, axis in plane_axes(volume).items() if min(np.delete(data.shape, axis)) > 1}
    panels = []
    for plane, axis in (planes or plane_axes(volume)).items():
        index = data.shape[axis] // 2
        image = np.take(data, index, axis).astype(np.float32)
        if other is not None:
            image = image - np.take(other, index, axis)
        if isinstance(volume.grid, AffineGrid):
            panels.append(_patient_panel(volume, volume.grid, plane, axis, index, image))
        else:
            panels.append(_plain_panel(volume, plane, axis, index, image))
    return panels


def _patient_panel(volume: Volume, grid: AffineGrid, plane: str, axis: int, index: int, image: NDArray[Any]) -> _Panel:
    """The slice turned and flipped until its right and bottom edges face where the convention wants them."""
    points = facing(grid, plane_axes(volume))
    rows, columns = (k for k in range(3) if k != axis)
    right, bottom = FACES[plane]
    if points[columns] not in (right, OPPOSITE[right]):
        image, rows, columns = image.T, columns, rows
    if points[columns] != right:
        image = image[:, ::-1]
    if points[rows] != bottom:
        image = image[::-1]
    mm = grid.voxel_mm
    ijk = [(n - 1) / 2 for n in grid.shape]
    ijk[axis] = index
    across = ACROSS.index(plane)
    world_mm = (grid.matrix @ [ijk[2], ijk[1], ijk[0], 1.0])[across]
    return _Panel(
        plane,
        image,
        image.shape[1] * mm[columns],
        image.shape[0] * mm[rows],
        (OPPOSITE[right], right, OPPOSITE[bottom], bottom),
        f"{'xyz'[across]} = {world_mm:.0f} mm",
    )


def facing(grid: AffineGrid, axes: Mapping[str, int]) -> list[str]:
    """For each array axis (z, y, x) the letter of the side to which its index grows."""
    letters = [""] * 3
    for world, (plane, ends) in enumerate(zip(ACROSS, ("LR", "PA", "IS"), strict=True)):
        axis = axes[plane]
        letters[axis] = ends[int(grid.matrix[world, 2 - axis] > 0)]
    return letters


def _plain_panel(volume: Volume, plane: str, axis: int, index: int, image: NDArray[Any]) -> _Panel:
    """A slice of a survey or a beam grid: the last axis (time or depth) downwards, pixels of no stated proportion."""
    names = [name for name in plane_axes(volume) if name != plane]
    if axis != 2:
        image, names = image.T, names[::-1]
    return _Panel(plane, image, 100.0, 100.0, ("", names[1], "", names[0]), str(index))


def _real(data: NDArray[Any]) -> NDArray[Any]:
    return np.abs(data) if np.iscomplexobj(data) else data


def _checked(window: Sequence[float]) -> Window:
    low, high = (float(v) for v in window)
    if not low < high:
        raise InputError(f"A window needs black < white, got {tuple(window)}.")
    return low, high


def _unit(volume: Volume) -> str:
    magnitude = "magnitude, " if np.iscomplexobj(volume.data) else ""
    return magnitude + ("no unit" if volume.units == "1" else volume.units)


def _window_text(window: Window, volume: Volume) -> str:
    unit = "" if volume.units == "1" else f" {volume.units}"
    convention = "   ·   radiological convention" if isinstance(volume.grid, AffineGrid) else ""
    return f"window {window[0]:.4g} to {window[1]:.4g}{unit}{convention}"


def _place(volume: Volume) -> str:
    """Number and size of the voxels: for patients from right to left, front to back and head to foot."""
    if not isinstance(volume.grid, AffineGrid):
        return " x ".join(map(str, volume.data.shape))
    axes = [plane_axes(volume)[plane] for plane in ACROSS]
    size = " x ".join(str(volume.grid.shape[axis]) for axis in axes)
    voxel = " x ".join(f"{volume.voxel_mm[axis]:.3g}" for axis in axes)
    return f"{size} voxels of {voxel} mm" + (", sheared, drawn at right angles" if volume.grid.is_sheared else "")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    wide, tall = figure.get_figwidth(), figure.get_figheight()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))


def _draw(axes: Axes, panel: _Panel, window: Window, colours: str) -> AxesImage:
    axes.set_axis_off()
    return axes.imshow(
        panel.image, cmap=colours, vmin=window[0], vmax=window[1], aspect="auto", interpolation="antialiased"
    )


def _letters(axes: Axes, panel: _Panel) -> None:
    from matplotlib.patheffects import withStroke

    left, right, top, bottom = panel.letters
    outline = [withStroke(linewidth=2, foreground="black")]
    places = ((0.02, 0.5, left), (0.98, 0.5, right), (0.5, 0.975, top), (0.5, 0.025, bottom))
    for (x, y, letter), (ha, va) in zip(
        places, (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom")), strict=True
    ):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=ha, va=va, color="#ffd75e", fontsize=9, path_effects=outline
        )


def _scale_bar(figure: Figure, panel: _Panel, left: float, bottom: float, inches_per_mm: float) -> None:
    """A bar of a round length, about a third of the panel, all panels having one scale."""
    if not panel.letters[0]:
        return  # no AffineGrid: lengths are not in mm
    from matplotlib.lines import Line2D

    decade = 10 ** math.floor(math.log10(panel.width / 3))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= panel.width / 3)
    wide, tall = figure.get_figwidth(), figure.get_figheight()
    right = left + length * inches_per_mm
    ends = [left / wide, right / wide], [bottom / tall, bottom / tall]
    figure.add_artist(Line2D(*ends, color=INK, linewidth=2.5, solid_capstyle="butt"))
    figure.text((right + 0.07) / wide, bottom / tall, f"{length:g} mm", color=INK, fontsize=8, va="center")


def _colour_bar(figure: Figure, image: AxesImage, axes: Axes, label: str, horizontal: bool = False) -> None:
    bar = figure.colorbar(image, cax=axes, orientation="horizontal" if horizontal else "vertical")
    bar.set_label(label, color=INK, fontsize=8)
    bar.outline.set_edgecolor(FAINT)  # type: ignore[operator]
    bar.ax.tick_params(colors=INK, labelsize=7.5, length=2)


def _row_label(figure: Figure, name: str, metrics: Metrics | None, left: float, middle: float) -> None:
    wide, tall = figure.get_figwidth(), figure.get_figheight()
    heading = "\n".join(textwrap.wrap(name, 19))
    figure.text(left / wide, (middle + 0.05) / tall, heading, color=INK, fontsize=10, va="bottom", weight="bold")
    if metrics is None:
        return
    similarity = [f"SSIM {plane} {value:.3f}" for plane, value in metrics.ssim.items() if math.isfinite(value)]
    lines = [f"PSNR {metrics.psnr_db:.2f} dB", *similarity]
    below = (middle - 0.02) / tall
    figure.text(left / wide, below, "\n".join(lines), color=FAINT, fontsize=7.5, va="top", linespacing=1.35)


def _note(figure: Figure, text: str, right: float, bottom: float) -> None:
    x, y = right / figure.get_figwidth(), bottom / figure.get_figheight()
    figure.text(x, y, text, color=FAINT, fontsize=7.5, ha="right", linespacing=1.4)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})  # equal volumes give equal bytes
    return out.getvalue()
