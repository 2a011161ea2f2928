"""Line charts as SVG: one per quantity of a trace, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 22


def convergence(trace: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(name, last value, SVG) for each quantity with two values or more; where iterations restart, so does a curve."""
    names = dict.fromkeys(name for row in trace for name in row if name != "iteration")
    charts = []
    for name in names:
        runs: list[list[tuple[float, float]]] = [[]]
        before = -math.inf
        for index, row in enumerate(trace):
            at, value = _number(row.get("iteration", index + 1)), _number(row.get(name))
            if at is None or value is None:
                continue
            if at <= before and runs[-1]:
                runs.append([])
            runs[-1].append((at, value))
            before = at
        if sum(map(len, runs)) > 1:
            charts.append((str(name), short(runs[-1][-1][1]), line_chart(str(name), runs)))
    return charts


def line_chart(name: str, curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Curves of (iteration, value) in one chart; logarithmic where positive values span a decade."""
    xs = [x for curve in curves for x, _ in curve]
    ys = [y for curve in curves for _, y in curve]
    x0, x1 = min(xs), max(max(xs), min(xs) + 1)
    logarithmic = min(ys) > 0 and max(ys) >= 10 * min(ys)

    def rise(value: float) -> float:
        return math.log10(value) if logarithmic else value

    ticks = _decades(min(ys), max(ys)) if logarithmic else _round_steps(min(ys), max(ys))
    low, high = min(*map(rise, ys), *map(rise, ticks)), max(*map(rise, ys), *map(rise, ticks))
    high = high if high > low else low + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (rise(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in ticks:
        _, y = place(x0, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for x, anchor in ((x0, "start"), (x1, "end")):
        parts.append(f'<text x="{place(x, ys[0])[0]:.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{short(x)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">iteration</text>')
    for curve in curves:
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(x, y) for x, y in _thinned(curve)))
        parts.append(f'<polyline class="curve" points="{points}"/>')
    end_x, end_y = place(*curves[-1][-1])
    parts.append(f'<circle class="dot" cx="{end_x:.1f}" cy="{end_y:.1f}" r="3"/>')
    scale = ", logarithmic scale" if logarithmic else ""
    spoken = f"{name} over {short(x1)} iterations: from {short(ys[0])} to {short(ys[-1])}{scale}"
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken)}">'
    return head + "".join(parts) + "</svg>"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _thinned(curve: Sequence[tuple[float, float]], most: int = 400) -> Sequence[tuple[float, float]]:
    step = math.ceil(len(curve) / most)
    return [*curve[:-1:step], curve[-1]]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, math.ceil((last - first) / 4))
    return [10.0**k for k in range(first, last + step, step)]


def _round_steps(low: float, high: float) -> list[float]:
    if low == high:
        return [low]
    decade = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(s * decade for s in (1, 2, 5, 10) if (high - low) / (s * decade) <= 4)
    return [k * step for k in range(math.floor(low / step), math.ceil(high / step) + 1)]


def short(value: float) -> str:
    """Three digits, with a true minus sign."""
    text = f"{value:.3g}"
    if "e" in text:
        mantissa, power = text.split("e")
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", "\N{MINUS SIGN}")
