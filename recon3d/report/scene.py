"""Volumes as the viewer of our pages takes them: levels, windows and places of every layer, within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ShapeError
from recon3d.evaluation.metrics import plane_axes
from recon3d.grid import AffineGrid
from recon3d.report.encode import HU_RANGE, Stored, as_series, encode, reduced, reduced_shape
from recon3d.report.pictures import ACROSS, FACES, OPPOSITE, default_window, facing
from recon3d.report.wording import TIMES, signed
from recon3d.volume import Volume

BUDGET = 28_000_000
"""Bytes of all volumes in the page together, as text."""
MOST_FIRST, MOST_OTHERS = 256**3, 128**3
"""Voxels that are kept of the first layer, and of each other one."""
OTHERS_BUDGET = 3_200_000
SIGNED = ("difference", "residual", "null space", "error")
SPREADS = ("uncertainty", "standard deviation", "spread", "variance")
UNCALIBRATED = "Spread of the samples of the method: no error bar unless it was calibrated on scans like this one."


def scene_of(
    layers: Mapping[str, Volume], notes: Mapping[str, str], budget: int, equal: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the script needs to know, and the texts it unpacks; the first layer gets the room that others leave."""
    main = next(iter(layers.values()))
    most_first = MOST_FIRST
    if equal and len(layers) > 1:
        most_first = min(MOST_FIRST, max(MOST_OTHERS, int(budget / 1.4 / len(layers))))
    specs: list[dict[str, Any]] = []
    texts: dict[str, str] = {}
    grouped: dict[str, tuple[float, float]] = {}
    for name, volume in layers.items():
        specs.append({"name": name, "units": volume.units, "score": "", "note": _note_of(name, notes), "parts": []})
        grouped.setdefault(_group(name, volume), _window(name, volume))
    left = budget
    order = sorted(range(len(layers)), key=lambda k: k == 0)
    for k in order:
        name, volume = list(layers.items())[k]
        full = k == 0 or equal
        share = left if k == 0 else left // len(layers) if equal else OTHERS_BUDGET
        for part, stored, most_levels in _parts(name, volume, most_first if full else MOST_OTHERS, share):
            text_id = f"v{k}{part[0]}"
            texts[text_id] = stored.text
            left -= len(stored.text)
            phase = part == "phase"
            units = "rad" if phase else volume.units
            specs[k]["parts"].append(
                {
                    "id": text_id,
                    "part": part,
                    "shape": stored.shape,
                    "bytes": stored.bytes_per_code,
                    "levels": stored.levels,
                    "low": stored.low,
                    "high": stored.high,
                    "units": units,
                    "map": "turn" if phase else _layer_map(name, volume),
                    "key": "phase" if phase else _group(name, volume),
                    "window": [-math.pi, math.pi] if phase else grouped[_group(name, volume)],
                    "stored": _stored_note(volume, stored, units, most_levels),
                }
            )
    low, high = _window(next(iter(layers)), main)
    affine = isinstance(main.grid, AffineGrid)
    return {
        "shape": main.grid.shape,
        "affine": main.grid.matrix[:3].tolist() if isinstance(main.grid, AffineGrid) else None,
        "axes": ["voxel z", "y", "x"] if affine else list(plane_axes(main)),
        "planes": planes_of(main),
        "times": main.times_s,
        "spread": [(low - high) / 4, (high - low) / 4],
        "layers": specs,
    }, texts


def _parts(name: str, volume: Volume, most: int, budget: int) -> list[tuple[str, Stored, bool]]:
    """The parts of a layer, packed: its values, or magnitude and phase."""
    data = as_series(volume.data)
    if not np.iscomplexobj(data):
        stored = _fitted(data, *_range(data, volume.units, name), most, budget)
        return [("value", stored, stored.shape == data.shape)]
    fewer: NDArray[Any] = reduced(data, reduced_shape(data.shape, min(most, MOST_OTHERS)))
    # 64 levels: phase is looked at, not measured, and noise in the background does not compress.
    phase = encode(np.angle(fewer).astype(np.float32), -math.pi, math.pi, OTHERS_BUDGET, levels=(256, 64))
    size = np.abs(data)
    high = float(size.max(where=np.isfinite(size), initial=0.0))
    magnitude = _fitted(size, 0.0, high or 1.0, most, budget - len(phase.text))
    return [("magnitude", magnitude, magnitude.shape == data.shape), ("phase", phase, fewer.shape == data.shape)]


def _fitted(data: NDArray[Any], low: float, high: float, most: int, budget: int) -> Stored:
    """Packed with at most `most` voxels; fewer where noise that does not compress would break the budget."""
    while True:
        small = reduced(data, reduced_shape(data.shape, most))
        stored = encode(small, low, high, budget)
        if len(stored.text) <= budget or small.size <= MOST_OTHERS:
            return stored
        most = small.size // 2


