"""One slice of a series as an object of its own: CT, MR or secondary capture (PS3.3 A.3, A.4, A.8)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from recon3d.io.dicom.derived import DerivedSeries
from recon3d.io.dicom.elements import add_missing, clock_text, decimal, new_uid, source_image

SINGLE = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def single_frame(series: DerivedSeries, index: int) -> Dataset:
    """Slice `index` of the series, counted over times and then z, as an object of its own."""
    t, z = divmod(index, series.stored.shape[1])
    ds = Dataset()
    ds.update(series.shared)
    ds.SOPClassUID = SINGLE.get(series.modality, SECONDARY_CAPTURE)
    ds.SOPInstanceUID, ds.InstanceNumber = new_uid(), index + 1
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if series.modality == "CT" else "OTHER"]
    if series.modality not in SINGLE:
        ds.ConversionType, ds.PatientOrientation = "WSD", ""
    ds.AcquisitionNumber = t + 1
    ds.ImagePositionPatient = [decimal(v) for v in series.position(z)]
    ds.ImageOrientationPatient = [decimal(v) for v in series.orientation]
    ds.PixelSpacing = [decimal(v) for v in series.spacing]
    ds.SliceThickness = decimal(series.step_mm)
    if series.modality == "MR":
        ds.SpacingBetweenSlices = decimal(series.step_mm)
        add_missing(ds, ScanningSequence="RM", SequenceVariant="NONE")
        add_missing(ds, ScanOptions="", MRAcquisitionType="", RepetitionTime="", EchoTime="", EchoTrainLength="")
    if series.modality == "CT":
        add_missing(ds, KVP="")
    if series.modality != "MR" or (series.slope, series.intercept) != (1.0, 0.0):
        ds.update(series.rescale())
    ds.update(series.voi())
    if series.stored.shape[0] > 1:
        ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = t + 1, series.stored.shape[0]
        if series.volume.times_s is not None:
            ds.AcquisitionTime = clock_text(series.volume.times_s[t] - series.volume.times_s[0])
        if series.b_value(t) is not None:
            ds.DiffusionBValue = series.b_value(t)
    references = series.sources_of(z)
    if references:
        ds.SourceImageSequence = DicomSequence([source_image(*r) for r in references])
    ds.PixelData = series.stored[t, z].tobytes()
    ds["PixelData"].VR = "OW"
    return ds
