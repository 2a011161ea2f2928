"""Reports of results that lie on disk: made from the volume, what lies beside it and its record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recon3d.errors import InputError, OutputExistsError
from recon3d.io import atomic_path, load
from recon3d.runtime.record import SUFFIXES, sibling
from recon3d.volume import Volume

MARK = '<meta name="generator" content="recon3d">'


def report_of(result: Path, layers: Mapping[str, Path] | None = None, *, overwrite: bool = False) -> Path:
    """The report beside a result, made now where it is missing, older than the volume, or layers are given.

    Parameters
    ----------
    result : volume file, or its `.recon.json` or `.html`
    layers : name -> volume file shown with it; one named "reference" is the truth, against which the result is scored
    overwrite : replace a page of that name that is not ours

    Raises
    ------
    InputError
        If there is no volume to show.
    OutputExistsError
        If a page of that name exists that recon3d did not write.
    """
    result = _volume_file(result)
    page = sibling(result, ".html")
    if page.exists():
        ours = MARK in page.read_bytes()[:4096].decode("utf-8", "replace")
        if not ours and not overwrite:
            raise OutputExistsError(f"{page} exists and is no report of recon3d: move it, or --force to replace it.")
        if ours and not layers and not overwrite and page.stat().st_mtime >= result.stat().st_mtime:
            return page
    shown: dict[str, Volume] = {"result": load_volume(result)}
    record = _record_of(result)
    for name, path in (layers or {}).items():
        shown[name] = load_volume(path, shown["result"])
    for layer in ("uncertainty", "classical", "residual", "null space"):
        word = layer.replace(" ", "-")
        found = next((p for s in SUFFIXES if (p := sibling(result, f".{word}{s}")).exists()), None)
        if found is not None:
            shown[layer] = load_volume(found, shown["result"])
    with atomic_path(page, overwrite=True) as temporary:
        temporary.write_text(page_of(shown, record), encoding="utf-8")
    return page


def page_of(layers: Mapping[str, Volume], record: Mapping[str, Any]) -> str:
    """The page of a case; where a layer is named "reference", the image layers are scored against it."""
    from recon3d.report.html import case_report
    from recon3d.report.scene import is_image

    metrics = None
    if "reference" in layers:
        from recon3d.evaluation.metrics import compare

        truth = layers["reference"]
        metrics = {
            name: compare(volume, truth, resample=True)
            for name, volume in layers.items()
            if name != "reference" and is_image(name) and volume.units == truth.units
        }
    return case_report(layers, record, metrics=metrics, reference="reference" if metrics else None)


def comparison_page(
    results: Sequence[Path], volumes: Mapping[str, Volume], truth: Volume, scores: Mapping[str, Any]
) -> str:
    """All volumes side by side; named by their methods where their records tell them apart, never by folders."""
    from recon3d.report.html import case_report

    results = list(dict.fromkeys(results))
    methods = [_mapping(_record_of(path), "method").get("name") for path in results]
    stems = [sibling(path, "").name for path in results]
    named = [str(m) for m in methods] if all(methods) and len(set(methods)) == len(methods) else stems
    if len(set(named)) < len(named):
        named = [f"{k}: {name}" for k, name in enumerate(named, 1)]
    new = dict(zip(volumes, named, strict=True))
    layers = {"reference": truth, **{new[name]: volume for name, volume in volumes.items()}}
    metrics = {new[name]: score for name, score in scores.items()}
    return case_report(layers, metrics=metrics, reference="reference", side_by_side=True)


def load_volume(path: Path, like: Volume | None = None) -> Volume:
    """A volume file; NIfTI files of unknown unit are taken to be in that of `like`."""
    options = {"units": like.units} if like is not None and path.name.endswith((".nii", ".nii.gz")) else {}
    found = load(path, **options)
    if not isinstance(found, Volume):
        raise InputError(f"{path} holds a scan, not a volume: give a reconstruction.")
    return found


def _volume_file(path: Path) -> Path:
    for suffix in (".recon.json", ".html"):
        if path.name.endswith(suffix):
            stem = path.with_name(path.name[: -len(suffix)])
            found = [p for s in SUFFIXES if (p := stem.with_name(stem.name + s)).exists()]
            if not found:
                raise InputError(f"The volume beside {path} is gone: give the volume file.")
            return found[0]
    if not path.exists():
        raise InputError(f"{path} does not exist: give a volume file that recon3d wrote.")
    return path


def _record_of(path: Path) -> dict[str, Any]:
    """The record beside a result, or nothing: a report without it is still of use."""
    try:
        record = json.loads(sibling(path, ".recon.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}
