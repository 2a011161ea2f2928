"""Decode pixels frame by frame, after the compressed stream's own claims were checked, and rescale each frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000TransferSyntaxes

from recon3d.errors import InputError
from recon3d.io.dicom.find import Source
from recon3d.io.dicom.frames import Frame
from recon3d.io.dicom.header import parse, syntax_name, transfer_syntax, value

# ITU-R BT.601 luma; it leaves equal red, green and blue as they are.
LUMA = np.array([0.299, 0.587, 0.114])


def fill(out: NDArray[np.floating], frames: Sequence[Frame]) -> None:
    """Decode `frames` into the planes of `out` (frame, y, x), each file opened once, rescaled to physical values."""
    order = sorted(range(len(frames)), key=lambda i: (id(frames[i].source), frames[i].index))
    for _, group in groupby(order, key=lambda i: id(frames[i].source)):
        places = list(group)
        wanted = [frames[i] for i in places]
        for place, frame, plane in zip(
            places, wanted, decoded(wanted[0].source, [f.index for f in wanted]), strict=True
        ):
            if plane.shape != frame.shape:
                raise InputError(
                    f"A DICOM image of {frame.shape[0]} x {frame.shape[1]} pixels decodes to "
                    f"{' x '.join(map(str, plane.shape))}; it is damaged."
                )
            out[place] = plane.astype(np.float64) * frame.slope + frame.intercept
            if not np.isfinite(out[place]).all():
                raise InputError("A DICOM image holds values that are not finite numbers; it is damaged.")


def decoded(source: Source, indices: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    """Stored values of the wanted frames, each (y, x); colour becomes luminance."""
    for plane in stored_planes(parse(source, pixels=True), indices):
        yield plane @ LUMA if plane.ndim == 3 else plane


def stored_planes(dataset: Dataset, indices: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    """Stored values of the wanted frames, (y, x) or (y, x, 3) in RGB, without the bits above the value.

    Old files keep overlays in those bits.
    """
    try:
        yield from _planes(dataset, indices)
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly everything, in words that may quote the header
        raise InputError(
            f"The pixels of a DICOM image ({syntax_name(dataset)}) cannot be decoded ({type(error).__name__}); "
            "the file is damaged or its compression is not supported."
        ) from None


def _planes(dataset: Dataset, indices: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    for keyword, kind in (("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")):
        if keyword in dataset:
            shape = (int(value(dataset, "NumberOfFrames", 1)), int(dataset.Rows), int(dataset.Columns))
            order = "<" if transfer_syntax(dataset).is_little_endian else ">"
            count = shape[0] * shape[1] * shape[2]
            planes = np.frombuffer(dataset[keyword].value, order + kind, count=count).reshape(shape)
            yield from (planes[i] for i in indices)
            return
    syntax = transfer_syntax(dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    if "ModalityLUTSequence" in dataset:
        raise InputError(
            "A DICOM image maps its values by a table (Modality LUT), which is not read; convert it first."
        )
    if syntax.is_encapsulated:
        check_streams(dataset)
    if syntax in JPEG2000TransferSyntaxes:
        yield from _jpeg2000_planes(dataset, indices)
        return
    for plane in pydicom.pixels.iter_pixels(dataset, indices=list(indices), decoding_plugin=_decoder(dataset)):
        if value(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
            plane = pydicom.pixels.apply_color_lut(plane, dataset)[..., :3]
        yield plane if plane.ndim == 3 else _stored_bits(plane, dataset)


def _decoder(dataset: Dataset) -> str:
    """The one library that decodes the object's compression.

    No second one is tried: GDCM, which reads lossless JPEG, ends the whole process on some damaged JPEG-LS streams.
    """
    syntax = transfer_syntax(dataset)
    if not syntax.is_encapsulated:
        return ""
    plugins = pydicom.pixels.get_decoder(syntax).available_plugins
    found = next((name for name in ("pydicom", "pyjpegls", "gdcm") if name in plugins), None)
    if found is None:
        raise InputError(f"No installed library decodes {syntax_name(dataset)}; convert the images first.")
    return found


def _jpeg2000_planes(dataset: Dataset, indices: Sequence[int]) -> Iterator[NDArray[np.generic]]:
    """JPEG 2000 by OpenJPEG's own binding, since GDCM ends the whole process on some damaged streams.

    The sign of the header counts where the stream disagrees, as in other readers.
    """
    from openjpeg.utils import decode

    stored, samples = int(dataset.BitsStored), int(value(dataset, "SamplesPerPixel", 1))
    streams = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=_frame_count(dataset)))
    for index in indices:
        plane = decode(streams[index])
        if plane.ndim != (2 if samples == 1 else 3) or plane.dtype.kind not in "iu":
            raise InputError("A JPEG 2000 stream has another number of samples than its DICOM image; it is damaged.")
        if samples == 1:
            sign = "i" if value(dataset, "PixelRepresentation", 0) else "u"
            plane = _stored_bits(plane.astype(f"{sign}{max(2, (stored + 7) // 8 if stored <= 16 else 4)}"), dataset)
        yield plane


def _frame_count(dataset: Dataset) -> int:
    return int(value(dataset, "NumberOfFrames", 1))


def _stored_bits(plane: NDArray[np.generic], dataset: Dataset) -> NDArray[np.generic]:
    spare = plane.dtype.itemsize * 8 - int(dataset.BitsStored)
    if spare <= 0 or plane.dtype.kind not in "iu":
        return plane
    integers = np.asarray(plane)
    return np.right_shift(np.left_shift(integers, spare), spare)


def check_streams(dataset: Dataset) -> None:
    """Refuse a compressed frame whose own header claims another size than the object, before it is decoded."""
    frames = _frame_count(dataset)
    for stream in pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=frames):
        size = stream_size(stream)
        if size is not None and size != (int(dataset.Rows), int(dataset.Columns)):
            raise InputError(
                f"A compressed DICOM image of {dataset.Rows} x {dataset.Columns} pixels holds a stream of "
                f"{size[0]} x {size[1]}; it is damaged."
            )


def stream_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream claims; None where it is none of them."""
    start = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0:  # JPEG 2000: SOC then SIZ, perhaps inside a JP2 wrapper
        if len(stream) < start + 24:
            return 0, 0
        right, bottom, left, top = struct.unpack(">4L", stream[start + 8 : start + 24])
        return bottom - top, right - left
    if stream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            return 0, 0
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in (0x01, *range(0xD0, 0xD9)):
            at += 2
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = struct.unpack(">2H", stream[at + 5 : at + 9])
            return rows, columns
        else:
            at += 2 + struct.unpack(">H", stream[at + 2 : at + 4])[0]
    return 0, 0
