"""A Volume or Scan to SEG-Y: recorded traces copied byte for byte, filled ones with headers of their neighbours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import SurveyGrid
from recon3d.io.segy import layout as words
from recon3d.io.segy.layout import Layout, read_words, write_word
from recon3d.io.segy.reader import Traces, read_traces
from recon3d.scan import Scan
from recon3d.volume import Volume

Records = NDArray[Any]
Ints = NDArray[np.int64]


def write(
    obj: Volume | Scan, path: Path, *, like: str | Path | None = None, read_as: dict[str, Any] | None = None
) -> None:
    """Write traces on a survey grid.

    Parameters
    ----------
    like : the SEG-Y file that was the source. Its text and binary headers, sample format and trace headers are kept;
        traces that still hold its values are copied byte for byte; others keep their header; traces in bins that it
        left empty get the header of the nearest trace of their line with numbers and coordinates of their own, and 1
        in bytes 233-236. Without it headers are made from the grid, with IEEE floats.
    read_as : options with which that file was read, such as inline and crossline
    """
    if not isinstance(obj.grid, SurveyGrid):
        raise InputError(f"SEG-Y holds traces on a SurveyGrid, not a {type(obj.grid).__name__}.")
    if np.iscomplexobj(obj.data):
        raise InputError("SEG-Y holds real traces, got complex ones: take a real part first.")
    crossline, inline, data = _traces(obj)
    if like is None:
        _write_new(Path(path), obj.grid, crossline, inline, data)
        return
    options = {name: value for name, value in (read_as or {}).items() if name not in ("format", "units")}
    source = read_traces(Path(like), **options)
    if (source.grid.shape, source.grid.inlines, source.grid.crosslines) != (
        obj.grid.shape, obj.grid.inlines, obj.grid.crosslines,
    ):  # fmt: skip
        raise InputError(f"{like} is of another survey ({source.grid.shape}) than what is written ({obj.grid.shape}).")
    _write_like(Path(path), source, crossline, inline, data)


def _traces(obj: Volume | Scan) -> tuple[Ints, Ints, NDArray[Any]]:
    """Crossline and inline bins and samples of all traces; of a volume in the order of inlines."""
    if isinstance(obj, Scan):
        bins = [np.asarray(obj.acquisition[name]).astype(np.int64) for name in ("crossline", "inline")]
        return bins[0], bins[1], np.asarray(obj.data)
    nx, ni, samples = obj.grid.shape
    inline, crossline = (axis.ravel() for axis in np.meshgrid(np.arange(ni), np.arange(nx), indexing="ij"))
    return crossline, inline, np.asarray(obj.data).transpose(1, 0, 2).reshape(-1, samples)


def _write_like(path: Path, source: Traces, crossline: Ints, inline: Ints, data: NDArray[Any]) -> None:
    layout, survey = source.layout, source.survey
    width = survey.shape[1]
    wanted = crossline * width + inline
    row = np.full(survey.shape[0] * width, -1)
    row[wanted] = np.arange(len(wanted))
    bins = survey.crossline * width + survey.inline  # of every trace of the source
    there = np.zeros(len(row), bool)
    there[bins] = True
    added = wanted[~there[wanted]]

    headers = layout.records()["header"]
    if len(added) == 0 and len(np.unique(bins[row[bins] >= 0])) == len(wanted):
        shutil.copyfile(layout.path, path)  # nothing is new: the same traces in the same order
        _encode(layout, path, np.arange(layout.traces), _changed(source, data, row[bins]))
        return
    filled = _new_headers(source, headers, added // width, added % width)
    keys = np.concatenate([bins, added])
    order = _sorted(survey.crossline, survey.inline, keys // width, keys % width)
    records = np.zeros(len(keys), layout.record)
    records["header"] = np.concatenate([np.asarray(headers), filled])
    records["data"][: layout.traces] = layout.records()["data"]
    changed = _changed(source, data, row[bins])
    changed.update({layout.traces + k: data[row[key]] for k, key in enumerate(added)})
    place = np.empty(len(keys), int)
    place[order] = np.arange(len(keys))
    revived = sorted(k for k in changed if k < layout.traces and source.dead[k])
    if revived:
        some = np.ascontiguousarray(records["header"][revived])
        _mark(some, layout.endian)
        records["header"][revived] = some
    with layout.path.open("rb") as file, path.open("wb") as out:
        head = bytearray(file.read(layout.start))
        _sign(head, len(added) + len(revived), len(keys))
        out.write(head)
        records[order].tofile(out)
    _encode(layout, path, place, changed)


def _changed(source: Traces, data: NDArray[Any], row: Ints) -> dict[int, NDArray[Any]]:
    """Samples of the traces of the source whose values are no longer those of the file, by their number."""
    place = np.full(source.layout.traces, -1)
    place[source.kept] = np.arange(len(source.kept))
    changed = {}
    for number in np.flatnonzero(row >= 0):
        now = data[row[number]]
        if place[number] < 0 and not source.dead[number]:
            continue  # another offset, or stacked
        if place[number] < 0 or not np.array_equal(now, source.data[place[number]]):
            changed[int(number)] = now
    return changed


def _new_headers(source: Traces, headers: Records, crossline: Ints, inline: Ints) -> NDArray[np.uint8]:
    """Headers of traces in empty bins: that of the nearest trace, of the same line where it has one."""
    survey, layout, grid = source.survey, source.layout, source.grid
    out = np.zeros((len(inline), words.HEADER_BYTES), np.uint8)
    if len(inline) == 0:
        return out
    for k, (x, i) in enumerate(zip(crossline, inline, strict=True)):
        far = np.abs(survey.crossline - x) + np.abs(survey.inline - i) * (1 + survey.shape[0])
        out[k] = headers[int(np.argmin(far))]
    for word in (words.LINE_SEQUENCE, words.FILE_SEQUENCE):
        if word not in (survey.line_words or ()):
            write_word(out, word, 0, layout.endian)
    if survey.line_words is not None:
        write_word(out, survey.line_words[0], grid.inlines[0] + grid.inlines[1] * inline, layout.endian)
        write_word(out, survey.line_words[1], grid.crosslines[0] + grid.crosslines[1] * crossline, layout.endian)
    if survey.xy_words is not None:
        scalar = read_words(layout, words.SCALAR)[words.SCALAR][0]
        factor = abs(scalar) if scalar < 0 else 1 / scalar if scalar > 0 else 1
        for axis, word in enumerate(survey.xy_words):
            value = grid.origin_m[axis] + inline * grid.inline_step_m[axis] + crossline * grid.crossline_step_m[axis]
            write_word(out, word, value * factor, layout.endian)
    _mark(out, layout.endian)
    return out


def _mark(headers: NDArray[np.uint8], endian: str) -> None:
    """A live trace that was filled."""
    write_word(headers, words.TRACE_ID, 1, endian)
    write_word(headers, words.MARK, 1, endian)


def _sorted(crossline: Ints, inline: Ints, all_crosslines: Ints, all_inlines: Ints) -> Ints:
    """Order of all traces by the axis that runs slowest in the source."""
    by_crossline = len(crossline) > 1 and int(np.sum(np.diff(crossline) != 0)) < int(np.sum(np.diff(inline) != 0))
    slow, fast = (all_crosslines, all_inlines) if by_crossline else (all_inlines, all_crosslines)
    return np.lexsort((np.arange(len(slow)), fast, slow))


def _sign(head: bytearray, filled: int, traces: int) -> None:
    """One line of history in the last line of the text header that is free, before that which ends it."""
    encoding = "cp037" if words.text_encoding(bytes(head[: words.TEXT_BYTES])) == "EBCDIC" else "latin-1"
    text = bytes(head[: words.TEXT_BYTES]).decode(encoding, errors="replace")
    for line in range(38, -1, -1):
        if not text[80 * line + 3 : 80 * line + 80].strip():
            note = f"C{line + 1:2d} recon3d: {filled} of {traces} traces filled, marked 1 in bytes 233-236"
            head[80 * line : 80 * line + 80] = note.ljust(80).encode(encoding)
            return


def _encode(layout: Layout, path: Path, place: Ints, samples: dict[int, NDArray[Any]]) -> None:
    """Write samples of traces, by their number, where `place` says they are, in the format of the file."""
    if not samples:
        return
    written = Layout(path, layout.endian, layout.format, layout.samples, layout.start, len(place))
    with written.open("r+") as file:
        for number, values in samples.items():
            file.trace[int(place[number])] = _as(values, file.dtype)


def _as(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Samples in the type of a file; whole numbers are rounded and kept in range."""
    if np.dtype(dtype).kind not in "iu":
        return np.ascontiguousarray(values, dtype=dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _write_new(path: Path, grid: SurveyGrid, crossline: Ints, inline: Ints, data: NDArray[Any]) -> None:
    """A file of IEEE floats (format 5, revision 1) with headers from the grid alone."""
    factor = 1e3 if grid.sample_unit == "s" else 1.0
    interval, delay = round(grid.sample_step * factor * 1000), round(grid.sample_start * factor)
    layout = Layout(path, "big", 5, grid.shape[2], words.TEXT_BYTES + words.BINARY_BYTES, len(data))
    records = np.zeros(len(data), layout.record)
    headers = np.zeros((len(data), words.HEADER_BYTES), np.uint8)
    number = np.arange(1, len(data) + 1)
    steps = np.array([grid.inline_step_m, grid.crossline_step_m])
    xy = np.asarray(grid.origin_m) + inline[:, None] * steps[0] + crossline[:, None] * steps[1]
    scalar = -100 if np.abs(xy).max() < 2e7 else 1
    values = {
        words.LINE_SEQUENCE: number, words.FILE_SEQUENCE: number, words.CDP: number, words.TRACE_ID: 1,
        words.SCALAR: scalar, words.DELAY: delay, words.SAMPLES: grid.shape[2], words.INTERVAL: interval,
        words.CDP_X: xy[:, 0] * abs(scalar), words.CDP_Y: xy[:, 1] * abs(scalar),
        words.INLINE: grid.inlines[0] + grid.inlines[1] * inline,
        words.CROSSLINE: grid.crosslines[0] + grid.crosslines[1] * crossline,
    }  # fmt: skip
    for word, value in values.items():
        write_word(headers, word, value, "big")
    records["header"] = headers
    records["data"] = np.ascontiguousarray(data, dtype=">f4").view(np.uint8).reshape(len(data), -1)
    binary = np.zeros(words.BINARY_BYTES, np.uint8)
    for offset, value in ((16, interval), (20, grid.shape[2]), (24, 5), (28, 4), (54, 1), (300, 0x0100), (302, 1)):
        binary[offset : offset + 2] = np.array([value], ">u2").view(np.uint8)
    unit = "time, ms" if grid.sample_unit == "s" else "depth, m (1 m as 1000 in the words of microseconds)"
    lines = [
        "SEG-Y by recon3d",
        f"Domain: {unit.split(',')[0]}; samples in {unit}",
        "Inline: bytes 189-192, crossline: bytes 193-196, CDP x, y: bytes 181-188",
    ]
    lines += [""] * (39 - len(lines))
    text = "".join(f"C{k:2d} {line}".ljust(80) for k, line in enumerate(lines, 1)) + "C40 END EBCDIC".ljust(80)
    with path.open("wb") as out:
        out.write(text.encode("cp037"))
        out.write(binary.tobytes())
        records.tofile(out)
