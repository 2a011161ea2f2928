"""Ultrasound planes as Ultrasound Multi-frame Image: 8-bit cine, lengths by a calibrated region (PS3.3 A.7, C.8.5)."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from recon3d.io.dicom.derived import DerivedSeries
from recon3d.io.dicom.elements import decimal, new_uid

MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
_FRAME_TIME, _FRAME_TIME_VECTOR, _PAGES = 0x00181063, 0x00181065, 0x00182001
_TWO_D, _TISSUE, _CENTIMETRES = 1, 1, 3
_HIGHEST = 255


def is_cine(series: DerivedSeries) -> bool:
    """Whether a volume is ultrasound of one plane, which this object is for."""
    return series.modality == "US" and series.stored.shape[1] == 1


def multiframe(series: DerivedSeries) -> Dataset:
    """All frames as one object of 8 bits a pixel, black at the lowest and white at the highest value of the series."""
    frames = series.frames[:, 0].astype(np.float64)
    low, high = float(frames.min()), float(frames.max())
    slope = (high - low) / _HIGHEST if high > low else 1.0
    ds = Dataset()
    ds.update(series.shared)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.InstanceNumber = MULTIFRAME, new_uid(), 1
    ds.ImageType = ["DERIVED", "SECONDARY", "", "0001"]  # 0001: 2D imaging
    ds.PatientOrientation, ds.UltrasoundColorDataPresent = "", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = decimal(slope), decimal(low), "US"  # US: unspecified
    ds.WindowCenter, ds.WindowWidth = decimal((low + high) / 2), decimal(max(high - low, slope))
    ds.NumberOfFrames = len(frames)
    _add_times(ds, series.volume.times_s, len(frames))
    ds.SequenceOfUltrasoundRegions = DicomSequence([_region(series)])
    ds.PixelData = np.rint((frames - low) / slope).astype(np.uint8).tobytes() + b"\0" * (frames.size % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _add_times(ds: Dataset, times_s: tuple[float, ...] | None, frames: int) -> None:
    if times_s is None or frames == 1:
        ds.FrameIncrementPointer, ds.PageNumberVector = _PAGES, list(range(1, frames + 1))
        return
    steps_ms = 1e3 * np.diff(times_s)
    if np.ptp(steps_ms) <= 1e-3 * steps_ms.mean():
        ds.FrameIncrementPointer, ds.FrameTime = _FRAME_TIME, decimal(float(steps_ms.mean()))
    else:
        ds.FrameIncrementPointer = _FRAME_TIME_VECTOR
        ds.FrameTimeVector = [decimal(v) for v in (0.0, *map(float, steps_ms))]


def _region(series: DerivedSeries) -> Dataset:
    """The whole picture, its first pixel at its place under the probe (x lateral, y depth), in cm."""
    rows, columns = series.stored.shape[-2:]
    dy, dx = (0.1 * mm for mm in series.spacing)
    first = 0.1 * series.position(0)  # LPS: x to the left and z to the head, as lateral and minus the depth are
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = _TWO_D, _TISSUE, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = _CENTIMETRES
    region.ReferencePixelX0 = region.ReferencePixelY0 = 0
    region.ReferencePixelPhysicalValueX = float(first[0])
    region.ReferencePixelPhysicalValueY = float(-first[2])
    region.PhysicalDeltaX, region.PhysicalDeltaY = float(dx), float(dy)
    return region
