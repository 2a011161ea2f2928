"""HTML report of a case: one file with linked views of its volumes and all that is known about how they came to be."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.evaluation.metrics import Metrics
from recon3d.grid import AffineGrid
from recon3d.report.acquisition import acquisition_card
from recon3d.report.cards import (
    card,
    checks_card,
    method_name,
    metrics_card,
    plan_card,
    provenance_card,
    settings_card,
    trace_card,
)
from recon3d.report.checks import check_result
from recon3d.report.scene import BUDGET, has_sign, map_of, on_grid_of, real_part, scene_of
from recon3d.report.wording import MINUS, TIMES, duration, number
from recon3d.volume import Volume


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
    aligned = {name: on_grid_of(main, name, volume) for name, volume in layers.items()}
    if reference is not None and not side_by_side and not any(has_sign(name) for name in layers):
        truth = aligned[reference]
        if truth is not main and truth.units == main.units and truth.data.shape == main.data.shape:
            aligned[f"difference from {reference}"] = main.with_data(real_part(main.data) - real_part(truth.data))
    scene, texts = scene_of(aligned, notes or {}, budget, equal=side_by_side)
    scene["side"] = side_by_side and len(layers) > 1
    names = list(aligned)
    grey = [i for i, name in enumerate(names) if map_of(name) == "gray"]
    alike = len({tuple(scene["layers"][i]["parts"][0]["shape"]) for i in grey}) == 1
    scene["reference"] = names.index(reference) if reference is not None and alike and len(grey) > 1 else None
    for name, score in (metrics or {}).items():
        if name in names:
            scene["layers"][names.index(name)]["score"] = f"PSNR {score.psnr_db:.2f} dB"
    method = method_name(record)
    heading = title or (f"Reconstruction by {method}" if method else "Comparison" if side_by_side else "Volume")
    holders = "".join(f'<script type="text/plain" id="{key}">{text}</script>\n' for key, text in texts.items())
    described = json.dumps(scene, allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
    sections = [
        metrics_card(metrics),
        checks_card([] if side_by_side else check_result(main, record)),
        card("Acquisition", acquisition_card(told, history), wide=True) if (told := record.get("acquisition")) else "",
        trace_card(record.get("trace")),
        plan_card(record),
        settings_card(record),
        provenance_card(record, main) if record or not side_by_side else "",
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
    if number(record.get("seconds")) is not None:
        facts.append(f"computed in {duration(record['seconds'])}")
    if isinstance(volume.grid, AffineGrid):
        facts.append("radiological convention")
    return facts
