"""Record: what was done, to what, by which versions; written beside each result as `<stem>.recon.json`."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import recon3d
from recon3d.errors import ConfigError, InputError, ModelError
from recon3d.io.atomic import atomic_path

TAKE_FOLDERS = ("grid.like", "scan.support")
"""Settings that may name a folder, of a DICOM series."""
SUFFIXES = (".nii.gz", ".nii", ".h5", ".hdf5", ".npy", ".npz", ".sgy", ".segy", ".dcm")


def sibling(output: Path, suffix: str) -> Path:
    """The file beside an output that shares its stem: ``a/b.nii.gz`` and ".png" give ``a/b.png``."""
    for known in SUFFIXES:
        if output.name.lower().endswith(known):
            return output.with_name(output.name[: -len(known)] + suffix)
    return output.with_name(output.name + suffix)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of the names and bytes of the files in a folder."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(file.name.encode() if path.is_dir() else b"")
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration changes the numbers."""
    rest = {k: v for k, v in config.items() if k not in ("run", "description")}
    return rest | {"seed": config["run"]["seed"]}


def named_files(config: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of what lies in the files that a configuration names, by the setting that names them: grids, supports,
    masks, mappings, weights, and whatever a method or a plug-in comes to name.

    Parameters
    ----------
    config : as plain values; a text that names a file counts, one that names a folder where settings take folders
    """
    found = {}
    for setting, text in _texts(decisive(config)):
        path = Path(text)
        try:
            there = path.is_file() or (setting in TAKE_FOLDERS and path.is_dir())
        except (OSError, ValueError):  # a text that cannot be a name, too long or with a zero in it
            continue
        if there:
            found[setting] = fingerprint(path)
    return found


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in plain values, with its dotted name."""
    if isinstance(value, Mapping | list | tuple):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in parts:
            yield from _texts(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, str):
        yield name, value


def run_key(input_hash: str, config: Mapping[str, Any], files: Mapping[str, str], models: Mapping[str, str]) -> str:
    """Identifies a run by what decides its numbers: input, configuration and the files it names, weights, version."""
    parts = [input_hash, decisive(config), dict(files), dict(models), recon3d.__version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"recon3d": recon3d.__version__, "python": platform.python_version(), "platform": sys.platform}
    for package in ("torch", "numpy", "numba", "scipy", "astra-toolbox"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_record(path: Path, record: Mapping[str, Any], overwrite: bool) -> None:
    """Write the record atomically."""
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """The record of an earlier run, for `--from`."""
    try:
        record = json.loads(path.read_text())
        if not isinstance(record["config"], dict) or not isinstance(record["input"]["path"], str):
            raise ValueError("incomplete")
    except FileNotFoundError:
        raise ConfigError(f"Record {path} does not exist: give the .recon.json beside an earlier result.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a record of recon3d: give the .recon.json beside an earlier result."
        ) from error
    return record  # type: ignore[no-any-return]


def is_current(output: Path, path: Path, config: Mapping[str, Any]) -> bool:
    """Whether the record beside a result says that it is what this input and configuration make, with the files the
    configuration names, the models and the version there are now: then it need not be made again.

    Parameters
    ----------
    output : the result; its record is written last, so a record says that all of it is there
    config : the validated configuration as plain values
    """
    try:
        record = json.loads(sibling(output, ".recon.json").read_text(encoding="utf-8"))
        made = (record["recon3d"], decisive(record["config"]), record.get("files", {}), record["input"]["sha256"])
        named = record["config"]["models"]
        models = [(named.get(role, made_by["name"]), made_by["sha256"]) for role, made_by in record["models"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if not output.is_file() or made[:2] != (recon3d.__version__, decisive(config)):
        return False
    if made[2] != named_files(config) or not all(_weights(name) == sha for name, sha in models):
        return False
    return bool(made[3] == fingerprint(path))


def _weights(model: str) -> str | None:
    from recon3d.priors import find_model, read_card

    try:
        return read_card(find_model(model)).sha256
    except ModelError:
        return None


def recorded_input(record: Mapping[str, Any]) -> Path:
    """The input of an earlier run, if it still is what it was.

    Raises
    ------
    InputError
        If it is gone or was changed since.
    """
    path = Path(record["input"]["path"])
    if not path.exists():
        raise InputError(f"The input {path} of the record is gone: give the input and the output after --from.")
    if fingerprint(path) != record["input"].get("sha256"):
        raise InputError(
            f"The input {path} has changed since the record was written: give it explicitly to use it as it is now."
        )
    return path
