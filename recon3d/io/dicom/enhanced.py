"""A whole series as one multi-frame object with functional groups (PS3.3 A.38, A.36, A.8.4)."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from recon3d.errors import InputError
from recon3d.io.dicom.derived import ACQUISITION, DerivedSeries
from recon3d.io.dicom.elements import MAX_OBJECT_BYTES, coded, decimal, item, new_uid, source_image
from recon3d.io.dicom.header import value

ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
MULTIFRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
_STACK, _TIME, _IN_STACK, _FRAME_CONTENT, _PAGES = 0x00209056, 0x00209128, 0x00209057, 0x00209111, 0x00182001


def enhanced(series: DerivedSeries) -> Dataset:
    """All slices as one object with functional groups.

    An enhanced CT image holds HU and nothing else, and the others are for MR: any other values go into a multi-frame
    secondary capture, which holds unsigned numbers only.
    """
    if series.stored.nbytes > MAX_OBJECT_BYTES:
        raise InputError(
            "The volume is larger than the 4 GiB one DICOM object can hold; write single-frame files instead."
        )
    times, slices = series.stored.shape[:2]
    ds = Dataset()
    ds.update(series.shared)
    for keyword in (*ACQUISITION["MR"], *ACQUISITION["CT"], "Laterality"):
        ds.pop(keyword, None)
    ds.SOPInstanceUID, ds.InstanceNumber, ds.NumberOfFrames = new_uid(), 1, times * slices
    ds.PresentationLUTShape = "IDENTITY"
    stored, rescale, frame_type = series.stored, series.rescale(), None
    if series.modality == "MR" or (series.modality == "CT" and series.volume.units == "HU"):
        frame_type = _add_enhanced(ds, series)
    else:
        if stored.dtype.kind == "i":
            stored = (stored.astype(np.int32) + 32768).astype("<u2")
            rescale = series.rescale(series.intercept - 32768 * series.slope)
        _add_capture(ds, rescale)
    ds.SharedFunctionalGroupsSequence = DicomSequence([_shared_groups(series, frame_type, rescale)])
    organisation = new_uid()
    ds.DimensionOrganizationSequence = DicomSequence([item(DimensionOrganizationUID=organisation)])
    ds.DimensionOrganizationType = "3D" if times == 1 else "3D_TEMPORAL"
    pointers = [_STACK, *([_TIME] if times > 1 else []), _IN_STACK]
    ds.DimensionIndexSequence = DicomSequence(
        [
            item(DimensionOrganizationUID=organisation, DimensionIndexPointer=p, FunctionalGroupPointer=_FRAME_CONTENT)
            for p in pointers
        ]
    )
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(
        [_frame_groups(series, t, z) for t in range(times) for z in range(slices)]
    )
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def _add_enhanced(ds: Dataset, series: DerivedSeries) -> Dataset:
    """What makes it an enhanced CT or MR image; returns the type that every frame has."""
    ds.SOPClassUID, ds.ImageType = ENHANCED[series.modality], ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    frame_type = item(FrameType=ds.ImageType)
    for part in (ds, frame_type):
        part.PixelPresentation, part.VolumetricProperties = "MONOCHROME", "VOLUME"
        part.VolumeBasedCalculationTechnique = "NONE"
        if series.modality == "MR":
            part.ComplexImageComponent, part.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    ds.ContentQualification = "RESEARCH"
    ds.AcquisitionContextSequence = DicomSequence([])
    if series.modality == "MR":  # checked for even in derived images, which state no dose
        agency = value(series.source.first, "ApplicableSafetyStandardAgency") if series.source is not None else None
        ds.ApplicableSafetyStandardAgency = agency or "IEC"
    if "ReferencedSeriesSequence" in ds:
        ds.pop("DerivationDescription", None)  # it stands in the derivation of every frame
        ds.SourceImageEvidenceSequence = DicomSequence([_evidence(ds)])
    return frame_type


def _add_capture(ds: Dataset, rescale: Dataset) -> None:
    """What makes it a multi-frame secondary capture."""
    ds.SOPClassUID, ds.ImageType = MULTIFRAME_CAPTURE, ["DERIVED", "SECONDARY", "OTHER"]
    ds.ConversionType, ds.PatientOrientation, ds.Laterality = "WSD", "", ""
    ds.PixelRepresentation = 0
    ds.update(rescale)
    if ds.NumberOfFrames > 1:
        ds.FrameIncrementPointer = _PAGES
        ds.PageNumberVector = list(range(1, ds.NumberOfFrames + 1))


def _evidence(ds: Dataset) -> Dataset:
    """The source images as the enhanced objects want them: study, series, instances."""
    source = ds.ReferencedSeriesSequence[0]
    series = item(SeriesInstanceUID=source.SeriesInstanceUID)
    series.ReferencedSOPSequence = source.ReferencedInstanceSequence
    study = item(StudyInstanceUID=ds.StudyInstanceUID)
    study.ReferencedSeriesSequence = DicomSequence([series])
    return study


def _shared_groups(series: DerivedSeries, frame_type: Dataset | None, rescale: Dataset) -> Dataset:
    """What all frames have in common; `frame_type` is that of an enhanced image."""
    groups = Dataset()
    groups.PixelMeasuresSequence = DicomSequence(
        [
            item(
                PixelSpacing=[decimal(v) for v in series.spacing],
                SliceThickness=decimal(series.step_mm),
                SpacingBetweenSlices=decimal(series.step_mm),
            )
        ]
    )
    groups.PlaneOrientationSequence = DicomSequence(
        [item(ImageOrientationPatient=[decimal(v) for v in series.orientation])]
    )
    if frame_type is not None:
        anatomy = item(FrameLaterality="U")
        anatomy.AnatomicRegionSequence = DicomSequence([coded("38266002", "SCT", "Entire body")])
        groups.FrameAnatomySequence = DicomSequence([anatomy])
        setattr(groups, f"{series.modality}ImageFrameTypeSequence", DicomSequence([frame_type]))
    if frame_type is not None and series.modality == "CT":
        event = value(series.source.first, "IrradiationEventUID") if series.source is not None else None
        groups.IrradiationEventIdentificationSequence = DicomSequence([item(IrradiationEventUID=event or new_uid())])
    groups.PixelValueTransformationSequence = DicomSequence([rescale])
    groups.FrameVOILUTSequence = DicomSequence([series.voi()])
    return groups


def _frame_groups(series: DerivedSeries, t: int, z: int) -> Dataset:
    """Time, place and sources of one frame."""
    groups, content = Dataset(), item(StackID="1", InStackPositionNumber=z + 1)
    content.DimensionIndexValues = [1, z + 1] if series.stored.shape[0] == 1 else [1, t + 1, z + 1]
    if series.stored.shape[0] > 1:
        content.TemporalPositionIndex = t + 1
        if series.volume.times_s is not None:
            groups.TemporalPositionSequence = DicomSequence(
                [item(TemporalPositionTimeOffset=float(series.volume.times_s[t]))]
            )
        if series.b_value(t) is not None:
            groups.MRDiffusionSequence = DicomSequence(
                [item(DiffusionBValue=series.b_value(t), DiffusionDirectionality="NONE")]
            )
    groups.FrameContentSequence = DicomSequence([content])
    groups.PlanePositionSequence = DicomSequence([item(ImagePositionPatient=[decimal(v) for v in series.position(z)])])
    references = series.sources_of(z)
    if references:
        derived = item(DerivationDescription=series.derivation.text[:1024])
        derived.SourceImageSequence = DicomSequence([source_image(*r) for r in references])
        derived.DerivationCodeSequence = DicomSequence([coded("113085", "DCM", "Spatial resampling")])
        groups.DerivationImageSequence = DicomSequence([derived])
    return groups
