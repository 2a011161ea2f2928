"""Write a Volume as a DICOM series: in place over a source series, or standing alone; single-frame or enhanced."""

from __future__ import annotations

import os
from pathlib import Path

from pydicom.dataset import Dataset

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.io.dicom import ultrasound
from recon3d.io.dicom.derived import Derivation, DerivedSeries
from recon3d.io.dicom.enhanced import enhanced
from recon3d.io.dicom.header import quiet
from recon3d.io.dicom.single_frame import single_frame
from recon3d.io.dicom.storage import atomic_folder, save_dataset
from recon3d.scan import Scan
from recon3d.volume import Volume


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
    series = DerivedSeries(volume, source, source_series, derivation, series_description, series_number, window)
    count = series.stored.shape[0] * series.stored.shape[1]
    names = [f"IM{i + 1:06d}.dcm" for i in range(count)]
    with atomic_folder(folder, overwrite) as temporary:
        for index, name in enumerate(names):
            save_dataset(single_frame(series, index), temporary / name)
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
    series = DerivedSeries(volume, source, source_series, derivation, series_description, series_number, window)
    with atomic_path(path, overwrite, bytes_needed=series.stored.nbytes) as temporary:
        save_dataset(_whole(series), temporary)
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
    series = DerivedSeries(obj, source, source_series, derivation, series_description, series_number, window)
    save_dataset(_whole(series), path)


def _whole(series: DerivedSeries) -> Dataset:
    """A series as one object: planes of ultrasound as cine, all else enhanced."""
    return ultrasound.multiframe(series) if ultrasound.is_cine(series) else enhanced(series)
