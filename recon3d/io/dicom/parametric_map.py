"""Write a map of real numbers beside a reconstruction, such as its uncertainty, as a DICOM Parametric Map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.io.dicom.derived import EMPTY, Derivation, DerivedSeries, recon3d_version
from recon3d.io.dicom.elements import MAX_OBJECT_BYTES, new_uid
from recon3d.io.dicom.header import quiet
from recon3d.io.dicom.single_frame import single_frame
from recon3d.volume import Volume

_UNITS = {"HU": ("[hnsf'U]", "Hounsfield unit"), "1/mm": ("/mm", "per millimeter")}


@quiet()
def write_parametric_map(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    label: str = "UNCERTAINTY",
    explanation: str = "Standard deviation of the reconstruction",
    source: str | os.PathLike[str] | None = None,
    source_series: int | str | None = None,
    derivation: Derivation | None = None,
    overwrite: bool = False,
) -> Path:
    """Write (z, y, x) float32 values, unscaled, with their unit; `source` is the series the map belongs to.

    Parameters
    ----------
    volume : real, in its own units ("HU", "1/mm", anything else is written as without a unit)
    path : file
    label : at most 16 capitals, digits or underscores
    explanation : what the numbers mean, at most 64 characters
    source, source_series, derivation : as in `write_series`

    Raises
    ------
    InputError, GeometryError, OutputExistsError, DiskFullError
    """
    import highdicom

    path = Path(path)
    if volume.data.ndim != 3 or np.iscomplexobj(volume.data):
        raise InputError(
            f"A parametric map holds one real volume (z, y, x), got {volume.data.dtype} of shape {volume.shape}."
        )
    data = np.asarray(volume.data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise InputError("The map holds values that are not finite numbers; mask them first.")
    if data.nbytes > MAX_OBJECT_BYTES:
        raise InputError("The map is larger than the 4 GiB one DICOM object can hold; resample it first.")
    series = DerivedSeries(volume, source, source_series, derivation, "", None, None)
    code, meaning = _UNITS.get(volume.units, ("1", "no units"))
    low, high = float(data.min()), float(data.max())
    headers = series.source.headers if series.source is not None and series.source.references else []
    for header in headers:
        for keyword in EMPTY:  # asked for by the library, though a source may lack them
            setattr(header, keyword, header.get(keyword) or "")
    frames = np.ascontiguousarray(series.frames[0], dtype=np.float32)
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=label[:16],
        lut_explanation=explanation[:64],
        unit=highdicom.sr.CodedConcept(code, "UCUM", meaning),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    dataset = highdicom.pm.ParametricMap(
        source_images=headers or [single_frame(series, z) for z in range(frames.shape[0])],
        pixel_array=frames,
        series_instance_uid=new_uid(),
        series_number=int(series.shared.SeriesNumber) + 1,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer="recon3d",
        manufacturer_model_name="recon3d",
        software_versions=series.derivation.version or recon3d_version() or "unknown",
        device_serial_number="none",
        contains_recognizable_visual_features=True,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(window_center=(low + high) / 2, window_width=max(high - low, 1.0))
        ],
        content_label=label[:16],
        content_description=explanation[:64],
        pixel_measures=highdicom.PixelMeasuresSequence(
            series.spacing, slice_thickness=series.step_mm, spacing_between_slices=series.step_mm
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", series.orientation),
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", [float(v) for v in series.position(z)])
            for z in range(frames.shape[0])
        ],
    )
    if not headers:  # there is no source: the slices that lent their patient and place must not be referred to
        dataset.pop("ReferencedSeriesSequence", None)
        for group in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
            group.pop("DerivationImageSequence", None)
    dataset.Laterality = ""
    dataset.SeriesDescription = f"{series.derivation.label} {label.lower()}"[:64]
    with atomic_path(path, overwrite, bytes_needed=data.nbytes) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return path
