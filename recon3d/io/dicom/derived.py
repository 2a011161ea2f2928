"""A volume as a derived series: what every object of it shares, standing alone or over the series it was made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID

from recon3d.errors import GeometryError
from recon3d.grid import AffineGrid
from recon3d.io.dicom import find
from recon3d.io.dicom import series as stacks
from recon3d.io.dicom.elements import add_missing, decimal, item, new_uid, quantised, reference
from recon3d.io.dicom.geometry import LPS_TO_RAS
from recon3d.io.dicom.header import parse, value, words
from recon3d.volume import Volume

_PATIENT = words(
    "SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge "
    "PatientSize PatientWeight PatientIdentityRemoved DeidentificationMethod "
    "DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified StudyInstanceUID StudyDate "
    "StudyTime StudyID AccessionNumber ReferringPhysicianName StudyDescription FrameOfReferenceUID "
    "PositionReferenceIndicator PatientPosition BodyPartExamined "
)
_UNPAIRED = set(words("ABDOMEN BRAIN CHEST CSPINE HEAD HEART LSPINE NECK PELVIS SKULL TSPINE WHOLEBODY"))
ACQUISITION = {
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
class Source:
    """Headers of the source series: one dataset per file, and which SOP instances lie at which position (LPS)."""

    headers: list[Dataset]
    positions: NDArray[np.float64]
    references: list[tuple[str, str]]
    series_uid: str

    @property
    def first(self) -> Dataset:
        return self.headers[0]


class DerivedSeries:
    """A series to be written: the stored values, their place, and what all its objects share."""

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
            for keyword in (*_PATIENT, *ACQUISITION.get(self.modality, ())):
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
        add_missing(ds, PatientPosition="")
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
                [reference(*r) for r in dict.fromkeys(self.source.references)]
            )
            ds.ReferencedSeriesSequence = DicomSequence([series])
        return ds

    def position(self, z: int) -> NDArray[np.float64]:
        """Centre of the first pixel of a slice, LPS mm."""
        return np.asarray(self.place[:3, 3] + z * self.place[:3, 2])

    def sources_of(self, z: int) -> list[tuple[str, str]]:
        """The source images whose plane lies nearest, at most half a step away; all are listed with the series."""
        if self.source is None or not self.source.references:
            return []
        away = np.abs((self.source.positions - self.position(z)) @ self.normal)
        near = np.flatnonzero(away <= max(away.min() + 1e-3, self.step_mm / 2))
        return list(dict.fromkeys(self.source.references[i] for i in near))

    @property
    def step_mm(self) -> float:
        """Distance of the planes of neighbouring slices."""
        return abs(float(self.place[:3, 2] @ self.normal))

    def b_value(self, t: int) -> float | None:
        """Diffusion weighting of a volume of the series, s/mm^2, where it is known."""
        weights = self.volume.tags.get("b_values_s_per_mm2")
        return float(weights[t]) if weights is not None and len(weights) == self.stored.shape[0] else None

    def voi(self) -> Dataset:
        """The window as elements of a header."""
        window = item(WindowCenter=decimal(self.window[0]), WindowWidth=decimal(self.window[1]))
        if self.window[1] < 1:  # the plain linear function needs a width of at least one
            window.VOILUTFunction = "LINEAR_EXACT"
        return window

    def rescale(self, intercept: float | None = None) -> Dataset:
        """The way from stored values to the volume's as elements of a header; `intercept` in place of the own."""
        unit = self.volume.units if self.volume.units in ("HU", "1/mm") else "US"
        start = self.intercept if intercept is None else intercept
        return item(RescaleIntercept=decimal(start), RescaleSlope=decimal(self.slope), RescaleType=unit)


def _source_units(dataset: Dataset) -> str:
    """Units of a single-frame source."""
    return "HU" if value(dataset, "Modality") == "CT" and value(dataset, "RescaleType", "HU") == "HU" else "1"


def _read_source(path: str | os.PathLike[str], series: int | str | None) -> Source:
    chosen = stacks.choose(stacks.series_in(find.sources(path)), series)
    frames = [f for plane in chosen.planes for f in plane]
    headers = {id(f.source): parse(f.source) for f in frames}
    uids = {key: str(value(ds, "SOPInstanceUID", "")) for key, ds in headers.items()}
    usable = all(UID(u).is_valid and u for u in uids.values()) and UID(chosen.uid).is_valid and chosen.uid
    placed = [f for f in frames if f.position is not None]
    return Source(
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


def recon3d_version() -> str:
    """Version of the installed package, empty in a bare checkout."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("recon3d")
    except PackageNotFoundError:
        return ""
