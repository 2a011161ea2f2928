"""Read DICOM headers with bounded memory, and check what they claim against the bytes that are there."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from recon3d.errors import InputError
from recon3d.io.dicom.find import Source

MAX_FRAME_BYTES = 1 << 30
MAX_COMPRESSION = 20_000
MAX_HEADER_ELEMENT_BYTES = 256 << 20
NOT_IMAGES = ("Segmentation Storage", "RT Dose Storage")


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels of a file start, how long they claim to be (None: encapsulated) and what they are made of."""

    keyword: str
    length: int | None
    available: int


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of the DICOM libraries, which quote values of the patient, away from every log."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom", "pylibjpeg")]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.disabled = True
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


def parse(source: Source, *, pixels: bool = False) -> Dataset:
    """The dataset of one file, without its pixels unless asked; damage becomes one sentence."""
    dataset, _ = _parse(source, pixels)
    return dataset


def parse_with_pixel_element(source: Source) -> tuple[Dataset, PixelElement | None]:
    """The header of one file, and the head of its pixel element if there is one."""
    return _parse(source, False)


def _parse(source: Source, pixels: bool) -> tuple[Dataset, PixelElement | None]:
    try:
        with quiet(), source.open() as stream:
            _check_deflated(stream, source.size)
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels, force=True, defer_size=None)
            element = None if pixels else _pixel_element(stream, dataset, source.size)
            dataset.file_meta = getattr(dataset, "file_meta", None) or pydicom.dataset.FileMetaDataset()
            return dataset, element
    except InputError:
        raise
    except Exception as error:  # damaged bytes raise nearly everything inside pydicom; the cause may quote the patient
        raise InputError(f"A DICOM file is damaged: its header cannot be parsed ({type(error).__name__}).") from None


def _check_deflated(stream: IO[bytes], size: int) -> None:
    """Refuse a deflated file that swells beyond reason, by inflating it in pieces that are thrown away."""
    head = stream.read(4096)
    if DeflatedExplicitVRLittleEndian.encode() + b"\0" not in head:
        stream.seek(0)
        return
    stream.seek(0)
    pydicom.filereader.read_preamble(cast(BinaryIO, stream), False)
    pydicom.filereader._read_file_meta_info(cast(BinaryIO, stream))
    inflate, total, limit = zlib.decompressobj(-zlib.MAX_WBITS), 0, max(64 << 20, 100 * size)
    chunk = stream.read(1 << 16)
    while chunk:
        total += len(inflate.decompress(chunk, 1 << 20))
        chunk = inflate.unconsumed_tail or stream.read(1 << 16)
        if total > limit:
            raise InputError(
                f"A deflated DICOM file of {size} bytes unpacks to more than {limit}, which looks like a bomb."
            )
    stream.seek(0)


def _pixel_element(stream: IO[bytes], dataset: Dataset, size: int) -> PixelElement | None:
    syntax = transfer_syntax(dataset)
    if syntax == DeflatedExplicitVRLittleEndian:
        return _deflated_pixel_element(stream)
    little, implicit = dataset.original_encoding[1], dataset.original_encoding[0]
    order = ">" if little is False else "<"
    start = stream.tell()
    head = stream.read(12)
    if len(head) < 8:
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    keyword = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}.get(element)
    if group != 0x7FE0 or keyword is None:
        return None
    length = struct.unpack(order + "L", head[4:8] if implicit else head[8:12])[0]
    available = size - start - (8 if implicit else 12)
    return PixelElement(keyword, None if length == 0xFFFFFFFF else length, available)


def _deflated_pixel_element(stream: IO[bytes]) -> PixelElement | None:
    stream.seek(0)
    dataset = pydicom.dcmread(stream, force=True)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            return PixelElement(keyword, len(dataset[keyword].value), len(dataset[keyword].value))
    return None


def transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax a file states, or the implicit default when it states none."""
    stated = value(dataset.file_meta, "TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if stated:
        return UID(str(stated))
    implicit, little = dataset.original_encoding
    if little is False:
        return pydicom.uid.ExplicitVRBigEndian
    return pydicom.uid.ImplicitVRLittleEndian if implicit or implicit is None else pydicom.uid.ExplicitVRLittleEndian


def words(text: str) -> list[str]:
    """The keywords in a text, for long lists of them."""
    return text.split()


def syntax_name(dataset: Dataset) -> str:
    """The name of a known transfer syntax; an unknown one is not quoted."""
    syntax = transfer_syntax(dataset)
    return syntax.name if syntax.name != syntax else "an unknown transfer syntax"


def sop_class(dataset: Dataset) -> str:
    """The SOP class UID, from the dataset or, where that is empty, from the file's meta header."""
    stated = str(value(dataset, "SOPClassUID") or value(dataset.file_meta, "MediaStorageSOPClassUID", ""))
    if stated and not UID(stated).is_valid:
        raise InputError("A DICOM file is damaged: it does not say what kind of object it is.")
    return stated


