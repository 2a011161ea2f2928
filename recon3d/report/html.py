"""HTML report of a case: one file with linked views of its volumes and all that is known about how they came to be."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import Metrics, plane_axes
from recon3d.grid import AffineGrid
from recon3d.report.acquisition import acquisition_card
from recon3d.report.charts import convergence
from recon3d.report.checks import Check, check_result
from recon3d.report.encode import HU_RANGE, Stored, as_series, encode, reduced, reduced_shape
from recon3d.report.pictures import ACROSS, FACES, OPPOSITE, _facing, default_window
from recon3d.volume import Volume

BUDGET = 28_000_000
"""Bytes of all volumes in the page together, as text."""
MOST_FIRST, MOST_OTHERS = 256**3, 128**3
"""Voxels that are kept of the first layer, and of each other one."""
OTHERS_BUDGET = 3_200_000
SIGNED = ("difference", "residual", "null space", "error")
SPREADS = ("uncertainty", "standard deviation", "spread", "variance")
SHOWN_TAGS = ("modality", "format", "affine_from", "generator", "family", "source", "seed", "echo", "contrast")
"""Tags that describe the image; any other might name a patient and stays out."""
DASH, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", " \N{MULTIPLICATION SIGN} "
UNCALIBRATED = "Spread of the samples of the method: no error bar unless it was calibrated on scans like this one."

_PATH_KEYS = {"path", "like", "output", "input", "folder", "file"}
_FILE = re.compile(
    r"(?<![\w/])(?:[A-Za-z]:[\\/]|[~.]{1,2}[\\/]|[\\/](?=\w))[^\s'\",;]*|[\w.~-]+(?:[\\/][\w.~-]+){2,}"
    r"|\S+\.(?:nii(?:\.gz)?|h5|hdf5|np[yz]|dcm|se?gy|mat|ya?ml|safetensors)\b",
    re.IGNORECASE,
)
"""What looks like a file or a folder in a text."""


def case_report(
    layers: Mapping[str, Volume],
    record: Mapping[str, Any] | None = None,
    *,
    metrics: Mapping[str, Metrics] | None = None,
    reference: str | None = None,
    title: str = "",
    notes: Mapping[str, str] | None = None,
    side_by_side: bool = False,
    history: NDArray[np.float32] | None = None,
    budget: int = BUDGET,
) -> str:
    """The page of a case, as text.

    Layers are drawn by their names: those that begin with "difference", "residual", "null space" or "error" have a sign
    and are shown in blue and orange about zero, "uncertainty" (or "standard deviation", "spread") in a heat map from
    zero, all others in grey in one common window for each unit. Complex volumes show magnitude and phase.

    Values are stored as whole-number levels, of which the page states the step: 4096 where that fits into `budget`,
    else 1024 or 256. The first layer keeps its size up to 256^3 voxels, others are averaged down to 128^3 (all of a
    comparison equally, as far as the budget asks for).

    Parameters
    ----------
    layers : name -> volume, the result first; other grids are interpolated onto its grid
    record : what `<stem>.recon.json` holds; names of files are left out, and so are tags that may name a patient
    metrics : name -> what `compare` measured
    reference : name of the layer that is the truth; its difference from the result is added
    title : heading; by default the method of the record
    notes : name of a layer -> a remark that stands under it
    side_by_side : open with all images in one plane instead of three planes of the first
    history : a slice after each iteration, (iteration, y, x); animated where the record tells an acquisition

    Raises
    ------
    InputError
        If there is no layer, or `reference` names none.
    ShapeError
        If a layer lies on another grid and cannot be interpolated.
    """
    if not layers:
        raise InputError("A report needs at least one volume.")
    if reference is not None and reference not in layers:
        raise InputError(f"The reference '{reference}' is not among the layers {', '.join(layers)}.")
    record = record or {}
    main = next(iter(layers.values()))
    aligned = {name: _on_grid_of(main, name, volume) for name, volume in layers.items()}
    if reference is not None and not side_by_side and not any(_has_sign(name) for name in layers):
        truth = aligned[reference]
        if truth is not main and truth.units == main.units and truth.data.shape == main.data.shape:
            aligned[f"difference from {reference}"] = main.with_data(_real(main.data) - _real(truth.data))
    scene, texts = _scene(aligned, notes or {}, budget, equal=side_by_side)
    scene["side"] = side_by_side and len(layers) > 1
    names = list(aligned)
    grey = [i for i, name in enumerate(names) if _map_of(name) == "gray"]
    alike = len({tuple(scene["layers"][i]["parts"][0]["shape"]) for i in grey}) == 1
    scene["reference"] = names.index(reference) if reference is not None and alike and len(grey) > 1 else None
    for name, score in (metrics or {}).items():
        if name in names:
            scene["layers"][names.index(name)]["score"] = f"PSNR {score.psnr_db:.2f} dB"
    method = _method_name(record)
    heading = title or (f"Reconstruction by {method}" if method else "Comparison" if side_by_side else "Volume")
    holders = "".join(f'<script type="text/plain" id="{key}">{text}</script>\n' for key, text in texts.items())
    described = json.dumps(scene, allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
    sections = [
        _metrics_card(metrics),
        _checks_card([] if side_by_side else check_result(main, record)),
        _card("Acquisition", acquisition_card(told, history), wide=True) if (told := record.get("acquisition")) else "",
        trace_card(record.get("trace")),
        _plan_card(record),
        _settings_card(record),
        _provenance_card(record, main) if record or not side_by_side else "",
    ]
    return page(
        heading,
        "comparison" if side_by_side else "case report",
        _facts(main, record, len(layers) if side_by_side else 0),
        viewer=_viewer(scene),
        sections=f'<div class="cards">{"".join(sections)}</div>',
        data=f'<script type="application/json" id="scene">{described}</script>\n{holders}',
    )


def page(
    title: str,
    kind: str,
    facts: Sequence[str],
    viewer: str = "",
    sections: str = "",
    data: str = "",
    refresh: str = "",
) -> str:
    """The frame of all our pages; its policy lets nothing run but our own script, and nothing load."""
    style, script = _asset("viewer.css"), _asset("viewer.js")
    return Template(_asset("page.html")).substitute(
        title=escape(title),
        kind=escape(kind),
        facts="".join(f"<li>{escape(fact)}</li>" for fact in facts),
        style=style,
        script=script,
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        viewer=viewer,
        sections=sections,
        data=data,
        refresh=f'<meta http-equiv="refresh" content="{escape(refresh, quote=True)}">' if refresh else "",
    )


@functools.cache
def _asset(name: str) -> str:
    return (files("recon3d.report") / name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# Volumes


def _scene(
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
    if units == "HU" and _map_of(name) == "gray" and high - low > 256:
        return HU_RANGE
    if _has_sign(name):
        high = max(abs(low), abs(high))
        low = -high
    elif 0 < low < 0.05 * high:
        low = 0.0
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def is_image(name: str) -> bool:
    """Whether a layer of this name is drawn in grey: not a difference, not an uncertainty."""
    return _map_of(name) == "gray"


def _map_of(name: str) -> str:
    return "sign" if _has_sign(name) else "heat" if name.lower().startswith(SPREADS) else "gray"


def _has_sign(name: str) -> bool:
    return name.lower().startswith(SIGNED)


def _layer_map(name: str, volume: Volume) -> str:
    """The colours of a layer; a magnitude has no sign, whatever it is called."""
    chosen = _map_of(name)
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
    return notes.get(name, UNCALIBRATED if _map_of(name) == "heat" else "")


def _stored_note(volume: Volume, stored: Stored, units: str, whole: bool) -> str:
    unit = "" if units == "1" else f" {units}"
    size = "" if whole else f" at {TIMES.join(map(str, stored.shape[1:]))} voxels (means of blocks)"
    step = f"{stored.levels} levels of {stored.step:.2g}{unit}"
    beyond = ", values beyond are shown as its ends" if (stored.low, stored.high) == HU_RANGE else ""
    return f"Stored{size} in {step}, {_signed(stored.low)} to {_signed(stored.high)}{unit}{beyond}."


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
            points = _facing(grid, axes)
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


def _real(data: NDArray[Any]) -> NDArray[Any]:
    return np.abs(data) if np.iscomplexobj(data) else np.asarray(data, dtype=np.result_type(data, np.float32))


def _on_grid_of(main: Volume, name: str, volume: Volume) -> Volume:
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
    fill = float(np.min(_real(volume.data)))

    def pull(frame: NDArray[Any]) -> NDArray[Any]:
        kind = np.complex64 if np.iscomplexobj(frame) else np.float32
        return ndimage.affine_transform(  # type: ignore[no-any-return]
            frame.astype(kind), matrix, offset, output_shape=main.grid.shape, order=1, cval=fill
        )

    frames = np.stack([pull(frame) for frame in as_series(volume.data)])
    return Volume(frames if volume.data.ndim == 4 else frames[0], main.grid, volume.units, volume.times_s, volume.tags)


# Text


def _viewer(scene: Mapping[str, Any]) -> str:
    names = ", ".join(layer["name"] for layer in scene["layers"])
    return f"""<section class="viewer" id="viewer" aria-label="Images: {escape(names, quote=True)}">
