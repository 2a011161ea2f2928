"""Copy DICOM images without the patient: only what an allow-list names is kept, and every kept value is rebuilt.

The list follows the Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E, without its options,
and is stricter: whatever is not on the list is dropped, free text of any kind included, and codes are kept only where
their value is one of the standard's terms.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID

from recon3d.errors import InputError
from recon3d.io.dicom import find
from recon3d.io.dicom.elements import clock_text, decimal
from recon3d.io.dicom.header import (
    check_pixels,
    is_image,
    parse,
    parse_with_pixel_element,
    quiet,
    sop_class,
    value,
    words,
)
from recon3d.io.dicom.pixels import stored_planes
from recon3d.io.dicom.series import series_in
from recon3d.io.dicom.storage import atomic_folder, save_dataset

FACES_NOTE = "Faces are not removed: a head volume can show a recognisable face even without its header."

_NUMBERS = set(
    words(
        """
        SeriesNumber InstanceNumber AcquisitionNumber NumberOfFrames SamplesPerPixel Rows Columns BitsAllocated
        BitsStored HighBit PixelRepresentation PlanarConfiguration PixelSpacing SliceThickness SpacingBetweenSlices
        ImagePositionPatient ImageOrientationPatient SliceLocation GantryDetectorTilt RescaleSlope RescaleIntercept
        WindowCenter WindowWidth PixelPaddingValue PixelPaddingRangeLimit KVP XRayTubeCurrent ExposureTime Exposure
        ReconstructionDiameter DataCollectionDiameter DistanceSourceToDetector DistanceSourceToPatient
        RepetitionTime EchoTime EchoNumbers InversionTime EffectiveEchoTime FlipAngle MagneticFieldStrength
        EchoTrainLength NumberOfAverages ImagingFrequency PercentSampling PercentPhaseFieldOfView PixelBandwidth
        TriggerTime TemporalPositionIdentifier NumberOfTemporalPositions TemporalResolution TemporalPositionIndex
        TemporalPositionTimeOffset NominalCardiacTriggerDelayTime FrameTime FrameTimeVector CineRate StartTrim
        StopTrim InStackPositionNumber DimensionIndexValues DiffusionBValue DiffusionGradientOrientation
        NominalScannedPixelSpacing PhysicalDeltaX PhysicalDeltaY PhysicalUnitsXDirection PhysicalUnitsYDirection
        RegionSpatialFormat RegionDataType RegionFlags RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1
        RegionLocationMaxY1 ReferencePixelX0 ReferencePixelY0 RealWorldValueSlope RealWorldValueIntercept
        DoubleFloatRealWorldValueFirstValueMapped DoubleFloatRealWorldValueLastValueMapped
        RealWorldValueFirstValueMapped RealWorldValueLastValueMapped SpiralPitchFactor SingleCollimationWidth
        TotalCollimationWidth
        """
    )
)
_ENUMERATED = {"RegionSpatialFormat", "RegionDataType", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection"}
_UIDS = set(
    words(
        """
        SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID DimensionOrganizationUID
        ReferencedSOPInstanceUID ConcatenationUID SynchronizationFrameOfReferenceUID IrradiationEventUID
        """
    )
)
_CLASS_UIDS = {"SOPClassUID", "ReferencedSOPClassUID"}
_POINTERS = {"DimensionIndexPointer", "FunctionalGroupPointer", "FrameIncrementPointer"}
_SEQUENCES = set(
    words(
        """
        SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence
        PlaneOrientationSequence PixelValueTransformationSequence FrameContentSequence FrameVOILUTSequence
        CTImageFrameTypeSequence MRImageFrameTypeSequence MREchoSequence MRDiffusionSequence
        DiffusionGradientDirectionSequence TemporalPositionSequence CardiacSynchronizationSequence
        DimensionOrganizationSequence DimensionIndexSequence SequenceOfUltrasoundRegions
        RealWorldValueMappingSequence IrradiationEventIdentificationSequence MeasurementUnitsCodeSequence
        """
    )
)
_TERMS = {
    "Modality": "CT MR US PT NM OT DX CR SC XA RF MG IVUS OPT",
    "ImageType": "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER MPR VOLUME NONE OTHER M P R I NORM DIS2D DIS3D ND "
    "FFE SE IR MOSAIC ADC TRACEW FA PERFUSION RCBF RCBV MTT TTP REFORMATTED PROJECTION MIXED RESAMPLED DIFFUSION "
    "MAGNITUDE PHASE",
    "PhotometricInterpretation": "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_RCT YBR_ICT",
    "PatientPosition": "HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS AFDR AFDL PFDR PFDL",
    "RescaleType": "HU US 1/mm",
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00 01",
    "LossyImageCompressionMethod": "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_13818_2",
    "ScanningSequence": "SE IR GR EP RM",
    "SequenceVariant": "SK MTC SS TRSS SP MP OSP NONE",
    "MRAcquisitionType": "2D 3D",
    "PresentationLUTShape": "IDENTITY INVERSE",
    "PixelPresentation": "COLOR MONOCHROME MIXED TRUE_COLOR",
    "VolumetricProperties": "VOLUME SAMPLED DISTORTED MIXED",
    "VolumeBasedCalculationTechnique": "NONE MAX_IP MIN_IP VOLUME_RENDER SURFACE_RENDER MPR CURVED_MPR MIXED",
    "ComplexImageComponent": "MAGNITUDE PHASE REAL IMAGINARY MIXED",
    "AcquisitionContrast": "DIFFUSION FLOW_ENCODED FLUID_ATTENUATED PERFUSION PROTON_DENSITY STIR TAGGING "
    "T1 T2 T2_STAR TOF UNKNOWN MIXED",
    "ContentQualification": "PRODUCT RESEARCH SERVICE",
    "DiffusionDirectionality": "DIRECTIONAL BMATRIX ISOTROPIC NONE",
    "DimensionOrganizationType": "3D 3D_TEMPORAL",
    "ConversionType": "DV DI DF WSD SD SI DRW SYN",
    "CodeValue": "[hnsf'U] /mm 1 mm2/s um2/s 10-6.mm2/s",
    "CodingSchemeDesignator": "UCUM",
    "RotationDirection": "CW CC",
}
_TERMS["FrameType"] = _TERMS["ImageType"]
_MEANINGS = {"[hnsf'U]": "Hounsfield unit", "/mm": "per millimeter", "1": "no units"}
_BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_MODIFIED_DATES = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
_EMPTY = words(
    "PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName "
    "Manufacturer PositionReferenceIndicator Laterality ContentDate ContentTime "
)
_EMPTY_BY_MODALITY = {
    "CT": ("SeriesNumber", "AcquisitionNumber", "PatientPosition", "SliceThickness", "KVP"),
    "MR": ("SeriesNumber", "PatientPosition", "SliceThickness", "ScanOptions", "EchoTrainLength", "MRAcquisitionType"),
}
# Kinds of image that often carry text in their pixels; they pass only when they say themselves that they do not.
_SUSPECT_MODALITIES = {"US", "SC", "OT", "ES", "XC", "GM", "SM", "DOC", "IVUS", "XA", "RF", "CR", "DX", "MG"}


@dataclass(frozen=True)
class Report:
    """What was done; holds no value of any header."""

    images: int
    skipped: int
    dropped_elements: int
    note: str = FACES_NOTE


@quiet()
def deidentify(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    accept_pixels: bool = False,
    subject: str = "ANONYMOUS",
    key: bytes | None = None,
    overwrite: bool = False,
) -> Report:
    """Copy every image of a file, folder, zip or DICOMDIR into a new folder, without the patient.

    Pixels are decoded and stored uncompressed, so that comments inside compressed streams, overlays and unused bits
    go too. Objects that are no images are left out. Times of day are dropped except for steps within a time series.

    Parameters
    ----------
    accept_pixels : copy images whose pixels carry, or may carry, text; without it they are refused
    subject : written as patient name and ID; capitals, digits, dash and underscore
    key : secret that makes equal UIDs map to equal UIDs across runs; a random one, thrown away, by default

    Raises
    ------
    InputError
        No images, damaged images, or text burnt into the pixels.
    """
    if not subject or len(subject) > 64 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in subject):
        raise InputError("The subject must be 1 to 64 letters, digits, dashes or underscores.")
    images, skipped = [], 0
    for file in find.sources(source):
        header, element = parse_with_pixel_element(file)
        if not is_image(header):
            skipped += 1
            continue
        check_pixels(header, element)
        if not accept_pixels:
            _refuse_text(header)
        images.append(file)
    if not images:
        raise InputError("No DICOM image was found to de-identify; give the folder of an image series.")
    mapped = _uid_map(key or secrets.token_bytes(32))
    steps = _steps_that_matter(images)
    dropped = 0
    with atomic_folder(Path(folder), overwrite) as temporary:
        for index, file in enumerate(images):
            clean, lost = _clean(parse(file, pixels=True), mapped, subject)
            for keyword, kept in steps.get(id(file), {}).items():
                setattr(clean, keyword, kept)
                if keyword == "AcquisitionTime":
                    clean.LongitudinalTemporalInformationModified = "MODIFIED"
                    clean.DeidentificationMethodCodeSequence.append(_method(*_MODIFIED_DATES))
            dropped += lost
            save_dataset(clean, temporary / f"IM{index + 1:06d}.dcm")
    return Report(len(images), skipped, dropped)


def _refuse_text(header: Dataset) -> None:
    stated = str(value(header, "BurnedInAnnotation", "")).upper()
    if stated == "YES":
        raise InputError(
            "An image says that text is burnt into its pixels; look at it, then ask for accept_pixels=True."
        )
    kind = UID(sop_class(header)).name
    screen = any("SCREEN" in str(t).upper() for t in np.atleast_1d(value(header, "ImageType", "")))  # type: ignore[call-overload]
    suspect = (
        value(header, "Modality", "") in _SUSPECT_MODALITIES or "Secondary Capture" in kind or "Ultrasound" in kind
    )
    if screen or (suspect and stated != "NO"):
        raise InputError(
            "An image of a kind that often carries text in its pixels does not say that it has none; "
            "look at it, then ask for accept_pixels=True."
        )


def _uid_map(key: bytes) -> Callable[[str], str]:
    def mapped(uid: str) -> str:
        digest = hmac.new(key, uid.encode(), hashlib.sha256).digest()[:16]
        return f"2.25.{int.from_bytes(digest, 'big')}"

    return mapped


def _steps_that_matter(images: Sequence[find.Source]) -> dict[int, dict[str, Any]]:
    """Per image, what a series over time or b-values needs to stay one: seconds since its start, or its weighting."""
    kept: dict[int, dict[str, Any]] = {}
    for series in series_in(images):
        frames = [frame for plane in series.planes for frame in plane]
        start = min(frame.clock_s for frame in frames)
        for frame in frames:
            if series.axis == "time" and start >= 0 and frame.index == 0 and frame.trigger_ms < 0:
                kept[id(frame.source)] = {"AcquisitionTime": clock_text(frame.clock_s - start)}
            elif series.axis == "b-values" and frame.b_value >= 0 and frame.index == 0:
                kept[id(frame.source)] = {"DiffusionBValue": frame.b_value}
    return kept


def _method(code: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
    return item


def _clean(dataset: Dataset, mapped: Callable[[str], str], subject: str) -> tuple[Dataset, int]:
    clean = _allowed(dataset, mapped)
    dropped = _count(dataset) - _count(clean)
    clean.SOPClassUID = sop_class(dataset)
    if UID(clean.SOPClassUID).name == clean.SOPClassUID:
        raise InputError("An image is of a private kind that cannot be de-identified; leave it out.")
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not value(clean, keyword):
            # Missing in the source: all images of a source without UIDs stay together, each instance is its own.
            seed = secrets.token_hex(16) if keyword == "SOPInstanceUID" else keyword
            setattr(clean, keyword, mapped(seed))
    if not value(clean, "FrameOfReferenceUID"):
        clean.FrameOfReferenceUID = mapped("FrameOfReferenceUID")
    if "SharedFunctionalGroupsSequence" in clean or "PerFrameFunctionalGroupsSequence" in clean:
        for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
            setattr(clean, keyword, "removed")  # these objects must not leave them empty
    for keyword in (*_EMPTY, *_EMPTY_BY_MODALITY.get(str(value(clean, "Modality", "")), ())):
        if keyword not in clean:
            setattr(clean, keyword, "")
    clean.PatientName = clean.PatientID = subject
    clean.SpecificCharacterSet = "ISO_IR 100"
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = "recon3d allow-list after DICOM PS3.15 Annex E basic profile"
    clean.DeidentificationMethodCodeSequence = DicomSequence([_method(*_BASIC_PROFILE)])
    clean.LongitudinalTemporalInformationModified = "REMOVED"
    _copy_pixels(dataset, clean)
    return clean, dropped


def _allowed(dataset: Dataset, mapped: Callable[[str], str]) -> Dataset:
    """A new dataset of the listed elements only, each value rebuilt from what it means."""
    clean = Dataset()
    for tag in sorted(dataset.keys()):
        if tag.is_private:
            continue
        keyword = pydicom.datadict.keyword_for_tag(tag)
        if keyword not in _KEPT:
            continue
        try:
            found = dataset[tag].value
            kept = _rebuilt(keyword, found, mapped)
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError, NotImplementedError, EOFError):
            continue  # a value that is not what its attribute holds is dropped
        if kept is not None:
            setattr(clean, keyword, kept)
    if "CodeValue" in clean:
        if "CodingSchemeDesignator" not in clean:
            return Dataset()
        clean.CodeMeaning = _MEANINGS.get(clean.CodeValue, clean.CodeValue)
    if "RealWorldValueSlope" in clean:
        clean.LUTLabel = clean.LUTExplanation = "MAP"
    return clean


_KEPT = _NUMBERS | _UIDS | _CLASS_UIDS | _POINTERS | _SEQUENCES | set(_TERMS) | {"StackID"}


def _rebuilt(keyword: str, found: Any, mapped: Callable[[str], str]) -> Any:
    if found is None or found == "":
        return None
    if keyword in _SEQUENCES:
        return DicomSequence([_allowed(item, mapped) for item in found])
    values = list(found) if isinstance(found, (list, tuple, pydicom.multival.MultiValue)) else [found]
    if keyword in _NUMBERS:
        kept = [_number(keyword, v) for v in values]
    elif keyword in _UIDS:
        kept = [mapped(str(v)) for v in values]
    elif keyword in _CLASS_UIDS:
        kept = [str(v) for v in values if UID(str(v)).name != str(v)]
    elif keyword in _POINTERS:
        kept = [int(v) for v in values if not pydicom.tag.Tag(int(v)).is_private]
    elif keyword == "StackID":
        kept = [str(int(str(v))) for v in values if int(str(v)) < 10_000]
    else:
        terms = _TERMS[keyword].split()
        kept = [str(v) for v in values if str(v) in terms]
    if not kept:
        return None
    return kept if len(values) > 1 else kept[0]


def _number(keyword: str, found: Any) -> Any:
    vr = pydicom.datadict.dictionary_VR(keyword)
    number = float(found)
    if not math.isfinite(number):
        raise ValueError("not finite")
    if abs(number) >= 1_000_000 and keyword not in ("RescaleSlope", "RescaleIntercept"):
        raise ValueError("long enough to be a record number")
    if keyword in _ENUMERATED and number >= 256:
        raise ValueError("no term of the standard")
    if vr == "DS":
        return decimal(number)
    return number if vr in ("FD", "FL") else int(found)


def _count(dataset: Dataset) -> int:
    """Elements of a dataset and of its sequences."""
    return sum(1 for _ in _walk(dataset))


def _walk(dataset: Dataset) -> Iterator[None]:
    for tag in list(dataset.keys()):
        yield None
        try:
            element = dataset[tag]
        except Exception:  # unreadable elements count as one and are dropped
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _walk(item)


def _copy_pixels(dataset: Dataset, clean: Dataset) -> None:
    if value(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError("Palette colour images cannot be de-identified; convert them to grey or RGB first.")
    pixels = np.stack(list(stored_planes(dataset, range(int(value(dataset, "NumberOfFrames", 1))))))
    if pixels.ndim == 4:
        clean.PhotometricInterpretation, clean.PlanarConfiguration = "RGB", 0
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    if pixels.dtype.kind == "f":
        setattr(clean, "FloatPixelData" if pixels.dtype.itemsize == 4 else "DoubleFloatPixelData", raw)
        return
    clean.PixelData = raw + b"\0" * (len(raw) % 2)
    clean["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    clean.BitsAllocated = pixels.dtype.itemsize * 8
