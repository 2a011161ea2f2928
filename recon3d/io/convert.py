"""Convert volumes among DICOM, NIfTI and HDF5 with every voxel at its place in the world; beams become pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recon3d.beams import scan_converted
from recon3d.errors import InputError
from recon3d.grid import BeamGrid
from recon3d.io import dicom
from recon3d.io.formats import load, save
from recon3d.io.hdf5 import SUFFIXES as BEAM_SUFFIXES
from recon3d.scan import Scan
from recon3d.volume import Volume


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str] | None = None,
    modality: str | None = None,
    derivation: dicom.Derivation | None = None,
    parametric_map: bool = False,
    meaning: tuple[str, str] | None = None,
    deidentify: bool = False,
    accept_pixels: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Volume | Scan | None:
    """Read `source` and write it as what the suffix of `target` says.

    Parameters
    ----------
    target : .nii, .nii.gz, .h5, .hdf5; .dcm for one enhanced DICOM file; without a suffix a folder of DICOM slices
    reference : DICOM series whose patient, study and frame of reference a DICOM target takes; a DICOM source is its own
    modality : "CT", "MR" ... of a DICOM target, where neither the source nor a reference says it
    derivation : how a DICOM target came to be, for its header
    parametric_map : write a DICOM file of unscaled real values (an uncertainty), not an image; `target` ends in .dcm
    meaning : label and explanation of a parametric map, see `recon3d.io.dicom.write_parametric_map`
    deidentify : copy a DICOM source into a DICOM folder without the patient; NIfTI and HDF5 targets never hold one
    accept_pixels : with `deidentify`: also images that may carry text in their pixels
    options : of the reader, e.g. `series`, `tilt`, `resample_irregular` (DICOM), `units` (NIfTI)

    Returns
    -------
    What was written, or None after a de-identified copy (which never becomes a volume).

    Raises
    ------
    InputError, OutputExistsError, DiskFullError
    """
    source, target = Path(source), Path(target)
    to_folder, to_dicom = target.suffix == "", target.suffix == "" or target.name.lower().endswith(dicom.SUFFIXES)
    from_dicom = options.get("format") == "dicom" or ("format" not in options and dicom.matches(source))
    if deidentify and to_dicom:
        if not (from_dicom and to_folder):
            raise InputError(
                "De-identification copies DICOM into a folder of DICOM; give such a source and such a target."
            )
        dicom.deidentify(source, target, accept_pixels=accept_pixels, overwrite=overwrite)
        return None
    obj = load(source, **options)
    if modality is not None and isinstance(obj, Volume):
        obj = obj.with_data(obj.data, tags={**obj.tags, "modality": modality})
    if isinstance(obj, Volume) and isinstance(obj.grid, BeamGrid) and not target.name.lower().endswith(BEAM_SUFFIXES):
        obj = scan_converted(obj)
    if not to_dicom:
        save(obj, target, overwrite=overwrite)
        return obj
    if not isinstance(obj, Volume):
        raise InputError(f"DICOM holds volumes, not a {type(obj).__name__}: convert it to .h5.")
    place: dict[str, Any] = {"source": reference}
    if reference is None and from_dicom:
        place = {"source": source, "source_series": options.get("series")}
    place["derivation"] = derivation
    if parametric_map and to_folder:
        raise InputError("A parametric map is one DICOM file: give a target that ends in .dcm.")
    if to_folder:
        dicom.write_series(obj, target, overwrite=overwrite, **place)
    elif parametric_map:
        place |= {} if meaning is None else {"label": meaning[0], "explanation": meaning[1]}
        dicom.write_parametric_map(obj, target, overwrite=overwrite, **place)
    else:
        dicom.write_enhanced(obj, target, overwrite=overwrite, **place)
    return obj
