"""Write a Volume as a DICOM series: in place over a source series, or standing alone; single-frame or enhanced."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from recon3d.errors import DiskFullError, GeometryError, InputError, OutputExistsError
from recon3d.grid import AffineGrid
from recon3d.io.atomic import atomic_path, is_disk_full
from recon3d.io.dicom import find, ultrasound
from recon3d.io.dicom import series as stacks
from recon3d.io.dicom.geometry import LPS_TO_RAS
from recon3d.io.dicom.header import parse, quiet, value, words
from recon3d.scan import Scan
from recon3d.volume import Volume

SINGLE = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
MULTIFRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
IMPLEMENTATION = "2.25.164391563280473061402537271063283718921"
MAX_OBJECT_BYTES = (1 << 32) - 2

_PATIENT = words(
    "SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge "
    "PatientSize PatientWeight PatientIdentityRemoved DeidentificationMethod "
    "DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified StudyInstanceUID StudyDate "
    "StudyTime StudyID AccessionNumber ReferringPhysicianName StudyDescription FrameOfReferenceUID "
    "PositionReferenceIndicator PatientPosition BodyPartExamined "
)
_UNPAIRED = set(words("ABDOMEN BRAIN CHEST CSPINE HEAD HEART LSPINE NECK PELVIS SKULL TSPINE WHOLEBODY"))
_ACQUISITION = {
    "CT": ["KVP", "ConvolutionKernel", "ContrastBolusAgent"],
    "MR": words(
        "ScanningSequence SequenceVariant ScanOptions MRAcquisitionType RepetitionTime EchoTime InversionTime "
        "EchoTrainLength MagneticFieldStrength FlipAngle"
    ),
}
EMPTY = words(
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName "
)


@dataclass(frozen=True)
class Derivation:
    """How a series came to be, for its header: method, hash of the model (empty without one), version of recon3d."""

    method: str = "conversion"
    model_hash: str = ""
    version: str = ""

    @property
    def text(self) -> str:
        version = f" {self.version}" if self.version else ""
        model = f", learned model {self.model_hash}" if self.model_hash else ""
        return f"recon3d{version}: {self.method}{model}. Not for diagnostic use."

    @property
    def label(self) -> str:
        """For the series description: at most 64 characters, and it says where a network took part."""
        return f"recon3d {self.method[:40]}" + (" (AI)" if self.model_hash else "")


@dataclass(frozen=True)
class _Source:
    """Headers of the source series: one dataset per file, and which SOP instances lie at which position (LPS)."""

    headers: list[Dataset]
    positions: NDArray[np.float64]
    references: list[tuple[str, str]]
    series_uid: str

    @property
    def first(self) -> Dataset:
        return self.headers[0]


@quiet()
def write_series(
    volume: Volume,
    folder: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    source_series: int | str | None = None,
    derivation: Derivation | None = None,
    series_description: str = "",
    series_number: int | None = None,
    window: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write one file per slice into a new folder: all of them, or none.

    Parameters
    ----------
    volume : (z, y, x) or (t, z, y, x), real, on an AffineGrid
    folder : made here; its files are named by number, never by patient
    source : DICOM the volume was made from: its patient, study and frame of reference are kept, its images referenced
    source_series : which series of it, where it holds several
    derivation : method, model and version for the derivation description
    series_description, series_number : default to the derivation's label and to the source's number + 1000
    window : (centre, width) in the volume's units; default the source's, else 40 / 400 HU or the 1 to 99 % range

    Raises
    ------
    InputError, GeometryError, OutputExistsError, DiskFullError
    """
    folder = Path(folder)
    writer = SeriesWriter(volume, source, source_series, derivation, series_description, series_number, window)
    count = writer.stored.shape[0] * writer.stored.shape[1]
    names = [f"IM{i + 1:06d}.dcm" for i in range(count)]
    with atomic_folder(folder, overwrite) as temporary:
        for index, name in enumerate(names):
            save_dataset(writer.single(index), temporary / name)
    return [folder / name for name in names]


