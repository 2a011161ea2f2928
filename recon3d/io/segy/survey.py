"""The survey of a SEG-Y file: which bin each trace lies in, from line numbers or from coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.segy import layout as words
from recon3d.io.segy.layout import Layout, read_words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CANDIDATES = (
    (words.INLINE, words.CROSSLINE),
    (words.FIELD_RECORD, words.CDP),
    (words.FILE_SEQUENCE, words.CDP),
    (words.FIELD_RECORD, words.TRACE_NUMBER),
    (words.FIELD_RECORD, words.OFFSET),
)
"""Pairs of header words that number lines and traces across them, tried in this order."""


@dataclass(frozen=True)
class Survey:
    """Bins of traces on a rotated lattice.

    Parameters
    ----------
    inline, crossline : bin of each trace, counted from 0
    inlines, crosslines : first number and step
    shape : (crossline, inline)
    origin_m : map position of bin (0, 0)
    inline_step_m, crossline_step_m : from one bin to the next
    told : what was found out and what was assumed, as sentences
    line_words : the header words of the two numbers, or None where the bins come from coordinates
    xy_words : the header words of the coordinates, or None
    off_m : how far the traces lie from the centres of their bins, root mean square
    """

    inline: Ints
    crossline: Ints
    inlines: tuple[int, int]
    crosslines: tuple[int, int]
    shape: tuple[int, int]
    origin_m: tuple[float, float]
    inline_step_m: tuple[float, float]
    crossline_step_m: tuple[float, float]
    line_words: tuple[int, int] | None
    xy_words: tuple[int, int] | None
    off_m: float
    told: list[str] = field(default_factory=list)

    def fold(self) -> Ints:
        """Traces in each bin, (crossline, inline)."""
        fold = np.zeros(self.shape, np.int64)
        np.add.at(fold, (self.crossline, self.inline), 1)
        return fold


def find_survey(
    layout: Layout,
    inline: int | None = None,
    crossline: int | None = None,
    bin_m: tuple[float, float] | None = None,
    azimuth_deg: float | None = None,
) -> Survey:
    """The survey of a file.

    Parameters
    ----------
    inline, crossline : first bytes of the header words with the line numbers; the first of `CANDIDATES` that gives
        every trace a bin of its own by default, or that which fills most of its bins where several do
    bin_m, azimuth_deg : bins from coordinates instead: distance of neighbours along a line and of lines, and the
        direction of lines, clockwise from north
    """
    xy_words, xy = _coordinates(layout)
    if bin_m is not None or azimuth_deg is not None:
        if xy is None or bin_m is None or azimuth_deg is None:
            raise InputError(f"{layout.path}: bins from coordinates need coordinates, bin_m and azimuth_deg.")
        return _binned(xy, xy_words, bin_m, azimuth_deg)
    if (inline is None) != (crossline is None):
        raise InputError(f"{layout.path}: give both inline and crossline, the first bytes of their header words.")
    pair = _line_words(layout) if inline is None or crossline is None else (inline, crossline)
    if pair is not None:
        found = read_words(layout, *pair)
        return _numbered(found[pair[0]], found[pair[1]], pair, xy, xy_words)
    if xy is not None and len(np.unique(xy, axis=0)) == layout.traces:
        step, azimuth, told = _lattice(xy)
        survey = _binned(xy, xy_words, step, azimuth)
        survey.told.append(told)
        return survey
    count = np.arange(layout.traces)
    survey = _numbered(np.ones_like(count), count + 1, None, None, None)
    survey.told.append("line and trace numbers: none in the headers, so all traces are one line in their order")
    return survey


def _line_words(layout: Layout) -> tuple[int, int] | None:
    """The pair whose numbers differ for all traces and fill most of their bins; else 189/193 where these vary."""
    best, filled = None, 0.0
    for pair in CANDIDATES:
        found = read_words(layout, *pair)
        numbers = np.stack([found[word] for word in pair], axis=1)
        if len(np.unique(numbers, axis=0)) < layout.traces or layout.traces < 2:
            continue
        bins = math.prod(len(np.unique(numbers[:, k])) for k in (0, 1))
        if layout.traces / bins > filled + 1e-9:
            best, filled = pair, layout.traces / bins
        if pair == CANDIDATES[0]:
            break  # what the standard says is right wherever it is unique
    if best is None:
        found = read_words(layout, *CANDIDATES[0])
        if any(np.ptp(found[word]) > 0 for word in CANDIDATES[0]):
            return CANDIDATES[0]  # several traces a bin: offsets, or duplicates
    return best


def _coordinates(layout: Layout) -> tuple[tuple[int, int] | None, Floats | None]:
    """Map positions in metres (trace, 2): CDP, else midpoint, else source; None where all are equal."""
    scalar = read_words(layout, words.SCALAR)[words.SCALAR].astype(float)
    factor = np.where(scalar < 0, 1 / np.abs(np.where(scalar == 0, 1, scalar)), np.where(scalar == 0, 1, scalar))
    found = read_words(layout, words.CDP_X, words.CDP_Y, words.SOURCE_X, words.SOURCE_Y, words.GROUP_X, words.GROUP_Y)
    source = np.stack([found[words.SOURCE_X], found[words.SOURCE_Y]], 1)
    group = np.stack([found[words.GROUP_X], found[words.GROUP_Y]], 1)
    choices: list[tuple[tuple[int, int] | None, NDArray[np.number]]] = [
        ((words.CDP_X, words.CDP_Y), np.stack([found[words.CDP_X], found[words.CDP_Y]], 1)),
        (None, (source + group) / 2 if group.any() else np.zeros_like(source)),
        ((words.SOURCE_X, words.SOURCE_Y), source),
    ]
    for pair, xy in choices:
        if np.ptp(xy, axis=0).any():
            return pair, np.asarray(xy, dtype=float) * factor[:, None]
    return None, None


def _numbered(
    inline: Ints, crossline: Ints, pair: tuple[int, int] | None, xy: Floats | None, xy_words: tuple[int, int] | None
) -> Survey:
    """Bins from line numbers; the lattice of their positions by least squares."""
    axes = []
    for numbers in (inline, crossline):
        values = np.unique(numbers)
        step = int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 1
        axes.append((int(values[0]), step, int((values[-1] - values[0]) // step) + 1))
    (i0, istep, ni), (x0, xstep, nx) = axes
    i, x = (inline - i0) // istep, (crossline - x0) // xstep
    told = []
    if xy is None:
        told.append("map positions: none in the headers, so bins of 1 m along the axes stand for them")
        origin, steps, off = np.zeros(2), np.array([[0.0, 1.0], [1.0, 0.0]]), 0.0
    else:
        design = np.stack([np.ones(len(i)), i, x], 1)
        fit, *_ = np.linalg.lstsq(design, xy, rcond=None)
        origin, steps = fit[0], fit[1:]
        off = float(np.sqrt(np.mean(np.sum((design @ fit - xy) ** 2, axis=1))))
    return Survey(
        i, x, (i0, istep), (x0, xstep), (nx, ni), _pair(origin), _pair(steps[0]), _pair(steps[1]),
        pair, xy_words, off, told,
    )  # fmt: skip


def _binned(xy: Floats, xy_words: tuple[int, int] | None, bin_m: tuple[float, float], azimuth_deg: float) -> Survey:
    """Bins of a given size and direction over all traces; each trace in the nearest."""
    azimuth = math.radians(azimuth_deg)
    along = np.array([math.sin(azimuth), math.cos(azimuth)])
    across = np.array([along[1], -along[0]])
    place = np.stack([xy @ along / bin_m[0], xy @ across / bin_m[1]], 1)
    first = place.min(axis=0)
    index = np.rint(place - first).astype(np.int64)
    nx, ni = (int(n) + 1 for n in index.max(axis=0))
    off = (place - first - index) * np.asarray(bin_m)
    origin = first[0] * bin_m[0] * along + first[1] * bin_m[1] * across
    return Survey(
        index[:, 1], index[:, 0], (1, 1), (1, 1), (nx, ni), _pair(origin),
        _pair(across * bin_m[1]), _pair(along * bin_m[0]), None, xy_words,
        float(np.sqrt(np.mean(np.sum(off**2, axis=1)))),
        [f"bins: {bin_m[0]:g} x {bin_m[1]:g} m from coordinates, lines at {azimuth_deg:g} degrees from north"],
    )  # fmt: skip


def _lattice(xy: Floats) -> tuple[tuple[float, float], float, str]:
    """Bin sizes and direction of lines from the steps between nearest neighbours."""
    from scipy.spatial import cKDTree

    centred = xy - xy.mean(axis=0)
    _, nearest = cKDTree(centred).query(centred, k=min(9, len(centred)))
    steps = (centred[nearest[:, 1:]] - centred[:, None]).reshape(-1, 2)
    length = np.hypot(*steps.T)
    shortest = float(np.median(np.hypot(*(centred[nearest[:, 1]] - centred).T)))
    near = steps[length < 1.2 * shortest]
    doubled = np.angle(np.mean(np.exp(2j * np.arctan2(near[:, 0], near[:, 1]))))  # a line has no sign
    azimuth = math.degrees(doubled / 2) % 180
    along = np.array([math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))])
    aside = np.abs(steps @ np.array([along[1], -along[0]]))
    aside = aside[aside > 0.5 * shortest]
    spacing = float(np.median(aside[aside < 1.3 * aside.min()])) if aside.size else shortest
    told = (
        f"bins: {shortest:.4g} x {spacing:.4g} m and their direction found from the coordinates, no words number lines"
    )
    return (shortest, spacing), azimuth, told


def _pair(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])
