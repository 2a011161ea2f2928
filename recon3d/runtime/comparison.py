"""Comparison: several result files against one reference, as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recon3d.errors import InputError
from recon3d.io import atomic_path, load
from recon3d.runtime.record import SUFFIXES
from recon3d.volume import Volume


def compare_files(
    results: Sequence[Path],
    reference: Path,
    *,
    picture: Path | None = None,
    page: Path | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """One row of metrics per result; each number says its range.

    Parameters
    ----------
    results, reference : volume files on one grid and in one unit
    picture : PNG with all of them side by side in one window, if wanted
    page : HTML with linked views of all of them, if wanted
    """
    from recon3d.evaluation.metrics import compare

    truth = _volume(reference, None)
    volumes = {_name(path, results): _volume(path, truth) for path in results}
    scores = {name: compare(volume, truth) for name, volume in volumes.items()}
    if picture is not None:
        from recon3d.report.pictures import comparison

        with atomic_path(picture, overwrite) as temporary:
            temporary.write_bytes(comparison(volumes, reference=truth, metrics=scores))
    if page is not None:
        from recon3d.runtime.viewing import comparison_page

        with atomic_path(page, overwrite) as temporary:
            temporary.write_text(comparison_page(results, volumes, truth, scores), encoding="utf-8")
    return [
        {
            "result": name,
            "PSNR dB": score.psnr_db,
            **{f"SSIM {plane}": value for plane, value in score.ssim.items()},
            "NMSE": score.nmse,
            "slice error": score.slice_to_slice,
            "range": score.range.name,
        }
        for name, score in scores.items()
    ]


def _volume(path: Path, truth: Volume | None) -> Volume:
    options = {"units": truth.units} if truth is not None and path.name.endswith((".nii", ".nii.gz")) else {}
    found = load(path, **options)
    if not isinstance(found, Volume):
        raise InputError(f"{path} holds a scan, not a volume: compare reconstructions with a reference volume.")
    return found


def _name(path: Path, among: Sequence[Path]) -> str:
    """The shortest name that tells the file from the others."""
    return _stem(path) if sum(_stem(p) == _stem(path) for p in among) == 1 else str(path)


def _stem(path: Path) -> str:
    stem = path.name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem
