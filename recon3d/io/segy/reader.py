"""SEG-Y to a Volume where every bin has a live trace, else to a Scan of the traces that are live."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import SurveyGrid
from recon3d.io.segy import layout as words
from recon3d.io.segy.layout import FORMATS, Layout, read_layout, read_text, read_words
from recon3d.io.segy.survey import Survey, find_survey
from recon3d.scan import Scan
from recon3d.volume import Volume

Duplicates = Literal["refuse", "first", "mean"]
QUIET = 1e-6
"""A trace is dead below this share of the median root mean square of the live ones; weaker than any recording."""
WIDTH, HEIGHT = 64, 24
"""Characters of a fold map."""


@dataclass(frozen=True)
class Traces:
    """What a file holds: its samples and where they lie.

    Parameters
    ----------
    data : (trace, sample) of the traces in use, in the order of the file
    kept : their numbers in the file
    dead : of all traces of the file
    """

    layout: Layout
    survey: Survey
    grid: SurveyGrid
    data: NDArray[Any]
    kept: NDArray[np.int64]
    dead: NDArray[np.bool_]
    told: list[str]


def read(
    path: Path,
    *,
    inline: int | None = None,
    crossline: int | None = None,
    offset: int | None = None,
    duplicates: Duplicates = "refuse",
    bin_m: tuple[float, float] | None = None,
    azimuth_deg: float | None = None,
    unit: Literal["auto", "s", "m"] = "auto",
    interval_ms: float | None = None,
    units: str = "1",
) -> Volume | Scan:
    """A SEG-Y file of one survey.

    Parameters
    ----------
    inline, crossline : first bytes of the header words that number the lines; found out by default
    offset : of several traces a bin, those with this value in bytes 37-40
    duplicates : what to do with several traces in a bin: refuse, keep the first, or stack them
    bin_m, azimuth_deg : bin from coordinates: distance of neighbours along a line and of lines in metres, direction of
        lines clockwise from north
    unit : of the samples; a file states it at most in its text header
    interval_ms : sample interval where the file states none; in metres for samples in depth
    units : of the amplitudes
    """
    traces = read_traces(Path(path), inline, crossline, offset, duplicates, bin_m, azimuth_deg, unit, interval_ms)
    survey, kept = traces.survey, traces.kept
    x, i = survey.crossline[kept], survey.inline[kept]
    name = Path(path).stem
    if len(kept) == survey.shape[0] * survey.shape[1]:
        cube = np.empty(traces.grid.shape, traces.data.dtype)
        cube[x, i] = traces.data
        return Volume(cube, traces.grid, units=units, tags={"modality": "seismic", "format": "SEG-Y", "name": name})
    acquisition: dict[str, Any] = {"crossline": x.astype(np.int32), "inline": i.astype(np.int32)}
    acquisition["assumed"] = "\n".join(traces.told)
    return Scan("seismic", traces.data, ("trace", "sample"), acquisition, traces.grid, units=units, name=name)


def read_traces(
    path: Path,
    inline: int | None = None,
    crossline: int | None = None,
    offset: int | None = None,
    duplicates: Duplicates = "refuse",
    bin_m: tuple[float, float] | None = None,
    azimuth_deg: float | None = None,
    unit: Literal["auto", "s", "m"] = "auto",
    interval_ms: float | None = None,
) -> Traces:
    """The live traces of a file with their bins; parameters as for `read`."""
    layout = read_layout(path)
    survey = find_survey(layout, inline, crossline, bin_m, azimuth_deg)
    found = read_words(layout, words.TRACE_ID, words.OFFSET)
    with layout.open() as file:
        data = np.asarray(file.trace.raw[:])
    if data.dtype == np.int16 or data.dtype.itemsize == 1:
        data = data.astype(np.float32)
    elif data.dtype.kind in "iu":
        data = data.astype(np.float64)
    dead = dead_traces(data, found[words.TRACE_ID])
    if dead.all():
        why = "zero, constant or marked so"
        raise InputError(f"All {layout.traces} traces of {path} are dead ({why}): there is nothing to fill from.")
    chosen = ~dead
    if offset is not None:
        chosen &= found[words.OFFSET] == offset
        if not chosen.any():
            known = ", ".join(map(str, np.unique(found[words.OFFSET])[:8]))
            raise InputError(f"{path} has no live trace of offset {offset}: its offsets are {known}.")
    kept = np.flatnonzero(chosen)
    data, kept = _single(path, survey, data, kept, found[words.OFFSET], duplicates)
    grid, told = _grid(layout, survey, unit, interval_ms)
    count = int(dead.sum())
    if count:
        told.append(f"{count} of {layout.traces} traces: dead (marked so, zero, constant or not finite)")
    return Traces(layout, survey, grid, data, kept, dead, [*survey.told, *told])


def dead_traces(data: NDArray[Any], identification: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which traces hold no signal: marked dead or dummy, not finite, constant, or fainter than any recording."""
    wide = data.astype(np.float64)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(wide).all(axis=1))
    rms = np.sqrt(np.mean(np.where(finite[:, None], wide, 0.0) ** 2, axis=1))
    dead = np.isin(identification, (2, 3)) | ~finite | (rms == 0)
    if data.shape[1] > 1:
        dead |= np.ptp(np.where(finite[:, None], wide, 0.0), axis=1) == 0
    if not dead.all():
        dead |= rms < QUIET * np.median(rms[~dead])
    return np.asarray(dead)