@quiet()
def write_enhanced(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    source_series: int | str | None = None,
    derivation: Derivation | None = None,
    series_description: str = "",
    series_number: int | None = None,
    window: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the whole volume as one multi-frame file, enhanced or ultrasound; parameters as `write_series`."""
    path = Path(path)
    writer = SeriesWriter(volume, source, source_series, derivation, series_description, series_number, window)
    with atomic_path(path, overwrite, bytes_needed=writer.stored.nbytes) as temporary:
        save_dataset(_whole(writer), temporary)
    return path


@quiet()
def write(
    obj: Volume | Scan,
    path: Path,
    *,
    source: str | os.PathLike[str] | None = None,
    source_series: int | str | None = None,
    derivation: Derivation | None = None,
    series_description: str = "",
    series_number: int | None = None,
    window: tuple[float, float] | None = None,
) -> None:
    """Write a volume as one enhanced multi-frame file for `recon3d.io.save`; parameters as `write_series`."""
    if not isinstance(obj, Volume):
        raise InputError(f"DICOM holds volumes, not a {type(obj).__name__}: save it as .h5.")
    writer = SeriesWriter(obj, source, source_series, derivation, series_description, series_number, window)
    save_dataset(_whole(writer), path)


def _whole(writer: SeriesWriter) -> Dataset:
    """A series as one object: planes of ultrasound as cine, all else enhanced."""
    return ultrasound.multiframe(writer) if ultrasound.is_cine(writer) else writer.enhanced()


class SeriesWriter:
    """One series being written: the stored values, their place, and what all its objects share."""

    def __init__(
        self,
        volume: Volume,
        source: str | os.PathLike[str] | None,
        source_series: int | str | None,
        derivation: Derivation | None,
        series_description: str,
        series_number: int | None,
        window: tuple[float, float] | None,
    ) -> None:
        if not isinstance(volume.grid, AffineGrid):
            raise GeometryError(
                f"DICOM needs a volume on an AffineGrid, this one lies on a {type(volume.grid).__name__}."
            )
        self.volume = volume
        self.derivation = derivation or Derivation(version=recon3d_version())
        self.source = None if source is None else _read_source(source, source_series)
        self.modality = self._modality()
        data, matrix = _displayed(volume) if source is None else (volume.data, volume.grid.matrix)
        self.frames = data if data.ndim == 4 else data[None]
        self.stored, self.slope, self.intercept = quantised(self.frames, volume.units)
        self.place = LPS_TO_RAS @ matrix
        self.spacing, self.orientation, self.normal = _plane(self.place)
        self.window = window or self._default_window()
        self.shared = self._header(series_description, series_number)

    def _modality(self) -> str:
        if self.volume.units in ("HU", "1/mm"):
            return "CT"
        named = str(
            self.volume.tags.get("modality") or (value(self.source.first, "Modality", "") if self.source else "")
        )
        return named if named in ("CT", "MR", "US", "PT", "NM") else "OT"

    def _default_window(self) -> tuple[float, float]:
        if self.source is not None:
            centre, width = (value(self.source.first, k) for k in ("WindowCenter", "WindowWidth"))
            same = _source_units(self.source.first) == self.volume.units
            try:
                if same and float(np.ravel(width)[0]) >= 1:
                    return float(np.ravel(centre)[0]), float(np.ravel(width)[0])
            except (TypeError, ValueError):
                pass
        if self.volume.units == "HU":
            return 40.0, 400.0
        low, high = np.percentile(self.stored, (1, 99)) * self.slope + self.intercept
        return float(low + high) / 2, max(float(high - low), self.slope)

    def _header(self, description: str, number: int | None) -> Dataset:
        now, ds = datetime.now(), Dataset()
        for keyword in EMPTY:
            setattr(ds, keyword, "")
        if self.source is not None:
            for keyword in (*_PATIENT, *_ACQUISITION.get(self.modality, ())):
                if value(self.source.first, keyword) is not None:
                    ds[keyword] = self.source.first[keyword]
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            if not value(ds, keyword):
                setattr(ds, keyword, new_uid())
        ds.SpecificCharacterSet = value(ds, "SpecificCharacterSet", "ISO_IR 192")
        ds.SeriesInstanceUID = new_uid()
        own = int(value(self.source.first, "SeriesNumber", 0) or 0) if self.source else 0
        ds.SeriesNumber = number if number is not None else 1000 + own
        ds.Modality = self.modality
        ds.SeriesDescription = (description or self.derivation.label)[:64]
        ds.DerivationDescription = self.derivation.text[:1024]
        ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber = "recon3d", "recon3d", "none"
        ds.SoftwareVersions = self.derivation.version or recon3d_version() or "unknown"
        ds.PositionReferenceIndicator = value(ds, "PositionReferenceIndicator", "")
        ds.InstanceCreationDate = ds.SeriesDate = ds.ContentDate = now.strftime("%Y%m%d")
        ds.InstanceCreationTime = ds.SeriesTime = ds.ContentTime = now.strftime("%H%M%S")
        if not ds.StudyDate and self.source is None:
            ds.StudyDate, ds.StudyTime = ds.SeriesDate, ds.SeriesTime
        ds.BurnedInAnnotation = "NO"
        _default(ds, PatientPosition="")
        if str(value(ds, "BodyPartExamined", "")) in _UNPAIRED:
            ds.pop("Laterality", None)
        else:  # a part that may be paired: its side is empty where it is not known
            ds.pop("BodyPartExamined", None)
            ds.Laterality = ""
        lossy = value(self.source.first, "LossyImageCompression") if self.source else None
        ds.LossyImageCompression = "01" if lossy == "01" else "00"
        if ds.LossyImageCompression == "01":
            ds.LossyImageCompressionRatio = value(self.source.first, "LossyImageCompressionRatio", 1.0)  # type: ignore[union-attr]
            ds.LossyImageCompressionMethod = value(self.source.first, "LossyImageCompressionMethod", "ISO_10918_1")  # type: ignore[union-attr]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = self.stored.shape[-2:]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, int(self.stored.dtype.kind == "i")
        if self.source is not None and self.source.references:
            series = Dataset()
            series.SeriesInstanceUID = self.source.series_uid
            series.ReferencedInstanceSequence = DicomSequence(
                [_reference(*r) for r in dict.fromkeys(self.source.references)]
            )
            ds.ReferencedSeriesSequence = DicomSequence([series])
        return ds

    def position(self, z: int) -> NDArray[np.float64]:
        return np.asarray(self.place[:3, 3] + z * self.place[:3, 2])

    def sources_of(self, z: int) -> list[tuple[str, str]]:
        """The source images whose plane lies nearest, at most half a step away; all are listed with the series."""
        if self.source is None or not self.source.references:
            return []
        away = np.abs((self.source.positions - self.position(z)) @ self.normal)
        step = abs(float(self.place[:3, 2] @ self.normal))
        near = np.flatnonzero(away <= max(away.min() + 1e-3, step / 2))
        return list(dict.fromkeys(self.source.references[i] for i in near))

    @property
    def step_mm(self) -> float:
        return abs(float(self.place[:3, 2] @ self.normal))

    def single(self, index: int) -> Dataset:
        """One slice as an object of its own."""
        t, z = divmod(index, self.stored.shape[1])
        ds = Dataset()
        ds.update(self.shared)
        ds.SOPClassUID = SINGLE.get(self.modality, SECONDARY_CAPTURE)
        ds.SOPInstanceUID, ds.InstanceNumber = new_uid(), index + 1
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if self.modality == "CT" else "OTHER"]
        if self.modality not in SINGLE:
            ds.ConversionType, ds.PatientOrientation = "WSD", ""
        ds.AcquisitionNumber = t + 1
        ds.ImagePositionPatient = [decimal(v) for v in self.position(z)]
        ds.ImageOrientationPatient = [decimal(v) for v in self.orientation]
        ds.PixelSpacing = [decimal(v) for v in self.spacing]
        ds.SliceThickness = decimal(self.step_mm)
        if self.modality == "MR":
            ds.SpacingBetweenSlices = decimal(self.step_mm)
            _default(
                ds,
                ScanningSequence="RM",
                SequenceVariant="NONE",
                ScanOptions="",
                MRAcquisitionType="",
                RepetitionTime="",
            )
            _default(ds, EchoTime="", EchoTrainLength="")
        if self.modality == "CT":
            _default(ds, KVP="")
        self._rescale(ds, single=True)
        ds.update(self._window())
        if self.stored.shape[0] > 1:
            ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = t + 1, self.stored.shape[0]
            if self.volume.times_s is not None:
                ds.AcquisitionTime = clock_text(self.volume.times_s[t] - self.volume.times_s[0])
            if self._b_value(t) is not None:
                ds.DiffusionBValue = self._b_value(t)
        references = self.sources_of(z)
        if references:
            ds.SourceImageSequence = DicomSequence([_source_item(*r) for r in references])
        ds.PixelData = self.stored[t, z].tobytes()
        ds["PixelData"].VR = "OW"
        return ds

    def _b_value(self, t: int) -> float | None:
        weights = self.volume.tags.get("b_values_s_per_mm2")
        return float(weights[t]) if weights is not None and len(weights) == self.stored.shape[0] else None

    def _window(self) -> Dataset:
        window = _item(WindowCenter=decimal(self.window[0]), WindowWidth=decimal(self.window[1]))
        if self.window[1] < 1:  # the plain linear function needs a width of at least one
            window.VOILUTFunction = "LINEAR_EXACT"
        return window

    def _rescale(self, ds: Dataset, single: bool) -> None:
        if single and self.modality == "MR" and (self.slope, self.intercept) == (1.0, 0.0):
            return
        ds.RescaleIntercept, ds.RescaleSlope = decimal(self.intercept), decimal(self.slope)
        ds.RescaleType = {"HU": "HU", "1/mm": "1/mm"}.get(self.volume.units, "US")

    def enhanced(self) -> Dataset:
        """All slices as one object with functional groups."""
        if self.stored.nbytes > MAX_OBJECT_BYTES:
            raise InputError(
                "The volume is larger than the 4 GiB one DICOM object can hold; write single-frame files instead."
            )
        ds = Dataset()
        ds.update(self.shared)
        times, slices = self.stored.shape[:2]
        # An enhanced CT image holds HU and nothing else; other values go into a multi-frame secondary capture.
        full = self.modality == "MR" or (self.modality == "CT" and self.volume.units == "HU")
        ds.SOPClassUID = ENHANCED[self.modality] if full else MULTIFRAME_CAPTURE
        ds.SOPInstanceUID, ds.InstanceNumber, ds.NumberOfFrames = new_uid(), 1, times * slices
        kind = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
        ds.ImageType, ds.PresentationLUTShape = kind, "IDENTITY"
        frame_type = _item(FrameType=kind)
        for keyword in (*_ACQUISITION["MR"], *_ACQUISITION["CT"], "Laterality"):
            ds.pop(keyword, None)
        if full:
            for part in (ds, frame_type):
                part.PixelPresentation, part.VolumetricProperties = "MONOCHROME", "VOLUME"
                part.VolumeBasedCalculationTechnique = "NONE"
                if self.modality == "MR":
                    part.ComplexImageComponent, part.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
            ds.ContentQualification = "RESEARCH"
            ds.AcquisitionContextSequence = DicomSequence([])
            if self.modality == "MR":  # checked for even in derived images, which state no dose
                agency = value(self.source.first, "ApplicableSafetyStandardAgency") if self.source is not None else None
                ds.ApplicableSafetyStandardAgency = agency or "IEC"
            if "ReferencedSeriesSequence" in ds:
                ds.pop("DerivationDescription", None)  # it stands in the derivation of every frame
                ds.SourceImageEvidenceSequence = DicomSequence([self._evidence(ds)])
        else:
            ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
            ds.ConversionType, ds.PatientOrientation, ds.Laterality = "WSD", "", ""
            if self.stored.dtype.kind == "i":  # this object holds unsigned values only
                self.stored = (self.stored.astype(np.int32) + 32768).astype("<u2")
                self.intercept -= 32768 * self.slope
                ds.PixelRepresentation = 0
            ds.RescaleIntercept, ds.RescaleSlope = decimal(self.intercept), decimal(self.slope)
            ds.RescaleType = "1/mm" if self.volume.units == "1/mm" else "US"
            if times * slices > 1:
                ds.FrameIncrementPointer = 0x00182001
                ds.PageNumberVector = list(range(1, times * slices + 1))
        ds.SharedFunctionalGroupsSequence = DicomSequence([self._shared_groups(frame_type if full else None)])
        organisation = new_uid()
        ds.DimensionOrganizationSequence = DicomSequence([_item(DimensionOrganizationUID=organisation)])
        ds.DimensionOrganizationType = "3D" if times == 1 else "3D_TEMPORAL"
        content = 0x00209111
        pointers = [(0x00209056, content), *([(0x00209128, content)] if times > 1 else []), (0x00209057, content)]
        ds.DimensionIndexSequence = DicomSequence(
            [
                _item(DimensionOrganizationUID=organisation, DimensionIndexPointer=p, FunctionalGroupPointer=g)
                for p, g in pointers
            ]
        )
        ds.PerFrameFunctionalGroupsSequence = DicomSequence(
            [self._frame_groups(t, z) for t in range(times) for z in range(slices)]
        )
        ds.PixelData = self.stored.tobytes()
        ds["PixelData"].VR = "OW"
        return ds

    def _evidence(self, ds: Dataset) -> Dataset:
        """The source images as the enhanced objects want them: study, series, instances."""
        series = _item(SeriesInstanceUID=self.source.series_uid)  # type: ignore[union-attr]
        series.ReferencedSOPSequence = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        study = _item(StudyInstanceUID=ds.StudyInstanceUID)
        study.ReferencedSeriesSequence = DicomSequence([series])
        return study

    def _shared_groups(self, frame_type: Dataset | None) -> Dataset:
        groups = Dataset()
        groups.PixelMeasuresSequence = DicomSequence(
            [
                _item(
                    PixelSpacing=[decimal(v) for v in self.spacing],
                    SliceThickness=decimal(self.step_mm),
                    SpacingBetweenSlices=decimal(self.step_mm),
                )
            ]
        )
        groups.PlaneOrientationSequence = DicomSequence(
            [_item(ImageOrientationPatient=[decimal(v) for v in self.orientation])]
        )
        if frame_type is not None:
            anatomy = _item(FrameLaterality="U")
            anatomy.AnatomicRegionSequence = DicomSequence([_code("38266002", "SCT", "Entire body")])
            groups.FrameAnatomySequence = DicomSequence([anatomy])
            setattr(groups, f"{self.modality}ImageFrameTypeSequence", DicomSequence([frame_type]))
        if frame_type is not None and self.modality == "CT":
            event = value(self.source.first, "IrradiationEventUID") if self.source is not None else None
            groups.IrradiationEventIdentificationSequence = DicomSequence(
                [_item(IrradiationEventUID=event or new_uid())]
            )
        transform = Dataset()
        self._rescale(transform, single=False)
        groups.PixelValueTransformationSequence = DicomSequence([transform])
        groups.FrameVOILUTSequence = DicomSequence([self._window()])
        return groups

    def _frame_groups(self, t: int, z: int) -> Dataset:
        groups, content = Dataset(), _item(StackID="1", InStackPositionNumber=z + 1)
        content.DimensionIndexValues = [1, z + 1] if self.stored.shape[0] == 1 else [1, t + 1, z + 1]
        if self.stored.shape[0] > 1:
            content.TemporalPositionIndex = t + 1
            if self.volume.times_s is not None:
                groups.TemporalPositionSequence = DicomSequence(
                    [_item(TemporalPositionTimeOffset=float(self.volume.times_s[t]))]
                )
            if self._b_value(t) is not None:
                groups.MRDiffusionSequence = DicomSequence(
                    [_item(DiffusionBValue=self._b_value(t), DiffusionDirectionality="NONE")]
                )
        groups.FrameContentSequence = DicomSequence([content])
        groups.PlanePositionSequence = DicomSequence(
            [_item(ImagePositionPatient=[decimal(v) for v in self.position(z)])]
        )
        references = self.sources_of(z)
        if references:
            derived = _item(DerivationDescription=self.derivation.text[:1024])
            derived.SourceImageSequence = DicomSequence([_source_item(*r) for r in references])
            derived.DerivationCodeSequence = DicomSequence([_code("113085", "DCM", "Spatial resampling")])
            groups.DerivationImageSequence = DicomSequence([derived])
        return groups


def quantised(data: NDArray[Any], units: str) -> tuple[NDArray[Any], float, float]:
    """16-bit values with slope and intercept such that stored * slope + intercept is within half a slope of the data.

    Whole numbers, and HU, keep a slope of one where they fit; anything else gets the full 16 bits over its range.
    """
    if np.iscomplexobj(data):
        raise InputError("DICOM stores real values: take the magnitude of a complex volume first.")
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The volume holds values that are not finite numbers; they cannot be written to DICOM.")
    if low >= -32768 and high <= 32767 and (units == "HU" or bool(np.array_equal(data, np.rint(data)))):
        return np.rint(data).astype("<i2"), 1.0, 0.0
    # Rounded to what a decimal string of the header can hold before it is used, so that readers see the same numbers.
    intercept = float(decimal(low))
    slope = float(decimal(max((high - low) / 65534, 4 * abs(intercept - low)))) if high > low else 1.0
    stored = np.rint((data.astype(np.float64) - intercept) / slope)
    return np.clip(stored, 0, 65535).astype("<u2"), slope, intercept


def decimal(number: float) -> str:
    """A decimal string of at most 16 characters."""
    number = float(number)
    return format_number_as_ds(0.0 if abs(number) < 1e-14 else number)


def new_uid() -> str:
    """A fresh UID from a random UUID."""
    return str(generate_uid(prefix=None))


def recon3d_version() -> str:
    """Version of the installed package, empty in a bare checkout."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("recon3d")
    except PackageNotFoundError:
        return ""


def _source_units(dataset: Dataset) -> str:
    """Units of a single-frame source."""
    return "HU" if value(dataset, "Modality") == "CT" and value(dataset, "RescaleType", "HU") == "HU" else "1"


def _read_source(path: str | os.PathLike[str], series: int | str | None) -> _Source:
    chosen = stacks.choose(stacks.series_in(find.sources(path)), series)
    frames = [f for plane in chosen.planes for f in plane]
    headers = {id(f.source): parse(f.source) for f in frames}
    uids = {key: str(value(ds, "SOPInstanceUID", "")) for key, ds in headers.items()}
    usable = all(UID(u).is_valid and u for u in uids.values()) and UID(chosen.uid).is_valid and chosen.uid
    placed = [f for f in frames if f.position is not None]
    return _Source(
        list(headers.values()),
        np.array([f.position for f in placed], dtype=float).reshape(-1, 3),
        [(f.sop_class, uids[id(f.source)]) for f in placed] if usable else [],
        chosen.uid,
    )


def _displayed(volume: Volume) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The volume with its in-plane axes flipped to run to the left, the back and the feet, as viewers expect."""
    assert isinstance(volume.grid, AffineGrid)
    data, matrix = volume.data, volume.grid.matrix
    for column, axis, length in ((0, -1, volume.grid.shape[2]), (1, -2, volume.grid.shape[1])):
        main = int(np.abs(matrix[:3, column]).argmax())
        if matrix[main, column] > 0:  # RAS: right, front and head are positive
            matrix[:3, 3] += (length - 1) * matrix[:3, column]
            matrix[:3, column] *= -1
            data = np.flip(data, axis)
    return data, matrix


def _plane(place: NDArray[np.float64]) -> tuple[tuple[float, float], list[float], NDArray[np.float64]]:
    """Row and column spacing, direction cosines and normal of the slices."""
    x_mm, y_mm = np.linalg.norm(place[:3, 0]), np.linalg.norm(place[:3, 1])
    row, column = place[:3, 0] / x_mm, place[:3, 1] / y_mm
    if abs(float(row @ column)) > 1e-4:
        raise GeometryError("DICOM slices have rows and columns at right angles; resample the sheared volume first.")
    return (float(y_mm), float(x_mm)), [*map(float, row), *map(float, column)], np.cross(row, column)


def _default(ds: Dataset, **values: Any) -> None:
    for keyword, default in values.items():
        if keyword not in ds:
            setattr(ds, keyword, default)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, content in values.items():
        setattr(item, keyword, content)
    return item


def _code(code: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def clock_text(seconds: float) -> str:
    """A time of day, counted from midnight."""
    whole = round(seconds * 1e6)
    whole, parts = divmod(whole, 1_000_000)
    return f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{parts:06d}"


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    return _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_instance)


def _source_item(sop_class: str, sop_instance: str) -> Dataset:
    item = _reference(sop_class, sop_instance)
    item.PurposeOfReferenceCodeSequence = DicomSequence(
        [_code("121322", "DCM", "Source image for image processing operation")]
    )
    return item


def save_dataset(ds: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(IMPLEMENTATION)
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


@contextmanager
def atomic_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `folder`, moved onto it when the block ends well and removed when it does not."""
    if folder.exists():
        if not folder.is_dir():
            raise OutputExistsError(f"The output {folder} exists and is a file; choose the name of a new folder.")
        content: Sequence[Path] = list(folder.iterdir())
        if content and not overwrite:
            raise OutputExistsError(
                f"The folder {folder} is not empty: choose another name, or give --force to replace it."
            )
        if any(not p.is_file() or p.suffix != ".dcm" for p in content):
            raise OutputExistsError(
                f"The folder {folder} holds other files than DICOM, which are not replaced; choose another name."
            )
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} of the output {folder.name} does not exist: create it first.")
    temporary = folder.with_name(f".{secrets.token_hex(6)}.part.{folder.name}")
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_disk_full(error):
            raise DiskFullError(
                f"The disk is full: {folder} was not written; make room or choose another disk."
            ) from error
        if isinstance(error, PermissionError):
            raise InputError(f"The output {folder} cannot be written: the folder is protected.") from error
        raise
