"""One image plane after another: what a header says about each frame, in one record for every kind of image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from recon3d.errors import InputError
from recon3d.io.dicom.find import Source
from recon3d.io.dicom.header import PixelElement, sop_class, value, whole

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """One plane of pixels and its place: `position` and `orientation` in LPS as stored, None where there is none."""

    source: Source
    index: int
    series_uid: str
    series_number: int
    modality: str
    sop_class: str
    shape: tuple[int, int]
    position: Vector | None
    orientation: tuple[Vector, Vector] | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float | None
    bits: int
    slope: float
    intercept: float
    units: str
    frame_of_reference: str
    stack: str
    image_type: str
    echo: float
    b_value: float
    direction: Vector
    temporal_index: int
    trigger_ms: float
    clock_s: float
    acquisition: int
    instance: int


def frames_of(dataset: Dataset, source: Source, element: PixelElement) -> list[Frame]:
    """Every frame of one object, with the shared functional groups, the per-frame ones and the root in this order."""
    count = whole(dataset, "NumberOfFrames", 1)
    per_frame = list(value(dataset, "PerFrameFunctionalGroupsSequence", ()))
    shared = next(iter(value(dataset, "SharedFunctionalGroupsSequence", ())), None)
    if per_frame and len(per_frame) != count:
        raise InputError(
            f"A multi-frame DICOM object claims {count} frames but describes {len(per_frame)}; it is damaged."
        )
    if count > 1 and not per_frame and element.keyword == "PixelData":
        return list(_plain_multiframe(dataset, source, count))
    frames = [
        _frame(dataset, source, i, [group for group in (g, shared) if group is not None])
        for i, g in enumerate(per_frame or [None] * count)
    ]
    precision = {"FloatPixelData": 24, "DoubleFloatPixelData": 53}.get(element.keyword)
    return frames if precision is None else [replace(f, bits=precision) for f in frames]


def _frame(dataset: Dataset, source: Source, index: int, groups: Sequence[Dataset]) -> Frame:
    def find(sequence: str, keyword: str, root: bool = True) -> Any:
        for group in groups:
            item = next(iter(value(group, sequence, ())), None)
            found = None if item is None else value(item, keyword)
            if found is not None:
                return found
        return value(dataset, keyword) if root else None

    orientation = numbers(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "ImageOrientationPatient")
    position = numbers(find("PlanePositionSequence", "ImagePositionPatient"), 3, "ImagePositionPatient")
    if (orientation is None) != (position is None):
        orientation = position = None
    slope = _rescale(find("PixelValueTransformationSequence", "RescaleSlope"), 1.0, "RescaleSlope")
    intercept = _rescale(find("PixelValueTransformationSequence", "RescaleIntercept"), 0.0, "RescaleIntercept")
    bits = whole(dataset, "BitsAllocated", 32)
    if slope == 0 or abs(slope) * 2.0**bits + abs(intercept) > 1e30:
        raise InputError(
            f"A DICOM image has a rescale slope of {slope:g} and intercept of {intercept:g}, which mean nothing."
        )
    image_type = find("MRImageFrameTypeSequence", "FrameType", False) or find(
        "CTImageFrameTypeSequence", "FrameType", False
    )
    modality = str(value(dataset, "Modality", ""))
    if not re.fullmatch("[A-Z0-9]{2,16}", modality):  # it is shown, so it must be a term and no free text
        modality = ""
    return Frame(
        source=source,
        index=index,
        series_uid=str(value(dataset, "SeriesInstanceUID", "")),
        series_number=_integer(value(dataset, "SeriesNumber"), 0),
        modality=modality,
        sop_class=sop_class(dataset),
        shape=(whole(dataset, "Rows"), whole(dataset, "Columns")),
        position=None if position is None else (position[0], position[1], position[2]),
        orientation=None if orientation is None else (_unit(orientation[:3]), _unit(orientation[3:])),
        spacing_mm=_spacing(find("PixelMeasuresSequence", "PixelSpacing"), dataset),
        thickness_mm=_positive(find("PixelMeasuresSequence", "SliceThickness"))
        or _positive(find("PixelMeasuresSequence", "SpacingBetweenSlices")),
        bits=whole(dataset, "BitsStored", bits),
        slope=slope,
        intercept=intercept,
        units=_units(dataset, modality, str(find("PixelValueTransformationSequence", "RescaleType") or ""), groups),
        frame_of_reference=str(value(dataset, "FrameOfReferenceUID", "")),
        stack=str(find("FrameContentSequence", "StackID", False) or ""),
        image_type="\\".join(map(str, _listed(image_type or value(dataset, "ImageType", ())))),
        echo=_number(find("MREchoSequence", "EffectiveEchoTime", False) or value(dataset, "EchoTime"), -1.0),
        b_value=_b_value(dataset, find("MRDiffusionSequence", "DiffusionBValue")),
        direction=_direction(dataset, groups),
        temporal_index=_integer(
            find("FrameContentSequence", "TemporalPositionIndex", False)
            or value(dataset, "TemporalPositionIdentifier"),
            -1,
        ),
        trigger_ms=_trigger_ms(dataset, find),
        clock_s=_first_clock(
            find("FrameContentSequence", "FrameAcquisitionDateTime", False),
            value(dataset, "AcquisitionTime"),
            value(dataset, "ContentTime"),
        ),
        acquisition=_integer(value(dataset, "AcquisitionNumber"), -1),
        instance=_integer(value(dataset, "InstanceNumber"), 0),
    )


def _plain_multiframe(dataset: Dataset, source: Source, count: int) -> Iterator[Frame]:
    """Frames without functional groups (ultrasound cine, secondary capture): a time series of one plane."""
    step_ms = _number(value(dataset, "FrameTime"), -1.0)
    vector = [_number(v, 0.0) for v in _listed(value(dataset, "FrameTimeVector", ()))]
    rate = _number(value(dataset, "CineRate"), -1.0) or -1.0
    elapsed = 0.0
    first = _frame(dataset, source, 0, [])
    for i in range(count):
        if len(vector) == count:
            elapsed += vector[i] if i else 0.0
            time_ms = elapsed
        else:
            time_ms = i * step_ms if step_ms > 0 else i * 1000.0 / rate if rate > 0 else -1.0
        yield replace(first, index=i, temporal_index=i + 1, trigger_ms=time_ms)


def numbers(found: Any, count: int, keyword: str) -> tuple[float, ...] | None:
    """The finite numbers of an attribute, None where it is missing or empty."""
    if found is None:
        return None
    try:
        result = tuple(float(v) for v in found)
    except (TypeError, ValueError):
        raise InputError(f"A DICOM image has a {keyword} that is not made of numbers.") from None
    if not result:
        return None
    if len(result) != count or not all(math.isfinite(v) and abs(v) < 1e6 for v in result):
        raise InputError(f"A DICOM image has a {keyword} that is not {count} sensible numbers.")
    return result


def _unit(vector: Sequence[float]) -> Vector:
    length = math.sqrt(sum(v * v for v in vector))
    if abs(length - 1) > 0.01:
        raise InputError(f"A DICOM image has an orientation vector of length {length:.3g}; it must be 1.")
    return (vector[0] / length, vector[1] / length, vector[2] / length)


def _spacing(found: Any, dataset: Dataset) -> tuple[float, float] | None:
    spacing = numbers(found, 2, "PixelSpacing")
    if spacing is None:
        region = next(iter(value(dataset, "SequenceOfUltrasoundRegions", ())), None)
        if region is not None and value(region, "PhysicalUnitsXDirection") == 3:  # centimetres
            x, y = _number(value(region, "PhysicalDeltaX"), 0.0), _number(value(region, "PhysicalDeltaY"), 0.0)
            spacing = (abs(y) * 10, abs(x) * 10) if x and y else None
    if spacing is None:
        spacing = numbers(value(dataset, "NominalScannedPixelSpacing"), 2, "NominalScannedPixelSpacing")
    if spacing is None:
        return None
    if not all(1e-6 < v < 1e4 for v in spacing):
        raise InputError(
            f"A DICOM image has a pixel spacing of {spacing[0]:g} x {spacing[1]:g} mm, which means nothing."
        )
    return spacing[0], spacing[1]


def _units(dataset: Dataset, modality: str, rescale_type: str, groups: Sequence[Dataset]) -> str:
    if UID(sop_class(dataset)).name == "Parametric Map Storage":
        for group in (*groups, dataset):
            mapping = next(iter(value(group, "RealWorldValueMappingSequence", ())), None)
            code = None if mapping is None else next(iter(value(mapping, "MeasurementUnitsCodeSequence", ())), None)
            if code is not None:
                return {"[hnsf'U]": "HU", "/mm": "1/mm"}.get(str(value(code, "CodeValue", "")), "1")
    if rescale_type == "1/mm":
        return "1/mm"
    return "HU" if modality == "CT" and rescale_type in ("", "HU") else "1"


def _b_value(dataset: Dataset, standard: Any) -> float:
    """The diffusion weighting in s/mm2: the standard attribute, else the known private ones of three makers."""
    for found in (
        standard,
        _private(dataset, 0x0019, 0x0C, "SIEMENS MR HEADER"),
        _private(dataset, 0x2001, 0x03, "Philips Imaging DD 001"),
    ):
        if found is not None and _number(found, -1.0) >= 0:
            return _number(found, -1.0)
    ge = _listed(_private(dataset, 0x0043, 0x39, "GEMS_PARM_01") or ())
    return _number(ge[0], -1.0) % 1e9 if ge and _number(ge[0], -1.0) >= 0 else -1.0


def _private(dataset: Dataset, group: int, element: int, creator: str) -> Any:
    try:
        return dataset.private_block(group, creator)[element].value
    except Exception:  # absent, or damaged: counts as absent
        return None


def _direction(dataset: Dataset, groups: Sequence[Dataset]) -> Vector:
    found = value(dataset, "DiffusionGradientOrientation")
    for group in groups:
        diffusion = next(iter(value(group, "MRDiffusionSequence", ())), None)
        gradient = (
            next(iter(value(diffusion, "DiffusionGradientDirectionSequence", ())), None)
            if diffusion is not None
            else None
        )
        if gradient is not None:
            found = value(gradient, "DiffusionGradientOrientation")
            break
    try:
        vector = numbers(found, 3, "DiffusionGradientOrientation") or (0.0, 0.0, 0.0)
    except InputError:  # it only helps to tell frames apart
        vector = (0.0, 0.0, 0.0)
    return vector[0], vector[1], vector[2]


def _trigger_ms(dataset: Dataset, find: Any) -> float:
    offset = find("TemporalPositionSequence", "TemporalPositionTimeOffset", False)  # seconds
    if offset is not None:
        return 1000 * _number(offset, -0.001)
    delay = find("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", False)
    return _number(delay if delay is not None else value(dataset, "TriggerTime"), -1.0)


def _listed(found: Any) -> list[Any]:
    return [found] if isinstance(found, (str, bytes, int, float)) else list(found)


def _number(found: Any, default: float) -> float:
    try:
        result = float(found)
    except (TypeError, ValueError):
        return default
    return result if math.isfinite(result) else default


def _integer(found: Any, default: int) -> int:
    try:
        return int(found)
    except (TypeError, ValueError, OverflowError):
        return default


def _positive(found: Any) -> float | None:
    number = _number(found, 0.0)
    return number if 1e-6 < number < 1e4 else None


def _rescale(found: Any, default: float, keyword: str) -> float:
    if found is None:
        return default
    number = _number(found, math.nan)
    if math.isnan(number):
        raise InputError(f"A DICOM image has a {keyword} that is not one finite number.")
    return number


def _first_clock(*found: Any) -> float:
    return next((clock for clock in map(_clock, found) if clock is not None), -1.0)


def _clock(found: Any) -> float | None:
    """Seconds of the day of a TM (or of the time part of a DT), None where there is none."""
    text = str(found or "").strip()
    if len(text.split(".")[0]) >= 14:
        text = text[8:].split("+")[0].split("-")[0]
    try:
        hours, minutes, seconds = int(text[0:2]), int(text[2:4] or 0), float(text[4:] or 0)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds
