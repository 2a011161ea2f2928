"""Preview of a run: a small page that refreshes itself, with the middle slices as they are now and the progress."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.grid import AffineGrid, Grid
from recon3d.report.cards import trace_card
from recon3d.report.html import page
from recon3d.report.scene import planes_of
from recon3d.volume import Volume

REFRESH_S = 3


def preview_page(
    title: str,
    done: int,
    total: int,
    seconds: float,
    trace: Sequence[Mapping[str, Any]],
    image: NDArray[Any] | None,
    grid: Grid | None = None,
) -> str:
    """The page while the run goes on.

    Parameters
    ----------
    title : heading
    done, total : iterations
    seconds : since the run began
    trace : metrics of the iterations so far
    image : what the method works on, shape (..., z, y, x), real or complex, in its own units; None where it keeps none
    grid : where it lies; slices are then turned as in the report
    """
    share = done / max(total, 1)
    percent = f"{100 * share:.0f} %"
    facts = [f"iteration {done} of {total}", percent, f"{seconds:.0f} s so far", time.strftime("%H:%M:%S")]
    bar = (
        f'<svg class="progress" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="{percent}">'
        f'<rect width="{100 * share:.2f}" height="1"/></svg>'
    )
    slices = ""
    if image is not None:
        source = "data:image/png;base64," + base64.b64encode(middle_slices_png(image, grid)).decode()
        text = f"Middle slices after iteration {done}, from the lowest to the highest value"
        slices = f'<img class="slices" alt="{escape(text)}" src="{source}"><p class="note">{escape(text)}.</p>'
    shown = f'<section class="card wide"><h2>Now</h2>{bar}{slices}</section>{trace_card(trace, wide=True)}'
    return page(title, "preview", facts, sections=f'<div class="cards">{shown}</div>', refresh=str(REFRESH_S))


def finished_page(title: str, report: str) -> str:
    """The page after the run: it leads to the report, a file in the same folder."""
    link = f'<section class="card wide"><a href="{escape(report, quote=True)}">Open the report</a></section>'
    return page(title, "preview", ["finished"], sections=f'<div class="cards">{link}</div>', refresh=f"1; url={report}")


def middle_slices_png(image: NDArray[Any], grid: Grid | None = None) -> bytes:
    """The middle slices of three planes side by side, 8 bits, each at most 320 pixels a side.

    Frames and sets: the middle one is shown. Complex values are shown by magnitude. With the grid of the image its
    planes are turned and in proportion as in the report, else they lie as stored.
    """
    while image.ndim > 3:
        image = image[image.shape[0] // 2]
    if not isinstance(grid, AffineGrid) or image.shape != grid.shape:
        grid = AffineGrid.patient(image.shape, 1.0)
    turned = planes_of(Volume(image, grid))
    mm = max(min(grid.voxel_mm), max(max(plane["width"], plane["height"]) for plane in turned) / 320)
    planes = [turned_slice(image, plane, mm) for plane in turned]
    low, high = (float(v) for v in np.percentile(np.concatenate([p.ravel() for p in planes]), (1, 99.5)))
    height = max(p.shape[0] for p in planes)
    canvas = np.zeros((height, sum(p.shape[1] for p in planes) + 8), np.uint8)
    left = 0
    for plane in planes:
        top = (height - plane.shape[0]) // 2
        scaled = np.clip((plane - low) / ((high - low) or 1.0), 0, 1) * 255
        canvas[top : top + plane.shape[0], left : left + plane.shape[1]] = scaled.astype(np.uint8)
        left += plane.shape[1] + 4
    return _png(canvas)


def turned_slice(image: NDArray[Any], plane: Mapping[str, Any], mm: float) -> NDArray[np.float32]:
    """The middle slice of a plane as it lies in the report, by the nearest voxels, in square pixels of `mm`."""
    flat = np.take(image, image.shape[plane["axis"]] // 2, plane["axis"])
    flat = np.nan_to_num(np.abs(flat) if np.iscomplexobj(flat) else flat).astype(np.float32)
    flat = flat if plane["rows"] < plane["columns"] else flat.T
    flat = flat[:: -1 if plane["flip_rows"] else 1, :: -1 if plane["flip_columns"] else 1]
    counts = [max(1, round(plane[side] / mm)) for side in ("height", "width")]
    rows, columns = (np.arange(new) * old // new for old, new in zip(flat.shape, counts, strict=True))
    return flat[np.ix_(rows, columns)]


def _png(grey: NDArray[np.uint8]) -> bytes:
    """An 8-bit grey PNG (ISO/IEC 15948): signature, header, one deflated block of rows without filter, end."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = np.pad(grey, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 4)) + chunk(b"IEND", b"")