<noscript><p class="fallback">The images need JavaScript; everything below is text.</p></noscript>
<div class="bar" id="bar"></div>
<p class="wait" id="wait">Unpacking the images …</p>
<div class="panels" id="panels"></div>
<div class="time" id="depth" hidden></div>
<div class="time" id="time" hidden><button type="button" id="play" class="quiet">Play</button>
<input type="range" id="frame" min="0" step="1" aria-label="Frame"><output id="moment"></output></div>
<div class="under">
<div><h2>Window and colours</h2><canvas id="scale" role="img"></canvas>
<div class="row"><select id="preset" aria-label="Window preset"></select>
<label>from <input type="number" id="low"></label><label>to <input type="number" id="high"></label></div>
<p id="remark"></p></div>
<div><h2>At the crosshair</h2><table id="values"><tbody></tbody></table></div>
</div>
<p class="aloud" id="aloud" aria-live="polite"></p>
<details class="help screen"><summary>Mouse, touch and keys</summary><dl>
{_help()}
</dl></details>
</section>"""


def _help() -> str:
    keys = (
        ("Wheel", "next slice; with Ctrl zoom"),
        ("Drag", "move the crosshair"),
        ("Right drag", "window (sideways) and level (up, down)"),
        ("Shift and drag", "pan a zoomed image; so does the middle button"),
        ("Two fingers", "zoom and pan; double tap zooms too"),
        ("Arrow keys", "crosshair; with Shift ten voxels"),
        ("Page up, down", "slice; Home and End go to the ends"),
        (f"+ and {MINUS}", "zoom"),
        ("1 to 9, [ and ]", "layer"),
        ("W, L", "wider, lighter; with Shift the other way"),
        ("M", "magnitude or phase"),
        ("V, D", "side by side; differences"),
        (". and ,", "frame; the space bar plays"),
        ("C, S", "crosshair on or off; smooth or square voxels"),
        ("R", "reset the view"),
    )
    return "\n".join(f"<div><dt>{escape(key)}</dt><dd>{escape(what)}</dd></div>" for key, what in keys)


def _facts(volume: Volume, record: Mapping[str, Any], compared: int) -> list[str]:
    shape = volume.data.shape
    facts = [f"{compared} volumes"] if compared else []
    facts.append(TIMES.join(map(str, shape[-3:])) + " voxels (z, y, x)")
    if isinstance(volume.grid, AffineGrid):
        facts.append(TIMES.join(f"{v:.3g}" for v in volume.voxel_mm) + " mm")
    if volume.data.ndim == 4:
        facts.append(f"{shape[0]} frames")
    facts += ["complex"] if np.iscomplexobj(volume.data) else []
    facts.append("no unit" if volume.units == "1" else f"in {volume.units}")
    if _number(record.get("seconds")) is not None:
        facts.append(f"computed in {_duration(record['seconds'])}")
    if isinstance(volume.grid, AffineGrid):
        facts.append("radiological convention")
    return facts


def _card(title: str, body: str, wide: bool = False) -> str:
    return f'<section class="card{" wide" if wide else ""}"><h2>{escape(title)}</h2>{body}</section>' if body else ""


def _metrics_card(metrics: Mapping[str, Metrics] | None) -> str:
    if not metrics:
        return ""
    planes = list(dict.fromkeys(plane for score in metrics.values() for plane in score.ssim))
    unit = {score.units for score in metrics.values()}
    shown_unit = f" ({unit.pop()})" if len(unit) == 1 and unit != {"1"} else ""
    heads = ["PSNR (dB)", *(f"SSIM {plane}" for plane in planes), "NMSE", f"RMSE{shown_unit}"]
    heads.append(f"Slice to slice{shown_unit}")
    rows = []
    for name, score in metrics.items():
        cells = [
            _figure(score.psnr_db, ".2f"),
            *(_figure(score.ssim.get(plane, math.nan), ".4f") for plane in planes),
            _figure(score.nmse, ".4g"),
            _figure(score.rmse, ".4g"),
            _figure(score.slice_to_slice, ".4g"),
        ]
        figures = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{figures}</tr>')
    ranges = sorted({f"{score.range.name}; {score.region}; {score.voxels} voxels" for score in metrics.values()})
    head = "".join(f'<th scope="col" class="number">{escape(h)}</th>' for h in heads)
    table = (
        f'<div class="scroll"><table class="plain"><thead>'
        f'<tr><th scope="col">Volume</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="note">Range: {escape(" / ".join(ranges)).replace("[-", f"[{MINUS}")}.</p>'
    )
    return _card("Against the reference", table, wide=True)


def _checks_card(checks: Sequence[Check]) -> str:
    signs = {"ok": ("✓", "passed"), "look": ("!", "needs a look"), "none": (DASH, "not checked")}
    items = []
    for check in checks:
        sign, spoken = signs[check.state]
        items.append(
            f'<li class="{check.state}"><span class="sign" aria-hidden="true">{sign}</span><b>{escape(check.name)}'
            f'<span class="aloud"> {spoken}</span></b><p>{escape(check.text)}</p></li>'
        )
    return _card("Quality checks", f'<ul class="checks">{"".join(items)}</ul>' if items else "")


def trace_card(trace: Any, wide: bool = False) -> str:
    """A chart of each quantity of a trace, or nothing."""
    if not isinstance(trace, Sequence) or isinstance(trace, str):
        return ""
    charts = convergence([row for row in trace if isinstance(row, Mapping)])
    figures = "".join(
        f"<figure><h3>{escape(name.capitalize())}<b>{last}</b></h3>{svg}</figure>" for name, last, svg in charts
    )
    return _card("Convergence", f'<div class="charts">{figures}</div>' if figures else "", wide)


def _plan_card(record: Mapping[str, Any]) -> str:
    plan, method = _mapping(record, "plan"), _mapping(record, "method")
    result = _mapping(record, "result")
    forecast, limit, peak = (_number(v) for v in (plan.get("forecast"), plan.get("limit"), record.get("peak_memory")))
    rows = []
    if forecast is not None or peak is not None:
        allowed = f", {_bytes(limit)} allowed" if limit is not None else ""
        rows.append(("Memory", _bytes(forecast) + allowed, _bytes(peak) + " with the program itself" if peak else DASH))
    trace = record.get("trace")
    planned = next((method[key] for key in ("iterations", "steps") if key in method), None)
    done = len(trace) if isinstance(trace, list) else 0
    if planned is not None or done:
        stopped = f", stopped by {result['stopped_by']}" if "stopped_by" in result else ""
        rows.append(("Iterations", DASH if planned is None else str(planned), f"{done}{stopped}" if done else DASH))
    if _number(record.get("seconds")) is not None:
        rows.append(("Time", DASH, _duration(record["seconds"])))
    shape = result.get("shape")
    slices = shape[-3] if isinstance(shape, list) and len(shape) >= 3 else None
    if "slab" in plan:
        of_all = f" of {slices}" if slices else ""
        actual = f"{result['slabs']} slabs" if "slabs" in result else "all at once"
        rows.append(("Slices at a time", f"{plan['slab']}{of_all}", actual))
    for key, name in (("micro_batch", "Micro-batch"), ("threads", "Threads"), ("device", "Device")):
        if key in plan:
            rows.append((name, str(plan[key]), "as planned"))
    for key, value in result.items():
        if key not in ("units", "shape", "slabs", "stopped_by"):
            rows.append((key.replace("_", " ").capitalize(), DASH, _text(key, value)))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(planned)}</td><td>{escape(actual)}</td></tr>'
        for name, planned, actual in rows
    )
    head = '<thead><tr><th scope="col"></th><th scope="col">Planned</th><th scope="col">Actual</th></tr></thead>'
    return _card("Plan against actual", f'<table class="plain">{head}<tbody>{body}</tbody></table>' if rows else "")


def _settings_card(record: Mapping[str, Any]) -> str:
    method = [
        ("method" if key == "name" else key.replace("_", " "), _text(key, value))
        for key, value in _mapping(record, "method").items()
        if value is not None
    ]
    config = {k: v for k, v in _mapping(record, "config").items() if k not in ("method", "models", "description")}
    rest = [pair for key, value in config.items() for pair in _flat(key, value)]
    more = f"<details><summary>All settings</summary>{_pairs(rest)}</details>" if rest else ""
    return _card("Settings", _pairs(method) + more if method or rest else "")


def _provenance_card(record: Mapping[str, Any], volume: Volume) -> str:
    tags = {key: volume.tags[key] for key in SHOWN_TAGS if key in volume.tags}
    pairs = [(key.replace("_", " ").capitalize(), _text(key, value)) for key, value in tags.items()]
    version = record.get("recon3d")
    if version is not None:
        pairs.append(("recon3d", str(version)))
    digest = _mapping(record, "input").get("sha256")
    if digest:
        pairs.append(("Input, SHA-256", str(digest)))
    for role, model in _mapping(record, "models").items():
        if isinstance(model, Mapping):
            pairs.append((f"Model: {role}", f"{_text('model', model.get('name'))}, SHA-256 {model.get('sha256')}"))
    if record.get("key"):
        pairs.append(("Run", str(record["key"])))
    versions = [(key, str(value)) for key, value in _mapping(record, "versions").items() if key != "recon3d"]
    if versions:
        pairs.append(("Computed with", ", ".join(f"{key} {value}" for key, value in versions)))
    notes = record.get("notes")
    if isinstance(notes, list) and notes:
        pairs.append(("Said during the run", " ".join(_FILE.sub("(file)", str(note)) for note in notes)))
    return _card("Provenance", _pairs(pairs), wide=True)


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{_code(value)}</td></tr>' for key, value in pairs)
    return f'<table class="plain pairs"><tbody>{rows}</tbody></table>' if rows else ""


def _code(value: str) -> str:
    return f"<code>{escape(value)}</code>" if re.search(r"[0-9a-f]{40}", value) else escape(value)


def _flat(key: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for inner, v in value.items() for pair in _flat(f"{key}.{inner}", v)]
    return [] if value is None else [(key, _text(key.rsplit(".", 1)[-1], value))]


def _text(key: str, value: Any) -> str:
    """A value for a person; what may name a file or a folder does not leave."""
    if isinstance(value, str):
        if key in _PATH_KEYS:
            return "(file)"
        return _FILE.sub("(file)", value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(key, item) for item in value)
    return _FILE.sub("(file)", str(value))


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _method_name(record: Mapping[str, Any]) -> str:
    return str(_mapping(record, "method").get("name", ""))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _signed(value: float) -> str:
    return f"{value:.4g}".replace("-", MINUS)


def _figure(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "\N{INFINITY}" if value == math.inf else DASH


def _bytes(count: float | None) -> str:
    if count is None:
        return DASH
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
