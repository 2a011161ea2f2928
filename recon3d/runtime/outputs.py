"""What a case leaves on disk: volumes, picture, report and record, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.beams import scan_converted
from recon3d.config import ReconstructConfig
from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid, SurveyGrid
from recon3d.io import atomic_path, save
from recon3d.io.atomic import check_output
from recon3d.io.formats import writer_for
from recon3d.io.hdf5 import SUFFIXES as BEAM_SUFFIXES
from recon3d.io.nifti import check_even_times
from recon3d.io.parts import magnitude, phase
from recon3d.methods.base import Reconstruction
from recon3d.problem import Problem
from recon3d.runtime.b_modes import RANGE_DB, b_modes
from recon3d.runtime.evidence import NOTES, Evidence
from recon3d.runtime.record import sibling, write_record
from recon3d.volume import Volume


def check_outputs(output: Path, overwrite: bool, suffixes: Sequence[str] = ()) -> None:
    """Refuse before any work what could not be written after it: the output and its siblings with other suffixes."""
    writer_for(output)
    for path in (output, *(sibling(output, suffix) for suffix in suffixes)):
        check_output(path, overwrite)
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"The folder {output.parent} of the output {output.name} is protected: choose another one.")


def check_beams(problem: Problem, output: Path, image: str | None) -> None:
    """Refuse before any work RF on beams in a file for pictures, where its carrier would be lost."""
    if isinstance(problem.grid, BeamGrid) and image in ("rf", "iq") and not output.name.lower().endswith(BEAM_SUFFIXES):
        raise InputError(
            f"{output.name} holds pictures and RF on beams is none: set method.image=decibel to have the B-mode scan "
            "converted, or write RF to an .h5 file."
        )


def check_series(problem: Problem, output: Path, overwrite: bool) -> None:
    """Refuse before any work what a file cannot hold of a series."""
    shape = problem.domain.shape
    if problem.domain.axes[0] != "t" or not _moves(len(shape), shape[0]):
        return
    check_output(sibling(output, ".gif"), overwrite)
    if problem.times_s is not None and output.name.lower().endswith((".nii", ".nii.gz")):
        check_even_times(problem.times_s)


def write_result(
    result: Reconstruction,
    output: Path,
    record: Mapping[str, Any],
    overwrite: bool,
    volumes: Mapping[Path, Volume],
    evidence: Evidence,
    *,
    headers: Mapping[str, Any] | None = None,
    live: NDArray[np.bool_] | None = None,
) -> None:
    """Volumes by their files, picture, report and, last, the record that says they are whole: all, or nothing.

    Parameters
    ----------
    headers : options of SEG-Y outputs: the file whose headers they take over
    live : which traces of a survey were recorded, for its picture and the mask beside it
    """
    from recon3d.report.animation import animated
    from recon3d.report.html import case_report
    from recon3d.report.pictures import three_planes
    from recon3d.report.seismic import survey_sheet
    from recon3d.report.ultrasound import b_mode_sheet

    written: list[Path] = []
    with ExitStack() as outputs:  # files get their names when it ends, the last entered first

        def temporary(path: Path) -> Path:
            written.append(outputs.enter_context(atomic_path(path, overwrite)))
            return written[-1]

        write_record(temporary(sibling(output, ".recon.json")), record, overwrite=True)
        if isinstance(result.volume.grid, BeamGrid) or "b-mode" in result.others:
            temporary(sibling(output, ".png")).write_bytes(b_mode_sheet(b_modes(result), RANGE_DB))
        elif isinstance(result.volume.grid, AffineGrid):
            temporary(sibling(output, ".png")).write_bytes(three_planes(result.volume))
            if _moves(result.volume.data.ndim, len(result.volume.data)):
                temporary(sibling(output, ".gif")).write_bytes(animated(result.volume))
        elif isinstance(result.volume.grid, SurveyGrid):
            temporary(sibling(output, ".png")).write_bytes(survey_sheet(result.volume, live))
            if live is not None:
                with temporary(sibling(output, ".mask.npy")).open("wb") as file:
                    np.save(file, live.astype(np.uint8))
        layers = {"result": result.volume, "uncertainty": result.uncertainty, **evidence.volumes, **result.others}
        shown = {name: layer for name, layer in layers.items() if layer is not None}
        told = {"uncertainty": str(result.facts["error_bar"])} if "error_bar" in result.facts else {}
        report = case_report(shown, record, notes={**NOTES, **told}, history=result.history)
        temporary(sibling(output, ".html")).write_text(report, encoding="utf-8")
        for path, volume in volumes.items():
            save(volume, temporary(path), **(headers or {} if writer_for(path)[0] == "segy" else {}))
        for path in written:  # a full disk may show only now; no file has its name yet
            with path.open("rb") as stream:
                os.fsync(stream)


def volumes_of(
    result: Reconstruction, output: Path, config: ReconstructConfig, evidence: Evidence
) -> dict[Path, Volume]:
    """The volumes that are written, by their files, the output last."""
    volumes = {}
    if config.phase:
        volumes[beside(output, "phase")] = phase(result.volume)
    if result.uncertainty is not None:
        volumes[beside(output, "uncertainty")] = result.uncertainty
    for name, volume in evidence.volumes.items():
        volumes[beside(output, name)] = magnitude(volume)
    for name, other in result.others.items():
        volumes[beside(output, name)] = other if config.complex else magnitude(other)
    volumes[output] = result.volume if config.complex else magnitude(result.volume)
    if output.name.lower().endswith(BEAM_SUFFIXES):
        return volumes
    return {path: scan_converted(v) if isinstance(v.grid, BeamGrid) else v for path, v in volumes.items()}


def values_told(volume: Volume, config: ReconstructConfig) -> str:
    """What of the image is written, for the record."""
    if not np.iscomplexobj(volume.data):
        return "real"
    return ("complex" if config.complex else "magnitude") + (", phase beside it" if config.phase else "")


def _moves(axes: int, frames: int) -> bool:
    return axes == 4 and frames > 1


def beside(output: Path, name: str) -> Path:
    """The file of another volume beside the output: ``a.nii.gz`` and "null space" give ``a.null-space.nii.gz``."""
    word = name.replace(" ", "-")
    for suffix in (".nii.gz", ".nii", ".h5", ".hdf5", ".dcm", ".npy", ".sgy", ".segy"):
        if output.name.endswith(suffix):
            return sibling(output, f".{word}{suffix}")
    return output.with_name(f"{output.name}.{word}")
