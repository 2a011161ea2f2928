"""Score sheet: a table of scores as CSV, JSON or HTML, and one picture per case with every method beside its target."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.evaluation.fastmri import METRICS, centre_crop, scored_size
from recon3d.evaluation.score_table import ScoreTable
from recon3d.evaluation.statistics import Summary

FORMATS = (".csv", ".json", ".html")
DIGITS = {"MSE": "{:.3e}", "NMSE": "{:.4f}", "PSNR dB": "{:.2f}", "SSIM": "{:.4f}"}
PANEL_INCHES, SHOWN_ERROR = 2.3, 0.2

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
table { display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap }
td.n { text-align: right } p.remark { color: #555; margin: .2rem 0 } li.fault { color: #a00 }
img { max-width: 100%; background: #121212 }
"""


def as_csv(table: ScoreTable) -> str:
    """One row per volume and method."""
    records = table.records()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]) if records else ["method", "volume"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def as_json(table: ScoreTable, facts: Mapping[str, Any]) -> str:
    """Everything, for programs; `facts` (folders, versions) come first."""
    return json.dumps({**facts, **table.to_dict()}, indent=1) + "\n"


def as_html(table: ScoreTable, facts: Mapping[str, Any], pictures: Mapping[str, bytes] | None = None) -> str:
    """Everything in one file for a person; `pictures` are the PNG bytes of cases by name."""
    parts = [f"<p class=remark>{html.escape(str(k))}: {html.escape(str(v))}</p>" for k, v in facts.items()]
    parts += ["<h2>Means over volumes</h2>", _table(summary_rows(table))]
    parts += [f"<p class=remark>{html.escape(remark)}</p>" for remark in table.remarks()]
    if rows := pair_rows(table):
        parts += ["<h2>Methods in pairs</h2>", _table(rows)]
    if table.faults:
        parts += ["<h2>Not scored</h2><ul>", *(f"<li class=fault>{html.escape(f)}</li>" for f in table.faults), "</ul>"]
    parts += ["<h2>Volumes</h2>", _table(case_rows(table))]
    for name, png in (pictures or {}).items():
        title, source = html.escape(name), base64.b64encode(png).decode()
        parts.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{source}">')
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Scores</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>Scores</h1>\n{body}\n</body></html>\n"
    )


def summary_rows(table: ScoreTable) -> list[dict[str, str]]:
    """A line per group, region and method: mean [interval] of each metric."""
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in table.summaries():
        line = lines.setdefault(
            (row.group, row.region, row.method),
            {"volumes": row.group, "n": str(row.summary.count), "region": row.region, "method": row.method},
        )
        if row.metric != "MSE":
            line[row.metric] = _interval(row.summary, DIGITS[row.metric])

    def order(line: dict[str, str]) -> tuple[bool, str, bool]:
        return line["volumes"] != "all", line["volumes"], line["region"] != "official"

    return sorted(lines.values(), key=order)


def pair_rows(table: ScoreTable) -> list[dict[str, str]]:
    """A line per metric and pair of methods: mean difference [interval], p."""
    return [
        {
            "region": row.region,
            "metric": row.metric,
            "first - second": f"{row.pair.first} - {row.pair.second}",
            "n": str(row.pair.difference.count),
            "difference": _interval(row.pair.difference, DIGITS[row.metric].replace(":", ":+")),
            "p": _number(row.pair.p, "{:.3g}"),
            "p adjusted": _number(row.pair.p_adjusted, "{:.3g}"),
        }
        for row in table.pairs()
    ]


def case_rows(table: ScoreTable) -> list[dict[str, str]]:
    """A line per volume and method, numbers as text."""
    rows = []
    for record in sorted(table.records(), key=lambda r: r["volume"]):
        row = {key: str(record[key]) for key in ("volume", "method", "acquisition", "acceleration", "slices")}
        for suffix in ("", " foreground"):
            row |= {m + suffix: _number(record[m + suffix], DIGITS[m]) for m in METRICS if m != "MSE"}
        rows.append({**row, "note": record["note"]})
    return rows


def case_picture(
    title: str, target: NDArray[Any], results: Mapping[str, NDArray[Any]], labels: Mapping[str, str] | None = None
) -> bytes:
    """The middle slice of the target and of each method, and the absolute errors below, as the bytes of a PNG.

    All images are shown from 0 to the volume's maximum, all errors from 0 to a fifth of it; slices as they are stored,
    for the files carry no orientation.

    Parameters
    ----------
    target, results : (slice, y, x); cropped to what is scored
    labels : a line below the name of each method, e.g. its PSNR and SSIM
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = scored_size(target.shape[1:])
    maximum = float(centre_crop(target, size).max())
    middle = len(target) // 2
    truth = centre_crop(target, size)[middle].astype(np.float64)
    slices = {name: centre_crop(data, size)[middle].astype(np.float64) for name, data in results.items()}
    shown = {"target": truth, **slices}
    panel = PANEL_INCHES
    tall = panel * size[0] / size[1]
    head, foot = 0.5, 0.3
    width, height = panel * len(shown), head + 2 * tall + foot
    figure = Figure(figsize=(width, height), dpi=120, facecolor="#121212")
    FigureCanvasAgg(figure)
    for column, (name, image) in enumerate(shown.items()):
        left = column * panel
        box = (left / width, (foot + tall) / height, panel / width, tall / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(image, cmap="gray", vmin=0.0, vmax=maximum)
        said = name if column == 0 else f"{name}\n{(labels or {}).get(name, '')}"
        place = (left + panel / 2) / width, (foot + 2 * tall + 0.05) / height
        figure.text(*place, said, color="#e8e8e8", fontsize=8, ha="center", va="bottom")
        if column:
            axes = figure.add_axes((left / width, foot / height, panel / width, tall / height))
            axes.set_axis_off()
            axes.imshow(np.abs(image - truth), cmap="inferno", vmin=0.0, vmax=SHOWN_ERROR * maximum)
    note = (
        f"{title}, slice {middle + 1} of {len(target)}, orientation not stated; images 0 to {maximum:.3g}, "
        f"errors below them 0 to {SHOWN_ERROR:g} of it"
    )
    figure.text(0.01, 0.1 / height, note, color="#9a9a9a", fontsize=6.5)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return stream.getvalue()


def case_labels(table: ScoreTable, volume: str) -> dict[str, str]:
    """The official PSNR and SSIM of a volume by method."""
    return {
        c.method: f"{_number(c.scores.official.psnr_db, '{:.2f}')} dB, SSIM {_number(c.scores.official.ssim, '{:.4f}')}"
        for c in table.cases
        if c.volume == volume
    }


def _interval(summary: Summary, digits: str) -> str:
    mean = _number(summary.mean, digits)
    if math.isnan(summary.low):
        return mean
    return f"{mean} [{_number(summary.low, digits)}, {_number(summary.high, digits)}]"


def _number(value: float, digits: str) -> str:
    return digits.format(value) if math.isfinite(value) else ("-" if math.isnan(value) else "inf")


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    return f"<table><tr>{head}</tr>{''.join(_line(row.values()) for row in rows)}</table>"


def _line(cells: Iterable[str]) -> str:
    shown = (f"<td{' class=n' if cell[:1].isdigit() else ''}>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr>{''.join(shown)}</tr>"