def is_image(dataset: Dataset) -> bool:
    """Whether the object should hold pixels of a kind that can form a volume."""
    uid = sop_class(dataset)
    if uid:
        name = UID(uid).name
        if name in NOT_IMAGES:
            return False
        if "Image Storage" in name or name == "Parametric Map Storage":
            return True
        if name != uid:
            return False
    if not uid and "Rows" not in dataset:
        raise InputError("A DICOM file is damaged: it does not say what kind of object it is.")
    return "Rows" in dataset and "Columns" in dataset


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """One whole number of the header, or an InputError that names the attribute."""
    try:
        found = dataset.get(keyword)
        if found is not None and found != "":
            return int(found)
        if default is not None:
            return default
    except Exception:  # a damaged value raises nearly everything inside pydicom
        raise InputError(f"A DICOM image has a {keyword} that is not one whole number.") from None
    raise InputError(f"A DICOM image lacks {keyword}; it cannot be decoded.")


def check_pixels(dataset: Dataset, element: PixelElement | None) -> None:
    """Compare what the header claims with the bytes that are there, before any memory is taken."""
    if element is None:
        raise InputError("A DICOM image has no pixel data; the file is truncated or incomplete.")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    frames = whole(dataset, "NumberOfFrames", 1)
    samples = whole(dataset, "SamplesPerPixel", 1)
    allocated = whole(dataset, "BitsAllocated", {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(element.keyword))
    if rows < 1 or columns < 1 or frames < 1:
        raise InputError(
            f"A DICOM image claims {frames} frames of {rows} x {columns} pixels; at least one of each was expected."
        )
    if allocated not in (8, 16, 32, 64) or samples not in (1, 3):
        raise InputError(
            f"A DICOM image has {samples} samples of {allocated} bits; 1 or 3 samples of 8, 16 or 32 bits can be read."
        )
    colour = str(value(dataset, "PhotometricInterpretation", "MONOCHROME2" if samples == 1 else "RGB"))
    if (samples == 3) != (colour not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")):
        raise InputError(f"A DICOM image contradicts itself: {samples} samples do not suit its colour.")
    if element.keyword == "PixelData":
        stored = whole(dataset, "BitsStored", allocated)
        high, sign = whole(dataset, "HighBit", stored - 1), whole(dataset, "PixelRepresentation", 0)
        if not 1 <= stored <= allocated or high != stored - 1 or sign not in (0, 1) or allocated == 64:
            raise InputError(
                f"A DICOM image contradicts itself: {stored} bits stored of {allocated}, high bit {high}, sign {sign}."
            )
    frame_bytes = rows * columns * samples * allocated // 8
    if str(value(dataset, "PhotometricInterpretation", "")) == "YBR_FULL_422":
        native = frames * (frame_bytes * 2 // 3)
    else:
        native = frames * frame_bytes
    encapsulated = (
        transfer_syntax(dataset).is_encapsulated
        if transfer_syntax(dataset).is_transfer_syntax
        else element.length is None
    )
    if encapsulated:
        held = element.available if element.length is None else min(element.length, element.available)
        # A frame needs at least an item head and a few bytes; a blank frame may shrink by thousands, not by millions.
        if frame_bytes > MAX_FRAME_BYTES or frames * 8 > held or native > MAX_COMPRESSION * held:
            raise InputError(
                f"A compressed DICOM image claims {native} bytes of pixels out of {held} stored; it is damaged."
            )
        return
    if element.length is None or element.length > element.available or native > element.length:
        held = element.available if element.length is None else min(element.length, element.available)
        claim = max(native, element.length or 0)
        raise InputError(f"A DICOM image claims {claim} bytes of pixels but holds {held}; it is truncated or damaged.")


def value(item: Any, keyword: str, default: Any = None) -> Any:
    """A value of a dataset, or the default where it is missing, empty or unreadable."""
    try:
        found = item.get(keyword)
    except Exception:  # a value that cannot be converted counts as missing
        return default
    return default if found is None or found == "" else found
