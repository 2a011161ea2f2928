"""Where the bytes of a SEG-Y file lie: endianness, sample format, headers and traces; checked before it is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, MissingPackageError

TEXT_BYTES, BINARY_BYTES, HEADER_BYTES = 3200, 400, 240
FORMATS = {
    1: ("4-byte IBM float", 4, "float32"),
    2: ("4-byte integer", 4, "int32"),
    3: ("2-byte integer", 2, "int16"),
    5: ("4-byte IEEE float", 4, "float32"),
    6: ("8-byte IEEE float", 8, "float64"),
    8: ("1-byte integer", 1, "int8"),
    10: ("4-byte unsigned integer", 4, "uint32"),
    11: ("2-byte unsigned integer", 2, "uint16"),
    16: ("1-byte unsigned integer", 1, "uint8"),
}
"""Sample formats by their code: name, bytes, and the type they are read as."""

# Words of a trace header by their first byte, counted from 1 as the standard does.
LINE_SEQUENCE, FILE_SEQUENCE, FIELD_RECORD, TRACE_NUMBER, CDP, TRACE_ID, OFFSET = 1, 5, 9, 13, 21, 29, 37
SCALAR, SOURCE_X, SOURCE_Y, GROUP_X, GROUP_Y = 71, 73, 77, 81, 85
DELAY, SAMPLES, INTERVAL, CDP_X, CDP_Y, INLINE, CROSSLINE = 109, 115, 117, 181, 185, 189, 193
MARK = 233
"""Unassigned by the standard; 1 in traces that recon3d filled."""
SHORT_WORDS = frozenset({29, 31, 33, 35, 69, 71, *range(89, 181, 2), 197, 201, 203, 209, 211, 213, 215, 217})


@dataclass(frozen=True)
class Layout:
    """What is needed to find every trace.

    Parameters
    ----------
    endian : "big" or "little"
    format : a key of `FORMATS`
    samples : per trace
    start : byte of the first trace
    traces : how many there are
    """

    path: Path
    endian: str
    format: int
    samples: int
    start: int
    traces: int

    @property
    def record(self) -> np.dtype[Any]:
        """One trace: its header and its samples, as bytes."""
        size = FORMATS[self.format][1] * self.samples
        return np.dtype([("header", np.uint8, HEADER_BYTES), ("data", np.uint8, size)])

    def records(self) -> NDArray[Any]:
        """All traces, mapped from the file."""
        return np.memmap(self.path, self.record, mode="r", offset=self.start, shape=(self.traces,))

    def open(self, mode: str = "r") -> Any:
        """The file in segyio, without a geometry."""
        return require_segyio().open(str(self.path), mode, ignore_geometry=True, endian=self.endian)


def read_layout(path: Path) -> Layout:
    """The layout of a file.

    Raises
    ------
    InputError
        With one sentence: too short, an unknown format code, no samples, or cut inside a trace.
    """
    size = path.stat().st_size
    if size < TEXT_BYTES + BINARY_BYTES + HEADER_BYTES:
        raise InputError(f"{path} has {size} bytes, fewer than the headers of a SEG-Y file: it is cut short.")
    with path.open("rb") as file:
        file.seek(TEXT_BYTES)
        binary = file.read(BINARY_BYTES)
        endian = "big" if _short(binary, 24, ">") in FORMATS else "little"
        mark = ">" if endian == "big" else "<"
        code = _short(binary, 24, mark)
        if code not in FORMATS:
            found = _short(binary, 24, ">")
            known = ", ".join(map(str, FORMATS))
            raise InputError(f"{path} states sample format {found}: expected one of {known} in bytes 3225-3226.")
        extended = max(0, _short(binary, 304, mark))
        start = TEXT_BYTES + BINARY_BYTES + TEXT_BYTES * extended
        file.seek(start)
        header = file.read(HEADER_BYTES)
    samples = _short(binary, 20, mark) & 0xFFFF or (_short(header, SAMPLES - 1, mark) & 0xFFFF if header else 0)
    if samples == 0:
        raise InputError(f"{path} states no samples per trace, neither in bytes 3221-3222 nor in its first trace.")
    layout = Layout(path, endian, code, samples, start, 0)
    traces, rest = divmod(size - start, layout.record.itemsize)
    if traces < 1 or rest:
        raise InputError(
            f"{path} ends {rest} bytes into a trace of {layout.record.itemsize}, after {max(0, traces)} whole ones: "
            "it is cut short, or its binary header is wrong."
        )
    return Layout(path, endian, code, samples, start, traces)


def read_words(layout: Layout, *words: int) -> dict[int, NDArray[np.int64]]:
    """Words of all trace headers by their first byte."""
    records = layout.records()
    found = {}
    for word in words:
        kind = np.dtype("i2" if word in SHORT_WORDS else "i4").newbyteorder(">" if layout.endian == "big" else "<")
        raw = np.ascontiguousarray(records["header"][:, word - 1 : word - 1 + kind.itemsize])
        found[word] = raw.view(kind)[:, 0].astype(np.int64)
    return found


def write_word(headers: NDArray[np.uint8], word: int, values: Any, endian: str) -> None:
    """Set a word of headers (trace, 240), in place; values beyond what the word holds are cut to it."""
    kind = np.dtype("i2" if word in SHORT_WORDS else "i4").newbyteorder(">" if endian == "big" else "<")
    limits = np.iinfo(kind.newbyteorder("="))
    whole = np.clip(np.rint(np.broadcast_to(values, len(headers))), limits.min, limits.max).astype(kind)
    headers[:, word - 1 : word - 1 + kind.itemsize] = whole[:, None].view(np.uint8)


def read_text(layout: Layout) -> tuple[str, str]:
    """The 40 lines of the text header, and its encoding, "EBCDIC" or "ASCII"."""
    with layout.path.open("rb") as file:
        raw = file.read(TEXT_BYTES)
    encoding = text_encoding(raw)
    return raw.decode("cp037" if encoding == "EBCDIC" else "latin-1", errors="replace"), encoding


def text_encoding(raw: bytes) -> str:
    """EBCDIC has its blanks at 0x40, ASCII at 0x20."""
    return "EBCDIC" if raw.count(b"\x40") > raw.count(b"\x20") else "ASCII"


def require_segyio() -> Any:
    """Import segyio, or say how to get it."""
    try:
        import segyio
    except ImportError as error:
        raise MissingPackageError("SEG-Y files need segyio: pip install 'recon3d[seismic]'.") from error
    return segyio


def _short(raw: bytes, offset: int, mark: str) -> int:
    return int(struct.unpack_from(f"{mark}h", raw, offset)[0])
