"""Cards under the viewer: scores, checks, plan, settings and provenance; no file and no patient is named."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from recon3d.evaluation.metrics import Metrics
from recon3d.report.charts import convergence
from recon3d.report.checks import Check
from recon3d.report.wording import DASH, MINUS, duration, figure, memory, number
from recon3d.volume import Volume

SHOWN_TAGS = ("modality", "format", "affine_from", "generator", "family", "source", "seed", "echo", "contrast")
"""Tags that describe the image; any other might name a patient and stays out."""
_PATH_KEYS = {"path", "like", "output", "input", "folder", "file"}
_FILE = re.compile(
    r"(?<![\w/])(?:[A-Za-z]:[\\/]|[~.]{1,2}[\\/]|[\\/](?=\w))[^\s'\",;]*|[\w.~-]+(?:[\\/][\w.~-]+){2,}"
    r"|\S+\.(?:nii(?:\.gz)?|h5|hdf5|np[yz]|dcm|se?gy|mat|ya?ml|safetensors)\b",
    re.IGNORECASE,
)
"""What looks like a file or a folder in a text."""


def card(title: str, body: str, wide: bool = False) -> str:
    """A box with a heading; nothing where there is nothing to say."""
    return f'<section class="card{" wide" if wide else ""}"><h2>{escape(title)}</h2>{body}</section>' if body else ""


def metrics_card(metrics: Mapping[str, Metrics] | None) -> str:
    """What `compare` measured, a row for each volume."""
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
            figure(score.psnr_db, ".2f"),
            *(figure(score.ssim.get(plane, math.nan), ".4f") for plane in planes),
            figure(score.nmse, ".4g"),
            figure(score.rmse, ".4g"),
            figure(score.slice_to_slice, ".4g"),
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
    return card("Against the reference", table, wide=True)


def checks_card(checks: Sequence[Check]) -> str:
    """What was checked of the result, and how it went."""
    signs = {"ok": ("✓", "passed"), "look": ("!", "needs a look"), "none": (DASH, "not checked")}
    items = []
    for check in checks:
        sign, spoken = signs[check.state]
        items.append(
            f'<li class="{check.state}"><span class="sign" aria-hidden="true">{sign}</span><b>{escape(check.name)}'
            f'<span class="aloud"> {spoken}</span></b><p>{escape(check.text)}</p></li>'
        )
    return card("Quality checks", f'<ul class="checks">{"".join(items)}</ul>' if items else "")


def trace_card(trace: Any, wide: bool = False) -> str:
    """A chart of each quantity of a trace, or nothing."""
    if not isinstance(trace, Sequence) or isinstance(trace, str):
        return ""
    charts = convergence([row for row in trace if isinstance(row, Mapping)])
    figures = "".join(
        f"<figure><h3>{escape(name.capitalize())}<b>{last}</b></h3>{svg}</figure>" for name, last, svg in charts
    )
    return card("Convergence", f'<div class="charts">{figures}</div>' if figures else "", wide)


def plan_card(record: Mapping[str, Any]) -> str:
    """What was forecast beside what came."""
    plan, method = _mapping(record, "plan"), _mapping(record, "method")
    result = _mapping(record, "result")
    forecast, limit, peak = (number(v) for v in (plan.get("forecast"), plan.get("limit"), record.get("peak_memory")))
    rows = []
    if forecast is not None or peak is not None:
        allowed = f", {memory(limit)} allowed" if limit is not None else ""
        rows.append(("Memory", memory(forecast) + allowed, memory(peak) + " with the program itself" if peak else DASH))
    trace = record.get("trace")
    planned = next((method[key] for key in ("iterations", "steps") if key in method), None)
    done = len(trace) if isinstance(trace, list) else 0
    if planned is not None or done:
        stopped = f", stopped by {result['stopped_by']}" if "stopped_by" in result else ""
        rows.append(("Iterations", DASH if planned is None else str(planned), f"{done}{stopped}" if done else DASH))
    if number(record.get("seconds")) is not None:
        rows.append(("Time", DASH, duration(record["seconds"])))
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
    return card("Plan against actual", f'<table class="plain">{head}<tbody>{body}</tbody></table>' if rows else "")


def settings_card(record: Mapping[str, Any]) -> str:
    """All settings of the run."""
    method = [
        ("method" if key == "name" else key.replace("_", " "), _text(key, value))
        for key, value in _mapping(record, "method").items()
        if value is not None
    ]
    config = {k: v for k, v in _mapping(record, "config").items() if k not in ("method", "models", "description")}
    rest = [pair for key, value in config.items() for pair in _flat(key, value)]
    more = f"<details><summary>All settings</summary>{_pairs(rest)}</details>" if rest else ""
    return card("Settings", _pairs(method) + more if method or rest else "")


def provenance_card(record: Mapping[str, Any], volume: Volume) -> str:
    """Versions, models and what is known of the data."""
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
    return card("Provenance", _pairs(pairs), wide=True)


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


def method_name(record: Mapping[str, Any]) -> str:
    """The method of a record, or nothing."""
    return str(_mapping(record, "method").get("name", ""))