def _single(
    path: Path, survey: Survey, data: NDArray[Any], kept: NDArray[np.int64], offsets: NDArray[np.int64], how: Duplicates
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """At most one trace a bin: samples (trace, sample) and numbers in the file."""
    bins = survey.crossline[kept] * survey.shape[1] + survey.inline[kept]
    _, first, inverse, counts = np.unique(bins, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == len(kept):
        return data[kept], kept
    if how == "refuse":
        several = f"{int((counts > 1).sum())} bins hold more than one trace, up to {int(counts.max())}"
        if len(np.unique(offsets[kept])) > 1:
            near = ", ".join(map(str, np.unique(offsets[kept])[:4]))
            raise InputError(
                f"{path}: {several}, of {len(np.unique(offsets[kept]))} offsets: choose one by offset= ({near} ...), "
                "or duplicates=mean to stack them."
            )
        raise InputError(f"{path}: {several}: give duplicates=first or =mean, or other inline= and crossline=.")
    order = np.sort(first)
    if how == "first":
        return data[kept[order]], kept[order]
    sums = np.zeros((len(first), data.shape[1]))
    np.add.at(sums, inverse, data[kept])
    means = (sums / counts[:, None]).astype(data.dtype)
    return means[np.argsort(first)], kept[order]


def _grid(
    layout: Layout, survey: Survey, unit: Literal["auto", "s", "m"], interval_ms: float | None
) -> tuple[SurveyGrid, list[str]]:
    """The grid, and what was assumed of the samples. Depth is kept in the words of time: 1000 microseconds are 1 m."""
    told = []
    text, _ = read_text(layout)
    if unit == "auto":
        deep = re.search(r"\bdepth\s+min|domain\s*[:=]?\s*depth", text, re.IGNORECASE) is not None
        unit = "m" if deep else "s"
        why = "the text header says so" if deep else "the file does not say; give unit=m for depth"
        told.append(f"samples in {'depth' if deep else 'time'}: {why}")
    found = read_words(layout, words.INTERVAL, words.DELAY)
    with layout.open() as file:
        interval = int(found[words.INTERVAL][0]) or int(file.bin[words.TEXT_BYTES + 17])
    if interval_ms is None and interval <= 0:
        raise InputError(f"{layout.path} states no sample interval: give interval_ms.")
    step = interval / 1000 if interval_ms is None else interval_ms
    delays = np.unique(found[words.DELAY])
    if len(delays) > 1:
        raise InputError(
            f"{layout.path} has traces that start at {delays[0]} to {delays[-1]} ms: shift them to one start first."
        )
    factor = 1.0 if unit == "m" else 1e-3
    grid = SurveyGrid(
        (*survey.shape, layout.samples),
        survey.inlines,
        survey.crosslines,
        survey.origin_m,
        survey.inline_step_m,
        survey.crossline_step_m,
        sample_start=float(delays[0]) * factor,
        sample_step=step * factor,
        sample_unit=unit,
    )
    return grid, told


def facts(path: Path, **options: Any) -> dict[str, Any]:
    """What `inspect` shows of a file beside its volume or scan: format, survey, and a map of its fold."""
    options = {name: value for name, value in options.items() if name not in ("format", "units")}
    traces = read_traces(Path(path), **{"duplicates": "first", **options})
    layout, survey, grid = traces.layout, traces.survey, traces.grid
    fold = np.zeros(survey.shape, np.int64)
    live = ~traces.dead
    np.add.at(fold, (survey.crossline[live], survey.inline[live]), 1)
    spacing = [float(np.hypot(*step)) for step in (grid.inline_step_m, grid.crossline_step_m)]
    azimuth = float(np.degrees(np.arctan2(*grid.crossline_step_m))) % 360
    where = "coordinates" if survey.line_words is None else "bytes {} and {}".format(*survey.line_words)
    return {
        "segy": {
            "samples": f"{FORMATS[layout.format][0]}, {layout.endian}-endian, {read_text(layout)[1]} text header",
            "traces": f"{layout.traces}, {int(traces.dead.sum())} dead",
            "lines from": where,
            "inlines": _range(grid.inlines, survey.shape[1]),
            "crosslines": _range(grid.crosslines, survey.shape[0]),
            "spacing m (inlines, crosslines)": [round(value, 3) for value in spacing],
            "inlines run to (degrees from north)": round(azimuth, 2),
            "traces off their bins m": round(survey.off_m, 3),
            "bins": f"{fold.size}, {int((fold == 0).sum())} without a live trace, fold up to {int(fold.max())}",
        },
        "fold map (inlines down, crosslines to the right)": fold_map(fold),
    }


def fold_map(fold: NDArray[np.int64]) -> list[str]:
    """A fold (crossline, inline) as lines of text: digits, + above nine, a dot where a bin is empty.

    Where bins are joined to fit, a character shows the smallest fold among them, so that no gap is hidden.
    """
    lines = fold.T
    rows, columns = (-(-n // most) for n, most in zip(lines.shape, (HEIGHT, WIDTH), strict=True))
    text = []
    for row in range(0, lines.shape[0], rows):
        cells = [int(lines[row : row + rows, c : c + columns].min()) for c in range(0, lines.shape[1], columns)]
        text.append("".join("." if n == 0 else str(n) if n < 10 else "+" for n in cells))
    return text


def _range(numbers: tuple[int, int], count: int) -> str:
    first, step = numbers
    return f"{first} to {first + step * (count - 1)}" + (f" in steps of {step}" if step != 1 else "") + f" ({count})"
