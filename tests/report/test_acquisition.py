"""The acquisition card: frames show belief and mask, the animation is a PNG that unpacks to them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from recon3d.report.acquisition import EARLIER, EMPTY, NEW, acquisition_card, animated_png, frames_of

HISTORY = np.stack([np.full((8, 6), value, np.float32) for value in (0.2, 0.6, 1.0)])
TOLD = {"axes": ["kx"], "shape": [6], "budget": 3, "order": [[-1, None, 2], [0, None, 4], [2, None, 1]]}


def test_frames_mark_what_is_new() -> None:
    frames = frames_of(HISTORY, TOLD["order"], TOLD["shape"])
    scale = 256 // 8
    assert [frame.shape for frame in frames] == [(256, 2 * 6 * scale + 8)] * 3
    masks = [frame[0, 6 * scale + 8 :: scale].tolist() for frame in frames]
    assert masks[0] == [EMPTY, EMPTY, EARLIER, EMPTY, NEW, EMPTY]
    assert masks[2] == [EMPTY, NEW, EARLIER, EMPTY, EARLIER, EMPTY]
    assert frames[0][0, 0] == 51
    assert frames[2][0, 0] == 255


def test_points_are_shown_where_they_lie() -> None:
    (frame,) = frames_of(HISTORY[-1:], [[0, None, 7]], [4, 3])
    mask = frame[:, 6 * 32 + 8 :]
    assert np.argwhere(mask == NEW).min(axis=0).tolist() == [128, 64]


def test_the_animation_holds_every_frame_and_plays_once() -> None:
    frames = [np.full((3, 5), k, np.uint8) for k in range(3)]
    data = animated_png(frames)
    chunks, at = [], 8
    while at < len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + size
    kinds = [b"IHDR", b"acTL", b"fcTL", b"IDAT", b"fcTL", b"fdAT", b"fcTL", b"fdAT", b"IEND"]
    assert [kind for kind, _ in chunks] == kinds
    assert chunks[1][1] == struct.pack(">II", 3, 1)
    images = [body if kind == b"IDAT" else body[4:] for kind, body in chunks if kind in (b"IDAT", b"fdAT")]
    assert [zlib.decompress(image) for image in images] == [(b"\0" + bytes([k] * 5)) * 3 for k in range(3)]
    assert [body[:4] for kind, body in chunks if kind == b"fcTL"] == [struct.pack(">I", n) for n in (0, 1, 3)]


@pytest.mark.parametrize("history", [HISTORY, None])
def test_the_card_tells_the_order(history: np.ndarray | None) -> None:
    card = acquisition_card(TOLD, history)
    assert "3 of 6 units (kx) were measured, 1 before the first step." in card
    assert '<th scope="row">3</th><td>1</td>' in card
    assert ("data:image/png" in card) == (history is not None)


def test_slices_of_their_own_are_shown_for_one() -> None:
    told = {**TOLD, "order": [[-1, 0, 2], [-1, 1, 3], [0, 1, 5]]}
    assert "2 of 6 units (kx) of slice 1 were measured" in acquisition_card(told, None)
