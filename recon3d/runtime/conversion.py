"""Conversion of one file, with the record of a reconstruction as the derivation of its DICOM series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon3d.io import dicom
from recon3d.io.convert import convert
from recon3d.runtime.record import read_record, sibling


def convert_file(source: Path, target: Path, *, deidentify: bool = False, **options: Any) -> list[str]:
    """Convert as `recon3d.io.convert`; returns what a person should read.

    A result of `recon3d reconstruct` brings its method, the hash of its model and the version into a DICOM header.
    """
    if deidentify and not target.suffix:
        allowed = {name: options[name] for name in ("accept_pixels", "overwrite") if name in options}
        report = dicom.deidentify(source, target, **allowed)
        return [f"{target}: written", str(report.note)]
    record = _record_of(source)
    if record is not None:
        options |= {"derivation": _derivation(record), "meaning": _meaning(source, record)}
    convert(source, target, deidentify=deidentify, **options)
    return [f"{target}: written"]


def _record_of(source: Path) -> dict[str, Any] | None:
    """The record beside a result, or beside the result that a map (`result.uncertainty.nii.gz`) belongs to."""
    stem = sibling(source, "").name
    for name in (stem, stem.rpartition(".")[0]):
        path = source.with_name(f"{name}.recon.json")
        if name and source.is_file() and path.is_file():
            return read_record(path)
    return None


def _derivation(record: Mapping[str, Any]) -> dicom.Derivation:
    hashes = [model["sha256"] for model in record.get("models", {}).values()]
    return dicom.Derivation(record["method"]["name"], ", ".join(hashes), record["recon3d"])


def _meaning(source: Path, record: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the numbers of a map are, in the words that fit into a DICOM header."""
    match sibling(source, "").name.rpartition(".")[2]:
        case "uncertainty" if "not proven" in str(record.get("result", {}).get("error_bar")):
            return "UNCERTAINTY", "Standard deviation, calibrated on synthetic truth only"
        case "uncertainty":
            return "SPREAD", "Spread of samples, NOT calibrated: no error bar"
        case "residual":
            return "RESIDUAL", "Change that would take away the misfit to the data"
        case "null-space":
            return "NULL_SPACE", "Part of the image that the data do not determine"
    return None
