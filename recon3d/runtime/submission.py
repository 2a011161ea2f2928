"""Submissions: from a folder of undersampled fastMRI files to a folder of results in the layout of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import recon3d
from recon3d.config import ReconstructConfig
from recon3d.errors import ConfigError, DiskFullError, InputError, Interrupted, OutputExistsError, ReconError
from recon3d.evaluation.fastmri import centre_crop
from recon3d.io import load
from recon3d.io.leaderboard import Expected, read_expected, read_reconstruction, volume_files, write_reconstruction
from recon3d.runtime.record import is_current, sibling
from recon3d.volume import Volume

SUFFIXES = (".h5", ".nii.gz", ".nii")
"""Of reconstructed volumes, in the order in which they are looked for."""


@dataclass(frozen=True)
class Submission:
    """What came of a folder.

    Parameters
    ----------
    written : files of the submission, read again and found to be what was meant
    reconstructed : how many volumes were reconstructed in this run; the others were there
    faults : one sentence for each input that has no file
    """

    written: list[str]
    reconstructed: int
    faults: list[str]


def submit_folder(
    inputs: Path,
    submission: Path,
    results: Path,
    config: ReconstructConfig | None = None,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> Submission:
    """Make a submission of a folder; the same call goes on where an interrupted one stopped.

    Parameters
    ----------
    inputs : folder of undersampled fastMRI files
    submission : folder to write, one file per input and nothing else
    results : folder of reconstructed volumes, `<stem>.h5` or `<stem>.nii.gz` for each input
    config : how volumes that are not there are reconstructed into `results`; None if all must be there
    overwrite : whether files of the submission, and volumes of another configuration, may be replaced

    Raises
    ------
    InputError, ConfigError
        If nothing can be done at all. Faults of single volumes are told in the result.
    DiskFullError, Interrupted
        What was finished stays.
    """
    files = volume_files(inputs)
    _check_folders(inputs, submission, results, files, overwrite, create=config is not None)
    written: list[str] = []
    faults: list[str] = []
    reconstructed = 0
    for name, path in files.items():
        try:
            expected = read_expected(path)
            found = find_volume(results, path.stem)
            if config is not None:
                done = found is not None and _is_current(found, path, config, overwrite)
                if not done:
                    found = _reconstruct(path, results, config, quiet)
                    reconstructed += 1
            if found is None:
                raise InputError(f"there is no volume {path.stem}.h5 or .nii.gz in {results}.")
            image = submission_image(load(found), expected)
            attributes = _attributes(found, expected)
            write_reconstruction(submission / name, image, attributes, overwrite)
            written.append(name)
        except (DiskFullError, Interrupted):
            raise
        except ReconError as error:
            said = str(error)
            faults.append(said if said.startswith(name) else f"{name}: {said}")
    faults += check_submission(inputs, submission, written)
    return Submission(written, reconstructed, faults)


def submission_image(found: object, expected: Expected) -> NDArray[np.float32]:
    """The magnitude of a volume, cropped to what a submission must be.

    Raises
    ------
    InputError
        If it is no volume, or has another number of slices or too few pixels.
    """
    if not isinstance(found, Volume) or found.data.ndim != 3:
        raise InputError("a submission is made of a volume (z, y, x): this is a scan or a series.")
    data = found.data
    if len(data) != expected.slices:
        raise InputError(f"the volume has {len(data)} slices, the input {expected.slices}: reconstruct all of them.")
    if any(n < wanted for n, wanted in zip(data.shape[1:], expected.size, strict=True)):
        raise InputError(
            f"the volume has slices of {data.shape[1]} x {data.shape[2]}, the submission {expected.size[0]} x "
            f"{expected.size[1]} (y x): reconstruct on the grid of the scan."
        )
    if not np.isfinite(data).all():
        raise InputError("the volume holds NaN or infinite values: reconstruct it again.")
    return np.abs(centre_crop(data, expected.size)).astype(np.float32)


def check_submission(inputs: Path, submission: Path, names: list[str] | None = None) -> list[str]:
    """What a submission lacks, file by file, read from the disk; nothing for a good one.

    Parameters
    ----------
    inputs : the undersampled files
    submission : folder of the submission
    names : files that are expected; all inputs by default
    """
    files = volume_files(inputs)
    there = {p.name for p in submission.iterdir()} if submission.is_dir() else set()
    faults = [f"{name} is no file of the submission: take it away." for name in sorted(there - set(files))]
    for name in files if names is None else names:
        try:
            expected = read_expected(files[name])
            if name not in there:
                raise InputError(f"{name} is missing.")
            data = read_reconstruction(submission / name).data
            wanted = (expected.slices, *expected.size)
            if data.shape != wanted or data.dtype != np.float32:
                raise InputError(f"{name} holds {data.dtype} {data.shape}, the leaderboard expects float32 {wanted}.")
            if not np.isfinite(data).all() or (data < 0).any():
                raise InputError(f"{name} holds NaN, infinite or negative values.")
        except ReconError as error:
            faults.append(str(error))
    return faults


def find_volume(folder: Path, stem: str) -> Path | None:
    """The reconstructed volume of an input, if it is there."""
    return next((p for p in (folder / f"{stem}{suffix}" for suffix in SUFFIXES) if p.is_file()), None)


def _check_folders(
    inputs: Path, submission: Path, results: Path, files: Mapping[str, Path], overwrite: bool, create: bool
) -> None:
    if len({inputs.resolve(), submission.resolve(), results.resolve()}) < 3:
        raise ConfigError("Inputs, reconstructed volumes and submission need three folders: two of them are one.")
    for folder in (submission, *([results] if create else [])):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: give the name of a folder.")
        if not folder.parent.is_dir():
            raise InputError(f"The folder {folder.parent} does not exist: create it first.")
        folder.mkdir(exist_ok=True)
    if not results.is_dir():
        raise InputError(f"There is no folder {results} of reconstructed volumes: give one, or a recipe with --config.")
    there = sorted(name for name in files if (submission / name).exists())
    if there and not overwrite:
        raise OutputExistsError(
            f"The submission {submission} holds {there[0]} already: choose another folder, or --force to replace files."
        )


def _reconstruct(path: Path, results: Path, config: ReconstructConfig, quiet: bool) -> Path:
    from recon3d.runtime.case import reconstruct_case

    output = results / f"{path.stem}.h5"
    reconstruct_case(path, output, config, overwrite=True, quiet=quiet)
    return output


def _is_current(volume: Path, path: Path, config: ReconstructConfig, overwrite: bool) -> bool:
    """Whether a volume is what this configuration makes of this input: then it need not be made again."""
    if is_current(volume, path, config.model_dump(mode="json")):
        return True
    if not overwrite:
        raise OutputExistsError(
            f"{volume} was made by another configuration or of another input: choose another folder with --results, "
            "or --force to make it again."
        )
    return False


def _attributes(volume: Path, expected: Expected) -> dict[str, str | int]:
    """Facts that stand in the file, which the official reader ignores."""
    attributes: dict[str, str | int] = {"recon3d_version": recon3d.__version__}
    if expected.acquisition:
        attributes["acquisition"] = expected.acquisition
    if expected.acceleration:
        attributes["acceleration"] = expected.acceleration
    try:
        record = json.loads(sibling(volume, ".recon.json").read_text())
        return {**attributes, "method": str(record["method"]["name"]), "seed": int(record["config"]["run"]["seed"])}
    except (OSError, ValueError, KeyError, TypeError):
        return attributes
