"""How an image was acquired: an animation of belief and mask, as one animated PNG, and the order as a table."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 256
"""Pixels of each of the two panels, at least."""
FRAME_S, LAST_S = 0.16, 3.0
EMPTY, EARLIER, NEW = 24, 130, 255
"""Grey of units not measured, measured, and measured just now."""


def acquisition_card(acquisition: Mapping[str, Any], history: NDArray[np.float32] | None) -> str:
    """The body of the report's card: animation (it plays once), sentence, and units by step."""
    order, shape = acquisition["order"], acquisition["shape"]
    slices = sorted({row[1] for row in order if row[1] is not None})
    chosen = [row for row in order if not slices or row[1] == slices[len(slices) // 2]]
    total, before = int(np.prod(shape)), sum(row[0] < 0 for row in chosen)
    axes = " x ".join(acquisition["axes"])
    where = f" of slice {slices[len(slices) // 2]}" if slices else ""
    said = f"{len(chosen)} of {total} units ({axes}){where} were measured, {before} before the first step."
    body = f"<p>{escape(said)}</p>"
    if history is not None and len(history):
        data = base64.b64encode(animated_png(frames_of(history, chosen, shape))).decode()
        words = "Animation: the image believed in after each step, and the units measured so far."
        body += f'<p><img src="data:image/png;base64,{data}" alt="{escape(words)}"></p>'
        body += f'<p class="note">{escape(words)} It plays once; load the page again to see it again.</p>'
    steps: dict[int, list[str]] = {}
    for step, _, unit in chosen:
        steps.setdefault(step, []).append(str(unit))
    rows = "".join(
        f'<tr><th scope="row">{"before" if step < 0 else step + 1}</th><td>{escape(", ".join(units))}</td></tr>'
        for step, units in sorted(steps.items())
    )
    head = '<thead><tr><th scope="col">Step</th><th scope="col">Units measured</th></tr></thead>'
    table = f'<div class="scroll"><table class="plain">{head}<tbody>{rows}</tbody></table></div>'
    return body + f"<details><summary>Order of acquisition</summary>{table}</details>"


def frames_of(
    history: NDArray[np.float32], order: Sequence[Sequence[Any]], shape: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """Belief beside mask after each step, (y, x) bytes; all frames share one window."""
    top = float(np.percentile(history[-1], 99.7)) or 1.0
    rows, columns = history.shape[1:]
    scale = max(1, SIDE // rows)
    frames = []
    for step, image in enumerate(history):
        belief = np.clip(image / top * 255, 0, 255).astype(np.uint8)
        units = np.full(int(np.prod(shape)), EMPTY, np.uint8)
        for at, _, unit in order:
            if at <= step:
                units[unit] = NEW if at == step else EARLIER
        mask = units.reshape(shape) if len(shape) == 2 else np.broadcast_to(units, (rows, len(units)))
        panels = [np.kron(belief, np.ones((scale, scale), np.uint8)), _nearest(mask, (rows * scale, columns * scale))]
        frames.append(np.concatenate([panels[0], np.zeros((rows * scale, 8), np.uint8), panels[1]], axis=1))
    return frames


def _nearest(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    at = [(np.arange(n) * m) // n for n, m in zip(shape, image.shape, strict=True)]
    return image[np.ix_(*at)]


def animated_png(frames: Sequence[NDArray[np.uint8]]) -> bytes:
    """Grey frames (y, x) of one size as an animated PNG that plays once and rests on the last frame (W3C PNG, 2025)."""
    height, width = frames[0].shape
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    parts.append(_chunk(b"acTL", struct.pack(">II", len(frames), 1)))
    sequence = 0
    for k, frame in enumerate(frames):
        delay = LAST_S if k == len(frames) - 1 else FRAME_S
        control = struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, round(1000 * delay), 1000, 0, 0)
        parts.append(_chunk(b"fcTL", control))
        sequence += 1
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in frame), 9)
        if k == 0:
            parts.append(_chunk(b"IDAT", data))
        else:
            parts.append(_chunk(b"fdAT", struct.pack(">I", sequence) + data))
            sequence += 1
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
