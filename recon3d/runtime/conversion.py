"""Conversion of one file, with the record of a reconstruction as the derivation of its DICOM series."""

from __future__ import annotations

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
    convert(source, target, derivation=_derivation(source), deidentify=deidentify, **options)
    return [f"{target}: written"]


def _derivation(source: Path) -> dicom.Derivation | None:
    record_path = sibling(source, ".recon.json")
    if not source.is_file() or not record_path.is_file():
        return None
    record = read_record(record_path)
    hashes = [model["sha256"] for model in record.get("models", {}).values()]
    return dicom.Derivation(record["method"]["name"], ", ".join(hashes), record["recon3d"])