def _range(data: NDArray[Any], units: str, name: str) -> tuple[float, float]:
    """The range of the levels: a scanner's for images in HU, else the values themselves."""
    finite = data[np.isfinite(data)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if units == "HU" and map_of(name) == "gray" and high - low > 256:
        return HU_RANGE
    if has_sign(name):
        high = max(abs(low), abs(high))
        low = -high
    elif 0 < low < 0.05 * high:
        low = 0.0
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def is_image(name: str) -> bool:
    """Whether a layer of this name is drawn in grey: not a difference, not an uncertainty."""
    return map_of(name) == "gray"


def map_of(name: str) -> str:
    """How a layer of this name is coloured: by sign, as heat or in grey."""
    return "sign" if has_sign(name) else "heat" if name.lower().startswith(SPREADS) else "gray"


def has_sign(name: str) -> bool:
    """Whether a layer of this name is about zero, as differences are."""
    return name.lower().startswith(SIGNED)


def _layer_map(name: str, volume: Volume) -> str:
    """The colours of a layer; a magnitude has no sign, whatever it is called."""
    chosen = map_of(name)
    return "heat" if chosen == "sign" and np.iscomplexobj(volume.data) else chosen


def _group(name: str, volume: Volume) -> str:
    """Layers with one key share a window: all images of a unit, and each other layer with itself alone."""
    chosen = _layer_map(name, volume)
    return f"{chosen} {volume.units}" + ("" if chosen == "gray" else f" {name}")


def _window(name: str, volume: Volume) -> tuple[float, float]:
    chosen = _layer_map(name, volume)
    if chosen == "gray":
        return default_window(volume)
    values = np.abs(volume.data[np.isfinite(volume.data)])
    top = float(np.percentile(values[:: 1 + values.size // 2_000_000], 99.5)) if values.size else 0.0
    top = float(f"{top or float(values.max(initial=0.0)) or 1.0:.2g}")
    return (-top, top) if chosen == "sign" else (0.0, top)


def _note_of(name: str, notes: Mapping[str, str]) -> str:
    return notes.get(name, UNCALIBRATED if map_of(name) == "heat" else "")


def _stored_note(volume: Volume, stored: Stored, units: str, whole: bool) -> str:
    unit = "" if units == "1" else f" {units}"
    size = "" if whole else f" at {TIMES.join(map(str, stored.shape[1:]))} voxels (means of blocks)"
    step = f"{stored.levels} levels of {stored.step:.2g}{unit}"
    beyond = ", values beyond are shown as its ends" if (stored.low, stored.high) == HU_RANGE else ""
    return f"Stored{size} in {step}, {signed(stored.low)} to {signed(stored.high)}{unit}{beyond}."


def planes_of(volume: Volume) -> list[dict[str, Any]]:
    """How each plane lies on the page: radiological convention for patients, see `recon3d.report.pictures`."""
    grid, axes = volume.grid, plane_axes(volume)
    planes = []
    # A plane across a single slice would be a line; the slice itself is always shown.
    chosen = {plane: axis for plane, axis in axes.items() if min(np.delete(grid.shape, axis)) > 1} or axes
    for plane, axis in chosen.items():
        rows, columns = (k for k in range(3) if k != axis)
        flip_rows = flip_columns = False
        if isinstance(grid, AffineGrid):
            points = facing(grid, axes)
            right, bottom = FACES[plane]
            if points[columns] not in (right, OPPOSITE[right]):
                rows, columns = columns, rows
            flip_rows, flip_columns = points[rows] != bottom, points[columns] != right
            letters = [OPPOSITE[right], right, OPPOSITE[bottom], bottom]
            width, height = (grid.shape[k] * grid.voxel_mm[k] for k in (columns, rows))
            across = "xyz"[ACROSS.index(plane)]
        else:
            if axis != 2:  # the last axis (time or depth) downwards
                rows, columns = columns, rows
            named = list(axes)
            letters, width, height, across = ["", named[columns], "", named[rows]], 100.0, 100.0, ""
        planes.append(
            {
                "name": plane.capitalize(),
                "axis": axis,
                "rows": rows,
                "columns": columns,
                "flip_rows": flip_rows,
                "flip_columns": flip_columns,
                "letters": letters,
                "width": width,
                "height": height,
                "across": across,
            }
        )
    return planes


def real_part(data: NDArray[Any]) -> NDArray[Any]:
    """Magnitudes of complex values, others as they are."""
    return np.abs(data) if np.iscomplexobj(data) else np.asarray(data, dtype=np.result_type(data, np.float32))


def on_grid_of(main: Volume, name: str, volume: Volume) -> Volume:
    """The layer on the grid of the first, so that one crosshair means one place."""
    if volume.data.shape[-3:] == main.data.shape[-3:] and volume.grid == main.grid:
        return volume
    if not (isinstance(main.grid, AffineGrid) and isinstance(volume.grid, AffineGrid)):
        raise ShapeError(
            f"The layer '{name}' has shape {volume.data.shape} on a {type(volume.grid).__name__}, the first layer "
            f"{main.data.shape} on a {type(main.grid).__name__}: layers of one report need one grid."
        )
    from scipy import ndimage

    index = np.linalg.inv(volume.grid.matrix) @ main.grid.matrix
    matrix, offset = index[:3, :3][::-1, ::-1], index[:3, 3][::-1]
    fill = float(np.min(real_part(volume.data)))

    def pull(frame: NDArray[Any]) -> NDArray[Any]:
        kind = np.complex64 if np.iscomplexobj(frame) else np.float32
        return ndimage.affine_transform(  # type: ignore[no-any-return]
            frame.astype(kind), matrix, offset, output_shape=main.grid.shape, order=1, cval=fill
        )

    frames = np.stack([pull(frame) for frame in as_series(volume.data)])
    return Volume(frames if volume.data.ndim == 4 else frames[0], main.grid, volume.units, volume.times_s, volume.tags)
